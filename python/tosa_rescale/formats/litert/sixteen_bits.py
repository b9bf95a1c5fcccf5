# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operations of 16 bits that LiteRT's converter to TOSA writes and TOSA has in 32 bits only.

- A table of 16 bits interpolates, and its result has 7 more bits behind the point. For most functions the converter takes it as
  32 bits and rescales; for EXP and LOG it names 16 bits, which leaves the lower half of a number 128 times too large.
- ABS of the least integer has no place in 16 bits; the kernel saturates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module
    from tosa_rescale_runtime.mlir import Operation, Value

_ONE = 1 << 30  # a multiplier, which a shift of 30 makes 1
_POINT = 7  # bits behind the point of what a table of 16 bits makes


def may_be_narrow(bytecode: bytes) -> bool:
    """Whether a module may have such operations; bytecode names each kind of op that it has."""
    return b"table" in bytecode or b"abs" in bytecode


def widen(module: Module) -> bool:
    """Computes these in 32 bits and rescales them to 16. Changes `module`.

    Returns:
        Whether there were any.
    """
    found = False
    for op in list(module.ops()):
        if op.kind not in ("table", "abs") or not _is_of_16_bits(op.operation.result):
            continue
        operands = list(op.operation.operands)
        if op.kind == "abs":
            operands = [_rescaled(op.operation, operands[0], 32)]
        wide = _created(op.operation, op.operation.name, operands, 32)
        narrow = _rescaled(op.operation, wide, 16, _POINT if op.kind == "table" else 0)
        op.operation.result.replace_all_uses_with(narrow)
        op.operation.erase()
        found = True
    return found


def _is_of_16_bits(value: Value) -> bool:
    from tosa_rescale_runtime.mlir import ir

    element = ir.RankedTensorType(value.type).element_type
    return isinstance(element, ir.IntegerType) and element.width == 16


def _rescaled(before: Operation, value: Value, bits: int, shift: int = 0) -> Value:
    """value * 2^-shift, saturated to signed integers of this width."""
    from tosa_rescale_runtime.constants import element_type, make_constant
    from tosa_rescale_runtime.mlir import ir

    def constant(number: int, width: int) -> Value:
        element = ir.IntegerType.get_signless(width)
        array = np.array([number], f"int{width}")
        return make_constant(before, array, ir.RankedTensorType.get([1], element))

    given = element_type(value.type)[0]
    with before.location:
        operands = [value, constant(_ONE, 32), constant(30 + shift, 8), constant(0, given), constant(0, bits)]
        flags = {"scale32": True, "per_channel": False, "input_unsigned": False, "output_unsigned": False}
        attributes = {name: ir.BoolAttr.get(flag) for name, flag in flags.items()}
        attributes["rounding_mode"] = ir.Attribute.parse("#tosa.rounding_mode<SINGLE_ROUND>")
    return _created(before, "tosa.rescale", operands, bits, attributes)


def _created(before: Operation, kind: str, operands: list[Value], bits: int, attributes: dict[str, Any] | None = None) -> Value:
    """The result of a new operation in front of another one, of its shape, with elements of this width."""
    from tosa_rescale_runtime.mlir import ir

    with before.location:
        shape = ir.RankedTensorType(before.result.type).shape
        result = ir.RankedTensorType.get(shape, ir.IntegerType.get_signless(bits))
        made = ir.Operation.create(
            kind, results=[result], operands=operands, attributes=attributes or {}, ip=ir.InsertionPoint(before)
        )
    return made.result
