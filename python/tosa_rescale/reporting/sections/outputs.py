# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How far the outputs of the whole network move: off-by-N."""

from __future__ import annotations

from tosa_rescale.reporting.blocks import Block, Figure, Section, Table, number, rows, signed
from tosa_rescale.reporting.charts import Canvas, Chart
from tosa_rescale.reporting.stored import Stored, name_of
from tosa_rescale.reporting.style import series_legend
from tosa_rescale.sweeping.results import SweepPoint

STEPS = (0, 1, 2, 5, 10)  # LSB; columns of the table


def section(stored: Stored) -> Section | None:
    """How far the outputs of the whole network move; none where no point was compared with the original."""
    points = [p for p in stored.result.points[1:] if p.evaluation.histogram]
    shown = {i: p for i, p in stored.all_shown().items() if p.evaluation.histogram}
    if not points:
        return None
    cells = [
        (name_of(p), *(number(_within(p, n)) for n in STEPS), number(p.evaluation.max_lsb, 0), number(p.evaluation.mean_lsb, 3))
        for p in points
    ]
    columns = ("method and width", "equal", *(f"within ±{n}" for n in STEPS[1:]), "largest, LSB", "mean, LSB")
    text = ("Every output value of every sample against the original’s, in units of its last place (LSB).",)
    table = Table("Per cent of output values, all points", columns, rows(cells), folded=True)
    figures = (_chart(shown),) if shown else ()
    return Section("outputs", "Off-by-N of the network’s outputs", text, (Block(figures=figures, tables=(table,)),))


def _within(point: SweepPoint, limit: int) -> float:
    histogram = point.evaluation.histogram or {}
    return 100 * sum(n for d, n in histogram.items() if abs(d) <= limit) / sum(histogram.values())


def _chart(shown: dict[int, SweepPoint]) -> Figure:
    reach = min(10, max(3, *(max(map(abs, p.evaluation.histogram or {0: 1})) for p in shown.values())))

    def draw(canvas: Canvas) -> None:
        canvas.labels("difference from the original, LSB", "share of output values, %")
        for i, point in shown.items():
            histogram = point.evaluation.histogram or {}
            xs = list(range(-reach, reach + 1))
            ys = [100 * histogram.get(x, 0) / sum(histogram.values()) for x in xs]
            canvas.line(i, xs, ys)
            canvas.marks(
                i, xs, ys, [f"{name_of(point)}: {signed(x, 0)} LSB, {number(y)} %" for x, y in zip(xs, ys, strict=True)]
            )
        canvas.axes.set_ylim(0, None)
        canvas.whole_numbers()

    chart = Chart("off", "Differences of the outputs", "Histogram of differences; the table has the shares.", draw)
    legend = series_legend({i: name_of(p) for i, p in shown.items()}, base=False)
    return Figure(chart, "Each method at the width that its tile shows.", legend)
