# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Comparing results bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .module import TensorSpec


@dataclass(frozen=True)
class Comparison:
    """How two integer arrays differ.

    Attributes:
        values: number of elements compared.
        mismatches: number of elements that differ.
        max_lsb: largest absolute difference, in steps of the last bit.
        mean_lsb: mean absolute difference over all elements.
        histogram: how often each difference `actual - expected` occurs, equal elements included.

    """

    values: int
    mismatches: int
    max_lsb: int
    mean_lsb: float
    histogram: Mapping[int, int]

    @property
    def exact(self) -> bool:
        """Whether no element differs."""
        return self.mismatches == 0

    def __add__(self, other: Comparison) -> Comparison:
        """Joins the figures of two sets of elements; in whatever order parts are joined, the result is the same."""
        values = self.values + other.values
        histogram = dict(self.histogram)
        for difference, count in other.histogram.items():
            histogram[difference] = histogram.get(difference, 0) + count
        total = sum(abs(difference) * count for difference, count in histogram.items())  # integers: means would be rounded
        return Comparison(
            values,
            self.mismatches + other.mismatches,
            max(self.max_lsb, other.max_lsb),
            total / values if values else 0.0,
            dict(sorted(histogram.items())),
        )


def compare(actual: np.ndarray, expected: np.ndarray) -> Comparison:
    """Compares two integer arrays element by element.

    Args:
        actual: integers of any shape.
        expected: integers of the same shape; signed and unsigned types may meet, values count.

    Returns:
        The figures.

    Raises:
        ValueError: shapes differ, or an array does not hold integers.

    """
    if actual.shape != expected.shape:
        raise ValueError(f"requires equal shapes, got {list(actual.shape)} and {list(expected.shape)}")
    for array in (actual, expected):
        if array.dtype.kind not in "iub":
            raise ValueError(f"requires integers, got {array.dtype}")
    difference = actual.astype(np.int64) - expected.astype(np.int64)
    steps, counts = np.unique(difference, return_counts=True)
    absolute = np.abs(steps)
    return Comparison(
        values=difference.size,
        mismatches=int(counts[steps != 0].sum()),
        max_lsb=int(absolute.max(initial=0)),
        mean_lsb=float((absolute * counts).sum() / difference.size) if difference.size else 0.0,
        histogram={int(step): int(count) for step, count in zip(steps, counts, strict=True)},
    )


def compare_all(actual: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> Comparison:
    """Compares two sequences of arrays, such as all outputs of a model, and joins the figures.

    Raises:
        ValueError: the lengths differ, or see `compare`.

    """
    if len(actual) != len(expected):
        raise ValueError(f"requires equally many arrays, got {len(actual)} and {len(expected)}")
    total = Comparison(0, 0, 0, 0.0, {})
    for one, other in zip(actual, expected, strict=True):
        total = total + compare(one, other)
    return total


def first_difference(
    specs: Sequence[TensorSpec], actual: Sequence[np.ndarray], expected: Sequence[np.ndarray]
) -> tuple[TensorSpec, Comparison] | None:
    """Finds where two runs of one graph part.

    Args:
        specs: what the arrays are, in the order in which the graph computes them, such as `Executable.outputs` of a
            build whose taps are all rescales.
        actual: arrays of one run.
        expected: arrays of the other.

    Returns:
        The first spec whose arrays differ, with the figures; None when none differs.

    Raises:
        ValueError: the lengths differ, or see `compare`.

    """
    for spec, one, other in zip(specs, actual, expected, strict=True):
        found = compare(one, other)
        if not found.exact:
            return spec, found
    return None
