# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exact bounds: their coverage by going through every outcome, and what is known of them in closed form."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from tosa_rescale.core.statistics import (
    ERROR,
    _most_losses,
    _order,
    paired_loss_bounds,
    paired_loss_upper,
    proportion_lower,
    proportion_upper,
    samples_that_decide,
)


@functools.cache
def outcomes(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Every (losses, gains), and how many sequences of samples have them: int64 [N, 2], float64 [N]."""
    pairs = [(b, c) for b in range(samples + 1) for c in range(samples + 1 - b)]
    ways = [math.comb(samples, b) * math.comb(samples - b, c) for b, c in pairs]
    return np.array(pairs), np.array(ways, float)


@pytest.mark.parametrize("error", [0.05, 0.0125])
@pytest.mark.parametrize("samples", [1, 2, 5, 9, 14, 25])
def test_the_bound_holds_as_often_as_it_says(samples: int, error: float) -> None:
    """For true rates of losses and gains on a fine grid: the probability of the outcomes whose bound is below the truth."""
    pairs, ways = outcomes(samples)
    bounds = np.array([paired_loss_upper(int(b), int(c), samples, error) for b, c in pairs])
    worst = 0.0
    grid = np.linspace(0, 1, 81)
    for lost in grid:
        for gained in grid[grid <= 1 - lost + 1e-12]:
            alike = max(0.0, 1 - lost - gained)
            chances = ways * lost ** pairs[:, 0] * gained ** pairs[:, 1] * alike ** (samples - pairs.sum(1))
            assert chances.sum() == pytest.approx(1)
            worst = max(worst, chances[bounds < lost - gained - 1e-9].sum())
    assert worst <= error
    if samples > 5:
        assert worst > 0.5 * error  # and is not held by being useless


def test_a_bound_with_half_the_counts_would_fail() -> None:
    """The check above can fail: the standard error of the normal distribution covers less than it says."""
    samples = 25
    pairs, ways = outcomes(samples)
    b, c = pairs.T
    bounds = (b - c) / samples + 1.645 * np.sqrt(np.maximum(b + c - (b - c) ** 2 / samples, 0)) / samples
    lost = 0.02
    chances = ways * lost**b * 0.0**c * (1 - lost) ** (samples - b - c)
    assert chances[bounds < lost].sum() > 0.5  # no loss seen in 25 samples, most of the time


@pytest.mark.parametrize("samples", [3, 12, 40])
def test_more_losses_mean_a_larger_bound_and_more_gains_a_smaller_one(samples: int) -> None:
    bounds = {(b, c): paired_loss_upper(b, c, samples) for b in range(samples + 1) for c in range(samples + 1 - b)}
    slack = 2e-3 / samples  # what the search for the root is good to
    for (b, c), bound in bounds.items():
        assert (b - c) / samples <= bound <= 1
        assert bound <= bounds.get((b + 1, c), 1.0) + slack
        assert bounds.get((b, c + 1), -1.0) <= bound + slack


@pytest.mark.parametrize("samples", [20, 600])
def test_without_any_difference_it_is_the_rule_of_three(samples: int) -> None:
    low, high = paired_loss_bounds(0, 0, samples)
    assert low == -high
    assert 1 - ERROR ** (1 / samples) <= high <= 1 - (0.97 * ERROR) ** (1 / samples)


def test_many_samples_agree_with_the_normal_distribution() -> None:
    for losses, gains, samples in ((200, 200, 10_000), (500, 480, 50_000), (900, 100, 20_000)):
        variance = losses + gains - (losses - gains) ** 2 / samples
        normal = (losses - gains + 1.645 * math.sqrt(variance)) / samples
        assert paired_loss_upper(losses, gains, samples) == pytest.approx(normal, rel=0.02)


def test_the_order_is_inverted_exactly() -> None:
    gains = np.arange(0, 40)
    for losses in range(0, 40, 9):
        for other in range(0, 40, 9):
            limit = _order(losses, other)
            most = _most_losses(gains, limit)
            expected = [max((b for b in range(150) if _order(b, int(c)) <= limit), default=-1) for c in gains]
            assert most.tolist() == expected


def test_a_proportion_is_bounded_as_the_binomial_distribution_has_it() -> None:
    for count, samples in ((0, 20), (3, 20), (20, 20), (7, 500)):
        upper, lower = proportion_upper(count, samples), proportion_lower(count, samples)

        def below(p: float, most: int, n: int = samples) -> float:
            return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(most + 1))

        if count < samples:
            assert below(upper, count) == pytest.approx(ERROR)
        else:
            assert upper == 1
        if count:
            assert 1 - below(lower, count - 1) == pytest.approx(ERROR)
        else:
            assert lower == 0


def test_the_samples_that_decide() -> None:
    assert samples_that_decide(0, 0, 20, 0.005) in range(598, 630)  # ln(0.05) / ln(0.995) = 598, rounded up
    need = samples_that_decide(5, 5, 500, 0.005)
    assert need is not None
    assert paired_loss_upper(round(need / 100), round(need / 100), need) <= 0.005
    assert paired_loss_upper(round(0.9 * need / 100), round(0.9 * need / 100), round(0.9 * need)) > 0.005
    # It may as well be decided that the loss is larger than allowed.
    many = samples_that_decide(3, 0, 20, 0.005)
    assert many is not None
    assert many < 60
    assert samples_that_decide(9, 4, 1000, 0.005) is None  # the loss is the budget itself
