# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A MAC layer and the rescale behind it as one, with as few passes over the tensor as exactness allows.

Op by op the accumulators get the bias, are multiplied, rounded and cut off. Here it is floor(y*M + (b*M + 1/2)), y the sum of
products without bias. Each channel's range says how this is exact:

- `folded`: y*odd fits float32, odd being the multiplier's odd part; then M goes into the weights, which are few, and the
  convolution gives y*M. With one significant bit this needs no more room than the convolution itself.
- `float32`: y*M and the sum are exact wherever the result does not saturate. Beyond, a float may round; but rounding keeps
  order, and the accumulators next to the range are exact and saturate, so all behind them do too.
- `float64`: everything is exact.

Where none holds there is nothing to fuse, and the twin goes op by op, as its reference mode always does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.scaling import Scale, saturated, where_kept
from tosa_rescale.twin.values import FLOAT32_EXACT, FLOAT64_EXACT, Accumulation, Bounds, Numbers, Value, cast

WAYS = ("folded", "float32", "float64")
"""From the fastest to the slowest."""


def fused_way(bounds: Bounds, scale: Scale, bottom: int, top: int) -> str | None:
    """How to compute a layer with its rescale.

    Args:
        bounds: what sums and biases may be.
        scale: multipliers and shifts, [C] or [1].
        bottom, top: limits of the result without zero point.

    Returns:
        One of `WAYS`; None where nothing is proven.
    """
    if (scale.double_round & (scale.shift > 31)).any():
        return None
    channels = bounds.channels
    limit = max(bounds.partial, -bounds.least, bounds.most)
    cuts = [np.broadcast_to(each, channels).tolist() for each in scale.saturating(bottom, top, limit)]
    each = (scale.multiplier, scale.shift, bounds.low, bounds.high, bounds.bias_low, bounds.bias_high)
    worst = 0
    for m, s, low, high, bias_low, bias_high, below, above in zip(
        *(np.broadcast_to(array, channels).tolist() for array in each), *cuts, strict=True
    ):
        zeros = min((m & -m).bit_length() - 1, s - 1) if m else s - 1
        odd, half = m >> zeros, 1 << (s - zeros - 1)
        largest = max(-low, high)
        bias = max(-bias_low, bias_high)
        least, most = max(low + bias_low, below), min(high + bias_high, above)
        # Sums whose result may lie within the limits, and those next to them.
        near = min(max(abs(below - bias_high), abs(above - bias_low)), largest)
        needed = max(near * odd, bias * odd + half, max(abs(least), abs(most)) * odd + half)
        if needed <= FLOAT32_EXACT or _always_saturates(m, s, (low, high), (bias_low, bias_high), bottom, top):
            found = 0 if largest * odd <= FLOAT32_EXACT else 1
        elif max(needed, largest * odd) <= FLOAT64_EXACT:
            found = 2
        else:
            return None
        worst = max(worst, found)
    return WAYS[worst]


def _always_saturates(m: int, s: int, sums: tuple[int, int], biases: tuple[int, int], bottom: int, top: int) -> bool:
    """Whether floats give the same limit at both ends of the range, and by their order in between; as the integers do."""
    real = np.ldexp(float(m), -s)
    lows, highs = (
        [
            (y + b) * m + (1 << (s - 1)) >> s,
            *(int(np.floor(t(y) * t(real) + t(b * real + 0.5))) for t in (np.float32, np.float64)),
        ]
        for y, b in zip(sums, biases, strict=True)
    )
    return max(highs) <= bottom or min(lows) >= top


def fused(numbers: Numbers, made: Accumulation, scale: Scale, zero_point: int, limits: tuple[int, int]) -> Value | None:
    """A layer with its rescale; see `scaling.rescaled`.

    Args:
        numbers: which float types to use.
        made: how the accumulators came about.
        scale: multipliers and shifts.
        zero_point: added last; the value carries it as its offset.
        limits: of the result's type; what is outside saturates.

    Returns:
        The result; None where this has to go op by op.
    """
    bottom, top = limits[0] - zero_point, limits[1] - zero_point
    if numbers.reference or max(-bottom, top) >= FLOAT32_EXACT:
        return None
    bounds, weights = made.bounds, made.weights
    way = fused_way(bounds, scale, bottom, top)
    if way is None:
        return None
    least, most = scale.ends(bounds.low + bounds.bias_low, bounds.high + bounds.bias_high)
    saturates = least < bottom or most > top
    result = saturated((least, most), bottom, top)
    real = scale.real.reshape(-1)
    factor = real[0] if real.size == 1 else real
    beside_kernel = tf.constant(weights.beside_kernel(real), tf.float32)
    dtype = tf.float64 if way == "float64" else tf.float32

    @tf.custom_gradient
    def apply(x: Any, kernel: Any, addend: Any) -> Any:
        if way == "folded":
            y = made.convolve(x, kernel * beside_kernel)
        else:
            y = cast(made.convolve(x, kernel), dtype) * tf.constant(factor, dtype)
        # Rounding to float32 keeps order and the limits of 8- and 16-bit types, so it may come before saturation.
        y = cast(tf.floor(y + cast(addend, dtype)), tf.float32)
        clipped = tf.clip_by_value(y, float(bottom), float(top)) if saturates else y
        kept = tf.equal(y, clipped) if saturates else None

        def gradient(upstream: Any) -> Any:
            d = upstream if kept is None else where_kept(kept, upstream)
            # M comes in with the weights again. What is convolved here for its gradients' sake is never computed.
            with tf.GradientTape() as tape:
                tape.watch([x, kernel])
                unused = made.convolve(x, kernel * beside_kernel)
            by_addend = cast(_by_channel(d), addend.dtype)
            if addend.shape[0] == 1:
                by_addend = tf.reduce_sum(by_addend, keepdims=True)
            return *tape.gradient(unused, [x, kernel], d), by_addend

        return clipped, gradient

    addend = weights.bias() * tf.constant(real, tf.float64) + 0.5
    return Value(apply(made.x, weights.kernel(), addend), result[0] + zero_point, result[1] + zero_point, zero_point)


def _by_channel(tensor: Any) -> Any:
    """Sums over all dimensions but the last: [C]. As a product of matrices it is three times as fast as a reduction."""
    rows = tf.reshape(tensor, [-1, tensor.shape[-1]])
    return tf.matmul(tf.ones([1, tf.shape(rows)[0]], rows.dtype), rows)[0]
