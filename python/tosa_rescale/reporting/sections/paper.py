# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The source paper's figures for the same family of models."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from tosa_rescale.core.display import count
from tosa_rescale.reporting.blocks import Block, Figure, Section, Table, number, rows, signed
from tosa_rescale.reporting.charts import Canvas, Chart
from tosa_rescale.reporting.paper import SOURCE, PaperFigures, figures_for
from tosa_rescale.reporting.stored import Stored
from tosa_rescale.reporting.style import series_legend
from tosa_rescale.sweeping.results import BASE_BITS

Drops = Mapping[int, float]
"""Width to points of top-1 against base, negative below it."""


def section(stored: Stored) -> Section | None:
    """The paper's figures beside the sweep's; none where the paper has none for the family, or top-1 was not measured."""
    known = figures_for(pathlib.Path(stored.result.model).name)
    base = stored.result.base.evaluation.top1
    if known is None or base is None:
        return None
    own = {
        method: {p.bits: p.evaluation.top1 - base for p in stored.result.of_method(method) if p.evaluation.top1 is not None}
        for method in stored.result.methods
    }
    theirs: dict[str, Drops] = {f"paper, {known.name}": {k: v - known.base for k, v in known.top1.items()}}
    if known.finetuned:
        theirs["paper, fine-tuned"] = {k: v - known.base for k, v in known.finetuned.items()}
    widths = sorted({BASE_BITS, *known.top1, *(p.bits for p in stored.result.points)}, reverse=True)
    tuned = "".join(f" After fine-tuning at {count(k, 'bit')} the paper reaches {v:.2f} %." for k, v in known.finetuned.items())
    text = (
        f"{SOURCE}: {known.name}, ImageNet validation set, multipliers cut off, no training.{tuned}",
        "Compare differences from base, not levels: data and files differ. The paper counts mantissa bits behind a leading one "
        "that hardware does not store, so its k is k + 1 significant bits, and its setting is `--preset paper`."
        + (" This sweep used it." if stored.result.options.get("hidden_bit") else " This sweep did not."),
    )
    block = Block(figures=(_chart({**own, **theirs}, widths),), tables=(_table(known, own, widths),))
    return Section("paper", "Beside the paper", text, (block,))


def _chart(series: Mapping[str, Drops], widths: list[int]) -> Figure:
    def draw(canvas: Canvas) -> None:
        place, axes = canvas.widths(widths), canvas.axes
        axes.set_ylabel("points of top-1 against base")
        axes.set_yscale("symlog", linthresh=2)
        canvas.level(0)
        for i, (title, drops) in enumerate(series.items()):
            xs, ys = [place[k] for k in drops], list(drops.values())
            if len(xs) > 1:
                canvas.line(i, xs, ys)
            canvas.marks(i, xs, ys, [f"{title}, k = {k}: {signed(drop)} points" for k, drop in drops.items()])
        low = min(value for drops in series.values() for value in drops.values())
        ticks = [t for t in (2, 1, 0, -1, -2, -5, -10, -20, -50, -100) if t >= 1.2 * low]
        axes.set_yticks(ticks, [str(t) for t in ticks])
        axes.minorticks_off()

    description = "Points of top-1 against base over significant bits k; the table has the figures."
    caption = "Points of top-1 below (or above) each one’s own base; logarithmic beyond 2 points."
    return Figure(Chart("paper", "Loss against base", description, draw), caption, series_legend(list(series)))


def _table(known: PaperFigures, own: Mapping[str, Drops], widths: list[int]) -> Table:
    cells = [("original", number(known.base), "–", *("–" for _ in own))]
    for k in widths[1:]:
        drop = None if k not in known.top1 else known.top1[k] - known.base
        cells.append((f"k = {k}", number(known.top1.get(k)), signed(drop), *(signed(d.get(k)) for d in own.values())))
    columns = ("", "paper, top-1 %", "paper, points", *(f"{method}, points" for method in own))
    return Table("Points against each one’s own base", columns, rows(cells))
