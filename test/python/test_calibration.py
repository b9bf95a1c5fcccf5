# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Input statistics against a direct sum over the specification's loops, and synthetic inputs."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import tosa_rescale as tr
from op_cases import op_module
from runtime_modules import tensor
from tosa_rescale.core.errors import DataError
from tosa_rescale.core.options import CompensateOptions, Scope
from tosa_rescale.core.program import InputSpec
from tosa_rescale.data.synthetic import synthetic_inputs
from tosa_rescale.rewrite.calibration import InputStatistics, LayerStatistics, Measure, leading_factors
from tosa_rescale.rewrite.compensate import Compensator
from tosa_rescale.rewrite.geometry import Geometry
from tosa_rescale.rewrite.observe import observe
from tosa_rescale_runtime import Executable, Tap


def conv_values(x: np.ndarray, g: Geometry) -> np.ndarray:
    """For each output position and tap the input value it multiplies, by the loops of TOSA CONV2D: [OH, OW, KH, KW, C].

    In three dimensions the loops of CONV3D: [OD, OH, OW, KD, KH, KW, C].
    """
    count = len(g.kernel)
    values = np.zeros((*g.output, *g.kernel, x.shape[-1]))
    for index in np.ndindex(*g.output, *g.kernel):
        place = tuple(
            o * stride - before + k * dilation
            for o, k, stride, before, dilation in zip(
                index[:count], index[count:], g.stride, g.pad[::2], g.dilation, strict=True
            )
        )
        if all(0 <= i < extent for i, extent in zip(place, x.shape, strict=False)):
            values[index] = x[place]
    return values


def transposed_values(x: np.ndarray, g: Geometry) -> np.ndarray:
    """The same by the loops of TOSA TRANSPOSE_CONV2D."""
    values = np.zeros((*g.output, *g.kernel, x.shape[2]))
    for iy, ix, ky, kx in np.ndindex(x.shape[0], x.shape[1], *g.kernel):
        oy, ox = iy * g.stride[0] + g.pad[0] + ky, ix * g.stride[1] + g.pad[2] + kx
        if 0 <= oy < g.output[0] and 0 <= ox < g.output[1]:
            values[oy, ox, ky, kx] = x[iy, ix]
    return values


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry("conv2d", (3, 3), (1, 1, 1, 1), (1, 1), (1, 1), (6, 7)),
        Geometry("conv2d", (3, 2), (0, 1, 1, 0), (2, 3), (1, 1), (3, 3)),
        Geometry("depthwise_conv2d", (2, 3), (1, 1, 2, 2), (1, 1), (2, 2), (6, 7)),
        Geometry("conv2d", (1, 1), (0, 0, 0, 0), (2, 2), (1, 1), (3, 4)),
        Geometry("conv3d", (2, 3, 2), (1, 0, 0, 1, 2, 1), (1, 2, 1), (1, 1, 2), (3, 3, 4)),
        Geometry("transpose_conv2d", (3, 3), (0, 0, 0, 0), (2, 2), (1, 1), (13, 15)),
        Geometry("transpose_conv2d", (2, 3), (-1, -1, 0, -1), (2, 1), (1, 1), (10, 8)),
    ],
)
def test_planes_are_what_the_specifications_loops_read(geometry: Geometry) -> None:
    size = (3, 6, 5) if geometry.kind == "conv3d" else (6, 7)
    x = np.random.default_rng(0).integers(-128, 128, (2, *size, 3)).astype(np.float64)
    expected = np.stack(
        [(transposed_values if geometry.kind == "transpose_conv2d" else conv_values)(each, geometry) for each in x]
    )
    # A batch, and one sample of it.
    count = len(geometry.kernel)
    assert (np.stack(geometry.planes(x), count + 1).reshape(expected.shape) == expected).all()
    assert (np.stack(geometry.planes(x[1]), count).reshape(expected.shape[1:]) == expected[1]).all()


