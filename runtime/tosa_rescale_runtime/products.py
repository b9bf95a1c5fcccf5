# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Products of two batches of matrices without the zero points that IREE takes the wrong sums for."""

from __future__ import annotations

import numpy as np

from .constants import constant_value, make_constant, static_shape
from .mlir import Operation, Value, ir
from .module import Module

_FIRST, _ZERO_POINTS = 0, (2, 3)


def correct_products(module: Module) -> None:
    """Rewrites every `tosa.matmul` of several matrices so that both zero points are 0. Changes `module`.

    `(a - y) (b - z) = a b - z * (rows - depth * y) - y * columns`, where `rows` are the sums of the rows of `a` and `columns`
    those of the columns of `b`, products with ones. IREE 3.13 subtracts the same, but for some shapes reads the sums of all
    matrices but the first from the wrong place: those of rows, and where `b` is a transpose those of columns.
    """
    for op in module.ops():
        if op.kind != "matmul" or static_shape(op.operation.operands[_FIRST].type)[0] == 1:
            continue
        zero_points = [constant_value(op.operation.operands[operand]) for operand in _ZERO_POINTS]
        known = [int(value.reshape(-1)[0]) for value in zero_points if value is not None]
        if len(known) == len(_ZERO_POINTS) and any(known):
            _correct(op.operation, *known)


def _correct(operation: Operation, y: int, z: int) -> None:
    first, second, first_zero, second_zero = operation.operands
    batch, rows, depth = static_shape(first.type)
    columns = static_shape(second.type)[2]
    accumulator = ir.RankedTensorType(operation.result.type).element_type
    with ir.Location.unknown(operation.context):
        byte = ir.RankedTensorType.get([1], ir.IntegerType.get_signless(8))
        none = [make_constant(operation, np.zeros(1, np.int8), zero.type) for zero in (first_zero, second_zero)]
        unshifted = make_constant(operation, np.zeros(1, np.int8), byte)

        def make(kind: str, shape: tuple[int, ...], *operands: Value) -> Value:
            result = ir.RankedTensorType.get(list(shape), accumulator)
            made = ir.Operation.create(
                f"tosa.{kind}", results=[result], operands=list(operands), ip=ir.InsertionPoint(operation)
            )
            return made.result

        def number(value: int) -> Value:
            return make_constant(operation, np.full((1, 1, 1), value), ir.RankedTensorType.get([1, 1, 1], accumulator))

        def ones(like: Value, *shape: int) -> Value:
            element = ir.RankedTensorType(like.type).element_type
            return make_constant(operation, np.ones(shape, np.int8), ir.RankedTensorType.get(list(shape), element))

        corrected = make("matmul", (batch, rows, columns), first, second, *none)
        if z:
            sums = make("matmul", (batch, rows, 1), first, ones(second, batch, depth, 1), *none)
            sums = make("sub", (batch, rows, 1), sums, number(depth * y)) if y else sums
            excess = make("mul", (batch, rows, 1), sums, number(z), unshifted)
            corrected = make("sub", (batch, rows, columns), corrected, excess)
        if y:
            sums = make("matmul", (batch, 1, columns), ones(first, batch, 1, depth), second, *none)
            excess = make("mul", (batch, 1, columns), sums, number(y), unshifted)
            corrected = make("sub", (batch, rows, columns), corrected, excess)
    operation.result.replace_all_uses_with(corrected)
    operation.erase()
