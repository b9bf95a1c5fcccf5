# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Distributions of multipliers and shifts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tosa_rescale.reporting.blocks import Block, Figure, Section, Table, number, rows
from tosa_rescale.reporting.charts import Canvas, Chart
from tosa_rescale.reporting.stored import Stored, missing, name_of
from tosa_rescale.reporting.style import SOFT, LegendEntry, entry
from tosa_rescale.sweeping.results import BASE, BASE_BITS, SweepPoint

Census = Mapping[str, Any]
"""What tosa_rescale.sweeping.details counts of a set of multipliers."""


def section(stored: Stored) -> Section:
    """Distributions of multipliers and shifts."""
    title = "Multipliers and shifts"
    known = {key: value["multipliers"]["accumulator"] for key, value in stored.details.items() if "multipliers" in value}
    base = known.get((BASE, BASE_BITS))
    shown = {i: p for i, p in stored.all_shown().items() if (p.method, p.bits) in known}
    if base is None or not shown:
        return Section("multipliers", title, missing=missing("the multipliers of the points"))
    text = (
        "A multiplier is M = f · 2⁻ᵉ with 1 ≤ f < 2: f takes the significant bits, e the shifter, and at k = 1 only e is left. "
        "Counted are the multipliers behind MAC layers, one for each channel.",
    )
    names = {i: name_of(point) for i, point in shown.items()}
    series = {i: known[point.method, point.bits] for i, point in shown.items()}
    cells = [
        _row(point, census)
        for point in stored.result.points
        if (census := known.get((point.method, point.bits))) and census["count"]
    ]
    columns = (
        "method and width", "multipliers", "widest, bits", "pure shifts, %", "different m", "(m, s)", "shift e", "bits for e",
    )  # fmt: skip
    block = Block(
        figures=(_shifts(base, series, names), _mantissas(base, series, names)),
        tables=(Table("Multipliers behind MAC layers", columns, rows(cells), folded=True),),
    )
    return Section("multipliers", title, text, (block,))


def _row(point: SweepPoint, census: Census) -> tuple[str, ...]:
    shifts = sorted(int(e) for e in census["shifts"])
    span = shifts[-1] - shifts[0] + 1 if shifts else 1
    return (
        name_of(point),
        f"{census['count']:,}",
        str(max(map(int, census["bits"]), default=0)),
        number(100 * census["bits"].get("1", 0) / census["count"], 1),
        f"{census['distinct']:,}",
        f"{census['pairs']:,}",
        f"{shifts[0]} … {shifts[-1]}" if shifts else "–",
        str(math.ceil(math.log2(span))) if span > 1 else "0",
    )


def _shifts(base: Census, series: Mapping[int, Census], names: Mapping[int, str]) -> Figure:
    found = sorted({int(e) for census in (base, *series.values()) for e in census["shifts"]})
    places = list(range(found[0], found[-1] + 1)) if found else [0]

    def share(census: Census, e: int) -> float:
        return 100 * census["shifts"].get(str(e), 0) / max(1, census["count"])

    def draw(canvas: Canvas) -> None:
        canvas.axes.bar(places, [share(base, e) for e in places], color=SOFT, alpha=0.45, width=0.85)
        for i, census in series.items():
            used = [e for e in places if share(census, e) > 0]
            canvas.marks(i, used, [share(census, e) for e in used])
        canvas.labels("shift e", "share of multipliers, %")
        canvas.whole_numbers()

    cells = [(str(e), *(number(share(census, e)) for census in (base, *series.values()))) for e in places]
    return _figure("shifts", "Distribution of shifts", "How wide the shifter has to be.", draw, names, "shift e", cells)


def _mantissas(base: Census, series: Mapping[int, Census], names: Mapping[int, str]) -> Figure:
    bins = len(base["mantissas"])
    left = [1 + i / bins for i in range(bins)]

    def share(census: Census, i: int) -> float:
        return 100 * census["mantissas"][i] / max(1, census["count"])

    def draw(canvas: Canvas) -> None:
        axes = canvas.axes
        axes.bar(left, [share(base, i) for i in range(bins)], color=SOFT, alpha=0.45, width=0.9 / bins, align="edge")
        for n, census in series.items():
            used = [i for i in range(bins) if census["mantissas"][i]]
            # A narrow multiplier is the left edge of its bin.
            canvas.marks(n, [left[i] for i in used], [share(census, i) for i in used])
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(0, 130)
        axes.set_yticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        canvas.labels("f = M · 2ᵉ", "share of multipliers, %")

    cells = [(f"{left[i]:.5g}", *(number(share(c, i)) for c in (base, *series.values()))) for i in range(bins)]
    caption = "The values that are left for the multiplier to take; logarithmic above 1 %."
    return _figure("mantissas", "Distribution of multipliers", caption, draw, names, "f from", cells)


def _figure(
    name: str,
    title: str,
    caption: str,
    draw: Callable[[Canvas], None],
    names: Mapping[int, str],
    column: str,
    cells: Sequence[Sequence[str]],
) -> Figure:
    chart = Chart(name, title, "Share of multipliers; the table below has the figures.", draw)
    legend = (*(entry(i, each, line=False) for i, each in names.items()), LegendEntry("original model (bars)", "soft"))
    table = Table(f"{title}, per cent", (column, "original", *names.values()), rows(cells))
    return Figure(chart, caption, legend, table)
