# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What fine-tuning did in a sweep: accuracy after every epoch and width (the source paper's Fig. 3), and changed weights."""

from __future__ import annotations

import csv
import io
import pathlib
from typing import TYPE_CHECKING, Any

from tosa_rescale.core.errors import MissingToolError
from tosa_rescale.core.files import PathLike, atomic_write, write_text

if TYPE_CHECKING:
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


def write_training(folder: PathLike, result: SweepResult) -> list[pathlib.Path]:
    """Writes epochs.csv and layers.csv and, where matplotlib is installed, epochs.png and layers.png.

    Returns:
        The files written; none where nothing was trained.
    """
    points, folder = trained_points(result), pathlib.Path(folder)
    if not points:
        return []
    epochs = [row for point in points for row in epoch_rows(point)]
    layers = [{"method": p.method, "bits": p.bits, **layer} for p in points for layer in _layers(p)]
    _write_csv(folder / "epochs.csv", (*EPOCH_COLUMNS, *WEIGHT_COLUMNS), epochs)
    _write_csv(folder / "layers.csv", LAYER_COLUMNS, layers)
    written = [folder / "epochs.csv", folder / "layers.csv"]
    try:
        write_epochs_plot(folder / "epochs.png", result)
        write_layers_plot(folder / "layers.png", result)
    except MissingToolError:
        return written
    return [*written, folder / "epochs.png", folder / "layers.png"]


def _layers(point: SweepPoint) -> list[dict[str, Any]]:
    assert point.training is not None
    return point.training["changes"]["layers"]


def _write_csv(path: pathlib.Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    text = io.StringIO(newline="")
    writer: csv.DictWriter[str] = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _figure(height: float) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingToolError("plots need matplotlib; pip install tosa-rescale[report]") from None
    figure = Figure(figsize=(7, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_epochs_plot(path: PathLike, result: SweepResult) -> None:
    """Draws top-1 (agreement where there are no labels) over the epochs, one line a width; the kept epoch is filled.

    Raises:
        MissingToolError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    figure = _figure(4.5)
    axes = figure.subplots()
    measure = "top1" if result.base.evaluation.top1 is not None else "agreement"
    base = getattr(result.base.evaluation, measure)
    axes.axhline(base, color="0.5", linestyle="--", linewidth=1, label=f"original model ({base:.2f} %)")
    for point in trained_points(result):
        rows = epoch_rows(point)
        label = f"k = {point.bits}" if point.method == "finetune" else f"{point.method}, k = {point.bits}"
        (line,) = axes.plot([r["epoch"] for r in rows], [r[measure] for r in rows], "o-", mfc="white", label=label)
        kept = [row for row in rows if row["kept"]]
        axes.plot([r["epoch"] for r in kept], [r[measure] for r in kept], "o", color=line.get_color())
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch (0: narrowed, not trained)")
    axes.set_ylabel("top-1 accuracy, %" if measure == "top1" else "agreement with the original, %")
    axes.set_title(f"{result.model.rsplit('/', 1)[-1]}: {result.base.evaluation.samples} samples, none of them trained on")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def write_layers_plot(path: PathLike, result: SweepResult) -> None:
    """Draws the share of changed weights of each layer, in program order, one line a width.

    Raises:
        MissingToolError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    figure = _figure(4)
    axes = figure.subplots()
    for point in trained_points(result):
        shares = [100 * layer["changed"] / max(layer["weights"], 1) for layer in _layers(point)]
        axes.plot(range(len(shares)), shares, ".-", linewidth=1, label=f"{point.method}, k = {point.bits}")
    axes.set_xlabel("layer with weights, input to output")
    axes.set_ylabel("weights changed, %")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
