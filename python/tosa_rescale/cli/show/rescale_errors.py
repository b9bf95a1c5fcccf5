# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Errors of rescales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tosa_rescale.cli.show.console import Column, line, table
from tosa_rescale.core.display import count

if TYPE_CHECKING:
    from tosa_rescale.measure.rescale_error import Difference, Moments, RescaleError

INNER_BITS = 32  # tensors between the rescales of an addition: their LSB means nothing to anyone


def rescale_errors(found: Sequence[RescaleError]) -> None:
    """One row a rescale whose result has 8 or 16 bits; `sat` is saturated, `real` the spread end to end in real units."""
    columns = [
        Column("name", left=True, name=True),
        Column("op", left=True, minor=5),
        Column("bits"),
        Column("sat %", minor=3),
        Column("predicted"),
        Column("measured", minor=1),
        Column("1 off %", minor=6),
        Column(">1 %", minor=7),
        Column("end to end"),
        Column("max", minor=2),
        Column("real", minor=4),
    ]
    shown = [each for each in found if each.output_bits < INNER_BITS]
    rows = []
    for each in shown:
        alone, chain = each.isolated, each.end_to_end
        rows.append(
            [
                f"{each.name}{' *' if each.absorbed else ''}",
                each.op,
                str(each.bits),
                "-" if each.measured is None and alone is None else f"{each.saturated:.0f}",
                _moments(each.predicted),
                _moments(each.measured),
                _share(alone, 1, 1),
                _share(alone, 2, None),
                _moments(chain),
                f"{chain.largest:.0f}",
                "-" if each.scale is None else f"{each.scale * chain.std:.2g}",
            ]
        )
    table(columns, rows, title="error of each rescale in LSB, mean ± standard deviation")
    if any(each.absorbed for each in shown):
        line("* weights or bias absorb the multiplier's change; predicted is what they leave of it, not its own error")
    if len(shown) < len(found):
        line(f"{count(len(found) - len(shown), 'rescale')} to 32 bits, inside additions and the like, in --json only")
    unknown = [each for each in shown if each.isolated is None]
    if unknown:
        line(f"not measured alone: {count(len(unknown), 'rescale')} whose layer or its scales are not the original's")


def _moments(figures: Moments | Difference | None) -> str:
    return "-" if figures is None else f"{figures.mean:+.2f} ± {figures.std:.2f}"


def _share(difference: Difference | None, least: int, most: int | None) -> str:
    """Per cent of values whose difference is this large."""
    if difference is None:
        return "-"
    total = sum(difference.histogram.values())
    inside = sum(n for step, n in difference.histogram.items() if abs(step) >= least and (most is None or abs(step) <= most))
    return f"{100 * inside / total:.2f}"
