# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a finite number of samples proves: exact confidence bounds of proportions, and of the difference of two paired ones.

Two models that run on the same samples differ only where one of them is right and the other wrong. Let b be the samples
that the first has right and the second wrong, c the samples the other way round: the loss is (b - c) / n, and its bounds
come from the trinomial distribution of b, c and the rest.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

ERROR = 0.05
"""Probability that a bound is wrong, where nothing else is asked for: 95 % confidence."""

_NUISANCE_ERROR = 0.02  # of the error, what the interval of the rate of gains takes
_NUISANCE_POINTS = 33  # in that interval, about 7 standard errors wide: every fifth of one
_MOST_SAMPLES = 1_000_000


def proportion_upper(count: int, samples: int, error: float = ERROR) -> float:
    """The upper bound of a probability (Clopper and Pearson, "The use of confidence or fiducial limits", 1934).

    Args:
        count: samples where it happened.
        samples: all samples.
        error: probability that the bound is below the true value, at most.
    """
    from scipy.special import betaincinv

    return 1.0 if count >= samples else float(betaincinv(count + 1, samples - count, 1 - error))


def proportion_lower(count: int, samples: int, error: float = ERROR) -> float:
    """The lower bound of a probability; see proportion_upper."""
    return 1.0 - proportion_upper(samples - count, samples, error)


def paired_loss_bounds(losses: int, gains: int, samples: int, error: float = ERROR) -> tuple[float, float]:
    """Lower and upper bound of a loss between paired samples, each wrong with probability `error` at most.

    Args:
        losses: samples that the reference has right and the model wrong.
        gains: samples that the reference has wrong and the model right.
        samples: all samples.
        error: of each bound.

    Returns:
        Bounds of the loss as a fraction of all samples, -1 to 1.
    """
    return -paired_loss_upper(gains, losses, samples, error), paired_loss_upper(losses, gains, samples, error)


@functools.lru_cache(maxsize=4096)
def paired_loss_upper(losses: int, gains: int, samples: int, error: float = ERROR) -> float:
    """The upper bound of a loss between paired samples.

    It is the Buehler bound for outcomes ordered by `_order` (Buehler, "Confidence intervals for the product of two binomial
    parameters", 1957; for paired proportions: Lloyd and Moldovan, "Exact one-sided confidence limits for the difference
    between two correlated proportions", 2007): the largest loss at which an outcome that speaks for as small a loss as the
    one seen, or for a smaller one, has more than the probability `error`. The unknown rate of gains takes its worst value
    within a confidence interval of its own, whose error is subtracted (Berger and Boos, "P values maximized over a
    confidence set for the nuisance parameter", 1994).

    Args:
        losses: samples that the reference has right and the model wrong.
        gains: samples that the reference has wrong and the model right.
        samples: all samples.
        error: probability that the bound is below the true loss, at most.

    Returns:
        The bound as a fraction of all samples.
    """
    from scipy.optimize import brentq

    if losses >= samples:
        return 1.0
    spent = _NUISANCE_ERROR * error
    low, high = proportion_lower(gains, samples, spent / 2), proportion_upper(gains, samples, spent / 2)
    tail = _tail(losses, gains, samples, low, high)

    def excess(loss: float) -> float:
        return math.log(max(tail(loss), 1e-300)) - math.log(error - spent)

    top = 1 - 2 * low  # beyond it no rate of gains is possible
    if excess(top) >= 0:
        return top
    step = 1e-3 / samples
    width = 2 * (math.sqrt(losses + gains + 1) + 2) / samples
    near = float(_order(losses, gains)) / samples
    low, high = (near - width, near + width) if excess(near - width) > 0 > excess(near + width) else (-1.0, top)
    root: Any = brentq(excess, low, high, xtol=step)
    return min(1.0, float(root) + step)


