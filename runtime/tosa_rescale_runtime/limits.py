# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which values the inputs of a graph may take: those of their types, and of indices those that a table has rows for."""

from __future__ import annotations

from .constants import element_type, static_shape, type_limits
from .graph import DATA_MOVEMENT
from .mlir import Value
from .module import Module

_KEEPS_VALUES = dict.fromkeys((*DATA_MOVEMENT, "cast", "reverse", "tile"), range(1)) | {
    "concat": range(1 << 16),
    "select": range(1, 3),
}
"""Ops whose results hold nothing but values of some operands, by the positions of these."""

_INDICES = {"gather": 1, "scatter": 1}
"""Ops that take indices into the second dimension of their first operand, by the position of the indices."""


def input_limits(module: Module) -> tuple[tuple[int, int], ...]:
    """The least and the largest value that each input may take.

    An input that becomes the indices of a gather or scatter, moved about but not computed with, may take the numbers of the
    rows that there are: TOSA says nothing of others, and engines read beyond the table. So may one that is chosen between with
    what is computed of it: Keras counts negative indices from the end. i48 is 48 bits, though held in 64.

    Raises:
        ModuleError: an input is none of integers or booleans, or a shape is dynamic.

    """
    found = []
    for argument in module.block.arguments:
        low, high = type_limits(*element_type(argument.type))
        rows = _rows(argument)
        found.append((low, high) if rows is None else (0, min(rows - 1, high)))
    return tuple(found)


def _rows(value: Value) -> int | None:
    """Rows of the smallest table that a value is an index into; None where it is none."""
    found = []
    for use in value.uses:
        user, position = use.owner.operation, use.operand_number
        kind = user.name.partition(".")[2]
        if _INDICES.get(kind) == position:
            found.append(static_shape(user.operands[0].type)[1])
        elif position in _KEEPS_VALUES.get(kind, ()):
            rows = _rows(user.results[0])
            found += [] if rows is None else [rows]
    return min(found, default=None)
