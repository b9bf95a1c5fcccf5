# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Products of two batches of matrices without the zero point that IREE takes the wrong sums for."""

from __future__ import annotations

from typing import Any

import numpy as np

from .constants import constant_value, make_constant, static_shape
from .mlir import Operation, Value, ir
from .module import Module

_FIRST, _SECOND_ZERO_POINT = 0, 3


def correct_products(module: Module) -> None:
    """Rewrites every `tosa.matmul` of several matrices so that the zero point of the second operand is 0. Changes `module`.

    `(a - y) (b - z) = (a - y) b - z * rows`, where `rows` are the sums of the rows of `a - y`, a product with ones. IREE 3.13
    subtracts the same, but for some shapes reads the sums of all matrices but the first from the wrong place.
    """
    for op in module.ops():
        if op.kind != "matmul" or static_shape(op.operation.operands[_FIRST].type)[0] == 1:
            continue
        zero_point = constant_value(op.operation.operands[_SECOND_ZERO_POINT])
        if zero_point is not None and zero_point.any():
            _correct(op.operation, int(zero_point.reshape(-1)[0]))


def _correct(operation: Operation, zero_point: int) -> None:
    first, second, first_zero, second_zero = operation.operands
    batch, rows, depth = static_shape(first.type)
    element = ir.RankedTensorType(second.type).element_type
    with ir.Location.unknown(operation.context):
        accumulator = ir.RankedTensorType(operation.result.type).element_type
        column = ir.RankedTensorType.get([batch, depth, 1], element)
        sums = ir.RankedTensorType.get([batch, rows, 1], accumulator)
        factor = ir.RankedTensorType.get([1, 1, 1], accumulator)
        byte = ir.RankedTensorType.get([1], ir.IntegerType.get_signless(8))

        def make(kind: str, result: Any, *operands: Value) -> Value:
            return ir.Operation.create(
                f"tosa.{kind}", results=[result], operands=list(operands), ip=ir.InsertionPoint(operation)
            ).result

        none = make_constant(operation, np.zeros(1, np.int8), second_zero.type)
        ones = make_constant(operation, np.ones((batch, depth, 1), np.int8), column)
        times = make_constant(operation, np.full((1, 1, 1), zero_point), factor)
        unshifted = make_constant(operation, np.zeros(1, np.int8), byte)
        product = make("matmul", operation.result.type, first, second, first_zero, none)
        excess = make("mul", sums, make("matmul", sums, first, ones, first_zero, none), times, unshifted)
        corrected = make("sub", operation.result.type, product, excess)
    operation.result.replace_all_uses_with(corrected)
    operation.erase()
