# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes weights, biases and multipliers back into the LiteRT flatbuffer that a model came from.

LiteRT stores no multiplier: every kernel derives it from scales, `M = S_x * S_w / S_y`. So a multiplier `m * 2^-s` is
written as the weight scale `S_w' = m * 2^-s * S_y / S_x`, and an unmodified runtime multiplies by it. float32 scales hold
it to 2^-23; the error is always upward, so a tool that cuts bits off finds `m` again (`weight_scales`).

Plain data only, no MLIR: the caller reads weights and multipliers from the module and matches its operators with
`match_layers`.
"""

from __future__ import annotations

import copy
import dataclasses
import io
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tosa_rescale.core.errors import ModelError

MAX_SCALE_EXCESS = 2.0**-22
"""Greatest relative excess of a multiplier read back from a written file: one step of float32 at its coarsest is 2^-23, the
runtime's own rounding to 31 bits adds to it."""

_IDENTIFIER = b"TFL3"
_MIN_SIMILARITY = 0.5  # cosine of an operator's weights before and after: compensation stays above 0.9, strangers near 0
_NAMED_AT_MOST = 5

# Positions of input, weights and bias among an operator's inputs, and the weights' channel dimension.
_OPERANDS = {
    "CONV_2D": (0, 1, 2, 0),
    "DEPTHWISE_CONV_2D": (0, 1, 2, 3),
    "FULLY_CONNECTED": (0, 1, 2, 0),
    "TRANSPOSE_CONV": (2, 1, 3, 0),
    "BATCH_MATMUL": (0, 1, None, 0),
}
_TOSA_KINDS = {
    "CONV_2D": ("conv2d",),
    "DEPTHWISE_CONV_2D": ("depthwise_conv2d", "conv2d"),  # one input channel: the converter may write either
    "FULLY_CONNECTED": ("conv2d", "matmul", "fully_connected"),
    "TRANSPOSE_CONV": ("transpose_conv2d",),
    "BATCH_MATMUL": ("matmul",),
}

# Operators whose int8 kernel computes what the uint8 one does with every zero point lowered by 128, and the operator
# version from which the int8 kernel is there.
_INT8_VERSIONS = {
    "ADD": 2,
    "ARG_MAX": 2,
    "AVERAGE_POOL_2D": 2,
    "BATCH_TO_SPACE_ND": 2,
    "CONCATENATION": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "DEPTH_TO_SPACE": 1,
    "DEQUANTIZE": 2,
    "EXPAND_DIMS": 1,
    "FULLY_CONNECTED": 4,
    "L2_NORMALIZATION": 2,
    "LOGISTIC": 2,
    "MAXIMUM": 2,
    "MAX_POOL_2D": 2,
    "MEAN": 2,
    "MINIMUM": 2,
    "MUL": 2,
    "PACK": 2,
    "PAD": 2,
    "PADV2": 2,
    "QUANTIZE": 2,
    "RELU": 2,
    "RELU6": 2,
    "RESHAPE": 1,
    "RESIZE_BILINEAR": 2,
    "RESIZE_NEAREST_NEIGHBOR": 2,
    "SLICE": 2,
    "SOFTMAX": 2,
    "SPACE_TO_BATCH_ND": 2,
    "SPACE_TO_DEPTH": 2,
    "SPLIT": 2,
    "SPLIT_V": 2,
    "SQUEEZE": 1,
    "STRIDED_SLICE": 2,
    "SUB": 2,
    "TANH": 2,
    "TRANSPOSE": 2,
    "TRANSPOSE_CONV": 2,
    "UNPACK": 2,
}
# Operators whose int8 kernels make one scale, whatever the file says.
_FIXED_OUTPUT_SCALE = {"L2_NORMALIZATION", "LOGISTIC", "LOG_SOFTMAX", "SOFTMAX", "TANH"}
# Operators that move data: what they read and what they make has one scale.
_SAME_SCALE = {
    "AVERAGE_POOL_2D",
    "BATCH_TO_SPACE_ND",
    "BROADCAST_TO",
    "CONCATENATION",
    "DEPTH_TO_SPACE",
    "EXPAND_DIMS",
    "GATHER",
    "MAXIMUM",
    "MAX_POOL_2D",
    "MINIMUM",
    "MIRROR_PAD",
    "PACK",
    "PAD",
    "PADV2",
    "RESHAPE",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "REVERSE_V2",
    "SELECT",
    "SLICE",
    "SPACE_TO_BATCH_ND",
    "SPACE_TO_DEPTH",
    "SPLIT",
    "SPLIT_V",
    "SQUEEZE",
    "STRIDED_SLICE",
    "TILE",
    "TRANSPOSE",
    "UNPACK",
}
_PER_CHANNEL_FULLY_CONNECTED = 12  # operator version that allows one scale for each row


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
        return self.weights.shape[_OPERANDS[self.kind][3]]

    @property
    def multiplier(self) -> np.ndarray:
        """float64 [C] or [1]: what LiteRT derives from the scales, S_x * S_w / S_y."""
        return implied_multiplier(self.weights.scale, self.input.scale[0], self.output.scale[0])


