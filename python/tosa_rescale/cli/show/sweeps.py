# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tosa_rescale.cli.show.console import Column, line, table
from tosa_rescale.cli.show.measurements import warnings

if TYPE_CHECKING:
    from tosa_rescale.sweeping.results import SweepResult


def sweep(result: SweepResult) -> None:
    """One row a point; those that lose more than the metric that decides tolerates are marked."""
    found = result.summary()
    columns = [Column(title, left=not i, minor=_minor(title, i)) for i, title in enumerate(found.columns)]
    rows = [[*row, f"{point.seconds:.1f}"] for row, point in zip(found.rows, result.points, strict=True)]
    table([*columns, Column("seconds", minor=3)], rows, title=found.title)
    if said := result.tolerated():
        line(said)
    warnings(result.base.evaluation)


def _minor(title: str, place: int) -> int:
    """Method, width, the first metric and agreement stay; of the other metrics the last goes first, then the differences."""
    if place < 3 or title == "agreement %":
        return 0
    return {"max LSB": 1, "mean LSB": 2}.get(title, 4 + place)


def training(result: SweepResult) -> None:
    """One row a width and epoch of the points that were trained, the kept epoch marked."""
    from tosa_rescale.reporting.training import epoch_rows, trained_points

    points = trained_points(result)
    if not points:
        return
    columns = [
        Column("bits"),
        Column("epoch"),
        Column("top-1 %"),
        Column("agreement %"),
        Column("held-out loss", minor=1),
        Column("changed %"),
        Column("mean |change|", minor=3),
        Column("largest", minor=4),
        Column("layers touched", minor=2),
    ]
    rows = []
    for point in points:
        assert point.training is not None
        layers = len(point.training["changes"]["layers"])
        for row in epoch_rows(point):
            rows.append(
                [
                    str(row["bits"]),
                    f"{row['epoch']}{' *' if row['kept'] else '  '}",
                    _number(row["top1"], 2),
                    _number(row["agreement"], 2),
                    _number(row["validation_loss"], 4),
                    _number(row["changed_percent"], 2),
                    _number(row["mean_absolute"], 2),
                    _number(row["largest"], 0),
                    f"{row['layers_touched']} of {layers}",
                ]
            )
    table(columns, rows, title="fine-tuning, accuracy on samples not trained on; * is kept")


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
