# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which values the inputs of a graph may take: those of their types, and of indices those that a table has rows for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .constants import constant_value, element_type, static_shape, type_limits
from .graph import DATA_MOVEMENT
from .mlir import Operation, Value
from .module import Module

_KEEPS_VALUES = dict.fromkeys((*DATA_MOVEMENT, "cast", "reverse", "tile"), range(1)) | {
    "concat": range(1 << 16),
    "select": range(1, 3),
}
"""Ops whose results hold nothing but values of some operands, by the positions of these."""

_INDICES = {"gather": 1, "scatter": 1}
"""Ops that take indices into the second dimension of their first operand, by the position of the indices."""

_ANY = 1 << 63
"""Beyond the limits of every type."""
_EVERY, _NONE = (-_ANY, _ANY), (_ANY, -_ANY)


class _Range(NamedTuple):
    """The values from `low` to `high`, both included; computed: arithmetic stands between them and the indices."""

    low: int
    high: int
    computed: bool = False

    def meet(self, low: int, high: int) -> _Range:
        return _Range(max(self.low, low), min(self.high, high), self.computed)


def input_limits(module: Module) -> tuple[tuple[int, int], ...]:
    """The least and the largest value that each input may take.

    An input that becomes the indices of a gather or scatter, moved about, or added to, multiplied or compared with constants,
    may take what leads to the rows that there are: TOSA says nothing of others, and engines read beyond the table. One that is
    chosen between with what is computed of it may take the rows' own numbers, where nothing leads to rows both ways: Keras
    counts negative indices from the end. i48 is 48 bits, though held in 64.

    Raises:
        ModuleError: an input is none of integers or booleans, or a shape is dynamic.

    """
    found = []
    for argument in module.block.arguments:
        limits = type_limits(*element_type(argument.type))
        ranges = list(_ranges(argument))
        met = _meet(limits, ranges)
        if met.low > met.high:
            met = _meet(limits, [each for each in ranges if not each.computed])
        found.append((met.low, met.high) if met.low <= met.high else limits)
    return tuple(found)


def _meet(limits: tuple[int, int], ranges: list[_Range]) -> _Range:
    """The values that are in all ranges, and within limits."""
    return _Range(max([limits[0], *(each.low for each in ranges)]), min([limits[1], *(each.high for each in ranges)]))


def _ranges(value: Value) -> Iterator[_Range]:
    """What each use of a value as indices allows it to be."""
    for use in value.uses:
        user, position = use.owner.operation, use.operand_number
        kind = user.name.partition(".")[2]
        if _INDICES.get(kind) == position:
            yield _Range(0, static_shape(user.operands[0].type)[1] - 1)
        elif position in _KEEPS_VALUES.get(kind, ()):
            yield from _ranges(user.results[0])
        elif (numbers := _numbers(user, kind, position)) is not None:
            for wanted in _ranges(user.results[0]):
                bounded = wanted.meet(*type_limits(*element_type(user.results[0].type)))  # results do not wrap around
                found = _Range(*_EVERY, computed=True)
                for number in numbers:
                    found = found.meet(*_given(kind, position, number, bounded))
                yield found


def _numbers(user: Operation, kind: str, position: int) -> list[int] | None:
    """The constants that an op computes with beside one operand; None where it is none that `_given` knows."""
    if kind not in ("add", "sub", "mul", "minimum", "maximum"):
        return None
    if kind == "mul" and ((shift := constant_value(user.operands[2])) is None or np.any(shift)):
        return None
    constant = constant_value(user.operands[1 - position])
    return None if constant is None else [int(each) for each in np.unique(constant)]


def _given(kind: str, position: int, number: int, wanted: _Range) -> tuple[int, int]:
    """The values of an operand that give a result in a range, beside a number as the other operand."""
    low, high, _ = wanted
    if kind == "add":
        return low - number, high - number
    if kind == "sub":
        return (low + number, high + number) if position == 0 else (number - high, number - low)
    if kind == "mul":
        if number == 0:
            return _EVERY if low <= 0 <= high else _NONE
        ends = (low, high) if number > 0 else (high, low)
        return -(-ends[0] // number), ends[1] // number
    if kind == "minimum":
        return _NONE if number < low else (low, _ANY if number <= high else high)
    return _NONE if number > high else (-_ANY if number >= low else low, high)
