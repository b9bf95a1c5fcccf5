# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes a flatbuffer anew, with the same content and new constants: where they are not as long as the old ones."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tosa_rescale.formats.litert.operators import OPERANDS, PER_CHANNEL_FULLY_CONNECTED
from tosa_rescale.formats.litert.part import Part
from tosa_rescale.formats.litert.patch import Constant, ConstantPatch, Edit
from tosa_rescale.formats.litert.schema import LitertLayer, pack, schema
from tosa_rescale.formats.litert.unsigned import require_version, unsigned_to_signed


def rebuild(
    model: Any,
    part: Part,
    edits: Sequence[Edit],
    constants: Sequence[ConstantPatch],
    scales: Mapping[int, float],
    unsigned: bool,
    source: str,
) -> bytes:
    """The same model with new constants, each in a tensor and buffer of its own where it was shared. Changes `model`.

    Args:
        model: a ModelT.
        part: the part that the edits belong to.
        edits: new weights and biases.
        constants: new constants of other operators.
        scales: new scales of activations, by position of the tensor.
        unsigned: turn the part's uint8 tensors into int8 ones.
        source: the model's name, for errors.
    """
    graph = model.subgraphs[0]
    operators = list(graph.operators)  # as numbered in the patches; operators added below do not count
    readers = Counter(int(index) for operator in operators for index in operator.inputs)
    edited = Counter(t.index for edit in edits for t in (edit.layer.weights, edit.layer.bias) if t is not None)
    if unsigned:
        unsigned_to_signed(model, part, {edit.layer.weights.index for edit in edits}, source)
    uses = Counter(tensor.buffer for each in model.subgraphs for tensor in each.tensors)
    written: dict[int, Constant] = {}
    for edit in edits:
        operator, layer = operators[edit.layer.operator], edit.layer
        slots = OPERANDS[layer.kind]
        for slot, tensor, constant in (
            (slots.weights, layer.weights, edit.weights),
            (slots.bias, layer.bias, edit.bias),
        ):
            if constant is None or slot is None:
                continue
            index = None if tensor is None else tensor.index
            if index is not None and index in written and written[index].same(constant):
                continue
            if index is None or index in written or readers[index] > edited[index]:
                index = _add_tensor(model, index, layer)
                uses[model.subgraphs[0].tensors[index].buffer] += 1
                inputs = [int(each) for each in operator.inputs]
                inputs += [-1] * (slot + 1 - len(inputs))
                inputs[slot] = index
                operator.inputs = inputs
            _set_constant(model, index, constant, uses)
            written[index] = constant
        if layer.kind == "FULLY_CONNECTED" and len(edit.weights.scale) > 1:
            require_version(model, operator, PER_CHANNEL_FULLY_CONNECTED)
    for each in constants:
        _patch_constant(model, operators[each.operator], each, readers, uses)
    for index, scale in scales.items():
        graph.tensors[index].quantization.scale = np.array([scale], np.float32)
    return pack(model)


def _set_constant(model: Any, index: int, constant: Constant, uses: Counter[int]) -> None:
    tensor = model.subgraphs[0].tensors[index]
    tensor.quantization = copy.copy(tensor.quantization) or schema().QuantizationParametersT()
    tensor.quantization.scale = constant.scale
    tensor.quantization.zeroPoint = np.zeros(len(constant.scale), np.int64)
    tensor.quantization.quantizedDimension = constant.axis
    tensor.quantization.min = tensor.quantization.max = None  # float range of the old constant
    _set_buffer(model, tensor, constant.data, uses)


def _set_buffer(model: Any, tensor: Any, data: bytes, uses: Counter[int]) -> None:
    """Gives a tensor other elements; `uses` counts the tensors of each buffer."""
    buffer = schema().BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    if uses[tensor.buffer] == 1 and tensor.buffer:
        model.buffers[tensor.buffer] = buffer
    else:
        model.buffers.append(buffer)
        uses[tensor.buffer] -= 1
        tensor.buffer = len(model.buffers) - 1
        uses[tensor.buffer] = 1


def _patch_constant(model: Any, operator: Any, patch: ConstantPatch, readers: Counter[int], uses: Counter[int]) -> None:
    """Gives one input of an operator other elements and another scale; other readers of the tensor keep the old one."""
    tensors = model.subgraphs[0].tensors
    index = int(operator.inputs[patch.slot])
    if readers[index] > 1:
        readers[index] -= 1
        tensor = copy.copy(tensors[index])
        tensor.name = (tensor.name or b"") + f"/{patch.operator}".encode()
        tensors.append(tensor)
        uses[tensor.buffer] += 1
        inputs = [int(each) for each in operator.inputs]
        index = inputs[patch.slot] = len(tensors) - 1
        operator.inputs = inputs
    tensor = tensors[index]
    tensor.quantization = copy.copy(tensor.quantization)
    tensor.quantization.scale = np.array([patch.scale], np.float32)
    tensor.quantization.min = tensor.quantization.max = None
    _set_buffer(model, tensor, patch.value.tobytes(), uses)


def _add_tensor(model: Any, like: int | None, layer: LitertLayer) -> int:
    """A copy of a shared constant's tensor, or a new bias; returns its index."""
    tensors = model.subgraphs[0].tensors
    if like is None:
        tensor = schema().TensorT()
        wide = layer.input.dtype == "int16"
        tensor.type = schema().TensorType.INT64 if wide else schema().TensorType.INT32
        tensor.shape = np.array([layer.channels], np.int32)
        tensor.name = f"{layer.name}/bias".encode()
    else:
        tensor = copy.copy(tensors[like])
        tensor.name = (tensor.name or b"") + f"/{layer.operator}".encode()
    tensors.append(tensor)
    return len(tensors) - 1
