# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Means of other numbers of values than powers of two as layers with constant weights: normalizations of LiteRT files."""

from __future__ import annotations

import functools
import math
import pathlib
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import tosa_rescale as tr

pytest.importorskip("tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import networks
    import tensorflow as tf
    from networks import schema

from runtime_modules import RescaleCase, function, rescale, tensor
from test_islands import layer_norms
from tosa_rescale.formats.litert.means import MeanLayout
from tosa_rescale.formats.litert.pools import weights_of_a_mean

Op = schema.BuiltinOperator
Network = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def centred(x: tf.Tensor, shape: Sequence[int], axes: Sequence[int], keeps: bool = True) -> dict[str, tf.Tensor]:
    """Values of one shape less their mean over some axes, between two layers: a circle of multipliers."""
    y = tf.reshape(networks._dense(x, 0, math.prod(shape)), (-1, *shape))
    mean = tf.reduce_mean(y, axes, keepdims=keeps)
    if not keeps:
        mean = tf.reshape(mean, [-1, *(1 if axis + 1 in axes else n for axis, n in enumerate(shape))])
    return {"y": networks._dense(tf.reshape(y - mean, (-1, math.prod(shape))), 1, 5)}


# Shape without the batch, axes, and whether these stay as extents of 1: behind other dimensions, in front of them, one or two
# next to each other, in front and behind, as those of a group normalization.
CENTRED = [
    ((12,), (1,), True),
    ((3, 6), (2,), False),
    ((3, 4), (1,), True),
    ((3, 5, 4), (1, 2), True),
    ((3, 5, 4), (1, 2), False),
    ((2, 3, 5), (2, 3), True),
    ((3, 2, 2, 5), (1, 2, 4), True),
]


def read(folder: pathlib.Path, network: Network, shape: Sequence[int | None], activations: str = "int8") -> tr.Model:
    path = folder / "network.tflite"
    path.write_bytes(networks.convert(network, {"x": shape}, activations, activations))
    return tr.load(path)


def wide(model: tr.Model, bits: int = 1) -> int:
    return sum(each.bits > bits for each in model.info())


def narrowed(model: tr.Model, weighted: bool, bits: int = 1) -> tr.Model:
    return model.compensate(bits, scope="all", calibration="none", weighted_means=weighted)


def count(model: tr.Model, kind: str) -> int:
    return sum(op.kind == kind for op in model.module().ops())


def require_same_everywhere(model: tr.Model, folder: pathlib.Path) -> None:
    """IREE and the twin agree, and what a reader makes of the file is the module again."""
    assert model.check(8).bit_exact
    back = tr.load(model.save(folder / "back.tflite", force=True))
    assert back.signature == model.signature
    x = model.random_inputs(32)
    # A reader rounds twice; with the module's rounding it is the module.
    assert np.array_equal(back.narrow(1, scope="all")(*x), model(*x))


@pytest.mark.parametrize(("width", "rank"), [(5, 2), (12, 3), (96, 2)])
def test_a_layer_normalization_keeps_no_multiplier(tmp_path: pathlib.Path, width: int, rank: int) -> None:
    model = read(tmp_path, functools.partial(layer_norms, width=width), [1, 4, 6][3 - rank :])
    plain, made = narrowed(model, False), narrowed(model, True)
    assert (wide(plain), wide(made)) == (2, 0)
    assert all(f"the mean of {width} values" in each.text for each in plain.remarks if "contradict" in each.text)
    assert not any("contradict" in each.text for each in made.remarks)
    # Nothing but what stood in the way: the mean of squares is on no circle.
    assert count(plain, "reduce_sum") - count(made, "reduce_sum") == 1 == count(made, "conv2d") - count(plain, "conv2d")
    require_same_everywhere(made, tmp_path)


def test_kernels_of_litert_take_the_mean_that_the_module_takes(tmp_path: pathlib.Path) -> None:
    """Up to the mean nothing is added, where LiteRT rounds in a way of its own: what is left is ties."""
    model = read(tmp_path, functools.partial(layer_norms, width=12), (1, 4, 6))
    graph = networks.unpack((tmp_path / "network.tflite").read_bytes())
    mean = next(each for each in graph.subgraphs[0].operators if graph.operatorCodes[each.opcodeIndex].builtinCode == Op.MEAN)
    name = graph.subgraphs[0].tensors[int(mean.outputs[0])].name
    path = narrowed(model, True).save(tmp_path / "back.tflite")
    cut = networks.unpack(path.read_bytes())
    cut.subgraphs[0].outputs = [position for position, each in enumerate(cut.subgraphs[0].tensors) if each.name == name]
    cut.signatureDefs = []
    written = tr.load(path, until=name.decode())
    assert count(written, "conv2d") == 2 and count(written, "reduce_sum") == 0
    (x,) = written.random_inputs(64)
    kernels = np.stack([networks.run_litert(networks.pack(cut), [each.reshape(1, 4, 6)])[0] for each in x])
    found = written(x).astype(int).reshape(kernels.shape)
    assert np.abs(found - kernels).max() <= 1 and np.mean(found != kernels) < 0.05


def test_a_root_mean_square_is_narrow_without_weights(tmp_path: pathlib.Path) -> None:
    model = read(tmp_path, functools.partial(layer_norms, width=12, square=True), (4, 6))
    made = narrowed(model, True)
    assert wide(made) == 0 and count(made, "reduce_sum") == 2
    require_same_everywhere(made, tmp_path)


@pytest.mark.parametrize(("shape", "axes", "keeps"), CENTRED)
def test_means_over_any_axes(tmp_path: pathlib.Path, shape: tuple[int, ...], axes: tuple[int, ...], keeps: bool) -> None:
    model = read(tmp_path, functools.partial(centred, shape=shape, axes=axes, keeps=keeps), (1, 6))
    plain, made = narrowed(model, False), narrowed(model, True)
    assert (wide(plain) > 0, wide(made), count(made, "reduce_sum")) == (True, 0, 0)
    require_same_everywhere(made, tmp_path)


def test_a_batch_that_is_open_stays_open(tmp_path: pathlib.Path) -> None:
    model = read(tmp_path, functools.partial(centred, shape=(3, 2, 2, 5), axes=(1, 2, 4)), (None, 6))
    made = narrowed(model, True)
    data = made.save(tmp_path / "back.tflite").read_bytes()
    draw = np.random.default_rng(0).integers(-128, 128, (3, 6), np.int8)
    (together,) = networks.run_litert(data, [draw])
    one_by_one = [networks.run_litert(data, [each[None]])[0] for each in draw]
    assert np.array_equal(together, np.concatenate(one_by_one))
    require_same_everywhere(made, tmp_path)


def test_sixteen_bits(tmp_path: pathlib.Path) -> None:
    model = read(tmp_path, functools.partial(centred, shape=(12,), axes=(1,)), (1, 6), "int16")
    plain, made = narrowed(model, False), narrowed(model, True)
    assert (wide(plain) > 0, wide(made)) == (True, 0)
    require_same_everywhere(made, tmp_path)


def test_means_stay_where_their_multiplier_may_be_wide(tmp_path: pathlib.Path) -> None:
    model = read(tmp_path, functools.partial(centred, shape=(12,), axes=(1,)), (1, 6))
    made = narrowed(model, True, bits=31)
    assert count(made, "reduce_sum") == count(model, "reduce_sum") == 1


# -- one mean, between an input and an output of the graph ---------------------------------------------------------------


def alone(shape: tuple[int, ...], axes: tuple[int, ...], ratio: float, element: str = "i8", zero_point: int = 0) -> str:
    """A module of one mean, multiplied with `ratio`."""
    number = math.prod(shape[axis] for axis in axes)
    factor, exponent = math.frexp(ratio / number)
    body = rescale("wide", "x", shape, RescaleCase(element, "i32", (1 << 30,), (30,), input_zp=zero_point))
    before, extents = "wide", list(shape)
    for axis in axes:
        given = tensor(tuple(extents), "i32")
        extents[axis] = 1
        kinds = f"({given}) -> {tensor(tuple(extents), 'i32')}"
        body += f'    %sum{axis} = "tosa.reduce_sum"(%{before}) <{{axis = {axis} : i32}}> : {kinds}\n'
        before = f"sum{axis}"
    case = RescaleCase("i32", element, (round(factor * 2**31),), (31 - exponent,), output_zp=zero_point)
    body += rescale("y", before, tuple(extents), case)
    return function([("x", tensor(shape, element))], body, [("y", tensor(tuple(extents), element))])


ALONE = [((4, 5), (1,)), ((2, 7, 3), (1,)), ((2, 3, 5, 4), (1, 2)), ((2, 3, 2, 5), (1, 3)), ((3, 100), (1,))]


@pytest.mark.parametrize(("element", "zero_point"), [("i8", -77), ("i8", 127), ("i16", 0)])
@pytest.mark.parametrize("ratio", [1.0, 1.7])
@pytest.mark.parametrize(("shape", "axes"), ALONE)
def test_a_mean_is_within_its_bound(
    tmp_path: pathlib.Path, shape: tuple[int, ...], axes: tuple[int, ...], ratio: float, element: str, zero_point: int
) -> None:
    (tmp_path / "mean.mlir").write_text(alone(shape, axes, ratio, element, zero_point))
    made = narrowed(tr.load(tmp_path / "mean.mlir"), True)
    assert wide(made) == 0 and count(made, "reduce_sum") == 0
    limits = np.iinfo(np.int8 if element == "i8" else np.int16)
    x = np.random.default_rng(0).integers(limits.min, limits.max + 1, (64, *shape)).astype(limits.dtype)
    x[:8] = x[:8].reshape(8, -1)[:, 0].reshape(8, *[1] * len(shape))  # equal values
    found = made(x).astype(int)
    values = np.moveaxis(x.astype(int) - zero_point, [axis + 1 for axis in axes], range(-len(axes), 0))
    values = values.reshape(*values.shape[: -len(axes)], -1)
    number = values.shape[-1]
    # The largest sum of weights up to 127 behind which a shift is left.
    shift = math.floor(math.log2(127 * number / ratio))
    total = round(ratio * 2**shift)
    weights = np.diff(np.arange(number + 1) * total // number)
    assert total <= 127 * number and weights.max() <= 127 and np.ptp(weights) <= 1
    exact = ((values * weights).sum(-1) + (1 << (shift - 1))) >> shift
    clipped = np.clip(exact + zero_point, limits.min, limits.max)
    assert np.array_equal(found.reshape(clipped.shape), clipped)
    mean = values.mean(-1)
    bound = ratio * (np.ptp(values, axis=-1) / 254 + np.abs(mean) / (127 * number)) + 0.5
    assert (np.abs(exact - ratio * mean) <= bound + 1e-9).all()


@pytest.mark.parametrize("number", [*range(1, 200), 768, 4095, 65537])
def test_weights_of_a_mean_are_nearly_even(number: int) -> None:
    """What docs/alignment.md says: the worst that a mean can move by is 1/254 of what its values span."""
    weights, shift = weights_of_a_mean(number)
    assert weights.sum() == 2**shift and weights.max() <= 127
    miss = np.abs(weights / 2**shift - 1 / number).sum() / 2  # half of it pulls up, half down
    assert miss <= 1 / 254 + 1e-12


@pytest.mark.parametrize(
    ("shape", "reduced", "expected"),
    [
        ((1, 4, 12), {2}, MeanLayout(None, 4, (12, 1), 1)),
        ((2, 3, 5, 4), {1, 2}, MeanLayout(None, 2, (3, 5), 4)),
        ((2, 3, 4), {1}, MeanLayout(None, 2, (3, 1), 4)),
        ((2, 3, 1, 4), {1, 2}, MeanLayout(None, 2, (3, 1), 4)),
        ((1, 3, 2, 2, 5), {1, 2, 4}, MeanLayout((0, 3, 1, 2, 4), 2, (30, 1), 1)),
        ((1, 3, 1, 5), {1, 3}, MeanLayout(None, 1, (15, 1), 1)),
    ],
)
def test_layouts(shape: tuple[int, ...], reduced: set[int], expected: MeanLayout) -> None:
    assert MeanLayout.of(shape, reduced) == expected


def as_uint8(data: bytes) -> bytes:
    """A network of int8 as one of uint8, with one scale for all weights of a layer, as old converters wrote them."""
    model = networks.unpack(data)
    graph, types = model.subgraphs[0], schema.TensorType
    layers = {position for position, each in enumerate(model.operatorCodes) if each.builtinCode == Op.FULLY_CONNECTED}
    for operator in graph.operators:
        if operator.opcodeIndex in layers:
            x, weights, bias = (graph.tensors[int(index)] for index in operator.inputs)
            scales = np.asarray(weights.quantization.scale, np.float64)
            for tensor, kind, given in ((weights, np.int8, scales[:, None]), (bias, np.int32, scales)):
                value = np.frombuffer(bytes(model.buffers[tensor.buffer].data), kind).reshape(tensor.shape)
                value = np.round(value * given / scales.max()).astype(kind)
                model.buffers[tensor.buffer].data = np.frombuffer(value.tobytes(), np.uint8)
                tensor.quantization.zeroPoint = np.zeros(1, np.int64)
            weights.quantization.scale = np.array([scales.max()], np.float32)
            bias.quantization.scale = np.array([scales.max() * x.quantization.scale[0]], np.float32)
    for tensor in graph.tensors:
        if tensor.type == types.INT8:
            tensor.type = types.UINT8
            tensor.quantization.zeroPoint = np.asarray(tensor.quantization.zeroPoint) + 128
            if (value := model.buffers[tensor.buffer].data) is not None:
                model.buffers[tensor.buffer].data = np.asarray(value, np.uint8) ^ np.uint8(128)
    return networks.pack(model)


@pytest.mark.parametrize(("shape", "axes", "keeps"), [((12,), (1,), True), ((3, 5, 4), (1, 2), True)])
def test_means_of_uint8_files(tmp_path: pathlib.Path, shape: tuple[int, ...], axes: tuple[int, ...], keeps: bool) -> None:
    network = functools.partial(centred, shape=shape, axes=axes, keeps=keeps)
    path = tmp_path / "network.tflite"
    path.write_bytes(as_uint8(networks.convert(network, {"x": (1, 6)}, "int8")))
    model = tr.load(path)
    assert model.signature.inputs[0].dtype == np.uint8
    plain, made = narrowed(model, False), narrowed(model, True)
    assert wide(plain) > wide(made) == 0 and count(plain, "reduce_sum") > count(made, "reduce_sum")
    assert made.check(8).bit_exact
    back = tr.load(made.save(tmp_path / "back.tflite"))
    assert back.signature == model.signature
    x = model.random_inputs(64)
    assert np.array_equal(back.narrow(1, scope="all")(*x), made(*x))
    # LiteRT's kernels of the file that is written: a wrong zero point would be off by many steps.
    data = (tmp_path / "back.tflite").read_bytes()
    kernels = np.concatenate([networks.run_litert(data, [each])[0] for each in x[0].reshape(64, 1, 6)])
    assert np.abs(np.asarray(made(*x), int) - kernels).max() <= 2


@pytest.mark.parametrize(("shape", "axes"), [((12,), (1,)), ((5, 4), (1,)), ((3, 5), (1, 2))])
def test_sums_between_an_input_and_an_output(tmp_path: pathlib.Path, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    """Both scales are the border's: nothing but weights makes the multiplier narrow."""
    model = read(tmp_path, lambda x: {"y": tf.reduce_sum(x, axes, keepdims=True)}, (1, *shape))
    plain, made = narrowed(model, False), narrowed(model, True)
    assert (wide(plain), wide(made)) == (1, 0) and count(made, "reduce_sum") == 0
    require_same_everywhere(made, tmp_path)
    assert model.quantization is not None
    (given,), (result,) = model.quantization.inputs, model.quantization.outputs
    (x,) = model.random_inputs(64)
    values = (x.astype(np.float64) - given.zero_point) * given.scale / result.scale
    exact, off = (np.clip(f(values, axes).reshape(np.shape(made(x))) + result.zero_point, -128, 127) for f in (np.sum, _far))
    # Of n weights that are two neighbouring numbers from 64 on, none is more than one in 64 from their mean.
    assert np.abs(made(x) - exact).max() <= np.abs(values).sum(axes).max() / 64 + 0.5
    assert np.abs(off - exact).max() > 8  # a sum that leaves one value out would be found


def _far(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.sum(values, axes) - values.reshape(len(values), -1)[:, :1].reshape(-1, *[1] * (values.ndim - len(axes) - 1))


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_sums_are_multiplied_once_as_kernels_do(tmp_path: pathlib.Path, activations: str) -> None:
    """LiteRT's kernel adds up integers: its converter to TOSA multiplies before and behind, and rounds in between.

    NumPy's sums are the oracle: the reference kernels of LiteRT 2.3 overflow in SUM.
    """

    def network(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.reduce_sum(x, (1,))}

    model = read(tmp_path, network, (1, 11, 4), activations)
    first, last = model.info()
    assert first.power_of_two and first.op != last.op
    assert model.quantization is not None
    (given,), (result,) = model.quantization.inputs, model.quantization.outputs
    (x,) = model.random_inputs(256)
    limits = np.iinfo(x.dtype)
    sums = (x.astype(np.int64) - given.zero_point).sum(1)
    factor, exponent = np.frexp(given.scale / result.scale)
    high = np.floor(sums * 2.0 ** max(exponent, 0) * factor + 0.5)  # kernels round twice
    nearest = np.sign(high) * np.floor(np.abs(high) * 2.0 ** min(exponent, 0) + 0.5)
    np.testing.assert_array_equal(model(x), np.clip(nearest + result.zero_point, limits.min, limits.max))
