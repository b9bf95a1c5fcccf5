# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reads LiteRT flatbuffers into the generated schema's objects, and these into plain data; packs them again."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from tosa_rescale.core.errors import ModelError
from tosa_rescale.core.quantization import TensorQuantization
from tosa_rescale.formats.litert.multipliers import implied_multiplier
from tosa_rescale.formats.litert.operators import OPERANDS

IDENTIFIER = b"TFL3"


@dataclasses.dataclass(frozen=True, eq=False)
class LitertTensor:
    """A tensor of the flatbuffer.

    Attributes:
        index: its position among the subgraph's tensors.
        name: its name.
        shape: extents; -1 for a dynamic one.
        dtype: `int8`, `uint8`, `int32`, `float32` and so on, LiteRT's own name in lower case.
        scale: float32 [C] or [1], real units for one integer step; [0] where the tensor is not quantized.
        zero_point: int64, as long as `scale`.
        value: the constant's elements, None for an activation.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: np.ndarray
    zero_point: np.ndarray
    value: np.ndarray | None

    @property
    def quantization(self) -> TensorQuantization:
        """Scale and zero point as those of a tensor at the border; a scale of 0 where it has none."""
        if not len(self.scale):
            return TensorQuantization(self.name, 0.0, 0)
        return TensorQuantization(self.name, float(self.scale[0]), int(self.zero_point[0]))


@dataclasses.dataclass(frozen=True, eq=False)
class LitertLayer:
    """An operator of the flatbuffer that multiplies and accumulates.

    Attributes:
        operator: its position among the operators of the first subgraph.
        kind: CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, TRANSPOSE_CONV or BATCH_MATMUL.
        input: the activation.
        weights: the weights (of a BATCH_MATMUL the second operand, which may be an activation too).
        bias: the bias, None where there is none.
        output: the result.
    """

    operator: int
    kind: str
    input: LitertTensor
    weights: LitertTensor
    bias: LitertTensor | None
    output: LitertTensor

    @property
    def name(self) -> str:
        """The output tensor's name; the converter makes it the location of the TOSA ops."""
        return self.output.name

    @property
    def channels(self) -> int:
        """Number of output channels."""
        if self.kind == "BATCH_MATMUL":
            return 1
        return self.weights.shape[OPERANDS[self.kind].channel]

    @property
    def groups(self) -> int:
        """Number of groups of input channels, of which each output channel reads one."""
        if self.kind != "CONV_2D" or not self.input.shape or not self.weights.shape[-1]:
            return 1
        return max(1, self.input.shape[-1] // self.weights.shape[-1])

    @property
    def multiplier(self) -> np.ndarray:
        """float64 [C] or [1]: what LiteRT derives from the scales, S_x * S_w / S_y."""
        return implied_multiplier(self.weights.scale, self.input.scale[0], self.output.scale[0])


def litert_layers(data: bytes, source: str = "model") -> list[LitertLayer]:
    """Lists the multiply-accumulate operators of the first subgraph, in execution order.

    Args:
        data: a LiteRT flatbuffer.
        source: its name, for errors.

    Raises:
        ModelError: not a readable LiteRT flatbuffer, or its constants lie outside the flatbuffer.
    """
    return layers_of(unpack(data, source), source)


def schema() -> Any:
    """The generated schema; imported when the first flatbuffer is read."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def unpack(data: bytes, source: str) -> Any:
    """The flatbuffer as a ModelT.

    Raises:
        ModelError: not a readable LiteRT flatbuffer, or its constants lie outside the flatbuffer.
    """
    try:
        if data[4:8] != IDENTIFIER:
            raise ValueError("no TFL3 identifier")
        model = schema().ModelT.InitFromPackedBuf(data, 0)
        if not model.subgraphs:
            raise ValueError("no subgraph")
    except Exception as error:  # the generated reader raises whatever a corrupt offset leads to
        raise ModelError(f"{source}: not a readable LiteRT model (truncated or corrupt?)") from error
    if any(each.offset > 1 or each.size > 1 for each in model.buffers):
        raise ModelError(f"{source}: its constants lie outside the flatbuffer (a model above 2 GB); this is not supported")
    return model


def pack(model: Any) -> bytes:
    """The flatbuffer of a ModelT, every constant on 16 bytes."""
    import flatbuffers

    model.buffers = [_aligned(buffer) for buffer in model.buffers]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


@functools.cache
def _names(enumeration: str) -> dict[int, str]:
    return {value: name for name, value in vars(getattr(schema(), enumeration)).items() if isinstance(value, int)}


def op_name(model: Any, operator: Any) -> str:
    """The operator's kind, such as CONV_2D."""
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return _names("BuiltinOperator").get(number, str(number))


def dtype_of(tensor: Any) -> str:
    """A tensor's element type, LiteRT's own name in lower case."""
    return _names("TensorType").get(tensor.type, "?").lower()


def name_of(tensor: Any) -> str:
    """A tensor's name."""
    return (tensor.name or b"").decode(errors="replace")


def layers_of(model: Any, source: str) -> list[LitertLayer]:
    """The multiply-accumulate operators of a ModelT; see litert_layers."""
    graph = model.subgraphs[0]
    found: list[LitertLayer] = []
    for position, operator in enumerate(graph.operators):
        kind = "?"
        try:
            kind = op_name(model, operator)
            if kind not in OPERANDS:
                continue
            slots = OPERANDS[kind]
            inputs = [int(index) for index in operator.inputs]
            x, w = tensor_at(model, inputs[slots.input]), tensor_at(model, inputs[slots.weights])
            bias = None
            if slots.bias is not None and slots.bias < len(inputs) and inputs[slots.bias] >= 0:
                bias = tensor_at(model, inputs[slots.bias])
            layer = LitertLayer(position, kind, x, w, bias, tensor_at(model, int(operator.outputs[0])))
        except (IndexError, TypeError, ValueError) as error:
            raise ModelError(f"{source}: operator {position} ({kind}) is malformed (corrupt file?)") from error
        if all(len(tensor.scale) for tensor in (layer.input, layer.weights, layer.output)):  # a float one has no multiplier
            found.append(layer)
    return found


def tensor_at(model: Any, index: int) -> LitertTensor:
    """A tensor of the first subgraph; IndexError where there is none."""
    if index < 0:
        raise IndexError(index)  # an operand left out
    tensor = model.subgraphs[0].tensors[index]
    dtype = dtype_of(tensor)
    shape = tuple(int(extent) for extent in (tensor.shape if tensor.shape is not None else ()))
    quantization = tensor.quantization
    scale = as_array(None if quantization is None else quantization.scale, np.float32)
    zero_point = as_array(None if quantization is None else quantization.zeroPoint, np.int64)
    if len(zero_point) != len(scale):
        zero_point = np.broadcast_to(zero_point[:1] if len(zero_point) else np.int64(0), scale.shape)
    data = model.buffers[tensor.buffer].data
    value = None
    if data is not None and len(data) and dtype in ("int8", "uint8", "int16", "int32", "int64"):
        value = np.frombuffer(bytes(data), np.dtype(dtype).newbyteorder("<")).reshape(shape)
    return LitertTensor(index, name_of(tensor), shape, dtype, scale, zero_point, value)


def as_array(values: Any, dtype: Any) -> np.ndarray:
    """A vector of the flatbuffer; empty where it is absent."""
    return np.asarray([] if values is None else values, dtype)


def _aligned(buffer: Any) -> Any:
    """The buffer with its data on 16 bytes, as the schema demands and the generated writer forgets."""
    generated = schema()

    class Aligned(generated.BufferT):
        def Pack(self, builder: Any) -> int:
            data = b"" if self.data is None else bytes(self.data)
            vector = 0
            if data:
                builder.StartVector(1, len(data), 16)
                builder.head -= len(data)
                builder.Bytes[builder.head : builder.head + len(data)] = data
                vector = builder.EndVector()
            generated.BufferStart(builder)
            if data:
                generated.BufferAddData(builder, vector)
            return int(generated.BufferEnd(builder))

    aligned = Aligned()
    aligned.data = buffer.data
    return aligned
