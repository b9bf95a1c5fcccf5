# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale demo`: the whole story on embedded int8 models and their data set (digits of scikit-learn, 8 x 8 pixels)."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import click

from tosa_rescale.cli import options

if TYPE_CHECKING:
    from tosa_rescale.api import Model
    from tosa_rescale.core.progress import Progress
    from tosa_rescale.data.dataset import Dataset

METHODS = ("narrow", "compensate", "align")
BITS = (32, 8, 6, 5, 4, 3, 2, 1)
TRANSFORMER_BITS = (4, 1)
"""Fewer widths than the first model gets: the story is that a shift is enough here too."""
MAX_DROP = 2.0
"""Points of top-1 that may be lost. With three methods, 500 samples without a loss prove that it is below 0.82 points, and two
lost ones that it is below 1.55."""


@options.command("demo")
@click.option(
    "-o", "--output", default="demo-report", show_default=True, type=click.Path(file_okay=False), help="Report folder."
)
def demo(output: str) -> int:
    """Tell the whole story on embedded models: import, sweep the width, run on IREE and LiteRT, write one report folder.

    A convolutional network comes first, and a vision transformer after it.
    """
    from tosa_rescale.api import load, sweep
    from tosa_rescale.cli import common, show
    from tosa_rescale.data.dataset import load_data
    from tosa_rescale.demo import DATA, MODEL, TRANSFORMER
    from tosa_rescale.reporting import write_report

    folder, progress, data = pathlib.Path(output), common.progress(), load_data(DATA)
    exact = []
    for path, name, bits in ((MODEL, "", BITS), (TRANSFORMER, "transformer", TRANSFORMER_BITS)):
        model = load(path)
        _introduce(path, model, data)
        result = sweep(model, data, folder / name, methods=METHODS, max_drop=MAX_DROP, force=True, progress=progress, bits=bits)
        show.sweep(result)
        written = write_report(folder / name, result)
        exact.append(_shift_only(model, data, folder / f"{path.stem.removesuffix('_int8')}_shift_only.tflite", progress))
        for each in written:
            show.line(f"written: {each}")
    return 0 if all(exact) else 1


def _introduce(path: pathlib.Path, model: Model, data: Dataset) -> None:
    from tosa_rescale.cli import show

    rescales = model.info()
    multipliers = show.count(sum(each.channels for each in rescales), "multiplier")
    show.line(
        f"{path.name}: {show.count(len(rescales), 'rescale')}, {multipliers} of up to"
        f" {show.count(max(r.bits or 0 for r in rescales), 'bit')}; {len(data)} digits it has not seen in training."
        f" So few prove no loss below about a point: {MAX_DROP:g} points are allowed."
    )


def _shift_only(model: Model, data: Dataset, path: pathlib.Path, progress: Progress) -> bool:
    """Writes the model whose rescales are shifts; returns whether two ways to compile it agree."""
    from tosa_rescale.api import load
    from tosa_rescale.cli import show

    shifts = model.compensate(bits=1, scope="all", progress=progress)
    rescales = shifts.info()
    wide = sum((each.bits or 32) > 1 for each in rescales)
    left = "the whole network has no multiplier" if not wide else f"{wide} of {len(rescales)} rescales keep a multiplier"
    show.line(f"Aligned and compensated at k = 1, {left}. Two ways to compile it agree bit for bit:")
    verdict = shifts.check(data.take(64), engines=("iree", "iree-constant"), progress=progress)
    show.check(verdict)
    shifts.save(path, force=True, allow_partial=bool(wide))
    litert = load(path).evaluate(data, engine="litert", progress=progress)
    show.line(f"The same as a .tflite on an unmodified LiteRT runtime: top-1 {litert.top1:.2f} %")
    show.line(f"written: {path}")
    return verdict.bit_exact
