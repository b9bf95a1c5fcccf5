# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rescales as they stand in a model."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tosa_rescale.cli.show.console import Column, line, listing, table
from tosa_rescale.core.display import count

if TYPE_CHECKING:
    from tosa_rescale.core.rescales import RescaleInfo


def rescales(found: Sequence[RescaleInfo]) -> None:
    """One row a rescale, then the violations, then how many multipliers have which width, then a summary."""
    aligned = any(each.scale_factor != 1 for each in found)
    columns = [
        Column("key", left=True),
        Column("name", left=True, name=True),
        Column("op", left=True),
        Column("scope", left=True, minor=3),
        Column("channels", minor=1),
        Column("type", left=True, minor=4),
        Column("rounding", left=True, minor=5),
        Column("bits"),
        Column("2^n", left=True),
        Column("shift"),
        Column("values", minor=2),
        *([Column("factor", minor=6)] if aligned else []),
    ]
    table(columns, [_rescale(each)[: len(columns)] for each in found])
    for each in found:
        for violation in each.violations:
            line(f"violation: {each.key}, {each.name}: {violation}")
    by_bits = collections.Counter(bits for each in found for bits in each.multiplier_bits)
    listing("multipliers by bits", [f"{bits}: {number}" for bits, number in sorted(by_bits.items())])
    broken = sum(1 for each in found if each.violations)
    known = [each.bits for each in found if each.bits is not None]
    shifts = sum(1 for each in found if each.power_of_two)
    line(
        f"{count(len(found), 'rescale')}, {count(sum(each.channels for each in found), 'multiplier')};"
        f" widest {count(max(known, default=0), 'bit')}; {count(shifts, 'pure shift')}; {broken} with violations"
        + (f"; {count(sum(each.scale_factor != 1 for each in found), 'result')} at a new scale" if aligned else "")
        + (f"; {sum(each.lowered for each in found)} lowered to 32 bits" if any(each.lowered for each in found) else "")
    )


def _rescale(each: RescaleInfo) -> list[str]:
    return [
        each.key,
        each.name,
        each.op,
        each.scope,
        str(each.channels),
        "scale32" if each.scale32 else "scale16",
        each.rounding_mode.removesuffix("_ROUND").lower(),
        "not constant" if each.bits is None else str(each.bits),
        "yes" if each.power_of_two else "",
        "-" if each.shift_min is None else f"{each.shift_min}..{each.shift_max}",
        "-" if each.value_min is None else f"{each.value_min}..{each.value_max}",
        f"{each.scale_factor:.4f}",
    ]


def too_wide(model: str, found: Sequence[RescaleInfo], total: int, bits: int) -> None:
    """One row a rescale that has a multiplier of more than `bits` bits, and on standard error one line that names them."""
    rows = []
    for each in found:
        widest = "not constant" if each.bits is None else str(each.bits)
        rows.append([each.key, each.name, each.op, widest, f"{each.above(bits)} of {max(1, each.channels)}"])
    columns = [Column("key", left=True), Column("name", left=True, name=True), Column("op", left=True)]
    table([*columns, Column("bits"), Column("multipliers above")], rows, title=f"wider than {count(bits, 'bit')}")
    names = ", ".join(each.key for each in found)
    click.echo(f"{model}: {len(found)} of {total} rescales have multipliers wider than {count(bits, 'bit')}: {names}", err=True)
