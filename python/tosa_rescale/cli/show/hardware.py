# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exports and costs of hardware."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tosa_rescale.cli.show.console import Column, line, table
from tosa_rescale.core.display import count

if TYPE_CHECKING:
    from tosa_rescale.hardware import Cost


def exported(written: Sequence[pathlib.Path], tables: Sequence[Any], goldens: Any, samples: int) -> None:
    """The files of an export, and what they hold.

    Args:
        written: the files.
        tables: hardware.pairs.Table of each rescale.
        goldens: hardware.goldens.Goldens; None: none were recorded.
        samples: how many samples these are of.
    """
    for path in written:
        if path.suffix != ".txt":
            line(f"{path}  {count(path.stat().st_size, 'byte')}")
    pairs, bits = sum(each.channels for each in tables), max(each.bits for each in tables)
    fitting = sum(each.fits_rtl for each in tables)
    line(
        f"{count(len(tables), 'rescale')}, {count(pairs, 'pair')}, widest {count(bits, 'bit')};"
        f" the RTL computes {fitting} of them"
    )
    if goldens is not None:
        vectors = sum(len(each.input) for each in goldens.vectors)
        line(f"{count(vectors, 'golden vector')} of {count(samples, 'sample')}, one .txt for each rescale")


def costs(found: Sequence[Cost]) -> None:
    """One table for each number of MACs."""
    from tosa_rescale.hardware import PAPER, relative_costs

    titles = ("k", "cells", "transistors", "vs 32", "depth", "vs 32", "area-delay, times better")
    for macs in sorted({cost.macs for cost in found}):
        rows = []
        for each in relative_costs(found):
            cost = each.cost
            if cost.macs == macs:
                area, depth = f"{100 * (each.transistors - 1):+.1f} %", f"{100 * (each.depth - 1):+.1f} %"
                row = [str(cost.bits), str(cost.cells), str(cost.transistors), area, str(cost.depth), depth]
                rows.append([*row, f"{1 / each.area_delay:.2f}"])
        table([Column(title) for title in titles], rows, title=f"dot-product engine, {count(macs, 'MAC')}")
        if macs in PAPER:
            line(f"source paper, 16 nm, k = 4: area {PAPER[macs]:+.1f} %")
