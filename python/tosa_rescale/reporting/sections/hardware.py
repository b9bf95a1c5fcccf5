# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Accuracy over area: the Pareto front, to pick a width."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from tosa_rescale.core.display import count
from tosa_rescale.reporting.area import Area, Candidate, areas, front
from tosa_rescale.reporting.blocks import Block, Figure, Section, Table, number, rows
from tosa_rescale.reporting.charts import Canvas, Chart
from tosa_rescale.reporting.stored import TYPICAL_MACS, Stored, name_of
from tosa_rescale.reporting.style import INK, LegendEntry, series_legend
from tosa_rescale.sweeping.results import BASE, SweepPoint
from tosa_rescale.sweeping.verdict import Loss

UNKNOWN = Loss(0.0)


@dataclasses.dataclass(frozen=True)
class Costed:
    """A point with its value of the metric, its loss and its cost."""

    point: SweepPoint
    value: float
    loss: Loss
    area: Area

    def cost(self, name: str) -> float:
        """Area or area times delay, by the field's name."""
        return getattr(self.area, name)


def section(stored: Stored) -> Section:
    """Accuracy over area: the Pareto front, to pick a width."""
    known = _costed(stored)
    figures, fronts = [], []
    for name, title, axis in (
        ("area", "Accuracy over area", "area against 32 bits, %"),
        ("area_delay", "Accuracy over area times delay", "area times delay against 32 bits, %"),
    ):
        best = front([_candidate(stored, each, name) for each in known])
        fronts.append(set(best))
        if known:
            figures.append(_front_chart(stored, name, title, axis, known, best))
    text = (
        f"Cost of a dot-product engine with {TYPICAL_MACS} MACs, accumulator and rescaler against the same with 32-bit "
        "multipliers: area and fastest clock of our RTL in the standard cells of IHP's 130 nm library, each width at its own "
        "fastest clock, with that library's estimate of wires. `tosa-rescale hardware-cost` shows them, those of another "
        "library and at one clock, and those for more MACs, where the rescaler weighs less. Multipliers outside of MAC layers "
        "are not part of it.",
        "On the front are the cheapest point and those that are proven to lose less than every cheaper one. What differs from "
        "a cheaper point by no more than noise is not on it: more samples may put it there. A filled mark is on the front"
        + (", ≈ is interpolated between two synthesised widths." if any(each.area.interpolated for each in known) else "."),
    )
    block = Block(figures=tuple(figures), tables=(_table(stored, known, fronts),))
    return Section("hardware", "Area beside accuracy: pick a k", text, (block,))


def _costed(stored: Stored) -> list[Costed]:
    found = []
    for point in stored.result.points:
        area, value = areas(TYPICAL_MACS)(stored.significant(point)), stored.value(point)
        loss = Loss(0.0, 0.0, 0.0) if point.method == BASE else stored.verdict.of(point).loss
        if area is not None and value is not None:
            found.append(Costed(point, value, loss or UNKNOWN, area))
    return found


def _candidate(stored: Stored, each: Costed, name: str) -> Candidate:
    agreement = each.point.evaluation.agreement
    quality = each.value if stored.measure.more_is_better else -each.value
    return Candidate(each.cost(name), each.loss.low, each.loss.high, (quality, -1.0 if agreement is None else agreement))


def _table(stored: Stored, known: Sequence[Costed], fronts: Sequence[set[int]]) -> Table:
    cells, marked = [], []
    for i, each in enumerate(known):
        on = [word for word, front in zip(("area", "area-delay"), fronts, strict=True) if i in front]
        about = "≈ " if each.area.interpolated else ""
        costs = [f"{about}{number(value, 1)}" for value in (each.area.area, each.area.delay, each.area.area_delay)]
        wide = stored.left_wide(each.point)
        cells.append(
            (
                name_of(each.point),
                number(each.value, stored.measure.digits),
                *costs,
                "–" if wide is None else count(wide, "bit"),
                ", ".join(on) or "–",
            )
        )
        marked.append(bool(on))
    columns = (
        "method and width",
        stored.measure.axis,
        "area, %",
        "delay, %",
        "area × delay, %",
        "left wide",
        "on the front of",
    )
    return Table("Accuracy and cost, the points on a front marked", columns, rows(cells, marked), (0, 6))


def _front_chart(stored: Stored, name: str, title: str, axis: str, known: Sequence[Costed], best: Sequence[int]) -> Figure:
    series = {method: i for i, method in enumerate(stored.result.methods)}
    step = sorted((known[i].cost(name), known[i].value) for i in best)

    def draw(canvas: Canvas) -> None:
        axes = canvas.axes
        canvas.labels(axis, stored.measure.axis)
        if stored.measure.base is not None:
            canvas.level(stored.measure.base)
        xs, ys = [x for x, _ in step], [y for _, y in step]
        axes.step([*xs, 102], [*ys, ys[-1]], where="post", color=INK, linewidth=1.2, zorder=1)
        for i, each in enumerate(known):
            x, place = each.cost(name), series.get(each.point.method)
            note = f"{name_of(each.point)}: {stored.measure.level(each.value)}, {number(x, 1)} % of the cost"
            if place is None:
                (mark,) = axes.plot([x], [each.value], marker="*", markersize=9, color=INK, linestyle="none")
                canvas.note(mark, note)
            else:
                canvas.marks(place, [x], [each.value], [note], [i not in best])
            if i in best:
                up = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "fontsize": 9, "annotation_clip": True}
                axes.annotate(str(each.point.bits), (x, each.value), **up)
        axes.set_xlim(min(xs) - 6, 104)
        axes.set_ylim(*_reach(stored, known, best))

    said = ", ".join(
        f"{name_of(known[i].point)} ({stored.measure.level(known[i].value)} at {number(known[i].cost(name), 1)} %)"
        for i in best
    )
    legend = (
        *series_legend({i: method for method, i in series.items()}, base=False),
        LegendEntry("original model (star, dashed)", "soft", dashes="5 4"),
        LegendEntry("front, labelled with k", "ink"),
    )
    better = "Up" if stored.measure.more_is_better else "Down"
    caption = f"{better} and to the left is better; hollow marks are not proven to be better than a cheaper point."
    return Figure(Chart(f"front-{name}", title, f"On the front: {said}.", draw), caption, legend)


def _reach(stored: Stored, known: Sequence[Costed], best: Sequence[int]) -> tuple[float, float]:
    """Limits of the y axis: what is much worse than the original is in the table, but the front is always in sight."""
    values = [each.value for each in known]
    base = stored.measure.base if stored.measure.base is not None else values[0]
    far = 16 * stored.measure.tolerance
    of_front = [known[i].value for i in best]
    low, high = min(values), max(values)
    if stored.measure.more_is_better:
        low = max(low, min(base - far, *of_front, math.inf))
    else:
        high = min(high, max(base + far, *of_front, -math.inf))
    margin = 0.08 * (high - low) + 0.2 * stored.measure.tolerance
    return low - margin, high + 1.6 * margin
