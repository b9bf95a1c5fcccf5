# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Input statistics against a direct sum over the specification's loops, and synthetic inputs."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tosa_rescale as tr
from tosa_rescale.core.errors import DataError
from tosa_rescale.data.synthetic import synthetic_inputs
from tosa_rescale.rewrite.calibration import Geometry, calibrate, leading_factors
from tosa_rescale_runtime import Executable, Tap


def conv_values(x: np.ndarray, g: Geometry) -> np.ndarray:
    """For each output position and tap the input value it multiplies, by the loops of TOSA CONV2D: [OH, OW, KH, KW, C]."""
    values = np.zeros((*g.output, *g.kernel, x.shape[2]))
    for oy, ox, ky, kx in np.ndindex(*g.output, *g.kernel):
        iy = oy * g.stride[0] - g.pad[0] + ky * g.dilation[0]
        ix = ox * g.stride[1] - g.pad[2] + kx * g.dilation[1]
        if 0 <= iy < x.shape[0] and 0 <= ix < x.shape[1]:
            values[oy, ox, ky, kx] = x[iy, ix]
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
        Geometry("transpose_conv2d", (3, 3), (0, 0, 0, 0), (2, 2), (1, 1), (13, 15)),
        Geometry("transpose_conv2d", (2, 3), (-1, -1, 0, -1), (2, 1), (1, 1), (10, 8)),
    ],
)
def test_planes_are_what_the_specifications_loops_read(geometry: Geometry) -> None:
    x = np.random.default_rng(0).integers(-128, 128, (6, 7, 3)).astype(np.float64)
    expected = (transposed_values if geometry.kind == "transpose_conv2d" else conv_values)(x, geometry)
    planes = np.stack(geometry.planes(x), 2).reshape(expected.shape)
    assert (planes == expected).all()


def test_statistics_of_every_layer_match_a_direct_sum(demo_model: pathlib.Path) -> None:
    model = tr.load(demo_model)
    inputs = model.random_inputs(5)
    module = calibrate(model, inputs)
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


def test_factors_are_the_leading_ones() -> None:
    rng = np.random.default_rng(1)
    rows = (rng.standard_normal((4000, 3)) * [5, 3, 2]) @ np.linalg.qr(rng.standard_normal((100, 3)))[0].T
    found = leading_factors(rows.astype(np.float32))
    np.testing.assert_allclose(found.T @ found, rows.T @ rows / len(rows), atol=1e-3)


def test_calibration_without_samples_is_an_error(demo_model: pathlib.Path) -> None:
    with pytest.raises(DataError, match="there are no samples; give at least one"):
        calibrate(tr.load(demo_model), [np.zeros((0, 8, 8, 1), np.int8)])


@pytest.mark.parametrize("shape", [(24, 32, 3), (1, 1, 1), (49, 10, 1), (40,), (3, 5, 7, 2)])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_synthetic_inputs_span_the_type_and_depend_on_the_seed_alone(shape: tuple[int, ...], dtype: str) -> None:
    first, again, other = (synthetic_inputs(shape, np.dtype(dtype), 8, seed) for seed in (0, 0, 1))
    assert first.shape == (8, *shape) and first.dtype == dtype
    assert (first == again).all() and (first != other).any()
    assert (synthetic_inputs(shape, np.dtype(dtype), 3) == first[:3]).all()
    if np.prod(shape) > 1000:
        limits = np.iinfo(dtype)
        span = int(limits.max) - int(limits.min)
        assert int(first.max()) - int(first.min()) > 0.95 * span
