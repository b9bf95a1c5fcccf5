# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One rescale, exact forwards in floating point, `d * M` where it does not saturate backwards.

The specification asks for floor((a*m + r) / 2^s) with r = 2^(s-1), and with DOUBLE_ROUND, where s > 31, r +- 2^30 by the
sign of a. How this is computed depends on what the ranges prove; each way is exact:

- `float32`, `float64`: floor(a*M + r/2^s) with M = m * 2^-s. M is m's odd part times a power of two, so a*M is exact as
  long as |a| * odd part fits the significand, and so is the sum, whose last place is 2^-s too (trailing zeros of m
  taken off s). Where results saturate a product may round: rounding keeps order, so they saturate all the same.
- `split`: m = h*2^16 + l; floor((a*h + floor((a*l + r) / 2^16)) / 2^(s-16)), every intermediate below 2^53.
- `integer`: 64-bit integers, as the specification writes it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.values import FLOAT32_EXACT, FLOAT64_EXACT, Numbers, Value, cast

_SPLIT = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Scale:
    """Multipliers and shifts, each an int64 array that broadcasts to the tensor's last dimensions.

    Attributes:
        multiplier, shift: as in the op.
        double_round: DOUBLE_ROUND.
    """

    multiplier: np.ndarray
    shift: np.ndarray
    double_round: bool = False

    def apply(self, value: int) -> list[int]:
        """The result for one accumulator and every multiplier, in Python's integers: no width limits it."""
        results = []
        for m, s in zip(self.multiplier.reshape(-1).tolist(), self.shift.reshape(-1).tolist(), strict=True):
            rounding = 1 << (s - 1)
            if self.double_round and s > 31:
                rounding += (1 << 30) if value >= 0 else -(1 << 30)
            results.append((value * m + rounding) >> s)
        return results

    def ends(self, low: np.ndarray, high: np.ndarray) -> tuple[int, int]:
        """The least and the largest result, for accumulators in low..high of each channel; int64 [C]."""
        channels = np.broadcast_shapes(low.shape, self.multiplier.reshape(-1).shape)
        results = []
        for m, s, least, most in zip(
            *(np.broadcast_to(a.reshape(-1), channels).tolist() for a in (self.multiplier, self.shift, low, high)), strict=True
        ):
            one = Scale(np.array([m]), np.array([s]), self.double_round)
            results += one.apply(least) + one.apply(most)
        return min(results), max(results)

    @property
    def real(self) -> np.ndarray:
        """M, float64."""
        return np.ldexp(self.multiplier.astype(np.float64), -self.shift)

    def saturating(self, bottom: int, top: int, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Accumulators beyond which nothing changes: the result is below bottom, or above top, there already.

        Args:
            bottom, top: limits of the result without zero point; bottom <= 0 <= top.
            limit: no accumulator is larger in magnitude; nor are the results.

        Returns:
            For each multiplier the highest accumulator whose result lies below bottom, and the lowest whose result lies
            above top, or the limit; int64, of the multipliers' shape.
        """
        lows, highs = [], []
        for m, s in zip(self.multiplier.reshape(-1).tolist(), self.shift.reshape(-1).tolist(), strict=True):
            rounding, twice = 1 << (s - 1), 1 << 30 if self.double_round and s > 31 else 0
            low = ((bottom << s) - 1 - rounding - twice) // m if m else -limit
            high = -((rounding - twice - ((top + 1) << s)) // m) if m else limit
            lows.append(max(low, -limit))
            highs.append(min(high, limit))
        shape = self.multiplier.shape
        return np.array(lows, np.int64).reshape(shape), np.array(highs, np.int64).reshape(shape)

    def way(self, limit: int | np.ndarray, reference: bool) -> str:
        """How to compute it for |a| <= limit, one or for each multiplier: float32, float64, split or integer."""
        worst = 0
        split = True
        limits = np.broadcast_to(limit, self.multiplier.shape).reshape(-1).tolist()
        for m, s, limit in zip(self.multiplier.reshape(-1).tolist(), self.shift.reshape(-1).tolist(), limits, strict=True):
            double = self.double_round and s > 31
            zeros = (m & -m).bit_length() - 1 if m else s
            zeros = min(zeros, s - 1, 30 if double else s)  # the last place of r must stay an integer
            worst = max(worst, limit * (m >> zeros) + (1 << (s - zeros - 1)) + ((1 << 30 - zeros) if double else 0))
            low = limit * ((1 << _SPLIT) - 1) + (1 << (s - 1)) + (1 << 30)
            split &= s > _SPLIT and low < FLOAT64_EXACT and limit * (m >> _SPLIT) + (low >> _SPLIT) + 1 < FLOAT64_EXACT
        if worst <= FLOAT32_EXACT and not reference:
            return "float32"
        if worst <= FLOAT64_EXACT:
            return "float64"
        return "split" if split else "integer"


def _rounded(a: Any, scale: Scale, way: str) -> Any:
    """floor((a*m + r) / 2^s) as a float64 or float32 tensor."""
    m, s = scale.multiplier, scale.shift
    doubled = scale.double_round & (s > 31)
    sign = None

    def constant(array: np.ndarray) -> Any:
        # A scalar broadcasts faster than an array of one element.
        return tf.constant(array.reshape(-1)[0] if array.size == 1 else array, dtype)

    def rounding(base: np.ndarray, extra: np.ndarray) -> Any:
        if sign is None:
            return constant(base)
        return tf.where(sign, constant(base + extra), constant(base - extra))

    if way == "integer":
        dtype = tf.int64
        a = tf.cast(a, dtype)
        sign = a >= 0 if doubled.any() else None
        total = a * constant(m) + rounding(np.int64(1) << (s - 1), np.where(doubled, np.int64(1) << 30, 0))
        return tf.cast(tf.bitwise.right_shift(total, tf.broadcast_to(constant(s), tf.shape(total))), tf.float64)
    dtype = tf.float32 if way == "float32" else tf.float64
    a = cast(a, dtype)
    sign = a >= 0 if doubled.any() else None
    if way == "split":
        high, low = m >> _SPLIT, m & ((1 << _SPLIT) - 1)
        half = rounding(np.ldexp(1.0, s - 1), np.where(doubled, np.ldexp(1.0, 30), 0.0))
        carried = tf.floor((a * constant(low) + half) * 2.0**-_SPLIT)
        return tf.floor((a * constant(high) + carried) * constant(np.ldexp(1.0, _SPLIT - s)))
    return tf.floor(a * constant(scale.real) + rounding(np.full(s.shape, 0.5), np.where(doubled, np.ldexp(1.0, 30 - s), 0.0)))


def saturated(ends: tuple[int, int], bottom: int, top: int) -> tuple[int, int]:
    """A range of results after saturation; one point where everything saturates."""
    low, high = (min(max(end, bottom), top) for end in ends)
    return low, high


def where_kept(kept: Any, upstream: Any) -> Any:
    """The gradient where nothing saturated, else 0."""
    # A condition of the same shape as both branches is a fifth faster than one that broadcasts.
    return tf.raw_ops.Select(condition=kept, x=upstream, y=tf.zeros_like(upstream))


def rescaled(
    numbers: Numbers, tensor: Any, low: int, high: int, scale: Scale, zero_point: int, limits: tuple[int, int]
) -> Value:
    """Rescales integers.

    Args:
        numbers: which float types to use.
        tensor: float [N, ...], the accumulators less the input zero point.
        low, high: their range.
        scale: multipliers and shifts.
        zero_point: added last; the value carries it as its offset.
        limits: of the result's type; what is outside saturates.

    Returns:
        The result; its gradient is d * M where it does not saturate.
    """
    ends = scale.apply(low) + scale.apply(high)
    least, most = min(ends), max(ends)
    bottom, top = limits[0] - zero_point, limits[1] - zero_point
    saturates = least < bottom or most > top
    result = saturated((least, most), bottom, top)
    dtype = numbers.dtype(*result)
    way = scale.way(max(abs(low), abs(high)), numbers.reference)
    if way != "float32" and saturates and not numbers.reference:
        # Results that do not saturate are small, and then their products often fit float32.
        cut = scale.saturating(bottom, top, max(abs(low), abs(high)))
        if scale.way(np.maximum(-cut[0], cut[1]), False) == "float32":
            way = "float32"

    @tf.custom_gradient
    def apply(a: Any) -> Any:
        y = _rounded(a, scale, way)
        # Rounding to float32 keeps order and the limits of 8- and 16-bit types, so it may come before saturation.
        y = cast(y, dtype) if max(abs(bottom), abs(top)) < FLOAT32_EXACT else y
        clipped = tf.clip_by_value(y, tf.cast(bottom, y.dtype), tf.cast(top, y.dtype)) if saturates else y
        kept = tf.equal(y, clipped) if saturates else None

        def gradient(upstream: Any) -> Any:
            d = upstream * tf.constant(scale.real.reshape(-1)[0] if scale.real.size == 1 else scale.real, upstream.dtype)
            if kept is not None:
                d = where_kept(kept, d)
            return cast(d, a.dtype)

        return cast(clipped, dtype), gradient

    return Value(apply(tensor), result[0] + zero_point, result[1] + zero_point, zero_point)