def _tail(losses: int, gains: int, samples: int, low: float, high: float) -> Callable[[float], float]:
    """From a loss to the probability of outcomes that speak for as small a loss as the one seen, at the worst rate of gains.

    Falls with the loss: at a fixed rate of gains, a larger loss only moves samples from "both alike" to "lost", and what
    remains in the order below an outcome has fewer of these.
    """
    from scipy.special import bdtr, gammaln, xlog1py, xlogy

    reach = 9 * math.sqrt(samples * high) + 40
    others = np.arange(max(0, int(samples * low - reach)), min(samples, math.ceil(samples * high + reach)) + 1)
    left, ways = samples - others, gammaln(samples + 1) - gammaln(others + 1) - gammaln(samples - others + 1)
    most = _most_losses(others, _order(losses, gains))

    def chances(rates: np.ndarray) -> np.ndarray:
        """Of every number of gains, at every rate of them [R, 1]."""
        return np.exp(ways + xlogy(others, rates) + xlog1py(left, -rates))

    # Evenly spaced in the square root, in which the distribution is equally wide everywhere.
    rates = np.linspace(math.sqrt(low), math.sqrt(high), _NUISANCE_POINTS)[:, None] ** 2
    gained = chances(rates)

    def lost(loss: float, rates: np.ndarray) -> np.ndarray:
        # A rate of gains that is too small for this loss stands for the smaller loss that it allows, which is the worse one.
        share = np.clip((rates + loss) / np.maximum(1 - rates, 1e-300), 0.0, 1.0)
        return np.where(most < 0, 0.0, bdtr(np.clip(most, 0, left), left, share))

    def tail(loss: float) -> float:
        largest = (1 - loss) / 2  # then every sample is lost or gained
        if largest < low:
            return 0.0
        possible = rates[:, 0] <= largest
        found = [(gained[possible] * lost(loss, rates[possible])).sum(1)]
        if largest <= high:
            end = np.array([[largest]])
            found.append((chances(end) * lost(loss, end)).sum(1))
        return float(np.concatenate(found).max())

    return tail


_Z = 1.645  # of the approximate bound that orders the outcomes; exactness does not depend on it


def _order(losses: np.ndarray | int, gains: np.ndarray | int) -> np.ndarray | float:
    """An approximate bound of the loss, in samples: what orders the outcomes. Grows with losses, falls with gains."""
    return losses - gains + _Z * np.sqrt(np.add(losses, gains) + 1.0)


def _most_losses(gains: np.ndarray, limit: float | np.ndarray) -> np.ndarray:
    """For each number of gains, the most losses at which `_order` does not exceed the limit; -1 where none does."""
    # With x = losses + gains + 1: x - 2 gains - 1 + z sqrt(x) <= limit, a quadratic inequality in sqrt(x).
    room = np.maximum(_Z**2 + 4 * (limit + 2 * gains + 1), 0.0)
    root = np.maximum((-_Z + np.sqrt(room)) / 2, 0.0)
    most = np.floor(root**2 - gains - 1).astype(np.int64)
    # The quotient may be rounded either way; the order itself decides.
    most = np.where(_order(np.maximum(most + 1, 0), gains) <= limit, most + 1, most)
    most = np.where((most >= 0) & (_order(np.maximum(most, 0), gains) > limit), most - 1, most)
    return np.maximum(most, -1)


@functools.lru_cache(maxsize=4096)
def samples_that_decide(losses: int, gains: int, samples: int, budget: float, error: float = ERROR) -> int | None:
    """About how many samples decide whether a loss is within a budget, if losses and gains stay as frequent as they are.

    Args:
        losses, gains, samples: what was counted.
        budget: the loss that is allowed, as a fraction.
        error: of the bounds.

    Returns:
        All samples needed, those at hand among them, rounded up to two digits; None where a million is too few.
    """
    distance = abs((losses - gains) / samples - budget)
    if losses + gains and (losses + gains) / samples * _Z**2 > distance**2 * _MOST_SAMPLES:  # as the normal distribution has it
        return None

    def decided(count: int) -> bool:
        scale = count / samples
        lost, won = round(losses * scale), round(gains * scale)
        if lost - won <= budget * count:
            return paired_loss_upper(lost, won, count, error) <= budget
        return -paired_loss_upper(won, lost, count, error) > budget

    low, high = samples, 2 * samples
    while not decided(high):
        low, high = high, 2 * high
        if high > _MOST_SAMPLES:
            return None
    while high - low > max(1, high // 30):
        middle = (low + high) // 2
        low, high = (low, middle) if decided(middle) else (middle, high)
    unit = 10 ** max(0, len(str(high)) - 2)
    return math.ceil(high / unit) * unit
