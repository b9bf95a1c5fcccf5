# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale demo`: the whole story on an embedded int8 model and data set (digits of scikit-learn, 8 x 8 pixels)."""

from __future__ import annotations

import pathlib

import click

from tosa_rescale.cli import options


@options.command("demo")
@click.option(
    "-o", "--output", default="demo-report", show_default=True, type=click.Path(file_okay=False), help="Report folder."
)
def demo(output: str) -> int:
    """Tell the whole story on an embedded model: import, sweep the width, run on IREE, one table, one report folder."""
    from tosa_rescale.api import load, sweep
    from tosa_rescale.cli import common, show
    from tosa_rescale.data.dataset import load_data
    from tosa_rescale.demo import DATA, MODEL
    from tosa_rescale.reporting import write_report

    folder, progress = pathlib.Path(output), common.progress()
    model, data = load(MODEL), load_data(DATA)
    rescales = model.info()
    show.line(
        f"{MODEL.name}: {len(rescales)} rescales, {sum(r.channels for r in rescales)} multipliers of up to"
        f" {max(r.bits or 0 for r in rescales)} bits; {len(data)} digits it has not seen in training."
    )
    result = sweep(model, data, folder, methods=("narrow", "compensate", "align"), force=True, progress=progress)
    show.sweep(result)

    shift_only = model.compensate(bits=1, scope="all", progress=progress)
    widest = max(r.bits or 0 for r in shift_only.info())
    show.line(
        f"Aligned and compensated at k = 1, the whole network has no multiplier: its widest has {show.count(widest, 'bit')},"
        " a shift. Two ways to compile it agree bit for bit:"
    )
    verdict = shift_only.check(data.take(64), engines=("iree", "iree-constant"), progress=progress)
    show.check(verdict)
    path = shift_only.save(folder / "digits_shift_only.tflite", force=True)
    litert = load(path).evaluate(data, engine="litert", progress=progress)
    show.line(f"The same as a .tflite on an unmodified LiteRT runtime: top-1 {litert.top1:.2f} %")
    for written in (*write_report(folder, result), path):
        show.line(f"written: {written}")
    return 0 if verdict.bit_exact else 1
