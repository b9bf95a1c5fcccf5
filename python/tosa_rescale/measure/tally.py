# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rows of metrics added up over parts of a data set, in any order, and the figures that follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tosa_rescale.core.errors import MetricError
from tosa_rescale.core.statistics import paired_loss_bounds, proportion_lower, proportion_upper
from tosa_rescale.measure.evaluation import MetricFigure
from tosa_rescale.measure.given import Given
from tosa_rescale.measure.metrics import Metric, Needs
from tosa_rescale.measure.own_metric import OwnRows, Whole

DRAWS = 1000  # of the samples, for bounds of a loss
DRAWN_AT_ONCE = 1 << 22  # numbers; bounds the memory
ERROR = 0.025  # of each bound of a loss, so that both hold at 95 %


@dataclasses.dataclass
class Tally:
    """Rows of one metric, of the model and of the reference.

    Attributes:
        metric: the metric.
        parts: position of a part's first sample to its rows: of the model, and of the reference, None without.
    """

    metric: Metric
    parts: dict[int, tuple[Any, Any]] = dataclasses.field(default_factory=dict)

    def add(self, start: int, given: Given) -> None:
        """Adds a part whose first sample is at `start`."""
        own = self.metric.rows(given)
        theirs = None
        if given.reference is not None:
            itself = given.reference.arrays is given.outputs.arrays
            theirs = own if itself else self.metric.rows(dataclasses.replace(given, outputs=given.reference))
        self.parts[start] = own, theirs

    def merge(self, other: Tally) -> None:
        """Adds what another process measured of other samples."""
        self.parts.update(other.parts)

    def rows(self) -> tuple[Any, Any]:
        """All rows in the order of the samples, of the model and of the reference: the same however they were cut."""
        ordered = [self.parts[start] for start in sorted(self.parts)]
        own, theirs = ([pair[i] for pair in ordered] for i in range(2))
        return _joined(own), None if theirs[0] is None else _joined(theirs)

    def figure(self) -> MetricFigure:
        """The metric's figure, and its loss against the reference with bounds."""
        own, theirs = self.rows()
        metric = self.metric
        value, tolerance = self._value(own), metric.tolerance
        base = None if theirs is None else self._value(theirs)
        if metric.scale_of_sums is not None:
            against = own if theirs is None else theirs
            tolerance = metric.tolerance * float(metric.scale_of_sums(against.sum(0, keepdims=True))[0])
        count = sum(len(part.parts[0][0]) for part in own) if isinstance(own, list) else len(own)
        loss = None if base is None else self._worse(base, value)
        low, high = (None, None) if theirs is None else self._bounds(own, theirs)
        return MetricFigure(metric.name, value, base, loss, low, high, metric.unit, metric.more_is_better, count, tolerance)

    def _worse(self, base: Any, value: Any) -> Any:
        return base - value if self.metric.more_is_better else value - base

    def _value(self, rows: Any) -> float:
        metric = self.metric
        if isinstance(rows, list):
            assert isinstance(metric.rows, OwnRows)  # nothing else wants all samples at once
            return float(metric.rows.numbers(*Whole.joined(rows)))
        if metric.of_rows is not None:
            return metric.of_rows(rows)
        assert metric.of_sums is not None  # a metric has one or the other
        return float(metric.of_sums(rows.sum(0, keepdims=True))[0])

    def _bounds(self, own: Any, theirs: Any) -> tuple[float | None, float | None]:
        if isinstance(own, list) or len(own) < 2:
            return None, None  # a function of all samples: calling it on many drawings could take hours
        own, theirs = _same_width(own, theirs)
        if self.metric.unit == "%" and _is_decided(own) and _is_decided(theirs):
            losses, gains = paired(own, theirs)
            if self.metric.needs is Needs.REFERENCE:  # the reference is never wrong about itself
                low, high = (bound(losses, len(own), ERROR) for bound in (proportion_lower, proportion_upper))
            else:
                low, high = paired_loss_bounds(losses, gains, len(own), ERROR)
            return 100 * low, 100 * high
        losses = np.sort(np.concatenate([self._drawn(own, theirs, drawn) for drawn in _drawings(len(own))]))
        low, high = np.quantile(losses, [ERROR, 1 - ERROR])
        return float(low), float(high)

    def _drawn(self, own: np.ndarray, theirs: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Losses where each sample counts so many times; times [draws, n]."""
        metric = self.metric
        if metric.of_rows is not None:
            chosen = [np.repeat(np.arange(len(own)), each) for each in times]
            return np.array([self._worse(metric.of_rows(theirs[index]), metric.of_rows(own[index])) for index in chosen])
        assert metric.of_sums is not None  # a metric has one or the other
        weights = times.astype(np.float64)
        return np.asarray(self._worse(metric.of_sums(weights @ theirs), metric.of_sums(weights @ own)))


def _joined(parts: Sequence[Any]) -> Any:
    """Rows of all parts; of a function that wants all samples at once, the parts themselves."""
    whole = [isinstance(part, Whole) for part in parts]
    if any(whole):
        if not all(whole):
            raise MetricError("metric: the function gave one number for some samples and one for each of others")
        return list(parts)
    width = max(part.shape[1] for part in parts)
    return np.concatenate([_widened(part, width) for part in parts])


def _widened(rows: np.ndarray, width: int) -> np.ndarray:
    """With columns of 0: classes that did not occur in a part."""
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1]))) if rows.shape[1] < width else rows


def _same_width(own: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    width = max(own.shape[1], theirs.shape[1])
    return _widened(own, width), _widened(theirs, width)


def _is_decided(rows: np.ndarray) -> bool:
    """Each sample is right or wrong, and nothing else."""
    return rows.shape[1] == 2 and bool((rows[:, 1] == 1).all()) and bool(np.isin(rows[:, 0], (0, 1)).all())


def paired(own: np.ndarray, theirs: np.ndarray) -> tuple[int, int]:
    """Samples that the reference has right and the model wrong, and the other way round; rows as in top1."""
    mine, its = own[:, 0].astype(bool), theirs[:, 0].astype(bool)
    return int((its & ~mine).sum()), int((mine & ~its).sum())


def _drawings(count: int) -> Iterator[np.ndarray]:
    """How often each of `count` samples is drawn, [some, count] at a time, DRAWS in all; seeded, so always the same."""
    rng, at_once = np.random.default_rng(0), max(1, DRAWN_AT_ONCE // count)
    for start in range(0, DRAWS, at_once):
        yield rng.multinomial(count, np.full(count, 1 / count), min(at_once, DRAWS - start))
