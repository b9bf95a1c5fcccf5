# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writing back into LiteRT flatbuffers: what scales can hold, what stays byte for byte, what a stock runtime makes of it.

The oracle is a NumPy formula; the tiny models are made here with the flatbuffer object API.
"""

from __future__ import annotations

import copy
import dataclasses
import io
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tosa_rescale as tr
from hypothesis import given
from hypothesis import strategies as st
from tosa_rescale.core.errors import MissingToolError, ModelError
from tosa_rescale.formats.litert.export import SAME_SCALE, _Octaves
from tosa_rescale.formats.litert.match import MacOp, match_layers
from tosa_rescale.formats.litert.multipliers import MAX_SCALE_EXCESS, implied_multiplier, quantize_multiplier, weight_scales
from tosa_rescale.formats.litert.patch import LayerPatch
from tosa_rescale.formats.litert.schema import LitertLayer, litert_layers
from tosa_rescale.formats.litert.write import write_litert

schema: Any = pytest.importorskip("ai_edge_litert.schema_py_generated")


# Multipliers from scales

SCALES = st.floats(2.0**-20, 2.0**6, width=32)


@given(bits=st.integers(1, 15), seed=st.integers(0, 2**32 - 1), input_scale=SCALES, output_scale=SCALES)
def test_scales_give_back_the_multiplier(bits: int, seed: int, input_scale: float, output_scale: float) -> None:
    rng = np.random.default_rng(seed)
    multiplier = rng.integers(1 << (bits - 1), 1 << bits, 64)
    shift = rng.integers(0, 24, 64) + bits
    derived, derived_shift = quantize_multiplier(
        implied_multiplier(weight_scales(multiplier, shift, input_scale, output_scale), input_scale, output_scale)
    )
    dropped = 31 - bits
    np.testing.assert_array_equal(derived >> dropped, multiplier)  # truncate
    np.testing.assert_array_equal((derived + (1 << (dropped - 1))) >> dropped, multiplier)  # nearest
    np.testing.assert_array_equal(derived_shift - dropped, shift)
    # up, with the excess that float32 scales cannot avoid disregarded
    excess = int(MAX_SCALE_EXCESS * 2**31)
    np.testing.assert_array_equal((derived - excess + (1 << dropped) - 1) >> dropped, multiplier)
    assert ((derived - (multiplier << dropped)) <= excess).all()


def test_scales_an_octave_apart_are_found() -> None:
    """Against the search through all of them: the first one that differs by a power of two, but for float32's rounding."""
    rng = np.random.default_rng(3)
    bases = rng.uniform(0.001, 0.002, 12).astype(np.float32).astype(np.float64)
    bases[0] = 2.0**-9  # where one octave ends and the next begins
    known, kept, found = _Octaves(), [], 0
    for _ in range(400):
        scale = rng.choice(bases) * 2.0 ** rng.integers(-9, 9) * (1 + rng.choice([0, 2e-7, -2e-7, 5e-6]))
        octaves = np.log2(scale / np.array(kept)) if kept else np.zeros(0)
        near = np.flatnonzero(np.abs(octaves - np.round(octaves)) < SAME_SCALE)
        assert known.find(scale) == (kept[near[0]] if len(near) else None)
        found += bool(len(near))
        if not len(near):
            known.add(scale)
            kept.append(scale)
    assert len(kept) > 12 and found > 300
    known.add(0.0)
    assert known.find(0.0) is None


def test_multiplier_beyond_float32_is_refused() -> None:
    with pytest.raises(ModelError, match="weight scale 2e-40 is outside float32's range"):
        weight_scales(np.array([1]), np.array([0]), 1.0, 2e-40)


def test_quantize_multiplier_renormalises_a_carry() -> None:
    multiplier, shift = quantize_multiplier(np.array([1 - 2.0**-40, 0.75]))
    assert multiplier.tolist() == [1 << 30, 3 << 29]
    assert shift.tolist() == [30, 31]


# Tiny models


