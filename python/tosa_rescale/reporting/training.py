# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What fine-tuning did in a sweep as files: accuracy after every epoch and width, and changed weights."""

from __future__ import annotations

import pathlib
from typing import Any

from tosa_rescale.core.errors import MissingToolError
from tosa_rescale.core.files import PathLike
from tosa_rescale.reporting.sections.training import epochs_figure, layers_figure
from tosa_rescale.reporting.stored import name_of
from tosa_rescale.reporting.tables import write_rows
from tosa_rescale.sweeping.results import SweepPoint, SweepResult

EPOCH_COLUMNS = ("method", "bits", "epoch", "kept", "top1", "agreement", "loss", "validation_loss", "held_out_agreement")
WEIGHT_COLUMNS = ("changed_percent", "mean_absolute", "largest", "layers_touched")
LAYER_COLUMNS = ("method", "bits", "op", "name", "weights", "changed", "mean_absolute", "largest", "biases_changed")


def trained_points(result: SweepResult) -> list[SweepPoint]:
    """The points that were trained."""
    return [point for point in result.points if point.training is not None]


def epoch_rows(point: SweepPoint) -> list[dict[str, Any]]:
    """One row an epoch, the start first: EPOCH_COLUMNS and WEIGHT_COLUMNS; accuracy on the samples that the sweep scores."""
    assert point.training is not None
    rows = []
    for entry in point.training["history"]:
        scored, weights = entry.get("scored", {}), entry.get("weights", {})
        rows.append(
            {
                "method": point.method,
                "bits": point.bits,
                "epoch": entry["epoch"],
                "kept": entry["epoch"] == point.training["best_epoch"],
                "top1": scored.get("top1"),
                "agreement": scored.get("agreement"),
                "loss": entry["loss"],
                "validation_loss": entry["validation_loss"],
                "held_out_agreement": entry["agreement"],
                "changed_percent": weights.get("percent"),
                "mean_absolute": weights.get("mean_absolute"),
                "largest": weights.get("largest"),
                "layers_touched": weights.get("touched"),
            }
        )
    return rows


def layers_of(point: SweepPoint) -> list[dict[str, Any]]:
    """What training changed in each layer with weights of a trained point."""
    assert point.training is not None
    return point.training["changes"]["layers"]


def write_training(folder: PathLike, result: SweepResult) -> list[pathlib.Path]:
    """Writes epochs.csv and layers.csv and, where matplotlib is installed, epochs.svg and layers.svg.

    Returns:
        The files written; none where nothing was trained.
    """
    points, folder = trained_points(result), pathlib.Path(folder)
    if not points:
        return []
    epochs = [row for point in points for row in epoch_rows(point)]
    layers = [{"method": p.method, "bits": p.bits, **layer} for p in points for layer in layers_of(p)]
    write_rows(folder / "epochs.csv", (*EPOCH_COLUMNS, *WEIGHT_COLUMNS), epochs)
    write_rows(folder / "layers.csv", LAYER_COLUMNS, layers)
    written = [folder / "epochs.csv", folder / "layers.csv"]
    found = {name_of(point): point.training for point in points if point.training is not None}
    base = result.base.evaluation
    try:
        epochs_figure(found, base.agreement if base.top1 is None else base.top1).write(folder / "epochs.svg")
        layers_figure(found).write(folder / "layers.svg")
    except MissingToolError:
        return written
    return [*written, folder / "epochs.svg", folder / "layers.svg"]
