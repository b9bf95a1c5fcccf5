# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolutions with a group for each input channel, as the depthwise ones that they are.

Keras writes `Conv2D(groups=channels)`, which its ConvNeXt consists of, as a grouped CONV_2D. The converter to TOSA makes one
convolution for each group of it: 7,000 rescales in place of 400. DEPTHWISE_CONV_2D gives the same integers.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from tosa_rescale.formats.litert.build import add_buffer, make_depthwise
from tosa_rescale.formats.litert.operators import DEPTHWISE_VERSIONS
from tosa_rescale.formats.litert.schema import LitertTensor, op_name, tensor_at


def convolve_depthwise(model: Any) -> list[int]:
    """Replaces grouped convolutions of one input channel a group in a ModelT.

    Args:
        model: the ModelT; changed in place.

    Returns:
        Positions of the operators of the first subgraph that are depthwise convolutions now.
    """
    found = []
    for position, operator in enumerate(model.subgraphs[0].operators):
        if op_name(model, operator) == "CONV_2D":
            given, weights = (tensor_at(model, int(operator.inputs[i])) for i in (0, 1))
            if _is_depthwise(given, weights):
                _replace(model, operator, given, weights)
                found.append(position)
    return found


def _is_depthwise(given: LitertTensor, weights: LitertTensor) -> bool:
    if weights.value is None or given.dtype not in DEPTHWISE_VERSIONS or len(given.shape) != 4 or len(weights.shape) != 4:
        return False
    channels = given.shape[3]
    return weights.shape[3] == 1 < channels and weights.shape[0] % channels == 0


def _replace(model: Any, operator: Any, given: LitertTensor, weights: LitertTensor) -> None:
    graph = model.subgraphs[0]
    assert weights.value is not None
    value = weights.value.transpose(3, 1, 2, 0)
    tensor = copy.copy(graph.tensors[weights.index])  # another operator may read the one that is there
    tensor.buffer, tensor.shape = add_buffer(model, value), np.array(value.shape, np.int32)
    tensor.shapeSignature = None
    tensor.quantization = copy.copy(tensor.quantization)
    tensor.quantization.quantizedDimension = 3
    graph.tensors.append(tensor)
    operator.inputs = [given.index, len(graph.tensors) - 1, *map(int, operator.inputs[2:])]
    make_depthwise(model, operator, given.dtype, weights.shape[0] // given.shape[3])
