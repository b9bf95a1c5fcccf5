# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Accuracy and agreement over the width."""

from __future__ import annotations

import math
from collections.abc import Callable

from tosa_rescale.core.display import count
from tosa_rescale.reporting.blocks import Block, Figure, Section, Table, number, rows
from tosa_rescale.reporting.charts import Canvas, Chart
from tosa_rescale.reporting.sections.findings import CONFIDENCE, standing_word
from tosa_rescale.reporting.stored import Stored, name_of
from tosa_rescale.reporting.style import series_legend
from tosa_rescale.sweeping.results import BASE, BASE_BITS, SweepPoint
from tosa_rescale.sweeping.verdict import Standing

AGREEMENT_FROM = 90  # per cent; where the closer chart of agreement begins
NEAR = 6  # tolerances from the original's value; where the closer chart of the metric ends


def section(stored: Stored) -> Section:
    """Accuracy and agreement over the width."""
    measure = stored.measure
    figures = [] if measure.name == "agreement" else [metric_figure(stored)]
    if figures and any(abs(stored.loss(p) or 0.0) > NEAR / 2 * measure.tolerance for p in stored.result.points):
        figures.append(_metric_near(stored))
    if any(p.evaluation.agreement is not None for p in stored.result.points[1:]):
        figures.append(_agreement(stored, None))
        if any((p.evaluation.agreement or 0) < AGREEMENT_FROM for p in stored.result.points[1:]):
            figures.append(_agreement(stored, AGREEMENT_FROM))
    return Section(
        "accuracy", "Accuracy over the width", _text(stored), (Block(figures=tuple(figures), tables=(_table(stored),)),)
    )


def _text(stored: Stored) -> tuple[str, ...]:
    result, measure, samples = stored.result, stored.measure, stored.result.base.evaluation.samples
    all_of_them = count(samples, "sample")
    what = "; ".join(f"{method}: {result.says[method]}" for method in result.methods if result.says.get(method))
    one = f"One of {all_of_them} is {number(100 / samples)} points. " if measure.unit == "%" else f"{all_of_them}. "
    text = [one + (f"Methods: {what}." if what else "")]
    text.append(
        f"A width keeps the accuracy where the upper bound of its loss is at most {measure.limit}, and loses more where the "
        f"lower bound is above it; all else is undecided. The bounds hold with {CONFIDENCE}"
        + (", for all methods together" if len(result.methods) > 1 else "")
        + {
            "top1": "; they are exact, from the samples that only one of the two models has right.",
            "agreement": "; they are exact, from the samples that are decided differently.",
        }.get(measure.name, "; they come from the differences of single samples.")
        + " A method is tested from wide to narrow, up to the first width that is not proven."
    )
    falls = [(method, result.degradation_point(method)) for method in result.methods]
    said = ", ".join(f"{method} {'none' if k is None else f'k = {k}'}" for method, k in falls)
    text.append(
        f"Degradation point, the widest k that was measured to lose more than {measure.limit}, whatever the samples prove: "
        f"{said}. Hollow marks were measured to lose more."
    )
    return tuple(text)


def _table(stored: Stored) -> Table:
    measure, result = stored.measure, stored.result
    digits = measure.digits
    columns: list[tuple[str, Callable[[SweepPoint], str]]] = [
        ("method and width", name_of),
        (measure.axis, lambda p: number(stored.value(p), digits)),
        ("difference", lambda p: "–" if p.method == BASE else measure.difference(stored.loss(p))),
        ("loss is between", lambda p: _bounds(stored, p)),
        ("verdict", lambda p: "–" if p.method == BASE else standing_word(stored, p)),
    ]
    if any(p.evaluation.top5 is not None for p in result.points):
        columns.append(("top-5, %", lambda p: number(p.evaluation.top5)))
    if measure.name != "agreement":
        columns.append(("agreement, %", lambda p: number(p.evaluation.agreement)))
    others = [n for n in result.base.evaluation.metrics if n not in (measure.name, "top1", "top5", "agreement")]
    columns += [(name, lambda p, name=name: _other(p, name)) for name in others]
    columns += [
        ("max LSB", lambda p: number(p.evaluation.max_lsb, 0)),
        ("mean LSB", lambda p: number(p.evaluation.mean_lsb, 3)),
        ("samples", lambda p: f"{p.evaluation.samples:,}"),
    ]
    cells = [[cell(point) for _, cell in columns] for point in result.points]
    kept = [stored.verdict.kept(method) for method in result.methods]
    marked = [any(each is not None and each.point == point for each in kept) for point in result.points]
    caption = "All points" + ("; marked: the narrowest width of each method that keeps the accuracy" if any(marked) else "")
    return Table(caption, tuple(name for name, _ in columns), rows(cells, marked), (0, 4))


