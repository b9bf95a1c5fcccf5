# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a sweep proves: the widths that keep to the tolerated loss, those that do not, and what more samples would decide.

A width keeps the accuracy where the upper bound of its loss is within the tolerance, and loses too much where the lower bound
is above it; anything else is undecided. The bounds of top-1 are exact, from the samples that the original and the narrowed
model decide differently (tosa_rescale.core.statistics). The widths of a method are tested from wide to narrow, and the first
that is not proven ends the test, so that testing many needs no correction (Maurer, Hothorn and Lehmacher, "Multiple
comparisons in drug clinical trials and preclinical assays: a-priori ordered hypotheses", 1995); methods share the error.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Callable

from tosa_rescale.core.statistics import (
    ERROR,
    paired_loss_bounds,
    proportion_lower,
    proportion_upper,
    samples_that_decide,
)
from tosa_rescale.measure.evaluation import Evaluation, MetricFigure
from tosa_rescale.sweeping.results import BASE, DEGRADATION, SweepPoint, SweepResult

BARELY_ABOVE_ZERO = 5.0  # per cent of top-1 of an original model that nobody would ship: its labels are wrong


class Standing(enum.Enum):
    """What the samples say about a point."""

    KEPT = "keeps"  # proven, and so are all wider ones of the method
    UNDECIDED = "undecided"
    FALLEN = "loses"  # proven
    UNTESTED = "not tested"  # it is not proven to lose, but a wider one of the method ends the test
    DOUBTED = "not judged"  # whatever the samples say, the data are in doubt


@dataclasses.dataclass(frozen=True)
class Loss:
    """What a point loses against the original, in the metric's unit; negative where it is better.

    Attributes:
        value: measured.
        low, high: bounds, each of them at the verdict's confidence; infinite where nothing is known.
    """

    value: float
    low: float = -math.inf
    high: float = math.inf


@dataclasses.dataclass(frozen=True)
class Finding:
    """A point, its figure of the metric that decides, what it loses, and where that puts it; None where it was not measured."""

    point: SweepPoint
    figure: MetricFigure | None
    loss: Loss | None
    standing: Standing


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a sweep proves.

    Attributes:
        findings: of every point but the original's, by method and width.
        best: the narrowest point that is proven to keep to the tolerance; None where none is, or where the data are in doubt.
        open: the undecided point that would be worth deciding; None where there is none that is narrower than the best.
        doubts: what is wrong with the data, one clause each; then nothing is recommended.
        tolerance: the loss that is allowed, in the metric's unit.
        error: of each bound.
    """

    findings: dict[tuple[str, int], Finding]
    best: Finding | None
    open: Finding | None
    doubts: tuple[str, ...]
    tolerance: float
    error: float

    def of(self, point: SweepPoint) -> Finding:
        """What was found of a point."""
        return self.findings[point.method, point.bits]

    def of_method(self, method: str) -> list[Finding]:
        """The findings of one method, wide to narrow."""
        return sorted((f for (name, _), f in self.findings.items() if name == method), key=lambda f: -f.point.bits)

    def kept(self, method: str) -> Finding | None:
        """The narrowest point of a method that keeps to the tolerance, as all wider ones do."""
        return next((f for f in reversed(self.of_method(method)) if f.standing is Standing.KEPT), None)

    def more_samples(self, finding: Finding) -> int | None:
        """About how many more samples would decide an undecided point and the wider ones; None where no feasible number."""
        wider = [each for each in self.of_method(finding.point.method) if each.point.bits >= finding.point.bits]
        found = [self._more_samples(each) for each in wider if each.standing is Standing.UNDECIDED]
        known = [each for each in found if each is not None]
        return max(known) if known and len(known) == len(found) else None

    def _more_samples(self, finding: Finding) -> int | None:
        figure, loss = finding.figure, finding.loss
        if figure is None or loss is None:
            return None
        return samples_missing(finding.point.evaluation, figure, loss, self.tolerance, self.error)


def judge(result: SweepResult, cost: Callable[[SweepPoint], float] = lambda point: 0.0) -> Verdict:
    """What a sweep proves.

    Args:
        result: the sweep.
        cost: what a point costs; decides between methods that keep the accuracy at the same width with the same agreement.
    """
    base = result.figure(result.base)
    tolerance = DEGRADATION if base is None else base.tolerance
    error = ERROR / max(1, len(result.methods))
    doubts = doubts_of(result.base.evaluation, base)
    findings = {}
    for method in result.methods:
        proven, fallen = True, False
        for point in sorted(result.of_method(method), key=lambda point: -point.bits):
            loss = loss_of(result, point, error)
            standing = Standing.DOUBTED if doubts else standing_of(loss, tolerance)
            if (standing is Standing.KEPT and not proven) or (standing is Standing.UNDECIDED and fallen):
                standing = Standing.UNTESTED
            proven, fallen = proven and standing is Standing.KEPT, fallen or standing is Standing.FALLEN
            findings[method, point.bits] = Finding(point, result.figure(point), loss, standing)
    kept = [each for each in findings.values() if each.standing is Standing.KEPT]
    order = {method: place for place, method in enumerate(result.methods)}

    def preferred(each: Finding) -> tuple[float, ...]:
        return each.point.bits, -(each.point.evaluation.agreement or 0.0), cost(each.point), order[each.point.method]

    best = min(kept, key=preferred, default=None)
    undecided = [
        each
        for each in findings.values()
        if each.standing is Standing.UNDECIDED and (best is None or each.point.bits < best.point.bits)
    ]

    def promising(each: Finding) -> tuple[float, ...]:
        too_much = each.loss is None or each.loss.value > tolerance
        return too_much, -(each.point.evaluation.agreement or 0.0), each.point.bits, order[each.point.method]

    return Verdict(findings, best, min(undecided, key=promising, default=None), doubts, tolerance, error)


def loss_of(result: SweepResult, point: SweepPoint, error: float = ERROR) -> Loss | None:
    """What a point loses of the metric that decides; None where it was not measured.

    Args:
        result: the sweep.
        point: one of its points; the original model loses nothing.
        error: of each bound, where it comes from counted samples; metrics that are averages have bounds of 95 % of their own.
    """
    if point.method == BASE:
        return Loss(0.0, 0.0, 0.0)
    figure = result.figure(point)
    if figure is None:
        return None
    return bounded_loss(point.evaluation, figure, error)


def bounded_loss(found: Evaluation, figure: MetricFigure, error: float = ERROR) -> Loss | None:
    """What a model loses of one metric; None where there is no reference.

    Args:
        found: the evaluation that the figure is of.
        figure: of the metric.
        error: of each bound, where it comes from counted samples; metrics that are averages have bounds of 95 % of their own.
    """
    if figure.loss is None:
        return None
    counts = _counts(found, figure)
    if counts is None:
        low, high = figure.loss_low, figure.loss_high
        # An average over samples that all differ by the same has no spread to take bounds from.
        return Loss(figure.loss) if low is None or high is None or low == high else Loss(figure.loss, low, high)
    losses, gains = counts
    if figure.name == "agreement":
        low, high = proportion_lower(losses, figure.samples, error), proportion_upper(losses, figure.samples, error)
    else:
        low, high = paired_loss_bounds(losses, gains, figure.samples, error)
    return Loss(figure.loss, 100 * low, 100 * high)


def samples_missing(found: Evaluation, figure: MetricFigure, loss: Loss, tolerance: float, error: float = ERROR) -> int | None:
    """About how many more samples would decide whether a loss is tolerated; None where no feasible number.

    Args:
        found, figure: see bounded_loss.
        loss: what bounded_loss gave.
        tolerance: the loss that is allowed, in the metric's unit.
        error: of the bounds.
    """
    counts = _counts(found, figure)
    if counts is not None:
        needed = samples_that_decide(*counts, figure.samples, tolerance / 100, error)
    else:
        needed = _needed(loss, tolerance, figure.samples)
    return None if needed is None else max(1, needed - figure.samples)


def _counts(found: Evaluation, figure: MetricFigure) -> tuple[int, int] | None:
    """Samples that the original has right and the model wrong, and the other way round; None of a metric that counts none.

    Agreement counts as lost what is decided differently; parts of a sample, as pixels are, add up to whole ones, rounded up.
    Results of older versions have no pairs of top-1: then every different decision may be a loss or a gain, which gives the
    widest bounds.
    """
    differing = 0 if found.agreement is None else math.ceil(round(figure.samples * (1 - found.agreement / 100), 6))
    if figure.name == "agreement":
        return differing, 0
    if figure.unit == "%" and figure.loss == figure.loss_low == figure.loss_high == 0:
        return 0, 0  # no sample differs; one that does may lose everything
    if figure.name != "top1" or figure.loss is None:
        return None
    if found.paired is not None:
        return found.paired
    net = round(figure.loss * figure.samples / 100)
    if found.agreement is None:
        differing = figure.samples
    both = max(0, differing - abs(net)) // 2
    return max(net, 0) + both, max(-net, 0) + both


def standing_of(loss: Loss | None, tolerance: float) -> Standing:
    """Whether a loss is proven to be tolerated (KEPT), or not to be (FALLEN), or neither (UNDECIDED)."""
    if loss is None or loss.low <= tolerance < loss.high:
        return Standing.UNDECIDED
    return Standing.KEPT if loss.high <= tolerance else Standing.FALLEN


def _needed(loss: Loss, tolerance: float, samples: int) -> int | None:
    """As many samples as bring the nearer bound to the tolerance: its distance falls with the root of their number."""
    width = loss.high - loss.value if loss.value <= tolerance else loss.value - loss.low
    distance = abs(tolerance - loss.value)
    if not math.isfinite(width) or width > 1000 * distance:
        return None
    needed = math.ceil(samples * (width / distance) ** 2)
    unit = 10 ** max(0, len(str(needed)) - 2)
    return math.ceil(needed / unit) * unit


def doubts_of(found: Evaluation, base: MetricFigure | None) -> tuple[str, ...]:
    """What is wrong with the data, as the original model's evaluation shows it; one clause each.

    Args:
        found: the evaluation of the original.
        base: its figure of the metric that decides.
    """
    if found.warnings:
        return found.warnings
    if base is None or base.name != "top1" or base.value >= BARELY_ABOVE_ZERO:
        return ()
    return (f"top-1 is {base.value:.2f} %, as with labels that do not fit: check labels and --label-offset",)
