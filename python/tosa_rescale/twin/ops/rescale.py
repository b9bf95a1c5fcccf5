# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""RESCALE, and APPLY_SCALE, which is its arithmetic alone."""

from __future__ import annotations

from tosa_rescale.twin.fused import fused
from tosa_rescale.twin.ops.registry import Context, as_signed, as_unsigned, constant_of, lowers
from tosa_rescale.twin.scaling import Scale, rescaled
from tosa_rescale.twin.values import LoweringError, Node, Value, type_limits


@lowers("rescale")
def _rescale(node: Node, context: Context, value: Value, *_operands: Value) -> Value:
    rescale = node.rescale
    assert rescale is not None
    if rescale.multiplier is None or rescale.shift is None or rescale.input_zp is None or rescale.output_zp is None:
        raise LoweringError(f"{node.where}: requires constant multipliers, shifts and zero points; fold them first")
    if rescale.rounding_mode == "INEXACT_ROUND":
        raise LoweringError(f"{node.where}: requires SINGLE_ROUND or DOUBLE_ROUND, got INEXACT_ROUND, which fixes no result")
    if rescale.input_unsigned and not node.operand_unsigned[0]:
        value = as_unsigned(context, value, rescale.input_bits)
    scale = Scale(rescale.multiplier, rescale.shift, rescale.rounding_mode == "DOUBLE_ROUND")
    limits = type_limits(rescale.output_bits, rescale.output_unsigned)
    result = None
    if value.made is not None and rescale.input_zp == 0:
        result = fused(context.numbers, value.made, scale, rescale.output_zp, limits)
    if result is None:
        tensor, low, high = context.numbers.minus(value, rescale.input_zp)
        result = rescaled(context.numbers, tensor, low, high, scale, rescale.output_zp, limits)
    if rescale.output_unsigned and not node.unsigned:
        return as_signed(context, result, rescale.output_bits)
    return result


@lowers("apply_scale")
def _apply_scale(node: Node, context: Context, value: Value, multiplier: Value, shift: Value) -> Value:
    scale = Scale(
        constant_of(node, multiplier, "multiplier"),
        constant_of(node, shift, "shift"),
        "DOUBLE_ROUND" in str(node.attributes["rounding_mode"]),
    )
    return rescaled(context.numbers, context.numbers.plain(value), value.low, value.high, scale, 0, node.limits)
