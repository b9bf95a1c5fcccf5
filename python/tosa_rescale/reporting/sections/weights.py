# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the methods did to the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tosa_rescale.reporting.blocks import Block, Figure, Section, Table, number, rows
from tosa_rescale.reporting.charts import Canvas, Chart
from tosa_rescale.reporting.stored import Stored, missing, name_of
from tosa_rescale.reporting.style import series_legend
from tosa_rescale.sweeping.results import BASE, SweepPoint

Changes = Mapping[tuple[str, int], Any]
"""Method and width to what tosa_rescale.core.changes found."""


def section(stored: Stored) -> Section:
    """What the methods did to the weights."""
    title = "Weights that changed"
    known = {key: value["weights"] for key, value in stored.details.items() if value.get("weights")}
    if not any(method != BASE for method, _ in known):
        return Section("weights", title, missing=missing("the changes of weights"))
    points = [p for p in stored.result.points[1:] if known.get((p.method, p.bits), {}).get("touched")]
    if not points:
        return Section("weights", title, ("No point of this sweep changes a weight.",))
    text = (
        "In steps of the weight grid. Compensation multiplies a channel’s weights by M / M_q and rounds them again, so most of "
        "them move; fine-tuning moves few, by single steps.",
    )
    columns = ("method and width", "changed, %", "mean |change|", "largest", "layers touched", "biases changed")
    cells = [_row(point, known[point.method, point.bits]) for point in points]
    shown = {i: p for i, p in stored.all_shown().items() if p in points}
    figures = (_chart(shown, known),) if shown else ()
    table = Table("Changes against the original, all points", columns, rows(cells), folded=True)
    return Section("weights", title, text, (Block(figures=figures, tables=(table,)),))


def _row(point: SweepPoint, change: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name_of(point),
        number(change["percent"]),
        number(change["mean_absolute"]),
        str(max((layer["largest"] for layer in change["layers"]), default=0)),
        f"{change['touched']} of {len(change['layers'])}",
        f"{sum(layer['biases_changed'] for layer in change['layers']):,}",
    )


def _chart(shown: Mapping[int, SweepPoint], known: Changes) -> Figure:
    changed = {i: known[p.method, p.bits]["layers"] for i, p in shown.items()}
    names = {i: name_of(point) for i, point in shown.items()}
    layers = [layer["name"] for layer in next(iter(changed.values()))]
    series = {i: [_mean_change(layer) for layer in each] for i, each in changed.items()}

    def draw(canvas: Canvas) -> None:
        for i, values in series.items():
            places = range(1, len(values) + 1)
            canvas.line(i, places, values, linewidth=1.2)
            canvas.marks(i, places, values, markersize=3 if canvas.narrow else 4)
        canvas.labels("layer, from the input", "mean |change|, all weights")
        canvas.from_zero([(x, y) for values in series.values() for x, y in enumerate(values, 1)])
        canvas.whole_numbers()

    table = Table(
        "Mean absolute change over all weights of a layer",
        ("layer", *names.values()),
        rows([(layer, *(number(values[i]) for values in series.values())) for i, layer in enumerate(layers)]),
    )
    chart = Chart("weights", "Change of weights by layer", "Mean absolute change by layer; the table has the figures.", draw)
    caption = "Mean absolute change over all weights of a layer, in steps; ▲ is beyond the axis."
    return Figure(chart, caption, series_legend(names, base=False), table)


def _mean_change(layer: Mapping[str, Any]) -> float:
    return layer["mean_absolute"] * layer["changed"] / layer["weights"] if layer["weights"] else 0.0
