# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Turns the uint8 tensors of a legacy model into int8 ones."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from tosa_rescale.core.errors import ModelError
from tosa_rescale.formats.litert.operators import INT8_VERSIONS
from tosa_rescale.formats.litert.part import Part
from tosa_rescale.formats.litert.patch import some
from tosa_rescale.formats.litert.schema import as_array, op_name, schema


def unsigned_to_signed(model: Any, part: Part, patched: set[int], source: str) -> None:
    """Turns every uint8 tensor inside a part into an int8 one; QUANTIZE operators keep those at its border as they are.

    Args:
        model: a ModelT, which is changed.
        part: the part; what the rest of the model reads and makes stays uint8.
        patched: tensors whose content is written anew afterwards.
        source: the model's name, for errors.

    Raises:
        ModelError: an operator of the part has no int8 kernel.
    """
    graph = model.subgraphs[0]
    operators = [graph.operators[position] for position in part.operators]
    kinds = [op_name(model, operator) for operator in operators]
    if len(model.subgraphs) != 1:
        raise ModelError(f"{source}: a uint8 model with {len(model.subgraphs)} subgraphs cannot be written as int8; requires 1")
    if unknown := sorted({kind for kind in kinds if kind not in INT8_VERSIONS}):
        raise ModelError(f"{source}: a uint8 model cannot be written as int8: no int8 kernel is known for {some(unknown)}")
    touched = {int(i) for each in operators for i in (*each.inputs, *each.outputs) if int(i) >= 0}
    inside = {i for i in touched if graph.tensors[i].type == schema().TensorType.UINT8}
    elsewhere = {int(i) for p, each in enumerate(graph.operators) if p not in part.operators for i in each.inputs}
    ends = [each.index for each in (*part.inputs, *part.outputs)]
    # The border keeps its tensors, so inputs, outputs, signatures and metadata stay as they are; so does what others read.
    inner = {index: _copied(graph, index) for index in dict.fromkeys([*ends, *sorted(elsewhere)]) if index in inside}
    _to_int8(model, (inside - set(inner)) | set(inner.values()), patched)
    for operator, kind in zip(operators, kinds, strict=True):
        operator.inputs = [inner.get(int(i), int(i)) for i in operator.inputs]
        operator.outputs = [inner.get(int(i), int(i)) for i in operator.outputs]
        require_version(model, operator, INT8_VERSIONS[kind])
    _add_border(model, part, inner)


def require_version(model: Any, operator: Any, version: int) -> None:
    """Raises the version that a file demands of an operator's kernel."""
    code = model.operatorCodes[operator.opcodeIndex]
    code.version = max(code.version, version)


def _copied(graph: Any, index: int) -> int:
    tensor = copy.copy(graph.tensors[index])
    tensor.quantization = copy.copy(tensor.quantization)
    tensor.name = (tensor.name or b"") + b"/int8"
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _to_int8(model: Any, tensors: set[int], patched: set[int]) -> None:
    """Type, zero point and content, each lower by 128."""
    rewritten: dict[int, int] = {}  # a buffer that several tensors share is rewritten once
    for index in sorted(tensors):
        tensor = model.subgraphs[0].tensors[index]
        tensor.type = schema().TensorType.INT8
        if tensor.quantization is not None and tensor.quantization.zeroPoint is not None:
            tensor.quantization.zeroPoint = as_array(tensor.quantization.zeroPoint, np.int64) - 128
        data = model.buffers[tensor.buffer].data
        if index not in patched and data is not None and len(data):
            if tensor.buffer not in rewritten:
                buffer = schema().BufferT()
                buffer.data = np.frombuffer(bytes(data), np.uint8) ^ 0x80
                model.buffers.append(buffer)
                rewritten[tensor.buffer] = len(model.buffers) - 1
            tensor.buffer = rewritten[tensor.buffer]


def _add_border(model: Any, part: Part, inner: dict[int, int]) -> None:
    """QUANTIZE operators between the border's tensors and the copies that the part has of them."""
    graph = model.subgraphs[0]
    code = schema().OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema().BuiltinOperator.QUANTIZE
    code.version = 2
    model.operatorCodes.append(code)

    def quantize(from_tensor: int, to_tensor: int) -> Any:
        operator = schema().OperatorT()
        operator.opcodeIndex = len(model.operatorCodes) - 1
        operator.inputs, operator.outputs = [from_tensor], [to_tensor]
        operator.builtinOptionsType = schema().BuiltinOptions.QuantizeOptions
        operator.builtinOptions = schema().QuantizeOptionsT()
        return operator

    inputs = dict.fromkeys(each.index for each in part.inputs)
    outputs = [i for i in dict.fromkeys(each.index for each in part.outputs) if i not in inputs]
    made = {int(i) for operator in graph.operators for i in operator.outputs}
    ordered = [quantize(i, inner[i]) for i in inputs if i in inner and i not in made]
    for operator in graph.operators:
        ordered.append(operator)
        results = {int(i) for i in operator.outputs}
        ordered += [quantize(i, inner[i]) for i in inputs if i in inner and i in results]
        ordered += [quantize(inner[i], i) for i in outputs if i in inner and inner[i] in results]
    graph.operators = ordered
