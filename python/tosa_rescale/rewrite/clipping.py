# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ranges of activations: what it would cost to cut them off, measured in the integer executable and written on the ops.

A tensor whose values leave most of their type unused may have a smaller scale, and is then rounded more finely; one whose
values fill it loses the outermost. The attribute `tosa_rescale.clipping_errors` of a rescale, float32 [N], tells which: element
i is the mean of (x - clip(x, low * f, high * f))^2 with f = 2^(-i / 8), over all values x of its result less the zero point;
low and high are the limits of the type less the zero point. `tosa-rescale-align` reads and removes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tosa_rescale.core.attributes import CLIPPING_ERRORS
from tosa_rescale.rewrite.observe import narrow_results

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module

STEPS_PER_OCTAVE = 8  # as kClippingSteps of the pass
OCTAVES = 1  # few samples do not show every large value, and below half a step rounding is no longer what limits


class Ranges:
    """How often each rescale to 8 or 16 bits makes which value; an observer of `observe`.

    Args:
        module: the model that is observed.

    Attributes:
        taps: the results of the rescales.
    """

    def __init__(self, module: Module) -> None:
        from tosa_rescale_runtime import Tap

        self._rescales = narrow_results(module)
        self.taps = [Tap(each.key) for each in self._rescales]
        self._histograms = [np.zeros(1 << each.output_bits, np.int64) for each in self._rescales]

    def add(self, seen: Sequence[np.ndarray]) -> None:
        """Adds one sample: the result of each rescale."""
        for histogram, result in zip(self._histograms, seen, strict=True):
            # By the bits as they are stored: that spares a copy eight times as large.
            histogram += np.bincount(result.reshape(-1).view(f"u{result.itemsize}"), minlength=len(histogram))

    def write(self, module: Module) -> None:
        """Writes what cutting off costs on the rescales of the observed module, or of one with the same operations."""
        from tosa_rescale_runtime import type_limits

        ops = {op.key: op for op in module.ops()}
        for each, histogram in zip(self._rescales, self._histograms, strict=True):
            low, high = type_limits(each.output_bits, each.output_unsigned)
            assert each.output_zp is not None
            ordered = histogram if each.output_unsigned else np.roll(histogram, len(histogram) // 2)
            errors = clipping_errors(ordered, low - each.output_zp, high - each.output_zp)
            module.set_attribute(ops[each.key], CLIPPING_ERRORS, errors)


def clipping_errors(histogram: np.ndarray, low: int, high: int) -> np.ndarray:
    """Mean squared errors of cutting values off.

    Args:
        histogram: how often each of the values low, low + 1, ... high occurs, [high - low + 1].
        low, high: limits of the values less their zero point, low <= 0 <= high.

    Returns:
        float32 [N], element i for the limits times 2^(-i / 8).
    """
    # Nothing within half of the range is cut off, and most of 16 bits never occur.
    values = np.arange(low, high + 1, dtype=np.float64)
    outer = (histogram > 0) & ((values > high * 2.0**-OCTAVES) | (values < low * 2.0**-OCTAVES))
    values, counts = values[outer], histogram[outer]
    factors = 2.0 ** (-np.arange(OCTAVES * STEPS_PER_OCTAVE + 1) / STEPS_PER_OCTAVE)
    lost = [np.square(values - np.clip(values, low * factor, high * factor)) @ counts for factor in factors]
    return np.asarray(lost, np.float32) / max(int(histogram.sum()), 1)
