# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""New operator codes, operators and constants in a flatbuffer's ModelT."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from tosa_rescale.formats.litert.operators import DEPTHWISE_VERSIONS
from tosa_rescale.formats.litert.schema import schema


def add_operator_code(model: Any, kind: str, version: int) -> int:
    """A new operator code of a kind such as CONV_2D; returns its position."""
    generated = schema()
    code = generated.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(generated.BuiltinOperator, kind)
    code.version = version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def make_depthwise(model: Any, operator: Any, dtype: str, multiplier: int = 1) -> None:
    """Makes a convolution or a pool a DEPTHWISE_CONV_2D of the same windows and activation; its inputs stay as they are.

    Args:
        model: the ModelT.
        operator: its operator.
        dtype: of the input, int8, uint8 or int16.
        multiplier: output channels for each input channel.
    """
    old, options = operator.builtinOptions, schema().DepthwiseConv2DOptionsT()
    options.padding, options.strideH, options.strideW = old.padding, old.strideH, old.strideW
    options.dilationHFactor = getattr(old, "dilationHFactor", 1)  # a pool has none
    options.dilationWFactor = getattr(old, "dilationWFactor", 1)
    options.depthMultiplier = multiplier
    options.fusedActivationFunction = old.fusedActivationFunction
    operator.builtinOptions, operator.builtinOptionsType = options, schema().BuiltinOptions.DepthwiseConv2DOptions
    operator.opcodeIndex = add_operator_code(model, "DEPTHWISE_CONV_2D", DEPTHWISE_VERSIONS[dtype])


def new_operator(model: Any, kind: str, inputs: Sequence[int], output: int, version: int = 1) -> Any:
    """An operator with default options, of a kind whose options have its name; not yet part of a subgraph.

    Args:
        model: the ModelT, which gets an operator code.
        kind: such as FULLY_CONNECTED.
        inputs: positions of tensors.
        output: position of the tensor that it makes.
        version: of the operator.
    """
    operator, options = schema().OperatorT(), "".join(word.capitalize() for word in kind.split("_")) + "Options"
    operator.opcodeIndex = add_operator_code(model, kind, version)
    operator.inputs, operator.outputs = list(inputs), [output]
    operator.builtinOptions = getattr(schema(), f"{options}T")()
    operator.builtinOptionsType = getattr(schema().BuiltinOptions, options)
    return operator


def add_tensor_like(model: Any, like: Any, name: str, shape: Sequence[int]) -> int:
    """A new activation of the first subgraph with the type and quantization of another one; returns its position.

    Args:
        model: the ModelT.
        like: the other one, a TensorT.
        name: its name.
        shape: extents; -1 for one that is not known before the model runs.
    """
    tensor, graph = schema().TensorT(), model.subgraphs[0]
    tensor.name, tensor.type, tensor.buffer = name.encode(), like.type, 0
    tensor.shape = np.abs(np.array(shape, np.int32))
    tensor.shapeSignature = np.array(shape, np.int32) if -1 in shape else None
    tensor.quantization = copy.copy(like.quantization)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def add_numbers(model: Any, name: str, values: Sequence[int]) -> int:
    """A new constant int32 tensor of the first subgraph that is not quantized, as of axes; returns its position."""
    generated, tensor = schema(), schema().TensorT()
    value = np.array(values, np.int32)
    tensor.name, tensor.type, tensor.shape = name.encode(), generated.TensorType.INT32, np.array(value.shape, np.int32)
    tensor.buffer = add_buffer(model, value)
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def add_buffer(model: Any, value: np.ndarray) -> int:
    """A new buffer with these elements; returns its position."""
    buffer = schema().BufferT()
    buffer.data = np.frombuffer(value.tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def add_constant(model: Any, name: str, value: np.ndarray, scale: float, zero_point: int) -> int:
    """A new constant tensor of the first subgraph, quantized per tensor; returns its position."""
    generated, graph = schema(), model.subgraphs[0]
    tensor = generated.TensorT()
    tensor.name, tensor.shape = name.encode(), np.array(value.shape, np.int32)
    tensor.type = getattr(generated.TensorType, value.dtype.name.upper())
    tensor.buffer = add_buffer(model, value)
    tensor.quantization = generated.QuantizationParametersT()
    tensor.quantization.scale = np.array([scale], np.float32)
    tensor.quantization.zeroPoint = np.array([zero_point], np.int64)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
