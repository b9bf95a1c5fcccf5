# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Accuracy over epochs of fine-tuned models, the source paper's figure 3, and what training changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tosa_rescale.reporting.blocks import Block, Figure, Section, Table, number, rows
from tosa_rescale.reporting.charts import Canvas, Chart
from tosa_rescale.reporting.stored import Stored, name_of
from tosa_rescale.reporting.style import series_legend

Trainings = Mapping[str, Mapping[str, Any]]
"""Name to history, best epoch and changes."""

Entry = Mapping[str, Any]
"""Of a history: one epoch."""

MISSING = (
    "No fine-tuned model is among the results. `tosa-rescale sweep` with `finetune` among its `--methods` trains one for every "
    "width; `tosa-rescale finetune MODEL --bits K --data DATA -o tuned.mlirbc --json DIR/finetune-K.json` puts a single one "
    "there; then run `tosa-rescale report DIR`."
)


def section(stored: Stored) -> Section:
    """Accuracy over epochs of fine-tuned models, and what training changed."""
    title, found = "Fine-tuning", _trainings(stored)
    if not found:
        return Section("training", title, missing=MISSING)
    tables = [_epoch_table(found)]
    if any(_layers(each) for each in found.values()):
        tables.append(_layer_table(found))
    return Section("training", title, blocks=(Block(figures=(epochs_figure(found),), tables=tuple(tables)),))


def _trainings(stored: Stored) -> Trainings:
    """Of points of the sweep, and of files beside it."""
    found = {name_of(point): point.training for point in stored.result.points if point.training}
    return {**found, **{name: values for name, values in stored.finetuned.items() if values.get("history")}}


def _measure(found: Trainings) -> tuple[str, Callable[[Entry], float]]:
    """What all epochs have: accuracy on the samples that the sweep scores, else agreement on those, or on held-out ones."""
    history = [entry for each in found.values() for entry in each["history"]]
    for name, label in (("top1", "top-1, %"), ("agreement", "agreement, %")):
        if all(entry.get("scored", {}).get(name) is not None for entry in history):
            return label, lambda entry, name=name: entry["scored"][name]
    return "agreement on held-out samples, %", lambda entry: entry["agreement"]


def epochs_figure(found: Trainings, base: float | None = None) -> Figure:
    """Accuracy over the epochs, one line a training; the epoch that was kept is filled.

    Args:
        found: name to training.
        base: the original model's accuracy, where it is known on the same samples.
    """
    label, value = _measure(found)

    def draw(canvas: Canvas) -> None:
        if base is not None:
            canvas.level(base)
        for i, (name, each) in enumerate(found.items()):
            xs, ys = [entry["epoch"] for entry in each["history"]], [value(entry) for entry in each["history"]]
            canvas.line(i, xs, ys)
            notes = [f"{name}, epoch {x}: {number(y)} %" for x, y in zip(xs, ys, strict=True)]
            canvas.marks(i, xs, ys, notes, [x != each.get("best_epoch", x) for x in xs])
        canvas.labels("epoch", label)
        canvas.whole_numbers()

    caption = "Epoch 0 is the narrowed model before training and without known gains; the epoch that was kept is filled."
    chart = Chart("epochs", "Accuracy over epochs", "The table below has the figures.", draw)
    return Figure(chart, caption, series_legend(list(found), base=base is not None))


def layers_figure(found: Trainings) -> Figure:
    """The share of changed weights of each layer, in program order, one line a training."""
    series = {name: [_changed(layer) for layer in _layers(each)] for name, each in found.items()}

    def draw(canvas: Canvas) -> None:
        for i, shares in enumerate(series.values()):
            canvas.line(i, range(1, len(shares) + 1), shares, linewidth=1.2)
            canvas.marks(i, range(1, len(shares) + 1), shares, markersize=4)
        canvas.labels("layer with weights, from the input", "weights changed, %")
        canvas.from_zero([(x, y) for shares in series.values() for x, y in enumerate(shares, 1)])
        canvas.whole_numbers()

    chart = Chart("trained-layers", "Weights that training changed", "layers.csv has the figures.", draw)
    return Figure(chart, "Share of the weights of each layer.", series_legend(list(series), base=False))


def _layers(training: Entry) -> Sequence[Entry]:
    return training.get("changes", {}).get("layers") or ()


def _changed(layer: Entry) -> float:
    return 100 * layer["changed"] / max(1, layer["weights"])


def _epoch_table(found: Trainings) -> Table:
    label, value = _measure(found)
    cells, marked = [], []
    for name, each in found.items():
        for entry in each["history"]:
            weights = entry.get("weights", {})
            cells.append(
                (
                    name,
                    str(entry["epoch"]),
                    number(value(entry)),
                    number(entry.get("validation_loss"), 4),
                    number(weights.get("percent")),
                    number(weights.get("mean_absolute")),
                    number(weights.get("largest"), 0),
                )
            )
            marked.append(entry["epoch"] == each.get("best_epoch"))
    columns = ("model", "epoch", label, "held-out loss", "weights changed, %", "mean |change|", "largest")
    return Table("Every epoch, the one that was kept marked", columns, rows(cells, marked))


def _layer_table(found: Trainings) -> Table:
    cells = [
        (
            name,
            layer["name"],
            f"{layer['weights']:,}",
            number(_changed(layer)),
            number(layer["mean_absolute"]),
            str(layer["largest"]),
        )
        for name, each in found.items()
        for layer in _layers(each)
    ]
    columns = ("model", "layer", "weights", "changed, %", "mean |change|", "largest")
    return Table("What training changed, layer by layer", columns, rows(cells), (0, 1), folded=True)