class Builder:
    """A LiteRT model, put together op by op; every tensor gets a buffer of its own."""

    def __init__(self, activation: int) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = b"tiny"
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]
        self.activation = activation

    def tensor(
        self, name: str, shape: Sequence[int], kind: int, scale: Any, zero: Any, axis: int = 0, value: Any = None
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, np.array(shape, np.int32), kind
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.atleast_1d(np.float32(scale))
        tensor.quantization.zeroPoint = np.broadcast_to(np.int64(zero), tensor.quantization.scale.shape).copy()
        tensor.quantization.quantizedDimension = axis
        if value is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def activations(self, name: str, shape: Sequence[int], scale: float, zero: int) -> int:
        return self.tensor(name, shape, self.activation, scale, zero)

    def operator(
        self, kind: str, version: int, inputs: Sequence[int], output: int, options: Any = None, name: str = ""
    ) -> None:
        number = getattr(schema.BuiltinOperator, kind)
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, number, version
        self.model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = list(inputs), [output]
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = options
        self.graph.operators.append(operator)

    def finish(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        import flatbuffers

        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        metadata, buffer = schema.MetadataT(), schema.BufferT()
        buffer.data = np.frombuffer(b"kept as it is", np.uint8)
        self.model.buffers.append(buffer)
        metadata.name, metadata.buffer = "note", len(self.model.buffers) - 1
        self.model.metadata = [metadata]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def conv_options(kind: str = "conv") -> tuple[Any, str]:
    options = schema.Conv2DOptionsT() if kind == "conv" else schema.DepthwiseConv2DOptionsT()
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    if kind == "depthwise":
        options.depthMultiplier = 1
    options.padding = schema.Padding.SAME
    return options, "Conv2DOptions" if kind == "conv" else "DepthwiseConv2DOptions"


def tiny_int8(shared: str = "") -> bytes:
    """conv 1x1 (4 to 6) -> depthwise 3x3 -> fully connected (24 to 5, per tensor); or `shared` constants, or no bias.

    shared: `weights`: two 1x1 convs (4 to 4) read one weight tensor; `buffer`: the biases of conv and depthwise share a buffer;
    `nobias`: the fully connected layer has none.
    """
    rng = np.random.default_rng(1)
    b = Builder(schema.TensorType.INT8)

    def constants(name: str, shape: tuple[int, ...], channels: int, axis: int, input_scale: float) -> tuple[int, int]:
        scale = rng.uniform(0.003, 0.006, channels)
        w = b.tensor(f"{name}/w", shape, schema.TensorType.INT8, scale, 0, axis, rng.integers(-127, 128, shape).astype(np.int8))
        value = rng.integers(-500, 500, shape[axis] if channels > 1 else shape[0]).astype(np.int32)
        return w, b.tensor(f"{name}/b", value.shape, schema.TensorType.INT32, scale * input_scale, 0, 0, value)

    x = b.activations("x", (1, 2, 2, 4), 0.02, 3)
    if shared == "weights":
        w, bias = constants("conv", (4, 1, 1, 4), 4, 0, 0.02)
        y, z = b.activations("y", (1, 2, 2, 4), 0.03, -5), b.activations("z", (1, 2, 2, 4), 0.04, 7)
        bias2 = b.tensor(
            "b2",
            (4,),
            schema.TensorType.INT32,
            0.03 * b.graph.tensors[w].quantization.scale,
            0,
            0,
            np.arange(4, dtype=np.int32),
        )
        options, name = conv_options()
        b.operator("CONV_2D", 3, [x, w, bias], y, options, name)
        b.operator("CONV_2D", 3, [y, w, bias2], z, options, name)
        return b.finish([x], [z])
    w, bias = constants("conv", (6, 1, 1, 4), 6, 0, 0.02)
    y = b.activations("y", (1, 2, 2, 6), 0.03, -5)
    b.operator("CONV_2D", 3, [x, w, bias], y, *conv_options())
    w, bias2 = constants("depthwise", (1, 3, 3, 6), 6, 3, 0.03)
    if shared == "buffer":
        b.graph.tensors[bias2].buffer = b.graph.tensors[bias].buffer
    z = b.activations("z", (1, 2, 2, 6), 0.05, 7)
    b.operator("DEPTHWISE_CONV_2D", 3, [y, w, bias2], z, *conv_options("depthwise"))
    w, bias3 = constants("dense", (5, 24), 1, 0, 0.05)
    out = b.activations("out", (1, 5), 0.1, -1)
    options = schema.FullyConnectedOptionsT()
    b.operator("FULLY_CONNECTED", 4, [z, w] if shared == "nobias" else [z, w, bias3], out, options, "FullyConnectedOptions")
    return b.finish([x], [out])


def tiny_transpose() -> bytes:
    """A transposed conv 1x1, stride 1 (4 to 6): the same function as a conv."""
    rng = np.random.default_rng(4)
    b = Builder(schema.TensorType.INT8)
    x, y = b.activations("x", (1, 2, 2, 4), 0.02, 3), b.activations("y", (1, 2, 2, 6), 0.03, -5)
    shape = b.tensor("shape", (4,), schema.TensorType.INT32, [], 0, 0, np.array([1, 2, 2, 6], np.int32))
    scale = rng.uniform(0.003, 0.006, 6)
    w = b.tensor("w", (6, 1, 1, 4), schema.TensorType.INT8, scale, 0, 0, rng.integers(-127, 128, (6, 1, 1, 4)).astype(np.int8))
    bias = b.tensor("b", (6,), schema.TensorType.INT32, scale * 0.02, 0, 0, rng.integers(-500, 500, 6).astype(np.int32))
    options = schema.TransposeConvOptionsT()
    options.strideH = options.strideW = 1
    options.padding = schema.Padding.SAME
    b.operator("TRANSPOSE_CONV", 3, [shape, w, x, bias], y, options, "TransposeConvOptions")
    return b.finish([x], [y])


def tiny_matmul() -> bytes:
    """A matmul of two activations."""
    b = Builder(schema.TensorType.INT8)
    x, y = b.activations("x", (1, 2, 3), 0.02, 3), b.activations("y", (1, 3, 2), 0.03, -5)
    z = b.activations("z", (1, 2, 2), 0.05, 0)
    b.operator("BATCH_MATMUL", 2, [x, y], z, schema.BatchMatMulOptionsT(), "BatchMatMulOptions")
    return b.finish([x, y], [z])


def tiny_uint8(extra: str = "") -> bytes:
    """Legacy per-tensor model: conv 1x1 (4 to 6) -> depthwise 3x3 -> reshape; with an archive of labels behind it."""
    rng = np.random.default_rng(2)
    b = Builder(schema.TensorType.UINT8)
    kind = schema.TensorType.UINT8

    def constants(name: str, shape: tuple[int, ...], axis: int, input_scale: float) -> tuple[int, int]:
        w = b.tensor(f"{name}/w", shape, kind, 0.005, 120, 0, rng.integers(40, 220, shape).astype(np.uint8))
        value = rng.integers(-500, 500, shape[axis]).astype(np.int32)
        return w, b.tensor(f"{name}/b", value.shape, schema.TensorType.INT32, 0.005 * input_scale, 0, 0, value)

    x = b.activations("x", (1, 2, 2, 4), 0.02, 130)
    w, bias = constants("conv", (6, 1, 1, 4), 0, 0.02)
    y = b.activations("y", (1, 2, 2, 6), 0.03, 120)
    b.operator("CONV_2D", 1, [x, w, bias], y, *conv_options())
    w, bias = constants("depthwise", (1, 3, 3, 6), 3, 0.03)
    z = b.activations("z", (1, 2, 2, 6), 0.05, 140)
    b.operator("DEPTHWISE_CONV_2D", 1, [y, w, bias], z, *conv_options("depthwise"))
    if extra:
        b.operator(extra, 1, [z], b.activations("odd", (1, 2, 2, 6), 0.05, 140))
    data = io.BytesIO(b.finish([x], [z]))
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("labels.txt", "zero\none\n")
    return data.getvalue()


# Oracles


def fold(layer: LitertLayer, bits: int, per_channel: bool = True) -> LayerPatch:
    """The plainest compensation: round the multiplier up to `bits`, fold the ratio into weights and bias."""
    assert layer.weights.value is not None
    axis = {"DEPTHWISE_CONV_2D": 3}.get(layer.kind, 0)
    weights = np.moveaxis(layer.weights.value.astype(np.float64) - layer.weights.zero_point[0], axis, -1)
    real = np.broadcast_to(layer.multiplier, (layer.channels,)) if per_channel else layer.multiplier
    peak = np.abs(weights).reshape(-1, weights.shape[-1]).max(0) if per_channel else np.abs(weights).max()
    bias = np.zeros(layer.channels) if layer.bias is None or layer.bias.value is None else layer.bias.value
    # The ratio may exceed 1 as far as neither weights nor bias saturate; EfficientNet-Lite0 has biases at the limit of int32.
    room = np.minimum(127 / np.maximum(peak, 1), 2.0**30 / np.maximum(np.abs(bias) if per_channel else np.abs(bias).max(), 1))
    fraction, exponent = np.frexp(real / room)
    multiplier = np.ceil(fraction * 2**bits - 1e-9).astype(np.int64)
    shift = bits - exponent.astype(np.int64)
    carried = multiplier == 1 << bits
    multiplier, shift = np.where(carried, multiplier >> 1, multiplier), shift - carried
    ratio = real / np.ldexp(multiplier.astype(np.float64), -shift.astype(np.int32))
    folded = np.moveaxis(np.clip(np.round(weights * ratio), -127, 127), -1, axis).astype(np.int8)
    return LayerPatch(layer.operator, folded, np.round(bias * ratio).astype(np.int32), multiplier, shift)


def run(data: bytes, inputs: np.ndarray, reference: bool = False) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    interpreter = Interpreter(model_content=data, num_threads=1, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    slot, out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    results = []
    for each in inputs:
        interpreter.set_tensor(slot, each)
        interpreter.invoke()
        results.append(interpreter.get_tensor(out).copy())
    return np.stack(results)


def samples(shape: tuple[int, ...], dtype: Any, count: int = 64) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.random.default_rng(3).integers(limits.min, limits.max + 1, (count, *shape)).astype(dtype)


def one_conv(x: np.ndarray, layer: LitertLayer, patch: LayerPatch, x_zero: int, y_zero: int) -> np.ndarray:
    """A 1x1 conv in integers: sat8(zp + round(acc * m * 2^-s)), ties up."""
    acc = (x.astype(np.int64) - x_zero) @ patch.weights.reshape(layer.channels, -1).astype(np.int64).T + patch.bias
    scaled = (acc * patch.multiplier + (1 << (patch.shift - 1))) >> patch.shift
    return np.clip(scaled + y_zero, -128, 127)


def edited(data: bytes) -> set[str]:
    return {name for layer in litert_layers(data) for name in (layer.weights.name, layer.bias.name if layer.bias else "")}


# Reading


def test_layers_are_listed_in_order_with_names_and_scales() -> None:
    layers = litert_layers(tiny_int8())
    assert [layer.kind for layer in layers] == ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]
    assert [layer.operator for layer in layers] == [0, 1, 2]
    assert [layer.name for layer in layers] == ["y", "z", "out"]
    assert [layer.channels for layer in layers] == [6, 6, 5]
    assert [layer.input.name for layer in layers] == ["x", "y", "z"]
    assert layers[0].input.zero_point.tolist() == [3]
    np.testing.assert_allclose(layers[2].multiplier, layers[2].weights.scale * 0.05 / 0.1, rtol=1e-6)


@pytest.mark.parametrize("data", [b"", b"not a model", tiny_int8()[:200], b"\x10\0\0\0TFL3" + b"\xff" * 64])
def test_an_unreadable_file_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"a\.tflite: not a readable LiteRT model"):
        litert_layers(data, "a.tflite")


def test_a_malformed_operator_is_named() -> None:
    import flatbuffers

    model = schema.ModelT.InitFromPackedBuf(tiny_int8(), 0)
    for field, value in (("opcodeIndex", 99), ("inputs", [-1, 1, 2])):
        broken = copy.deepcopy(model)
        setattr(broken.subgraphs[0].operators[1], field, value)
        builder = flatbuffers.Builder(1024)
        builder.Finish(broken.Pack(builder), b"TFL3")
        with pytest.raises(ModelError, match=r"operator 1 \(.*\) is malformed"):
            litert_layers(bytes(builder.Output()))


# Writing in place


def test_in_place_leaves_the_rest_byte_for_byte() -> None:
    original = tiny_int8()
    layers = litert_layers(original)
    written = write_litert(original, [fold(layer, 1, per_channel=layer.kind != "FULLY_CONNECTED") for layer in layers])
    assert len(written) == len(original)
    # Undoing the edits gives back the original: every other byte is untouched.
    undone = bytearray(written)
    for layer in layers:
        for tensor in (layer.weights, layer.bias):
            assert tensor is not None and tensor.value is not None
            for content in (tensor.value.tobytes(), tensor.scale.tobytes()):
                position = original.index(content)
                undone[position : position + len(content)] = content
    assert bytes(undone) == original


def test_written_multipliers_are_powers_of_two() -> None:
    original = tiny_int8()
    patches = [fold(layer, 1) for layer in litert_layers(original)]
    for layer, patch in zip(litert_layers(write_litert(original, patches)), patches, strict=True):
        multiplier, shift = quantize_multiplier(layer.multiplier)
        assert (multiplier >> 30 == 1).all()
        np.testing.assert_array_equal(shift - 30, patch.shift)


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_stock_runtime_computes_the_narrowed_layer(bits: int, reference: bool) -> None:
    original = tiny_int8("weights")
    first, second = litert_layers(original)
    patches = [fold(first, bits), fold(second, bits)]
    inputs = samples((1, 2, 2, 4), np.int8)
    y = one_conv(inputs, first, patches[0], 3, -5)
    expected = one_conv(y, second, patches[1], -5, 7)
    difference = np.abs(run(write_litert(original, patches), inputs, reference) - expected)
    # Ties: LiteRT's kernels round them in other ways than TOSA; a step in the first layer may become one in the second.
    assert difference.max() <= 1
    assert difference.mean() < 0.05


@pytest.mark.parametrize("reference", [False, True])
def test_stock_runtime_computes_the_narrowed_transposed_conv(reference: bool) -> None:
    original = tiny_transpose()
    (layer,) = litert_layers(original)
    patch = fold(layer, 1)
    inputs = samples((1, 2, 2, 4), np.int8)
    difference = np.abs(run(write_litert(original, [patch]), inputs, reference) - one_conv(inputs, layer, patch, 3, -5))
    assert difference.max() <= 1
    assert difference.mean() < 0.05


def test_an_archive_behind_a_file_written_in_place_stays() -> None:
    data = io.BytesIO(plain := tiny_transpose())
    data.seek(0, io.SEEK_END)
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("labels.txt", "zero\none\n")
    original = data.getvalue()
    patches = [fold(layer, 1) for layer in litert_layers(plain)]
    assert write_litert(original, patches) == write_litert(plain, patches) + original[len(plain) :]


# Rebuilding


@pytest.mark.parametrize("shared", ["weights", "buffer", "nobias", ""])
def test_rebuilt_models_run_and_stay_close(shared: str) -> None:
    original = tiny_int8(shared)
    layers = litert_layers(original)
    patches = [fold(layer, 8) for layer in layers]
    if shared == "nobias":
        patches[2] = dataclasses.replace(patches[2], bias=np.arange(5, dtype=np.int32))
    written = write_litert(original, patches)
    for layer, patch in zip(litert_layers(written), patches, strict=True):
        assert layer.weights.value is not None and layer.bias is not None and layer.bias.value is not None
        np.testing.assert_array_equal(layer.weights.value, patch.weights)
        np.testing.assert_array_equal(layer.bias.value, patch.bias)
    inputs = samples((1, 2, 2, 4), np.int8)
    assert np.abs(run(written, inputs).astype(int) - run(original, inputs)).mean() < 1.5
    assert metadata(written) == {"note": b"kept as it is"}


def metadata(data: bytes) -> dict[str, bytes]:
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    return {each.name.decode(): bytes(model.buffers[each.buffer].data) for each in model.metadata}


def test_a_weight_tensor_that_an_unpatched_operator_reads_is_split() -> None:
    original = tiny_int8("weights")
    first, second = litert_layers(original)
    after_first, after_second = litert_layers(write_litert(original, [fold(first, 1)]))
    assert after_first.weights.index != after_second.weights.index
    np.testing.assert_array_equal(np.asarray(after_second.weights.value), np.asarray(second.weights.value))
    np.testing.assert_array_equal(after_second.multiplier, second.multiplier)


def test_rebuilt_constants_are_aligned() -> None:
    written = write_litert(tiny_uint8(), [fold(layer, 2) for layer in litert_layers(tiny_uint8())])
    root = schema.Model.GetRootAs(written)
    for index in range(root.BuffersLength()):
        table = root.Buffers(index)._tab
        if slot := table.Offset(4):
            assert table.Vector(slot) % 16 == 0


def test_a_new_activation_scale_is_written() -> None:
    original = tiny_int8()
    layers = litert_layers(original)
    patches = [fold(layer, 4, per_channel=layer.kind != "FULLY_CONNECTED") for layer in layers]
    written = litert_layers(write_litert(original, patches, activation_scales={"y": 0.0375}))
    assert written[0].output.scale.tolist() == written[1].input.scale.tolist() == [np.float32(0.0375)]
    for layer, patch in zip(written, patches, strict=True):  # the multipliers are those of the patches all the same
        np.testing.assert_allclose(layer.multiplier, np.ldexp(patch.multiplier * 1.0, -patch.shift), rtol=MAX_SCALE_EXCESS)


def test_a_multiplier_of_zero_keeps_the_scale() -> None:
    original = tiny_int8()
    layer = litert_layers(original)[0]
    patch = fold(layer, 1)
    patch.multiplier[2] = 0
    assert litert_layers(write_litert(original, [patch]))[0].weights.scale[2] == layer.weights.scale[2]


# Legacy uint8 models


@pytest.mark.parametrize("reference", [False, True])
def test_a_uint8_model_becomes_int8_behind_a_uint8_border(reference: bool) -> None:
    original = tiny_uint8()
    written = write_litert(original, [fold(layer, 8) for layer in litert_layers(original)])
    layers = litert_layers(written)
    assert [layer.input.dtype for layer in layers] == ["int8", "int8"]
    assert [len(layer.weights.scale) for layer in layers] == [6, 6]
    inputs = samples((1, 2, 2, 4), np.uint8)
    before, after = run(original, inputs, reference), run(written, inputs, reference)
    assert after.dtype == np.uint8
    assert np.abs(before.astype(int) - after).mean() < 1.5
    assert metadata(written) == {"note": b"kept as it is"}
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        assert archive.read("labels.txt") == b"zero\none\n"


def test_a_uint8_model_needs_every_layer() -> None:
    original = tiny_uint8()
    with pytest.raises(ModelError, match="needs a patch for every multiply-accumulate operator; without one: z"):
        write_litert(original, [fold(litert_layers(original)[0], 1)])


def test_a_uint8_model_with_an_operator_without_int8_kernel_is_refused() -> None:
    original = tiny_uint8("ELU")
    with pytest.raises(ModelError, match="no int8 kernel is known for ELU"):
        write_litert(original, [fold(layer, 1) for layer in litert_layers(original)])


# Matching


def mac_ops(data: bytes, named: bool) -> list[MacOp]:
    """The MAC ops of a module made from `data`, in TOSA's layout."""
    kinds = {"CONV_2D": "conv2d", "DEPTHWISE_CONV_2D": "depthwise_conv2d", "FULLY_CONNECTED": "conv2d"}
    ops = []
    for layer in litert_layers(data):
        assert layer.weights.value is not None
        shape = {"FULLY_CONNECTED": (5, 1, 1, 24), "DEPTHWISE_CONV_2D": (3, 3, 6, 1)}.get(layer.kind, layer.weights.shape)
        ops.append(MacOp(layer.name if named else "main", kinds[layer.kind], layer.weights.value.reshape(shape)))
    return ops


@pytest.mark.parametrize("named", [True, False])
def test_ops_are_matched_by_name_or_order(named: bool) -> None:
    layers = litert_layers(tiny_int8())
    ops = mac_ops(tiny_int8(), named)
    if named:
        ops.reverse()
    expected = [2, 1, 0] if named else [0, 1, 2]
    assert [layer.operator for layer in match_layers(layers, ops)] == expected


def test_a_stranger_is_refused() -> None:
    layers, ops = litert_layers(tiny_int8(), "m.tflite"), mac_ops(tiny_int8(), True)
    other = np.random.default_rng(9).integers(-127, 128, ops[0].weights.shape).astype(np.int8)  # type: ignore[union-attr]
    cases = [
        ([*ops, MacOp("more", "conv2d", other)], "it has 3 multiply-accumulate operators, the module 4"),
        ([MacOp("y", "depthwise_conv2d", other)], "a CONV_2D does not become a depthwise_conv2d"),
        ([MacOp("y", "conv2d", other[:3])], "its weights are 6x1x1x4, those of the module 3x1x1x4"),
        ([MacOp("y", "conv2d", other)], r"its weights differ from those of the module \(similarity"),
        ([MacOp("y", "conv2d", None)], "the weights are a constant in only one of the two"),
    ]
    for strangers, message in cases:
        with pytest.raises(ModelError, match=rf"m\.tflite: does not belong to the module: .*{message}"):
            match_layers(layers, strangers, "m.tflite")


# Bad patches


def test_patches_that_do_not_fit_are_refused() -> None:
    original = tiny_int8()
    layer = litert_layers(original)[0]
    good = fold(layer, 1)
    cases: list[tuple[list[LayerPatch], dict[str, Any], str]] = [
        ([dataclasses.replace(good, weights=good.weights[:3])], {}, "requires int8 weights 6x1x1x4, got int8 3x1x1x4"),
        ([dataclasses.replace(good, weights=good.weights.astype(np.int32))], {}, "got int32 6x1x1x4"),
        ([dataclasses.replace(good, bias=good.bias[:5])], {}, "requires an int32 or int64 bias of 6 elements, got int32 5"),
        ([dataclasses.replace(good, shift=good.shift[:1])], {}, "requires 1 or 6 multipliers >= 0 and as many shifts"),
        (
            [dataclasses.replace(good, shift=good.shift + 200)],
            {},
            r"operator 0 \(CONV_2D 'y'\): weight scale .* outside float32",
        ),
        ([dataclasses.replace(good, operator=7)], {}, "operator 7 is no integer multiply-accumulate operator"),
        ([good, good], {}, "`layers` names operator 0 more than once"),
        ([good], {"activation_scales": {"y": 0.5}}, "`activation_scales` changes the multiplier of z; give a patch"),
        ([good], {"activation_scales": {"x": 0.5}}, "'x' is an input or output of the graph, whose scale must stay"),
        ([good], {"activation_scales": {"q": 0.5}}, "requires one tensor named 'q', the file has 0"),
        ([good], {"activation_scales": {"y": -1.0}}, "-1.0 is no scale; give a positive number"),
        ([good], {"unexpressed": ["add1", "mean"]}, "2 narrowed multipliers cannot be expressed by scales: add1, mean; "),
    ]
    for patches, options, message in cases:
        with pytest.raises(ModelError, match=rf"m\.tflite: .*{message}"):
            write_litert(original, patches, source="m.tflite", **options)


def test_a_matmul_of_two_activations_is_refused() -> None:
    original = tiny_matmul()
    (layer,) = litert_layers(original)
    one = np.ones(1, np.int64)
    patch = LayerPatch(layer.operator, np.zeros((1, 3, 2), np.int8), np.zeros(1, np.int32), one, one)
    with pytest.raises(ModelError, match="both operands are activations; its multiplier cannot be expressed by a weight scale"):
        write_litert(original, [patch])


def test_allow_partial_leaves_what_scales_cannot_express() -> None:
    original = tiny_int8()
    patches = [fold(litert_layers(original)[0], 1)]
    assert write_litert(original, patches, unexpressed=["add1"], allow_partial=True) == write_litert(original, patches)


# Through the converter


def converted(data: bytes, folder: pathlib.Path) -> Any:
    """The TOSA module of a flatbuffer, by the importer."""
    from tosa_rescale.formats.read import read
    from tosa_rescale_runtime import Module

    (folder / "m.tflite").write_bytes(data)
    try:
        return Module.parse(read(folder / "m.tflite").bytecode)
    except MissingToolError as error:
        pytest.skip(str(error))


def ops_of(module: Any) -> list[MacOp]:
    """The multiply-accumulate ops of a module; only convolutions have constant weights here."""
    kinds = ("conv2d", "depthwise_conv2d", "transpose_conv2d")
    return [MacOp(op.name, op.kind, module.constant(op, 1)) for op in module.ops() if op.kind in kinds]


def check_reload(path: pathlib.Path, folder: pathlib.Path) -> None:
    """A reload derives the written multipliers; cut off or rounded to nearest they are the narrowed ones."""
    original = path.read_bytes()
    layers = litert_layers(original)
    for bits in (1, 3):
        patches = [fold(layer, bits) for layer in layers]
        written = write_litert(original, patches)
        module = converted(written, folder)
        assert [layer.name for layer in match_layers(layers, ops_of(module))] == [layer.name for layer in layers]
        by_name = {layer.name.split(";")[0]: patch for layer, patch in zip(layers, patches, strict=True)}
        seen = 0
        for rescale in module.rescales():
            patch = by_name.get(rescale.name.split(";")[0])
            if patch is None or rescale.input_bits != 32 or not rescale.per_channel:
                continue
            dropped = 31 - bits
            np.testing.assert_array_equal(rescale.multiplier >> dropped, patch.multiplier)
            np.testing.assert_array_equal((rescale.multiplier + (1 << (dropped - 1))) >> dropped, patch.multiplier)
            np.testing.assert_array_equal(rescale.shift - dropped, patch.shift)
            seen += 1
        assert seen == len(layers)


def test_reload_of_the_demo_gives_the_same_multipliers(demo_model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    check_reload(demo_model, tmp_path)


@pytest.mark.parametrize(
    "name", ["efficientnet_lite0_int8", "mobilenet_v1_0.25_128_uint8", "resnet8_cifar10_int8", "keyword_spotting_int8"]
)
def test_reload_of_real_models_gives_the_same_multipliers(
    name: str, shared_models: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    check_reload(shared_models / f"{name}.tflite", tmp_path)


@pytest.mark.parametrize("name", ["tcn", "tcn_int16x8", "deeplab"])
def test_activation_functions_cut_off_in_the_file_as_in_the_module(name: str, tmp_path: pathlib.Path) -> None:
    """Their limits follow from scales: where a type ends before them, what is left of them does not move in proportion."""
    pytest.importorskip("tensorflow")
    from zoo_networks import ZOO

    original = tmp_path / f"{name}.tflite"
    original.write_bytes(ZOO[name]())
    shifts = tr.load(original).compensate(1, scope="all", calibration="none")
    written = tr.load(shifts.save(tmp_path / "shifts.tflite", allow_partial=True))

    def bounds(model: tr.Model) -> list[tuple[int, int]]:
        module = model.module()
        return [(module.attribute(op, "min_val"), module.attribute(op, "max_val")) for op in module.ops() if op.kind == "clamp"]

    assert bounds(written) == bounds(shifts)
