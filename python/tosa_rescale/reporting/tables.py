# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A sweep as CSV and JSON, and all files that it leaves behind."""

from __future__ import annotations

import csv
import io
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tosa_rescale.core.errors import MissingToolError
from tosa_rescale.core.files import PathLike, write_text
from tosa_rescale.reporting.page import write_page_of
from tosa_rescale.reporting.sections.accuracy import metric_figure
from tosa_rescale.reporting.stored import stored_beside
from tosa_rescale.sweeping.results import SweepResult

COLUMNS = ("method", "bits", "top1", "top5", "agreement", "max_lsb", "mean_lsb", "samples", "seconds")


def write_json(path: PathLike, value: Any) -> None:
    """Writes plain values as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_rows(path: PathLike, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a CSV with these columns of each row; an empty field where a row has no such value."""
    text = io.StringIO(newline="")
    writer: csv.DictWriter[str] = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_csv(path: PathLike, result: SweepResult) -> None:
    """Writes one row a point: COLUMNS, and the value of every other metric; an empty field where a figure does not apply."""
    others = [name for name in result.base.evaluation.metrics if name not in COLUMNS]
    values = [{name: figure.value for name, figure in point.evaluation.metrics.items()} for point in result.points]
    rows = [{**own, **point.as_dict()} for own, point in zip(values, result.points, strict=True)]
    write_rows(path, (*COLUMNS, *others), rows)


def write_report(folder: PathLike, result: SweepResult) -> list[pathlib.Path]:
    """Writes results.csv, results.json and, where the extra `report` is installed, accuracy.svg and report.html.

    Returns:
        The files written.
    """
    folder = pathlib.Path(folder)
    write_csv(folder / "results.csv", result)
    write_json(folder / "results.json", result.as_dict())
    written = [folder / "results.csv", folder / "results.json"]
    try:
        metric_figure(stored_beside(folder, result)).write(folder / "accuracy.svg")
        written.append(folder / "accuracy.svg")
        written.append(write_page_of(folder, result))
    except MissingToolError:
        pass
    return written
