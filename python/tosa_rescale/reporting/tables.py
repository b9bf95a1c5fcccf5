# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A sweep as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import pathlib
from typing import TYPE_CHECKING, Any

from tosa_rescale.core.files import PathLike, write_text

if TYPE_CHECKING:
    from tosa_rescale.sweeping.results import SweepResult

COLUMNS = ("method", "bits", "top1", "top5", "agreement", "max_lsb", "mean_lsb", "samples", "seconds")


def write_json(path: PathLike, value: Any) -> None:
    """Writes plain values as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_csv(path: PathLike, result: SweepResult) -> None:
    """Writes one row a point: COLUMNS; an empty field where a figure does not apply."""
    text = io.StringIO(newline="")
    writer: csv.DictWriter[str] = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(point.as_dict() for point in result.points)
    write_text(path, text.getvalue())


def write_report(folder: PathLike, result: SweepResult) -> list[pathlib.Path]:
    """Writes results.csv, results.json and, where the extra `report` is installed, accuracy.png and report.html.

    Returns:
        The files written.
    """
    from tosa_rescale.core.errors import MissingToolError
    from tosa_rescale.reporting.page import write_page_of
    from tosa_rescale.reporting.plot import write_plot

    folder = pathlib.Path(folder)
    write_csv(folder / "results.csv", result)
    write_json(folder / "results.json", result.as_dict())
    written = [folder / "results.csv", folder / "results.json"]
    try:
        write_plot(folder / "accuracy.png", result)
        written.append(folder / "accuracy.png")
        written.append(write_page_of(folder, result))
    except MissingToolError:
        pass
    return written
