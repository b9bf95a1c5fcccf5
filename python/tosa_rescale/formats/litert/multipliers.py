# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Multipliers from scales and scales from multipliers, as LiteRT and the TOSA converter compute them."""

from __future__ import annotations

import numpy as np

from tosa_rescale.core.errors import ModelError

MAX_SCALE_EXCESS = 2.0**-22
"""Greatest relative excess of a multiplier read back from a written file: one step of float32 at its coarsest is 2^-23, the
runtime's own rounding to 31 bits adds to it."""


def is_normal(scale: np.ndarray | float) -> bool:
    """Whether scales are normal float32 numbers above 0: of others LiteRT derives no multiplier."""
    limits, scale = np.finfo(np.float32), np.asarray(scale)
    return bool(np.all((scale >= limits.tiny) & (scale <= limits.max)))


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
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # scales of tensors that were calibrated to 0
        ideal = wanted * np.float64(np.float32(output_scale)) / np.float64(np.float32(input_scale))
    limits = np.finfo(np.float32)
    if not np.all((ideal > limits.tiny) & (ideal < limits.max)):
        bad = ideal[~((ideal > limits.tiny) & (ideal < limits.max))][0]
        remedy = "keep the channel's multiplier"
        for side, scale in (("input", input_scale), ("output", output_scale)):
            if not is_normal(float(np.float32(scale))):
                remedy = f"its {side} has the scale {scale:g}: calibrate the original with samples that are not all 0 there"
        raise ModelError(f"weight scale {bad:g} is outside float32's range [{limits.tiny:g}, {limits.max:g}]; {remedy}")
    scale = np.nextafter(ideal.astype(np.float32), np.float32(0))
    for _ in range(4):  # conversion and three double roundings move it by less than 2 steps
        scale = np.where(implied_multiplier(scale, input_scale, output_scale) < wanted, np.nextafter(scale, limits.max), scale)
    return scale.astype(np.float32)
