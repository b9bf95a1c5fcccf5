# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sweeps made of counts, as if they had been measured: for tests of what a report says of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from tosa_rescale.measure.evaluation import Evaluation, MetricFigure
from tosa_rescale.reporting.stored import Stored
from tosa_rescale.sweeping.results import SweepPoint, SweepResult, with_metrics


@dataclasses.dataclass(frozen=True)
class Counts:
    """Of one point: samples that only the original has right, that only the point has right, and others decided differently."""

    lost: int
    gained: int
    differing: int = 0


def measured(samples: int, right: int, counts: Counts, paired: bool = True) -> Evaluation:
    """What an evaluation would have found; `right` are the samples that the original has right."""
    agreement = 100 * (1 - (counts.lost + counts.gained + counts.differing) / samples)
    top1 = 100 * (right - counts.lost + counts.gained) / samples
    pairs = (counts.lost, counts.gained) if paired else None
    return Evaluation(samples, top1, None, agreement, 0, 0.0, None, 1.0, paired=pairs)


def sweep_of(samples: int, right: int, points: Mapping[tuple[str, int], Counts], paired: bool = True) -> SweepResult:
    """A sweep with labels, whose original has `right` of its samples right."""
    base = measured(samples, right, Counts(0, 0))
    made = [SweepPoint("base", 32, base, 1.0)]
    made += [SweepPoint(method, k, measured(samples, right, each, paired), 1.0) for (method, k), each in points.items()]
    return SweepResult("model.tflite", "data", {}, tuple(with_metrics(made)))


def stored_of(result: SweepResult, **others: Any) -> Stored:
    """A sweep with nothing beside it but what is given."""
    return Stored(result, others.get("details", {}), others.get("finetuned", {}), others.get("errors", {}))


def without_labels(result: SweepResult) -> SweepResult:
    """The same sweep on data that has none."""
    points = [
        dataclasses.replace(p, evaluation=dataclasses.replace(p.evaluation, top1=None, paired=None, metrics={}))
        for p in result.points
    ]
    return dataclasses.replace(result, points=tuple(with_metrics(points)))


def by_metric(
    name: str, base: float, points: Mapping[tuple[str, int], tuple[float, float, float]], **about: Any
) -> SweepResult:
    """A sweep on a metric that is an average: method and width to the loss and its bounds."""
    sign = -1 if about.get("more_is_better", True) else 1

    def evaluated(loss: float, low: float, high: float) -> Evaluation:
        figure = MetricFigure(name, base + sign * loss, base, loss, low, high, samples=200, **about)
        return Evaluation(200, None, None, 50.0, 9, 1.0, None, 1.0, metrics={name: figure})

    made = [SweepPoint("base", 32, evaluated(0.0, 0.0, 0.0), 1.0)]
    made += [SweepPoint(method, k, evaluated(*loss), 1.0) for (method, k), loss in points.items()]
    return SweepResult("model.tflite", "data", {}, tuple(made))


METHODS = ("narrow", "compensate", "align")


@st.composite
def sweeps(draw: st.DrawFn) -> SweepResult:
    """Any sweep: few samples and many, an original that is right always, never or sometimes, losses that rise and fall."""
    samples = draw(st.sampled_from((1, 2, 20, 100, 597, 700, 2000, 20_000)))
    right = draw(st.one_of(st.integers(0, samples), st.just(samples)))
    widths = sorted(draw(st.sets(st.sampled_from((8, 4, 3, 2, 1)), min_size=1, max_size=4)), reverse=True)
    points = {}
    for method in METHODS[: draw(st.integers(1, len(METHODS)))]:
        for k in widths:
            few = draw(st.sampled_from((0, 1, 5, 30, samples)))
            lost = draw(st.integers(0, min(few, right)))
            gained = draw(st.integers(0, min(few, samples - right)))
            points[method, k] = Counts(lost, gained, draw(st.integers(0, min(few, samples - lost - gained))))
    result = sweep_of(samples, right, points, paired=draw(st.booleans()))
    return without_labels(result) if draw(st.integers(0, 3)) == 0 else result
