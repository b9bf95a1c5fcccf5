# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operators that LiteRT's converter writes in a form that TOSA forbids, so they stay in the file.

- A leaky ReLU with a slope below 0: RESCALE has no negative multipliers.
- A grouped convolution of int16: its groups' accumulators of 48 bits are rescaled with 32-bit multipliers, and rounded twice.
"""

from __future__ import annotations

from typing import Any

from tosa_rescale.formats.litert.schema import op_name, tensor_at


def is_forbidden(model: Any, operator: Any) -> bool:
    """Whether an operator of a ModelT's first subgraph is one of them."""
    kind = op_name(model, operator)
    if kind == "LEAKY_RELU":
        return operator.builtinOptions is not None and operator.builtinOptions.alpha < 0
    if kind == "CONV_2D":
        given, weights = (tensor_at(model, int(operator.inputs[i])) for i in (0, 1))
        four = len(given.shape) == len(weights.shape) == 4
        return given.dtype == "int16" and four and weights.shape[3] != given.shape[3]
    return False