def test_statistics_of_every_layer_match_a_direct_sum(demo_model: pathlib.Path) -> None:
    model = tr.load(demo_model)
    inputs = model.random_inputs(5)
    module = model.module()
    observer = InputStatistics(module)
    observe(model, [observer], inputs)
    observer.write(module)
    layers = [layer.op for layer in module.mac_layers()]
    seen = Executable.build(model.bytecode, taps=[Tap(op.key, operand=0) for op in layers]).run_many(*inputs)[1:]
    assert len(layers) == 11
    for op, x in zip(layers, seen, strict=True):
        geometry, zero_point = Geometry.of(module, op), module.constant(op, 3)
        assert zero_point is not None
        values = np.stack([conv_values(sample.astype(np.float64) - int(zero_point[0]), geometry) for sample in x])
        rows = values.reshape(-1, values.shape[-3] * values.shape[-2], values.shape[-1])  # [positions, T, C]
        mean, square, factors = (
            np.array(module.attribute(op, f"tosa_rescale.input_{name}")) for name in ("mean", "square", "factors")
        )
        shape = (*geometry.kernel, rows.shape[2])
        np.testing.assert_allclose(mean, rows.mean(0).reshape(shape), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(square, np.square(rows).mean(0).reshape(shape), rtol=1e-5)
        if op.kind == "depthwise_conv2d":
            assert factors.shape == (rows.shape[2], 8, rows.shape[1])
        else:
            flat = rows.reshape(len(rows), -1)
            # Eight factors explain at least what the best eight directions do, up to the choice of rows.
            moments = flat.T @ flat / len(flat)
            best = np.sort(np.linalg.eigvalsh(moments))[::-1][:8].sum()
            assert np.square(factors).sum() >= 0.9 * best


def statistics(kind: str, x: np.ndarray, weights: np.ndarray, given: str, output: tuple[int, ...]) -> LayerStatistics:
    """What calibration writes on one layer, its inputs being the samples x [N, B, ..., C]."""
    element = {"int8": "i8", "int16": "i16"}[str(x.dtype)]
    acc = "i32" if element == "i8" else "i48"
    extra = [("i8", weights), (acc, np.zeros(len(weights), np.int64)), (element, np.array([5 if acc == "i32" else 0], x.dtype))]
    operands: list[Any] = [*extra, ("i8", np.zeros(1, np.int8))]
    module = op_module(kind, [(element, x.shape[1:])], operands, f"acc_type = {acc}, {given}", tensor(output, acc))
    op = next(op for op in module.ops() if op.kind == kind)
    measure = Measure(module, op)
    for sample in x:
        measure.add(sample)
    return measure.result()


def test_all_rows_of_a_layers_own_batch_count() -> None:
    # A transformer's linear layer: conv2d over [tokens, 1, 1, C]. Each token stands out in one channel.
    rng = np.random.default_rng(3)
    for dtype, low, high, zero_point in ((np.int8, -128, 127, 5), (np.int16, -32768, 32767, 0)):
        x = rng.integers(low, high, (4, 6, 1, 1, 6), dtype, endpoint=True)
        x[:, np.arange(6), 0, 0, np.arange(6)] = high  # squares beyond 16 and 24 bits
        x[0, 0, 0, 0, 1:] = low  # less a zero point of 5 this leaves int8
        given = "pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>"
        weights = rng.integers(-127, 128, (2, 1, 1, 6)).astype(np.int8)
        found = statistics("conv2d", x, weights, given, (6, 1, 1, 2))
        rows = x.reshape(-1, 6).astype(np.float64) - zero_point
        np.testing.assert_array_equal(found.mean, rows.mean(0).astype(np.float32).reshape(1, 1, 6))
        # 24 rows of 6 columns: the second moments are known.
        assert found.moment is not None and found.square is None and found.factors is None
        np.testing.assert_allclose(found.moment, rows.T @ rows / len(rows), rtol=1e-5)


def test_fewer_rows_than_columns_give_squares_and_factors() -> None:
    rng = np.random.default_rng(5)
    given = "pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>"
    weights = rng.integers(-127, 128, (2, 1, 1, 12)).astype(np.int8)
    for samples, known in ((1, False), (2, True), (3, True)):
        x = rng.integers(-32768, 32767, (samples, 6, 1, 1, 12), np.int16, endpoint=True)
        found = statistics("conv2d", x, weights, given, (6, 1, 1, 2))
        rows = x.reshape(-1, 12).astype(np.float64)
        if known:
            assert found.moment is not None
            np.testing.assert_allclose(found.moment, rows.T @ rows / len(rows), rtol=1e-4, atol=1e3)
        else:
            assert found.square is not None and found.factors is not None and found.moment is None
            np.testing.assert_array_equal(found.square, np.square(rows).mean(0).astype(np.float32).reshape(1, 1, 12))
            # Six rows have six directions, and eight factors are all of them.
            np.testing.assert_allclose(found.factors.T @ found.factors, rows.T @ rows / len(rows), rtol=1e-3, atol=1e5)


def test_a_three_dimensional_convolution_is_calibrated() -> None:
    rng = np.random.default_rng(4)
    x = rng.integers(-128, 127, (3, 1, 3, 6, 5, 2), np.int8, endpoint=True)
    weights = rng.integers(-127, 128, (3, 2, 3, 2, 2)).astype(np.int8)
    geometry = Geometry("conv3d", (2, 3, 2), (1, 0, 0, 1, 2, 1), (1, 2, 1), (1, 1, 2), (3, 3, 6))
    given = "pad = array<i64: 1, 0, 0, 1, 2, 1>, stride = array<i64: 1, 2, 1>, dilation = array<i64: 1, 1, 2>"
    found = statistics("conv3d", x, weights, given, (1, 3, 3, 6, 3))
    assert found.square is not None and found.factors is not None
    values = np.stack([conv_values(each.astype(np.float64) - 5, geometry) for each in x.reshape(-1, 3, 6, 5, 2)])
    rows = values.reshape(-1, 2 * 3 * 2 * 2)
    np.testing.assert_array_equal(found.mean, rows.mean(0).astype(np.float32).reshape(2, 3, 2, 2))
    np.testing.assert_array_equal(found.square, np.square(rows).mean(0).astype(np.float32).reshape(2, 3, 2, 2))
    assert found.factors.shape == (8, 24)
    assert np.square(found.factors).sum() < np.square(rows).mean(0).sum()


def test_factors_are_the_leading_ones() -> None:
    rng = np.random.default_rng(1)
    rows = (rng.standard_normal((4000, 3)) * [5, 3, 2]) @ np.linalg.qr(rng.standard_normal((100, 3)))[0].T
    found = leading_factors(rows.astype(np.float32))
    np.testing.assert_allclose(found.T @ found, rows.T @ rows / len(rows), atol=1e-3)


def test_calibration_without_samples_is_an_error(demo_model: pathlib.Path) -> None:
    with pytest.raises(DataError, match="there are no samples; give at least one"):
        observe(tr.load(demo_model), [], [np.zeros((0, 8, 8, 1), np.int8)])


def test_a_calibration_that_failed_is_not_taken_for_one(demo_model: pathlib.Path) -> None:
    compensator = Compensator(tr.load(demo_model), [np.zeros((0, 8, 8, 1), np.int8)])
    for options in (CompensateOptions(bits=1), CompensateOptions(bits=1, scope=Scope.ALL), CompensateOptions(bits=1)):
        with pytest.raises(DataError, match="there are no samples; give at least one"):
            compensator.compensate(options)


@pytest.mark.parametrize("shape", [(24, 32, 3), (1, 1, 1), (49, 10, 1), (40,), (3, 5, 7, 2)])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_synthetic_inputs_span_the_type_and_depend_on_the_seed_alone(shape: tuple[int, ...], dtype: str) -> None:
    spec = InputSpec(shape, np.dtype(dtype), None)
    first, again, other = (synthetic_inputs(spec, 8, seed) for seed in (0, 0, 1))
    assert first.shape == (8, *shape) and first.dtype == dtype
    assert (first == again).all() and (first != other).any()
    assert (synthetic_inputs(spec, 3) == first[:3]).all()
    if np.prod(shape) > 1000:
        limits = np.iinfo(dtype)
        span = int(limits.max) - int(limits.min)
        assert int(first.max()) - int(first.min()) > 0.95 * span
