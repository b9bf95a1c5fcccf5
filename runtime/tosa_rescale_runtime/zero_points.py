# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Zero points of inputs taken into biases.

IREE splits a layer whose input has a zero point into products and a correction, `zero point * sum of weights`. Both the sum
and its layout are then computed when an executable is loaded, by two initializers a layer, on which its passes spend a fifth
of the time that a network of pointwise layers takes to compile; and each inference subtracts the correction.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .constants import attribute_to_python, constant_value, element_type, make_constant
from .graph import Op
from .mlir import ir

_KINDS = ("conv2d", "conv3d", "depthwise_conv2d")
_WEIGHT, _BIAS, _INPUT_ZERO_POINT, _WEIGHT_ZERO_POINT = 1, 2, 3, 4


def fold_zero_points(ops: Sequence[Op]) -> None:
    """Rewrites convolutions of 8-bit inputs so that the zero point of the input is 0: `(x - z) * w + b = x * w + (b - z * w)`.

    Modulo 2^32, as accumulators are, both are equal. A layer that pads is left as it is: padding stands for the zero point.
    """
    for op in ops:
        operation = op.operation
        if op.kind not in _KINDS or element_type(operation.operands[0].type) != (8, False):
            continue
        if any(attribute_to_python(operation.attributes["pad"])):
            continue
        values = [constant_value(operand) for operand in list(operation.operands)[_WEIGHT : _WEIGHT_ZERO_POINT + 1]]
        if any(value is None for value in values):
            continue
        weight, bias, input_zero, weight_zero = (np.asarray(value, np.int64) for value in values)
        if not input_zero.any():
            continue
        weight = weight - weight_zero.reshape(-1)[0]
        # Weights are [C, ..., IC], depthwise ones [KH, KW, C, M].
        sums = weight.sum((0, 1)).reshape(-1) if op.kind == "depthwise_conv2d" else weight.reshape(len(weight), -1).sum(1)
        folded = (bias.reshape(-1) - input_zero.reshape(-1)[0] * sums).astype(np.int32)
        zero_point = operation.operands[_INPUT_ZERO_POINT].type
        with ir.Location.unknown(operation.context):
            kind = ir.RankedTensorType.get(folded.shape, ir.IntegerType.get_signless(32))
        operation.operands[_BIAS] = make_constant(operation, folded, kind)
        operation.operands[_INPUT_ZERO_POINT] = make_constant(operation, np.zeros(input_zero.shape, np.int8), zero_point)
