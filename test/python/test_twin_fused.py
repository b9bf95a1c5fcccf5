# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A MAC layer with its rescale in one: against Python's integers at every sum of products, and against autodiff op by op."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from tosa_rescale_runtime import type_limits

pytest.importorskip("tensorflow")

from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.fused import WAYS, fused, fused_way
from tosa_rescale.twin.scaling import Scale, rescaled
from tosa_rescale.twin.values import FLOAT32_EXACT, Accumulation, Bounds, Numbers

NUMBERS = Numbers(reference=False)


@dataclasses.dataclass(eq=False)
class Fixed:
    """Weights of one for each channel: the inputs are the sums of products."""

    biases: np.ndarray
    channels: int

    def __post_init__(self) -> None:
        self.kernel_variable = tf.Variable(tf.ones([self.channels]))
        self.bias_variable = tf.Variable(self.biases.astype(np.float64))

    def kernel(self) -> Any:
        return tf.convert_to_tensor(self.kernel_variable)

    def bias(self) -> Any:
        return tf.convert_to_tensor(self.bias_variable)

    def beside_kernel(self, by_channel: np.ndarray) -> np.ndarray:
        return by_channel

    def bounds(self, low: int, high: int) -> Bounds:
        ends = (np.full(self.channels, end, np.int64) for end in (low, high))
        return Bounds(*ends, *(np.broadcast_to(self.biases, self.channels).astype(np.int64) for _ in range(2)))


def layer(sums: np.ndarray, biases: np.ndarray) -> tuple[Fixed, Accumulation]:
    """A layer that gets these sums, int64 [N, C]."""
    weights = Fixed(biases, sums.shape[1])
    bounds = weights.bounds(min(int(sums.min()), 0), max(int(sums.max()), 0))
    return weights, Accumulation(tf.constant(sums, tf.float32), lambda x, kernel: x * kernel, weights, bounds)


def expected(sums: np.ndarray, biases: np.ndarray, scale: Scale, zero_point: int, limits: tuple[int, int]) -> np.ndarray:
    """The specification's formula in integers of any width."""
    m, s, b = (np.broadcast_to(a, sums.shape[1]).astype(object) for a in (scale.multiplier, scale.shift, biases))
    results = ((sums.astype(object) + b) * m + (1 << (s - 1))) >> s
    return np.clip(results + zero_point, *limits).astype(np.int64)


def channels(rng: np.random.Generator, bits: int) -> tuple[Scale, np.ndarray, int]:
    """Multipliers of at most this width, with biases from none to those of dead channels; and the largest sum."""
    count, largest = rng.integers(1, 5), int(rng.integers(12, 25))
    multiplier = rng.integers(0 if rng.random() < 0.1 else 1 << (bits - 1), 1 << bits, count) << (31 - bits)
    # Most results fill 4 to 12 bits: then some saturate, and some do not.
    shift = 30 + largest - rng.integers(4, 13, count)
    biases = [
        int(rng.integers(-(1 << size), 1 << size)) for size in rng.choice([4, 10, largest, 30], count, p=[0.5, 0.2, 0.2, 0.1])
    ]
    return Scale(multiplier, shift), np.array(biases, np.int64), 1 << largest


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8, 12, 31])
@pytest.mark.parametrize("kind", [(8, False), (8, True), (16, False)])
def test_the_result_is_the_integers_wherever_a_way_is_proven(bits: int, kind: tuple[int, bool]) -> None:
    rng = np.random.default_rng(bits)
    ways = [one_drawn_layer(rng, bits, kind) for _ in range(30)]
    assert len(set(ways)) > 1


