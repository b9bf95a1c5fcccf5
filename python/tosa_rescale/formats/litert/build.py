# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""New operator codes and constants in a flatbuffer's ModelT."""

from __future__ import annotations

from typing import Any

import numpy as np

from tosa_rescale.formats.litert.schema import schema


def add_operator_code(model: Any, kind: str, version: int) -> int:
    """A new operator code of a kind such as CONV_2D; returns its position."""
    generated = schema()
    code = generated.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(generated.BuiltinOperator, kind)
    code.version = version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def add_constant(model: Any, name: str, value: np.ndarray, scale: float, zero_point: int) -> int:
    """A new constant tensor of the first subgraph, quantized per tensor; returns its position."""
    generated, graph = schema(), model.subgraphs[0]
    buffer = generated.BufferT()
    buffer.data = np.frombuffer(value.tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor = generated.TensorT()
    tensor.name, tensor.shape = name.encode(), np.array(value.shape, np.int32)
    tensor.type = getattr(generated.TensorType, value.dtype.name.upper())
    tensor.buffer = len(model.buffers) - 1
    tensor.quantization = generated.QuantizationParametersT()
    tensor.quantization.scale = np.array([scale], np.float32)
    tensor.quantization.zeroPoint = np.array([zero_point], np.int64)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
