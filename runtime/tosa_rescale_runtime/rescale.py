# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reading `tosa.rescale`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .constants import attribute_to_python, constant_value, element_type, tensor_shape
from .graph import Op
from .mlir import ir


@dataclass(frozen=True, eq=False)
class Rescale:
    """One `tosa.rescale`.

    Attributes:
        key: see `Op.key`.
        name: see `Op.name`.
        multiplier: int64 [C] or [1]; None when the operand is not a constant.
        shift: int64 [C] or [1]; None when the operand is not a constant.
        scale32: the multiplier operand is i32 (else i16).
        rounding_mode: `SINGLE_ROUND`, `DOUBLE_ROUND` or `INEXACT_ROUND`.
        per_channel: one multiplier for each index of the last dimension.
        input_zp: zero point taken off first; None when the operand is not a constant.
        output_zp: zero point added last; None when the operand is not a constant.
        input_unsigned: the input counts as unsigned.
        output_unsigned: the output saturates as unsigned.
        input_bits: width of the input's elements.
        output_bits: width of the output's elements.
        shape: shape of the tensor; None stands for a dynamic extent.
        info: the attribute `tosa_rescale.info` as Python values; empty when absent.
        scale_factor: the attribute `tosa_rescale.scale_factor`, what the scale of its result was multiplied by; 1 when absent.
        lowered: it has the attribute `tosa_rescale.lowered`: the module it comes from has operations of 32 bits in its place.

    """

    key: str
    name: str
    multiplier: np.ndarray | None
    shift: np.ndarray | None
    scale32: bool
    rounding_mode: str
    per_channel: bool
    input_zp: int | None
    output_zp: int | None
    input_unsigned: bool
    output_unsigned: bool
    input_bits: int
    output_bits: int
    shape: tuple[int | None, ...]
    info: dict[str, Any]
    scale_factor: float = 1.0
    lowered: bool = False


def read_rescale(op: Op) -> Rescale:
    """Reads a `tosa.rescale`.

    Args:
        op: an op whose kind is `rescale`.

    Returns:
        Its operands and attributes.

    """
    operation = op.operation
    attributes = operation.attributes
    flag = {name: _flag(attributes, name) for name in ("scale32", "per_channel", "input_unsigned", "output_unsigned")}

    def integers(operand: int) -> np.ndarray | None:
        value = constant_value(operation.operands[operand])
        return None if value is None else value.astype(np.int64)

    def zero_point(operand: int, unsigned: bool) -> int | None:
        value = constant_value(operation.operands[operand])
        if value is None:
            return None
        # The operand is signless, whatever the sign of the tensor: 128 is stored as -128.
        return int(value.view(f"u{value.dtype}").flat[0] if unsigned else value.flat[0])

    return Rescale(
        key=op.key,
        name=op.name,
        multiplier=integers(1),
        shift=integers(2),
        rounding_mode=_enum(attributes["rounding_mode"]),
        input_zp=zero_point(3, flag["input_unsigned"]),
        output_zp=zero_point(4, flag["output_unsigned"]),
        input_bits=element_type(operation.operands[0].type)[0],
        output_bits=element_type(operation.result.type)[0],
        shape=tensor_shape(operation.result.type),
        info=attribute_to_python(attributes["tosa_rescale.info"]) if "tosa_rescale.info" in attributes else {},
        scale_factor=float(attributes["tosa_rescale.scale_factor"].value) if "tosa_rescale.scale_factor" in attributes else 1.0,
        lowered="tosa_rescale.lowered" in attributes,
        **flag,
    )


def _flag(attributes: Any, name: str) -> bool:
    return bool(ir.BoolAttr(attributes[name]).value) if name in attributes else False


def _enum(attribute: Any) -> str:
    # An enum attribute of a dialect has no Python class; it prints as `#tosa.rounding_mode<SINGLE_ROUND>`.
    text = str(attribute)
    return text[text.index("<") + 1 : -1]