@dataclasses.dataclass(frozen=True, eq=False)
class LayerPatch:
    """What becomes of one operator.

    Attributes:
        operator: position of the operator in the first subgraph (`LitertLayer.operator`).
        weights: int8, zero point 0. TOSA's layout or LiteRT's, which have the same order in memory: conv2d and transpose_conv2d
            OHWI in both; depthwise HWCM in TOSA, 1HW(CM) in LiteRT; fully connected O11I in TOSA, OI in LiteRT.
        bias: int32 [C], in units of the accumulator.
        multiplier: int64 [C] or [1], the compact multiplier m >= 0; 0 keeps the channel's scale.
        shift: int64, as long as `multiplier`: the accumulator is multiplied by m * 2^-shift.
    """

    operator: int
    weights: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class MacOp:
    """A multiply-accumulate op of a TOSA module, for `match_layers`.

    Attributes:
        name: the location's name.
        kind: `conv2d`, `depthwise_conv2d`, `transpose_conv2d`, `matmul` ...
        weights: its weights less their zero point, in TOSA's layout; None where they are no constant.
    """

    name: str
    kind: str
    weights: np.ndarray | None


def implied_multiplier(weight_scale: np.ndarray, input_scale: float, output_scale: float) -> np.ndarray:
    """The multiplier that LiteRT and the TOSA converter derive from scales: in double, in this order of operations."""
    product = np.float64(np.float32(input_scale)) * np.asarray(weight_scale, np.float32).astype(np.float64)
    return product / np.float64(np.float32(output_scale))


