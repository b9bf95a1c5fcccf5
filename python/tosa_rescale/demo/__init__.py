# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The demo: the whole story on an embedded int8 model and data set (digits of scikit-learn, 8 x 8 pixels).

`digits_int8.tflite` and `digits.npz` are made by `make_demo.py` beside this file.
"""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

from tosa_rescale.core.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console

MODEL = pathlib.Path(__file__).parent / "digits_int8.tflite"
DATA = pathlib.Path(__file__).parent / "digits.npz"


def run_demo(folder: pathlib.Path, console: Console, progress: Progress) -> int:
    """Imports, sweeps, checks and reports.

    Args:
        folder: where the report goes; made anew.
        console: for the tables.
        progress: for the work under way.

    Returns:
        0, or 1 where engines disagree.
    """
    from tosa_rescale.api import load, sweep
    from tosa_rescale.cli.tables import print_check
    from tosa_rescale.data.dataset import load_data
    from tosa_rescale.reporting import print_sweep, write_report

    model, data = load(MODEL), load_data(DATA)
    rescales = model.info()
    console.print(
        f"{MODEL.name}: {len(rescales)} rescales, {sum(r.channels for r in rescales)} multipliers of up to"
        f" {max(r.bits or 0 for r in rescales)} bits; {len(data)} digits it has not seen in training."
    )
    result = sweep(model, data, folder, methods=("narrow", "compensate", "align"), force=True, progress=progress)
    print_sweep(result, console)

    shift_only = model.compensate(bits=1, scope="all", progress=progress)
    widest = max(r.bits or 0 for r in shift_only.info())
    console.print(
        f"Aligned and compensated at k = 1, the whole network has no multiplier: its widest has {widest} bit, a shift."
        " Two ways to compile it agree bit for bit:"
    )
    verdict = shift_only.check(data.take(64), engines=("iree", "iree-constant"), progress=progress)
    print_check(verdict, console)
    path = shift_only.save(folder / "digits_shift_only.tflite", force=True)
    litert = load(path).evaluate(data, engine="litert", progress=progress)
    console.print(f"The same as a .tflite on an unmodified LiteRT runtime: top-1 {litert.top1:.2f} %")
    for written in (*write_report(folder, result), path):
        console.print(f"written: {written}")
    return 0 if verdict.bit_exact else 1
