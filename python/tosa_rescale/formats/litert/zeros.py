# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensors that hold nothing but zeros, at a scale that is none: the first state of a recurrent layer with int16 activations.

LiteRT's converter calibrates such a state to the scale 0, and what is computed of it to one below float32's normal range. No
multiplier can be derived from these: LiteRT's kernels take 0 for it, the converter to TOSA another number, and no weight scale
gives a narrow one back. A zero is the same integer at every scale, so these tensors get one that float32 holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tosa_rescale.formats.litert.multipliers import is_normal
from tosa_rescale.formats.litert.operators import MOVES, OPERANDS
from tosa_rescale.formats.litert.schema import as_array, dtype_of, op_name, tensor_at

_STEP = {"int8": 2.0**-7, "uint8": 2.0**-7, "int16": 2.0**-15}
"""The new scale for each type: its integers are the real numbers from -1 to 1."""

_ZERO_OF_ZEROS = MOVES | {"ADD", "FILL", "QUANTIZE", "RELU", "RELU6", "SUB", "TANH"}
"""Operators that make zeros where all that they compute with is 0."""

_ZERO_OF_ONE_ZERO = {"BATCH_MATMUL", "MUL"}
"""Operators that make zeros where one of their operands is 0."""


def scale_zeros(model: Any) -> list[int]:
    """Gives tensors of zeros whose scale is 0, subnormal or no number a power of two; outputs of the file keep theirs.

    Args:
        model: a ModelT; changed in place.

    Returns:
        Positions of the operators of the first subgraph that make zeros at a new scale.
    """
    graph = model.subgraphs[0]
    unusable = {index for index, tensor in enumerate(graph.tensors) if not is_normal(_scales(tensor))}
    if not unusable:
        return []  # as nearly always: nothing but scales was read
    unusable -= {int(index) for index in graph.outputs}
    zeros: set[int] = set()
    found = []
    for position, operator in enumerate(graph.operators):
        if not _makes_zeros(model, operator, zeros):
            continue
        made = [int(index) for index in operator.outputs]
        zeros.update(made)
        for index in unusable.intersection((*made, *_values(model, operator))):
            if _is_zero(model, index, zeros):
                _give_scale(model, index)
        _scale_bias(model, operator, unusable)
        if unusable.intersection(made):
            found.append(position)
    return found


def _scales(tensor: Any) -> np.ndarray:
    return as_array(None if tensor.quantization is None else tensor.quantization.scale, np.float32)


def _is_zero(model: Any, index: int, zeros: set[int]) -> bool:
    """Whether a tensor is known to hold its zero point alone."""
    if index in zeros:
        return True
    tensor = tensor_at(model, index)
    return tensor.value is not None and len(tensor.zero_point) > 0 and bool(np.all(tensor.value == tensor.zero_point[0]))


def _values(model: Any, operator: Any) -> list[int]:
    """What an operator computes with: its quantized operands, of a layer that has weights neither these nor the bias."""
    kind, inputs = op_name(model, operator), [int(index) for index in operator.inputs]
    if kind in OPERANDS and kind not in _ZERO_OF_ONE_ZERO:
        return [inputs[OPERANDS[kind].input]]
    return [index for index in inputs if index >= 0 and len(_scales(model.subgraphs[0].tensors[index]))]


def _makes_zeros(model: Any, operator: Any, zeros: set[int]) -> bool:
    """Whether all results of an operator are known to be 0."""
    kind, known = op_name(model, operator), [_is_zero(model, index, zeros) for index in _values(model, operator)]
    if kind in _ZERO_OF_ONE_ZERO:
        return any(known)
    if kind in OPERANDS:
        bias = _bias(operator, kind)
        return all(known) and (bias < 0 or _is_zero(model, bias, zeros))
    return kind in _ZERO_OF_ZEROS and bool(known) and all(known)


def _bias(operator: Any, kind: str) -> int:
    """The tensor that is a layer's bias; -1 where it has none."""
    slot = OPERANDS[kind].bias
    return int(operator.inputs[slot]) if slot is not None and slot < len(operator.inputs) else -1


def _give_scale(model: Any, index: int) -> None:
    dtype = dtype_of(model.subgraphs[0].tensors[index])
    if dtype in _STEP:
        model.subgraphs[0].tensors[index].quantization.scale = np.array([_STEP[dtype]], np.float32)


def _scale_bias(model: Any, operator: Any, unusable: set[int]) -> None:
    """The scale of a layer's bias of zeros follows from those of what it reads."""
    kind, tensors = op_name(model, operator), model.subgraphs[0].tensors
    if kind not in OPERANDS or (bias := _bias(operator, kind)) not in unusable:
        return
    given, weights = (_scales(tensors[int(operator.inputs[slot])]) for slot in (OPERANDS[kind].input, OPERANDS[kind].weights))
    if is_normal(weights):  # else the reader refuses the file
        tensors[bias].quantization.scale = given * weights
