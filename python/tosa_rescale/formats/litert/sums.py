# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SUM as LiteRT computes it, with one multiplier behind the sum, where its converter to TOSA writes two.

The kernel adds up integers and multiplies the sum by the ratio of the two scales. The converter multiplies by the input's scale
in front of the sum and by the inverse of the output's behind it: two multipliers, of which each is wide whatever the ratio is,
and values that are rounded before they are added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module, Op
    from tosa_rescale_runtime.mlir import Operation

_BITS = 29
"""Of the product of two multipliers that were rounded to 31: as many as the roundings leave."""
_ONE = 30
"""Shift of a multiplier of 2^30 that is 1."""


def may_sum(bytecode: bytes) -> bool:
    """Whether a module may have such a sum; bytecode names each kind of op that it has."""
    return b"reduce_sum" in bytecode


def multiply_once(module: Module) -> bool:
    """Multiplies sums of widened integers behind the sum alone. Changes `module`.

    Returns:
        Whether there were any that were multiplied in front of it too.
    """
    by_operation = {op.operation: op for op in module.ops() if op.kind == "rescale"}
    found = False
    for behind in by_operation.values():
        source = _widening(behind.operation)
        front = None if source is None else by_operation.get(source)
        if front is not None:
            found |= _join(module, front, behind)
    return found


def _widening(behind: Operation) -> Operation | None:
    """What makes the integers that a rescale's operand is the sum of; None where it is no sum, or read by others too."""
    value, sums = behind.operands[0], 0
    while getattr(value.owner, "name", "") in ("tosa.reduce_sum", "tosa.reshape") and len(list(value.uses)) == 1:
        sums += value.owner.name == "tosa.reduce_sum"
        value = value.owner.operands[0]
    alone = sums and len(list(value.uses)) == 1 and getattr(value.owner, "name", "") == "tosa.rescale"
    return value.owner if alone else None


def _join(module: Module, front: Op, behind: Op) -> bool:
    """Gives the rescale behind a sum the product of both multipliers, where that is one number and not in front already."""
    (first, first_shift), (second, second_shift) = ((module.constant(op, 1), module.constant(op, 2)) for op in (front, behind))
    if first is None or first_shift is None or second is None or second_shift is None:
        return False
    if first.size != 1 or second.size != 1 or first.dtype != np.int32 or second.dtype != np.int32:
        return False
    m = int(first.item()) * int(second.item())
    if module.result_bits(front) != 32 or not int(first.item()) & (int(first.item()) - 1) or m <= 0:
        return False
    dropped = m.bit_length() - _BITS
    rounded = round(m / (1 << dropped))
    # The leading bit of the result at 2^30, also where rounding carried.
    moved = _ONE + 1 - rounded.bit_length()
    shift = int(first_shift.item()) + int(second_shift.item()) - dropped + moved
    if not 2 <= shift <= 62:
        return False
    module.set_constant(front, 1, np.full_like(first, 1 << _ONE))
    module.set_constant(front, 2, np.full_like(first_shift, _ONE))
    module.set_constant(behind, 1, np.full_like(second, rounded << moved))
    module.set_constant(behind, 2, np.full_like(second_shift, shift))
    return True