def one_drawn_layer(rng: np.random.Generator, bits: int, kind: tuple[int, bool]) -> str | None:
    """Compares one layer's results with the specification's; returns the way it was computed."""
    scale, biases, limit = channels(rng, bits)
    limits = type_limits(*kind)
    zero_point = int(rng.integers(-128, 128)) + (128 if kind[1] else 0)
    bottom, top = limits[0] - zero_point, limits[1] - zero_point
    columns = []
    for m, s, b in zip(scale.multiplier.tolist(), scale.shift.tolist(), biases.tolist(), strict=True):
        # Where a result changes is where a rounding would show.
        places = [0, limit, -limit, *(sign * (1 << e) for e in range(25) for sign in (1, -1))]
        if m:
            steps = {bottom - 1, bottom, top, top + 1, *rng.integers(bottom, top, 300).tolist()}
            places += [((v << s) - (1 << (s - 1))) // m - b for v in steps]
        near = np.array([p + d for p in places for d in range(-1, 3) if abs(p + d) <= limit])
        columns.append(np.resize(np.concatenate([near, rng.integers(-limit, limit, 200)]), 2000))
    sums = np.stack(columns, 1)
    _, made = layer(sums, biases)
    found = fused(NUMBERS, made, scale, zero_point, limits)
    way = fused_way(made.bounds, scale, bottom, top)
    assert (found is None) == (way is None)
    if found is None:
        return way
    wanted = expected(sums, biases, scale, zero_point, limits)
    np.testing.assert_array_equal(found.tensor.numpy().astype(np.int64) + zero_point, wanted, way)
    assert found.low <= wanted.min() and wanted.max() <= found.high
    return way


def test_each_way_is_taken_where_it_is_the_fastest() -> None:
    def way(m: int, s: int, reach: int, bias: int = 0) -> str | None:
        sums, biases = np.array([[-reach], [reach]]), np.array([bias])
        return fused_way(layer(sums, biases)[1].bounds, Scale(np.array([m]), np.array([s])), -128, 127)

    assert way(1 << 30, 42, FLOAT32_EXACT) == "folded"
    # Four bits and 2^24 do not fit, but what they give saturates.
    assert way(11 << 27, 42, FLOAT32_EXACT // 16) == "folded"
    assert way(11 << 27, 42, FLOAT32_EXACT) == "float32"
    assert way(0x9B << 23, 46, FLOAT32_EXACT) == "float64"
    assert way((1 << 31) - 1, 42, FLOAT32_EXACT) is None
    # A channel that its bias holds at the limit needs no exactness; one that it may leave does.
    assert way(11 << 27, 42, 1000, 1 << 29) == "folded"
    assert way(11 << 27, 54, FLOAT32_EXACT, 1 << 25) == "float64"


def test_double_rounding_at_large_shifts_goes_op_by_op() -> None:
    _, made = layer(np.array([[-1000], [1000]]), np.array([5]))
    assert fused(NUMBERS, made, Scale(np.array([1 << 30]), np.array([40]), True), 0, (-128, 127)) is None
    assert fused(NUMBERS, made, Scale(np.array([1 << 30]), np.array([31]), True), 0, (-128, 127)) is not None


@pytest.mark.parametrize("width", [1, 4, 8])
@pytest.mark.parametrize("one_bias", [False, True])
def test_gradients_are_those_of_the_ops_one_by_one(width: int, one_bias: bool) -> None:
    rng = np.random.default_rng(width)
    sums = rng.integers(-30000, 30000, (64, 3))
    biases = rng.integers(-3000, 3000, 1 if one_bias else 3)
    scale = Scale(rng.integers(1 << (width - 1), 1 << width, 3) << (31 - width), np.array([36, 37, 38]))
    upstream = tf.constant(rng.normal(size=sums.shape), tf.float32)
    weights, made = layer(sums, biases)
    assert fused_way(made.bounds, scale, -120, 135) in WAYS
    found = []
    for one in (True, False):
        with tf.GradientTape() as tape:
            tape.watch(made.x)
            if one:
                value = fused(NUMBERS, made, scale, -8, (-128, 127))
            else:
                total = made.convolve(made.x, weights.kernel()) + tf.cast(weights.bias(), tf.float32)
                value = rescaled(NUMBERS, total, -33000, 33000, scale, -8, (-128, 127))
            assert value is not None
            loss = tf.reduce_sum(value.tensor * upstream)
        found.append(tape.gradient(loss, [made.x, weights.kernel_variable, weights.bias_variable]))
    saturated = np.isin(value.tensor.numpy() - 8, (-128, 127))
    assert saturated.any() and not saturated.all()
    for fast, plain in zip(*found, strict=True):
        assert fast.dtype == plain.dtype and fast.shape == plain.shape
        np.testing.assert_allclose(fast.numpy(), plain.numpy(), rtol=1e-5, atol=1e-4)