def _bounds(stored: Stored, point: SweepPoint) -> str:
    if point.method == BASE:
        return "–"
    loss = stored.verdict.of(point).loss
    if loss is None or not math.isfinite(loss.high - loss.low):
        return "–"
    return " … ".join(number(value, stored.measure.digits) for value in (loss.low, loss.high))


def _other(point: SweepPoint, name: str) -> str:
    figure = point.evaluation.metrics.get(name)
    return number(None if figure is None else figure.value, 2 if figure is not None and figure.unit == "%" else 4)


def metric_figure(stored: Stored) -> Figure:
    """The metric that decides over all widths."""
    measure = stored.measure
    caption = f"Over all widths: dashed the original, dotted {measure.limit} worse."
    return _over_width(stored, "metric-all", measure.title, measure.axis, caption, stored.value, measure.tolerance, None)


def _metric_near(stored: Stored) -> Figure:
    measure = stored.measure
    reach = NEAR * measure.tolerance
    limits = ((measure.base or 0.0) - reach, (measure.base or 0.0) + reach)
    best = [v for p in stored.result.points if (v := stored.value(p)) is not None]
    # No more room on the better side than there are points.
    room = measure.tolerance
    limits = (limits[0], min(limits[1], max(best) + room)) if measure.more_is_better else (min(best) - room, limits[1])
    caption = f"The same, near the original’s: dashed the original, dotted {measure.limit} worse."
    title = f"{measure.title} near the original’s"
    return _over_width(stored, "metric-near", title, measure.axis, caption, stored.value, measure.tolerance, limits)


def _agreement(stored: Stored, low: float | None) -> Figure:
    caption = "Share of samples that the narrowed model decides as the original does."
    found = [p.evaluation.agreement for p in stored.result.points if p.evaluation.agreement is not None]
    return _over_width(
        stored,
        "agreement-all" if low is None else "agreement-near",
        "Agreement with the original" if low is None else "Agreement near 100 %",
        "agreement, %",
        caption if low is None else "The same, the last points.",
        lambda point: point.evaluation.agreement,
        stored.measure.tolerance if stored.measure.name == "agreement" else None,
        None if low is None else (low, min(100.2, max(found) + 0.5)),
    )


def _over_width(
    stored: Stored,
    name: str,
    title: str,
    axis: str,
    caption: str,
    value: Callable[[SweepPoint], float | None],
    tolerance: float | None,
    limits: tuple[float, float] | None,
) -> Figure:
    """A figure of each method over the width; with a tolerance hollow marks are points that were measured beyond it."""
    result, base = stored.result, value(stored.result.base)

    def draw(canvas: Canvas) -> None:
        place = canvas.widths(stored.widths)
        canvas.axes.set_ylabel(axis)
        if base is not None:
            canvas.level(base)
            if tolerance is not None:
                canvas.level(base - tolerance if stored.measure.more_is_better else base + tolerance, dotted=True)
        for i, method in enumerate(result.methods):
            found = [(p, v) for p in result.of_method(method) if (v := value(p)) is not None]
            xs, ys = [place[p.bits] for p, _ in found], [v for _, v in found]
            start = ([], []) if base is None else ([place[BASE_BITS]], [base])
            canvas.line(i, [*start[0], *xs], [*start[1], *ys])
            notes = [f"{name_of(p)}: {number(v, stored.measure.digits)}, {_note(stored, p)}" for p, v in found]
            canvas.marks(i, xs, ys, notes, [tolerance is not None and stored.beyond(p) for p, _ in found])
        if limits is not None:
            canvas.axes.set_ylim(*limits)

    said = "; ".join(
        f"{m}: " + ", ".join(f"k = {p.bits} {number(value(p), stored.measure.digits)}" for p in result.of_method(m))
        for m in result.methods
    )
    description = f"{title} over significant bits k. Original {number(base, stored.measure.digits)}. {said}."
    return Figure(Chart(name, title, description, draw), caption, series_legend(result.methods))


def _note(stored: Stored, point: SweepPoint) -> str:
    finding = stored.verdict.of(point)
    return {Standing.KEPT: "keeps the accuracy", Standing.FALLEN: "loses more"}.get(finding.standing, finding.standing.value)