def quantize_multiplier(real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """LiteRT's QuantizeMultiplier, which the TOSA converter follows: 31 significant bits, nearest.

    Args:
        real: float64 [C], > 0.

    Returns:
        Multiplier in [2^30, 2^31) and shift, int64 [C]: real ~ multiplier * 2^-shift.
    """
    fraction, exponent = np.frexp(real)
    multiplier = np.floor(fraction * 2.0**31 + 0.5).astype(np.int64)
    carried = multiplier == 1 << 31
    return np.where(carried, multiplier >> 1, multiplier), 31 - exponent.astype(np.int64) - carried


def weight_scales(multiplier: np.ndarray, shift: np.ndarray, input_scale: float, output_scale: float) -> np.ndarray:
    """The weight scales from which LiteRT derives given multipliers.

    Each is the smallest float32 whose double product S_x * S_w / S_y is at least m * 2^-s: rounded to nearest or cut off, the
    derived 31-bit multiplier has m in its top bits. It exceeds m * 2^-s by less than `MAX_SCALE_EXCESS`, so hardware or a pass
    that rounds up must disregard an excess this small: float32 scales cannot be exact.

    Args:
        multiplier: int64 [C], m > 0.
        shift: int64 [C].
        input_scale, output_scale: S_x and S_y, as stored (float32).

    Returns:
        float32 [C].

    Raises:
        ModelError: a scale is outside float32's normal range.
    """
    wanted = np.ldexp(np.asarray(multiplier, np.float64), -np.asarray(shift, np.int64).astype(np.int32))
    ideal = wanted * np.float64(np.float32(output_scale)) / np.float64(np.float32(input_scale))
    limits = np.finfo(np.float32)
    if not np.all((ideal > limits.tiny) & (ideal < limits.max)):
        bad = ideal[~((ideal > limits.tiny) & (ideal < limits.max))][0]
        raise ModelError(
            f"weight scale {bad:g} is outside float32's range [{limits.tiny:g}, {limits.max:g}]; keep the channel's multiplier"
        )
    scale = np.nextafter(ideal.astype(np.float32), np.float32(0))
    for _ in range(4):  # conversion and three double roundings move it by less than 2 steps
        scale = np.where(implied_multiplier(scale, input_scale, output_scale) < wanted, np.nextafter(scale, limits.max), scale)
    return scale.astype(np.float32)


def litert_layers(data: bytes, source: str = "model") -> list[LitertLayer]:
    """Lists the multiply-accumulate operators of the first subgraph, in execution order.

    Args:
        data: a LiteRT flatbuffer.
        source: its name, for errors.

    Raises:
        ModelError: not a readable LiteRT flatbuffer, or its constants lie outside the flatbuffer.
    """
    return _layers(_unpack(data, source), source)


def tensor_scales(data: bytes, source: str = "model") -> dict[str, float]:
    """The scale of each tensor of the first subgraph that has one scale, by name.

    Args:
        data: a LiteRT flatbuffer.
        source: its name, for errors.

    Raises:
        ModelError: not a readable LiteRT flatbuffer.
    """
    found = {}
    for tensor in _unpack(data[: _archive_start(data)], source).subgraphs[0].tensors:
        scale = _array(None if tensor.quantization is None else tensor.quantization.scale, np.float32)
        if len(scale) == 1:
            found[(tensor.name or b"").decode(errors="replace")] = float(scale[0])
    return found


def fixed_scale_tensors(data: bytes, source: str = "model") -> set[str]:
    """Names of the tensors whose scale is no choice, as the operator that makes them knows only one.

    Args:
        data: a LiteRT flatbuffer.
        source: its name, for errors.

    Raises:
        ModelError: not a readable LiteRT flatbuffer.
    """
    model = _unpack(data[: _archive_start(data)], source)
    graph = model.subgraphs[0]
    made = [int(i) for each in graph.operators if _op_name(model, each) in _FIXED_OUTPUT_SCALE for i in each.outputs]
    return {(graph.tensors[i].name or b"").decode(errors="replace") for i in made}


def spread_factors(data: bytes, factors: Mapping[str, float], source: str = "model") -> dict[str, float]:
    """Gives tensors that no op of a module stands for the factor of those whose scale they must share.

    Args:
        data: a LiteRT flatbuffer.
        factors: what tensor scales are multiplied by, by name; 1 where a scale is known to stay.
        source: the flatbuffer's name, for errors.

    Returns:
        `factors`, and the factors of tensors tied to those by operators that move data.

    Raises:
        ModelError: not a readable LiteRT flatbuffer.
    """
    model = _unpack(data[: _archive_start(data)], source)
    graph, found = model.subgraphs[0], dict(factors)
    tied = []
    for operator in graph.operators:
        if _op_name(model, operator) not in _SAME_SCALE:
            continue
        tensors = [graph.tensors[int(i)] for i in (*operator.inputs, *operator.outputs) if int(i) >= 0]
        tied.append([(t.name or b"").decode(errors="replace") for t in tensors if _has_one_scale(t)])
    border = {(graph.tensors[int(i)].name or b"").decode(errors="replace") for i in (*graph.inputs, *graph.outputs)}
    for names in [*tied, *reversed(tied)]:
        known = [found[name] for name in names if name in found]
        for name in names:
            if known and name not in border:
                found.setdefault(name, known[0])
    return found


def _has_one_scale(tensor: Any) -> bool:
    kinds = _schema().TensorType
    scale = None if tensor.quantization is None else tensor.quantization.scale
    return tensor.type in (kinds.INT8, kinds.UINT8, kinds.INT16) and scale is not None and len(scale) == 1


def match_layers(layers: Sequence[LitertLayer], ops: Sequence[MacOp], source: str = "model") -> list[LitertLayer]:
    """Finds the flatbuffer operator of every multiply-accumulate op of a module.

    By location name where exactly one operator has it, else by order among those left over. Either way kind, shape and content
    of the weights must agree.

    Args:
        layers: what `litert_layers` gave.
        ops: the module's ops, in program order.
        source: the flatbuffer's name, for errors.

    Returns:
        One layer for each op, in the order of `ops`.

    Raises:
        ModelError: the flatbuffer does not belong to the module.
    """
    remedy = "give the flatbuffer that the module was imported from"
    names = Counter(layer.name for layer in layers)
    op_names = Counter(op.name for op in ops)
    by_name = {layer.name: layer for layer in layers if names[layer.name] == 1}
    found = [by_name.get(op.name) if op_names[op.name] == 1 else None for op in ops]
    taken = {layer.operator for layer in found if layer is not None}
    left = iter([layer for layer in layers if layer.operator not in taken])
    matched: list[LitertLayer] = []
    for op, layer in zip(ops, found, strict=True):
        layer = layer or next(left, None)
        if layer is None:
            raise ModelError(
                f"{source}: does not belong to the module: it has {len(layers)} multiply-accumulate operators, the module "
                f"{len(ops)}, and {op.kind} {op.name!r} has no counterpart; {remedy}"
            )
        if reason := _mismatch(layer, op):
            raise ModelError(
                f"{source}: does not belong to the module: operator {layer.operator} ({layer.kind} {layer.name!r}) and "
                f"{op.kind} {op.name!r}: {reason}; {remedy}"
            )
        matched.append(layer)
    return matched


def write_litert(
    original: bytes,
    layers: Sequence[LayerPatch],
    *,
    activation_scales: Mapping[str, float] | None = None,
    unexpressed: Sequence[str] = (),
    allow_partial: bool = False,
    source: str = "model",
) -> bytes:
    """Writes new weights, biases and multipliers into a flatbuffer.

    Where every new constant is as long as the old one, its bytes are replaced in place and the rest of the file stays byte
    for byte as it was. Else (per-channel promotion, constants shared with other operators, a missing bias) the file is rebuilt
    with the same content; metadata, signatures and an attached ZIP archive of labels are kept. A model with uint8
    activations becomes an int8 one with per-channel weights between QUANTIZE operators, its inputs and outputs still uint8.

    Args:
        original: the flatbuffer that the model came from.
        layers: what becomes of each operator. A uint8 model needs one for every multiply-accumulate operator.
        activation_scales: new scales of activations, by tensor name; the zero points stay. Every multiply-accumulate operator
            that reads or writes such a tensor needs a patch, with the multiplier for the new scales.
        unexpressed: names of rescales narrowed in the module that scales cannot express (element-wise ones).
        allow_partial: write the file without them.
        source: the flatbuffer's name, for errors.

    Returns:
        The flatbuffer.

    Raises:
        ModelError: not a readable LiteRT flatbuffer; a patch that does not fit its operator; an operator without int8 kernel
            in a uint8 model; rescales in `unexpressed` without `allow_partial`.
    """
    if unexpressed and not allow_partial:
        raise ModelError(
            f"{source}: {len(unexpressed)} narrowed multipliers cannot be expressed by scales: {_some(unexpressed)}; "
            "narrow layers with constant weights only, or pass `allow_partial` (--allow-partial) to leave these at full width"
        )
    start = _archive_start(original)
    flatbuffer = original[:start]
    model = _unpack(flatbuffer, source)
    listed = {layer.operator: layer for layer in _layers(model, source)}
    scales = _activation_scales(model, activation_scales or {}, source)
    unsigned = any(layer.input.dtype == "uint8" for layer in listed.values())
    _require_patches(listed, layers, scales, unsigned, source)
    edits = [_edit(listed, patch, scales, source) for patch in layers]
    written = None if unsigned else _in_place(flatbuffer, model, edits, scales)
    if written is None:
        written = _rebuild(model, edits, scales, unsigned, source)
    _verify(written, layers, listed, source)
    return written if start == len(original) else _with_archive(written, original, start)


# Reading


def _schema() -> Any:
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def _unpack(data: bytes, source: str) -> Any:
    try:
        if data[4:8] != _IDENTIFIER:
            raise ValueError("no TFL3 identifier")
        model = _schema().ModelT.InitFromPackedBuf(data, 0)
        if not model.subgraphs:
            raise ValueError("no subgraph")
    except Exception as error:  # the generated reader raises whatever a corrupt offset leads to
        raise ModelError(f"{source}: not a readable LiteRT model (truncated or corrupt?)") from error
    if any(each.offset > 1 or each.size > 1 for each in model.buffers):
        raise ModelError(f"{source}: its constants lie outside the flatbuffer (a model above 2 GB); this is not supported")
    return model


def _op_name(model: Any, operator: Any) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    names = {value: name for name, value in vars(_schema().BuiltinOperator).items() if isinstance(value, int)}
    return names.get(number, str(number))


def _layers(model: Any, source: str) -> list[LitertLayer]:
    graph = model.subgraphs[0]
    found: list[LitertLayer] = []
    for position, operator in enumerate(graph.operators):
        kind = "?"
        try:
            kind = _op_name(model, operator)
            if kind not in _OPERANDS:
                continue
            x, w, b, _ = _OPERANDS[kind]
            inputs = [int(index) for index in operator.inputs]
            bias = None if b is None or b >= len(inputs) or inputs[b] < 0 else _tensor(model, inputs[b])
            y = int(operator.outputs[0])
            layer = LitertLayer(position, kind, _tensor(model, inputs[x]), _tensor(model, inputs[w]), bias, _tensor(model, y))
        except (IndexError, TypeError, ValueError) as error:
            raise ModelError(f"{source}: operator {position} ({kind}) is malformed (corrupt file?)") from error
        if all(len(tensor.scale) for tensor in (layer.input, layer.weights, layer.output)):  # a float one has no multiplier
            found.append(layer)
    return found


def _tensor(model: Any, index: int) -> LitertTensor:
    if index < 0:
        raise IndexError(index)  # an operand left out
    schema = _schema()
    tensor = model.subgraphs[0].tensors[index]
    types = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    dtype = types.get(tensor.type, "?").lower()
    shape = tuple(int(extent) for extent in (tensor.shape if tensor.shape is not None else ()))
    quantization = tensor.quantization
    scale = _array(None if quantization is None else quantization.scale, np.float32)
    zero_point = _array(None if quantization is None else quantization.zeroPoint, np.int64)
    if len(zero_point) != len(scale):
        zero_point = np.broadcast_to(zero_point[:1] if len(zero_point) else np.int64(0), scale.shape)
    data = model.buffers[tensor.buffer].data
    value = None
    if data is not None and len(data) and dtype in ("int8", "uint8", "int32"):
        value = np.frombuffer(bytes(data), np.dtype(dtype).newbyteorder("<")).reshape(shape)
    return LitertTensor(index, (tensor.name or b"").decode(errors="replace"), shape, dtype, scale, zero_point, value)


def _array(values: Any, dtype: Any) -> np.ndarray:
    return np.asarray([] if values is None else values, dtype)


# Matching


def _mismatch(layer: LitertLayer, op: MacOp) -> str | None:
    """Why the two cannot be the same operator; None where they can."""
    if op.kind not in _TOSA_KINDS[layer.kind]:
        return f"a {layer.kind} does not become a {op.kind}"
    if op.weights is None or layer.weights.value is None:
        if (op.weights is None) != (layer.weights.value is None):
            return "the weights are a constant in only one of the two"
        return None
    if layer.kind == "BATCH_MATMUL":  # the converter may have transposed the constant
        return None if op.weights.size == layer.weights.value.size else "its constant operand has another number of elements"
    if not _same_layout(layer, op.weights):
        return f"its weights are {_by(layer.weights.shape)}, those of the module {_by(op.weights.shape)}"
    axis = _OPERANDS[layer.kind][3]
    zero_point = layer.weights.zero_point[0]  # per-channel weights have 0 throughout
    before = np.moveaxis(layer.weights.value.astype(np.float64) - zero_point, axis, 0).reshape(layer.channels, -1)
    after = np.moveaxis(op.weights.reshape(layer.weights.shape).astype(np.float64), axis, 0).reshape(layer.channels, -1)
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    if not np.any(norms):
        return None
    similarity = float(np.median((before * after).sum(1)[norms > 0] / norms[norms > 0]))
    return (
        None
        if similarity >= _MIN_SIMILARITY
        else f"its weights differ from those of the module (similarity {similarity:.2f} of 1)"
    )


def _same_layout(layer: LitertLayer, weights: np.ndarray) -> bool:
    """Whether the weights are in LiteRT's or TOSA's layout of this operator: the extents other than 1 agree, in order."""
    shape = layer.weights.shape
    if layer.kind == "DEPTHWISE_CONV_2D" and weights.ndim == 4 and weights.shape != shape:
        height, width, channels, times = weights.shape
        return (height, width, channels * times) == shape[1:]
    return [n for n in weights.shape if n != 1] == [n for n in shape if n != 1]


def _by(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more


# Planning


@dataclasses.dataclass(frozen=True, eq=False)
class _Constant:
    """New content of a constant tensor: bytes, scales, channel dimension; zero points are 0."""

    data: bytes
    scale: np.ndarray
    axis: int

    def same(self, other: _Constant) -> bool:
        return self.data == other.data and self.axis == other.axis and np.array_equal(self.scale, other.scale)


@dataclasses.dataclass(frozen=True, eq=False)
class _Edit:
    """One operator's new constants; `bias` is None where there is none and none is needed."""

    layer: LitertLayer
    weights: _Constant
    bias: _Constant | None


def _require_patches(
    listed: Mapping[int, LitertLayer], patches: Sequence[LayerPatch], scales: Mapping[int, float], unsigned: bool, source: str
) -> None:
    counts = Counter(patch.operator for patch in patches)
    if twice := [str(operator) for operator, count in counts.items() if count > 1]:
        raise ModelError(f"{source}: `layers` names operator {_some(twice)} more than once; give one patch for each operator")
    bare = [layer for layer in listed.values() if layer.operator not in counts]
    if unsigned and bare:
        raise ModelError(
            f"{source}: a uint8 model is written as an int8 one and needs a patch for every multiply-accumulate operator; "
            f"without one: {_some([layer.name for layer in bare])}"
        )
    # Between two activations the kernel derives the multiplier from their scales alone.
    fixed = [layer for layer in bare if layer.weights.value is not None]
    if moved := [layer.name for layer in fixed if layer.input.index in scales or layer.output.index in scales]:
        raise ModelError(f"{source}: `activation_scales` changes the multiplier of {_some(moved)}; give a patch for it")


def _activation_scales(model: Any, wanted: Mapping[str, float], source: str) -> dict[int, float]:
    graph = model.subgraphs[0]
    border = {int(index) for index in (*graph.inputs, *graph.outputs)}
    indices: dict[int, float] = {}
    for name, scale in wanted.items():
        found = [index for index, tensor in enumerate(graph.tensors) if (tensor.name or b"").decode(errors="replace") == name]
        if len(found) != 1:
            raise ModelError(f"{source}: `activation_scales`: {len(found)} tensors are named {name!r}; requires exactly one")
        if found[0] in border:
            raise ModelError(
                f"{source}: `activation_scales`: {name!r} is an input or output of the graph, whose scale must stay"
            )
        if not (np.isfinite(scale) and scale >= np.finfo(np.float32).tiny):
            raise ModelError(f"{source}: `activation_scales`: {name!r}: {scale} is no scale; give a positive number")
        if len(_tensor(model, found[0]).scale) != 1:
            raise ModelError(f"{source}: `activation_scales`: {name!r} has no scale of its own")
        indices[found[0]] = float(np.float32(scale))
    return indices


def _edit(listed: Mapping[int, LitertLayer], patch: LayerPatch, scales: Mapping[int, float], source: str) -> _Edit:
    layer = listed.get(patch.operator)
    if layer is None:
        raise ModelError(f"{source}: operator {patch.operator} is no integer multiply-accumulate operator; see `litert_layers`")
    where = f"{source}: operator {patch.operator} ({layer.kind} {layer.name!r})"
    if layer.weights.value is None:
        raise ModelError(f"{where}: both operands are activations; its multiplier cannot be expressed by a weight scale")
    if layer.input.dtype not in ("int8", "uint8") or layer.weights.dtype not in ("int8", "uint8"):
        raise ModelError(f"{where}: has {layer.input.dtype} activations and {layer.weights.dtype} weights; requires 8-bit ones")
    weights, bias = np.asarray(patch.weights), np.asarray(patch.bias)
    multiplier, shift = np.asarray(patch.multiplier, np.int64), np.asarray(patch.shift, np.int64)
    if weights.dtype != np.int8 or not _same_layout(layer, weights):
        raise ModelError(f"{where}: requires int8 weights {_by(layer.weights.shape)}, got {weights.dtype} {_by(weights.shape)}")
    if bias.dtype != np.int32 or bias.shape != (layer.channels,):
        raise ModelError(f"{where}: requires an int32 bias of {layer.channels} elements, got {bias.dtype} {_by(bias.shape)}")
    if multiplier.shape != shift.shape or multiplier.shape not in ((1,), (layer.channels,)) or (multiplier < 0).any():
        raise ModelError(
            f"{where}: requires 1 or {layer.channels} multipliers >= 0 and as many shifts, "
            f"got {_by(multiplier.shape)} and {_by(shift.shape)}"
        )
    input_scale = scales.get(layer.input.index, float(layer.input.scale[0]))
    output_scale = scales.get(layer.output.index, float(layer.output.scale[0]))
    scale = (
        np.broadcast_to(layer.weights.scale, multiplier.shape).copy() if len(layer.weights.scale) <= len(multiplier) else None
    )
    if scale is None:  # per-channel before, one multiplier now
        scale = np.full(multiplier.shape, layer.weights.scale.min(), np.float32)
    live = multiplier > 0
    try:
        scale[live] = weight_scales(multiplier[live], shift[live], input_scale, output_scale)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error
    axis = _OPERANDS[layer.kind][3] if len(scale) > 1 else 0
    new_bias = None
    if layer.bias is not None or bias.any():
        if layer.kind == "BATCH_MATMUL":
            raise ModelError(f"{where}: a BATCH_MATMUL takes no bias, got one other than 0")
        bias_scale = (np.float64(np.float32(input_scale)) * scale.astype(np.float64)).astype(np.float32)
        new_bias = _Constant(bias.astype("<i4").tobytes(), bias_scale, 0)
    return _Edit(layer, _Constant(weights.tobytes(), scale, axis), new_bias)


# Writing in place


def _in_place(flatbuffer: bytes, model: Any, edits: Sequence[_Edit], scales: Mapping[int, float]) -> bytes | None:
    """Replaces bytes of equal length; None where that is not possible."""
    wanted = _by_tensor(model, edits)
    if wanted is None:
        return None
    writes: dict[int, bytes] = {}  # position in the file -> bytes
    out = bytearray(flatbuffer)
    root = _schema().Model.GetRootAs(flatbuffer)
    graph = root.Subgraphs(0)

    def put(position: int, data: bytes) -> bool:
        return writes.setdefault(position, data) == data

    for index, constant in wanted.items():
        tensor = graph.Tensors(index)
        quantization, buffer = tensor.Quantization(), root.Buffers(tensor.Buffer())
        zero_points = [] if quantization is None or quantization.ZeroPointIsNone() else quantization.ZeroPointAsNumpy()
        if (
            quantization is None
            or buffer.DataLength() != len(constant.data)
            or quantization.ScaleLength() != len(constant.scale)
            or (len(constant.scale) > 1 and quantization.QuantizedDimension() != constant.axis)
            or np.any(zero_points)
        ):
            return None
        if not put(_vector(buffer, 4), constant.data) or not put(
            _vector(quantization, 8), constant.scale.astype("<f4").tobytes()
        ):
            return None
    for index, scale in scales.items():
        if not put(_vector(graph.Tensors(index).Quantization(), 8), np.array([scale], "<f4").tobytes()):
            return None
    # A writer may let several tensors share one vector: none that keeps its content may lie on what is replaced.
    for number in range(root.SubgraphsLength()):
        for index in range(root.Subgraphs(number).TensorsLength()):
            tensor = root.Subgraphs(number).Tensors(index)
            quantization = tensor.Quantization()
            mine = number == 0 and (index in wanted or index in scales)
            if not mine and quantization is not None and quantization.ScaleLength() and _vector(quantization, 8) in writes:
                return None
            buffer = root.Buffers(tensor.Buffer())
            if not (number == 0 and index in wanted) and buffer.DataLength() and _vector(buffer, 4) in writes:
                return None
    for position, data in writes.items():
        out[position : position + len(data)] = data
    return bytes(out)


def _vector(table: Any, field: int) -> int:
    """Position in the file of a vector's first element; `field` is its slot in the table's vtable."""
    slot = table._tab.Offset(field)
    return int(table._tab.Vector(slot)) if slot else -1


def _by_tensor(model: Any, edits: Sequence[_Edit]) -> dict[int, _Constant] | None:
    """New content by tensor; None where tensors would have to be added or split."""
    wanted: dict[int, _Constant] = {}
    users = Counter(int(i) for graph in model.subgraphs[:1] for op in graph.operators for i in op.inputs)
    edited: Counter[int] = Counter()
    for edit in edits:
        if edit.bias is not None and edit.layer.bias is None:
            return None
        for tensor, constant in ((edit.layer.weights, edit.weights), (edit.layer.bias, edit.bias)):
            if tensor is None or constant is None:
                continue
            edited[tensor.index] += 1
            if not wanted.setdefault(tensor.index, constant).same(constant):
                return None
    if any(users[index] != count for index, count in edited.items()):
        return None  # an operator without a patch reads it too
    return wanted


# Rebuilding


def _rebuild(model: Any, edits: Sequence[_Edit], scales: Mapping[int, float], unsigned: bool, source: str) -> bytes:
    """The same model with new constants, each in a tensor and buffer of its own where it was shared. Changes `model`."""
    import flatbuffers

    graph = model.subgraphs[0]
    operators = list(graph.operators)  # as numbered in the patches; operators added below do not count
    readers = Counter(int(index) for operator in operators for index in operator.inputs)
    edited = Counter(t.index for edit in edits for t in (edit.layer.weights, edit.layer.bias) if t is not None)
    if unsigned:
        _unsigned_to_signed(model, {edit.layer.weights.index for edit in edits}, source)
    written: dict[int, _Constant] = {}
    for edit in edits:
        operator, layer = operators[edit.layer.operator], edit.layer
        _, w, b, _ = _OPERANDS[layer.kind]
        for slot, tensor, constant in ((w, layer.weights, edit.weights), (b, layer.bias, edit.bias)):
            if constant is None or slot is None:
                continue
            index = None if tensor is None else tensor.index
            if index is not None and index in written and written[index].same(constant):
                continue
            if index is None or index in written or readers[index] > edited[index]:
                index = _add_tensor(model, index, layer)
                inputs = [int(each) for each in operator.inputs]
                inputs += [-1] * (slot + 1 - len(inputs))
                inputs[slot] = index
                operator.inputs = inputs
            _set_constant(model, index, constant)
            written[index] = constant
        if layer.kind == "FULLY_CONNECTED" and len(edit.weights.scale) > 1:
            _require_version(model, operator, _PER_CHANNEL_FULLY_CONNECTED)
    for index, scale in scales.items():
        graph.tensors[index].quantization.scale = np.array([scale], np.float32)
    model.buffers = [_aligned(buffer) for buffer in model.buffers]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _set_constant(model: Any, index: int, constant: _Constant) -> None:
    schema = _schema()
    tensor = model.subgraphs[0].tensors[index]
    tensor.quantization = copy.copy(tensor.quantization) or schema.QuantizationParametersT()
    tensor.quantization.scale = constant.scale
    tensor.quantization.zeroPoint = np.zeros(len(constant.scale), np.int64)
    tensor.quantization.quantizedDimension = constant.axis
    tensor.quantization.min = tensor.quantization.max = None  # float range of the old constant
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(constant.data, np.uint8)
    uses = sum(each.buffer == tensor.buffer for graph in model.subgraphs for each in graph.tensors)
    if uses == 1 and tensor.buffer:
        model.buffers[tensor.buffer] = buffer
    else:
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1


def _add_tensor(model: Any, like: int | None, layer: LitertLayer) -> int:
    """A copy of a shared constant's tensor, or a new bias; returns its index."""
    schema = _schema()
    tensors = model.subgraphs[0].tensors
    if like is None:
        tensor = schema.TensorT()
        tensor.type = schema.TensorType.INT32
        tensor.shape = np.array([layer.channels], np.int32)
        tensor.name = f"{layer.name}/bias".encode()
    else:
        tensor = copy.copy(tensors[like])
        tensor.name = (tensor.name or b"") + f"/{layer.operator}".encode()
    tensors.append(tensor)
    return len(tensors) - 1


def _require_version(model: Any, operator: Any, version: int) -> None:
    code = model.operatorCodes[operator.opcodeIndex]
    code.version = max(code.version, version)


def _unsigned_to_signed(model: Any, patched: set[int], source: str) -> None:
    """Turns every uint8 tensor of a legacy model into an int8 one; QUANTIZE operators keep the uint8 inputs and outputs."""
    schema = _schema()
    graph = model.subgraphs[0]
    kinds = [_op_name(model, operator) for operator in graph.operators]
    if len(model.subgraphs) != 1:
        raise ModelError(f"{source}: a uint8 model with {len(model.subgraphs)} subgraphs cannot be written as int8; requires 1")
    if unknown := sorted({kind for kind in kinds if kind not in _INT8_VERSIONS}):
        raise ModelError(f"{source}: a uint8 model cannot be written as int8: no int8 kernel is known for {_some(unknown)}")
    border = [int(i) for i in (*graph.inputs, *graph.outputs) if graph.tensors[int(i)].type == schema.TensorType.UINT8]
    inner: dict[int, int] = {}
    for index in dict.fromkeys(border):
        # The border keeps its tensor, so inputs, outputs, signatures and metadata stay as they are.
        tensor = copy.copy(graph.tensors[index])
        tensor.quantization = copy.copy(tensor.quantization)
        tensor.name = (tensor.name or b"") + b"/int8"
        graph.tensors.append(tensor)
        inner[index] = len(graph.tensors) - 1
    rewritten: dict[int, int] = {}  # a buffer that several tensors share is rewritten once
    for index, tensor in enumerate(graph.tensors):
        if tensor.type != schema.TensorType.UINT8 or index in inner:
            continue
        tensor.type = schema.TensorType.INT8
        if tensor.quantization is not None and tensor.quantization.zeroPoint is not None:
            tensor.quantization.zeroPoint = _array(tensor.quantization.zeroPoint, np.int64) - 128
        data = model.buffers[tensor.buffer].data
        if index not in patched and data is not None and len(data):
            if tensor.buffer not in rewritten:
                buffer = schema.BufferT()
                buffer.data = np.frombuffer(bytes(data), np.uint8) ^ 0x80
                model.buffers.append(buffer)
                rewritten[tensor.buffer] = len(model.buffers) - 1
            tensor.buffer = rewritten[tensor.buffer]
    for operator, kind in zip(graph.operators, kinds, strict=True):
        operator.inputs = [inner.get(int(i), int(i)) for i in operator.inputs]
        operator.outputs = [inner.get(int(i), int(i)) for i in operator.outputs]
        _require_version(model, operator, _INT8_VERSIONS[kind])
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.QUANTIZE
    code.version = 2
    model.operatorCodes.append(code)

    def quantize(from_tensor: int, to_tensor: int) -> Any:
        operator = schema.OperatorT()
        operator.opcodeIndex = len(model.operatorCodes) - 1
        operator.inputs, operator.outputs = [from_tensor], [to_tensor]
        operator.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
        operator.builtinOptions = schema.QuantizeOptionsT()
        return operator

    inputs = list(dict.fromkeys(int(i) for i in graph.inputs))
    outputs = list(dict.fromkeys(int(i) for i in graph.outputs))
    front = [quantize(i, inner[i]) for i in inputs if i in inner]
    back = [quantize(inner[i], i) for i in outputs if i in inner and i not in inputs]
    graph.operators = [*front, *graph.operators, *back]


def _aligned(buffer: Any) -> Any:
    """The buffer with its data on 16 bytes, as the schema demands and the generated writer forgets."""
    schema = _schema()

    class Aligned(schema.BufferT):
        def Pack(self, builder: Any) -> int:
            data = b"" if self.data is None else bytes(self.data)
            vector = 0
            if data:
                builder.StartVector(1, len(data), 16)
                builder.head -= len(data)
                builder.Bytes[builder.head : builder.head + len(data)] = data
                vector = builder.EndVector()
            schema.BufferStart(builder)
            if data:
                schema.BufferAddData(builder, vector)
            return int(schema.BufferEnd(builder))

    aligned = Aligned()
    aligned.data = buffer.data
    return aligned


# The archive of labels that metadata tools attach: a ZIP file behind the flatbuffer


def _archive_start(data: bytes) -> int:
    """Where the flatbuffer ends and a ZIP archive begins; the data's length where there is none."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return len(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return min((each.header_offset for each in archive.infolist()), default=len(data))


def _with_archive(flatbuffer: bytes, original: bytes, start: int) -> bytes:
    """The flatbuffer with the archive of the original file, which begins at `start`, behind it."""
    if len(flatbuffer) == start:
        return flatbuffer + original[start:]
    out = io.BytesIO(flatbuffer)
    with (
        zipfile.ZipFile(io.BytesIO(original)) as old,
        zipfile.ZipFile(out, "a") as new,
    ):  # its offsets count from the file's start
        for each in old.infolist():
            new.writestr(each, old.read(each))
    return out.getvalue()


def _verify(data: bytes, patches: Sequence[LayerPatch], listed: Mapping[int, LitertLayer], source: str) -> None:
    """Reads the written file back: every patched multiplier must come out of the scales as it went in."""
    written = dict(zip(listed, litert_layers(data, source), strict=True))  # QUANTIZE operators shift positions, not the order
    for patch in patches:
        multiplier = np.asarray(patch.multiplier, np.int64)
        wanted = np.ldexp(multiplier.astype(np.float64), -np.asarray(patch.shift).astype(np.int32))
        excess = written[patch.operator].multiplier[multiplier > 0] / wanted[multiplier > 0] - 1
        if np.any((excess < 0) | (excess > MAX_SCALE_EXCESS)):
            raise AssertionError(
                f"operator {patch.operator}: multiplier off by {np.abs(excess).max():g}"
            )  # a defect of this file
