# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A sweep, and what training did in it, as tables in a terminal."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from tosa_rescale.reporting.training import epoch_rows, layers_of, trained_points

if TYPE_CHECKING:
    from rich.console import Console

    from tosa_rescale.sweeping.results import SweepResult


def print_sweep(result: SweepResult, console: Console) -> None:
    """Prints one row a point, the degradation point of each method marked."""
    import rich.table

    table = rich.table.Table(title=f"{pathlib.Path(result.model).name} on {pathlib.Path(result.data).name}")
    for name in ("method", "k", "top-1 %", "top-5 %", "agreement %", "max LSB", "mean LSB", "seconds", ""):
        table.add_column(name, justify="left" if name in ("method", "") else "right")
    for point in result.points:
        e = point.evaluation
        fallen = point.method != "base" and point.bits == result.degradation_point(point.method)
        table.add_row(
            point.method,
            str(point.bits),
            _number(e.top1, "{:.2f}"),
            _number(e.top5, "{:.2f}"),
            _number(e.agreement, "{:.2f}"),
            _number(e.max_lsb, "{}"),
            _number(e.mean_lsb, "{:.3f}"),
            f"{point.seconds:.1f}",
            "more than 0.5 below base from here" if fallen else "",
        )
    console.print(table)


def print_training(result: SweepResult, console: Console) -> None:
    """Prints one row a width and epoch, the kept epoch marked."""
    import rich.table

    points = trained_points(result)
    if not points:
        return
    table = rich.table.Table(title="fine-tuning, accuracy on samples not trained on")
    names = ("k", "epoch", "top-1 %", "agreement %", "held-out loss", "changed %", "mean |change|", "largest", "layers touched")
    for name in names:
        table.add_column(name, justify="right")
    for point in points:
        for row in epoch_rows(point):
            table.add_row(
                str(row["bits"]),
                f"{row['epoch']}{' *' if row['kept'] else ''}",
                _number(row["top1"], "{:.2f}"),
                _number(row["agreement"], "{:.2f}"),
                _number(row["validation_loss"], "{:.4f}"),
                _number(row["changed_percent"], "{:.2f}"),
                _number(row["mean_absolute"], "{:.2f}"),
                _number(row["largest"], "{:.0f}"),
                f"{row['layers_touched']} of {len(layers_of(point))}",
            )
    console.print(table)


def _number(value: float | None, form: str) -> str:
    formatter: Callable[[float], str] = form.format
    return "-" if value is None else formatter(value)
