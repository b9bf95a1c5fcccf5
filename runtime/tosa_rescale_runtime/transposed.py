# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Transposed convolutions as convolutions, where IREE compiles no transposed ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .constants import attribute_to_python, constant_value, element_type, erase_dead_constants, make_constant, static_shape
from .mlir import Operation, Value, ir
from .module import Module


def convolve_instead(module: Module) -> None:
    """Rewrites every `tosa.transpose_conv2d` with i48 accumulators and a stride as a `tosa.conv2d` of the same result.

    IREE 3.13 turns a stride into reshapes of the accumulators, and TOSA knows no reshape of i48. TOSA's specification of
    TRANSPOSE_CONV2D adds `input[y] * weight[k]` to `output[y * stride + out_pad + k]`: a convolution by the reversed kernel
    of an input with `stride - 1` zeros behind each of its values.
    """
    found = [op.operation for op in module.ops() if op.kind == "transpose_conv2d"]
    for operation in found:
        stride = attribute_to_python(operation.attributes["stride"])
        if element_type(operation.result.type)[0] > 32 and max(stride) > 1:
            _convolve(operation, stride)
    if found:
        erase_dead_constants(module.block)


def _convolve(operation: Operation, stride: Sequence[int]) -> None:
    given, weight, *rest = operation.operands
    top, bottom, left, right = attribute_to_python(operation.attributes["out_pad"])
    _, height, width, _ = static_shape(weight.type)
    pads = [height - 1 + top, height - 1 + bottom, width - 1 + left, width - 1 + right]
    with ir.Location.unknown(operation.context):
        convolution = ir.Operation.create(
            "tosa.conv2d",
            results=[operation.result.type],
            operands=[_spread(operation, given, rest[1], stride), _reversed(operation, weight), *rest],
            attributes={
                "acc_type": operation.attributes["acc_type"],
                "pad": ir.DenseI64ArrayAttr.get(pads),
                "stride": ir.DenseI64ArrayAttr.get([1, 1]),
                "dilation": ir.DenseI64ArrayAttr.get([1, 1]),
            },
            ip=ir.InsertionPoint(operation),
        )
    operation.result.replace_all_uses_with(convolution.result)
    operation.erase()


def _spread(before: Operation, value: Value, zero_point: Value, stride: Sequence[int]) -> Value:
    """[n, h, w, c] as [n, (h - 1) * stride[0] + 1, (w - 1) * stride[1] + 1, c], with zero points between the values."""
    batch, height, width, channels = static_shape(value.type)
    value = _shaped(
        before,
        "tosa.reshape",
        value,
        [_shape(before, [batch, height, 1, width, 1, channels])],
        [batch, height, 1, width, 1, channels],
    )
    behind = [0, 0, 0, 0, 0, stride[0] - 1, 0, 0, 0, stride[1] - 1, 0, 0]
    spread = [batch, height, stride[0], width, stride[1], channels]
    value = _shaped(before, "tosa.pad", value, [_shape(before, behind), zero_point], spread)
    joined = [batch, height * stride[0], width * stride[1], channels]
    value = _shaped(before, "tosa.reshape", value, [_shape(before, joined)], joined)
    # Behind the last value of a row nothing may stand that the padding would not have.
    kept = [batch, (height - 1) * stride[0] + 1, (width - 1) * stride[1] + 1, channels]
    return _shaped(before, "tosa.slice", value, [_shape(before, [0, 0, 0, 0]), _shape(before, kept)], kept)


def _reversed(before: Operation, weight: Value) -> Value:
    """The kernel [out, h, w, in] turned round in both directions: a constant where it is one."""
    value = constant_value(weight)
    if value is not None:
        return make_constant(before, np.ascontiguousarray(value[:, ::-1, ::-1]), weight.type)
    for axis in (1, 2):
        with ir.Location.unknown(before.context):
            attribute = ir.IntegerAttr.get(ir.IntegerType.get_signless(32), axis)
            weight = ir.Operation.create(
                "tosa.reverse",
                results=[weight.type],
                operands=[weight],
                attributes={"axis": attribute},
                ip=ir.InsertionPoint(before),
            ).result
    return weight


def _shaped(before: Operation, name: str, value: Value, others: Sequence[Value], shape: Sequence[int]) -> Value:
    """An operation that only moves elements, with a result of this shape."""
    with ir.Location.unknown(before.context):
        tensor = ir.RankedTensorType.get(shape, ir.RankedTensorType(value.type).element_type)
        return ir.Operation.create(name, results=[tensor], operands=[value, *others], ip=ir.InsertionPoint(before)).result


def _shape(before: Operation, extents: Sequence[int]) -> Value:
    """A `tosa.const_shape`."""
    with ir.Location.unknown(before.context):
        return ir.Operation.create(
            "tosa.const_shape",
            results=[ir.Type.parse(f"!tosa.shape<{len(extents)}>")],
            attributes={"values": ir.DenseElementsAttr.get(np.array(extents), type=ir.IndexType.get())},
            ip=ir.InsertionPoint(before),
        ).result
