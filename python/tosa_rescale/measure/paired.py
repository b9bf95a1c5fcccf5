# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Bounds of a loss that is counted sample by sample: how often the reference is right and the model wrong, and the reverse."""

from __future__ import annotations

import math
from collections.abc import Callable


def paired_loss_bounds(worse: int, better: int, samples: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of the loss that hold for every number of samples.

    Each of the two shares has its exact bounds (Clopper and Pearson, Biometrika 26, 1934), at half of what the confidence
    leaves, so that both hold at once; the loss lies between their differences.

    Args:
        worse: samples that the reference has right and the model wrong.
        better: the reverse.
        samples: all of them.
        confidence: that both bounds hold.

    Returns:
        (low, high) in points of per cent; negative where the model may be the better one.
    """
    tail = (1 - confidence) / 4
    (low, high), (low_better, high_better) = (share_bounds(count, samples, tail) for count in (worse, better))
    return 100 * (low - high_better), 100 * (high - low_better)


def share_bounds(count: int, samples: int, tail: float) -> tuple[float, float]:
    """Exact bounds of a share: below the lower one `count` or more, above the upper one `count` or fewer, has at most
    the probability `tail`.
    """
    low = 0.0 if count == 0 else _root(lambda p: 1 - _at_most(count - 1, samples, p) - tail)
    high = 1.0 if count == samples else _root(lambda p: tail - _at_most(count, samples, p))
    return low, high


def _at_most(count: int, samples: int, share: float) -> float:
    """Probability of at most `count` of `samples`."""
    if share <= 0 or share >= 1:
        return float(share <= 0 or count >= samples)
    total = math.lgamma(samples + 1)
    logs = (
        total - math.lgamma(i + 1) - math.lgamma(samples - i + 1) + i * math.log(share) + (samples - i) * math.log1p(-share)
        for i in range(count + 1)
    )
    return min(1.0, math.fsum(map(math.exp, logs)))


def _root(rising: Callable[[float], float]) -> float:
    """Where a rising function on 0..1 passes 0, to float precision."""
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2
