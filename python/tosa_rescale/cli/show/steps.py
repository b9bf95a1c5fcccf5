# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a step did to a model: narrowing, compensation, the search of a width, fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tosa_rescale.cli.show.console import Column, line, note, table
from tosa_rescale.core.display import count
from tosa_rescale.core.divisions import find_divisions
from tosa_rescale.core.statistics import ERROR

if TYPE_CHECKING:
    from tosa_rescale.api import Model
    from tosa_rescale.core.divisions import Division
    from tosa_rescale.core.options import NarrowOptions
    from tosa_rescale.sweeping.search import SearchResult
    from tosa_rescale.twin.finetune import Finetuned


def remarks(model: Model) -> None:
    """What the last step left alone, and why."""
    for remark in model.remarks:
        note(": ".join(filter(None, ("remark", remark.where, remark.text))))


def narrowed(model: Model, options: NarrowOptions, output: str) -> None:
    """What narrowing did, counted in the module."""
    from tosa_rescale.core.options import Scope

    every = model.info()
    inside = every if options.scope is Scope.ALL else [each for each in every if each.scope == Scope.ACCUMULATOR]
    limit = max(options.significant_bits, options.elementwise_bits or 0)
    wide = [each.key for each in inside if each.above(limit)]
    what = count(len(inside), "rescale") + ("" if options.scope is Scope.ALL else " of MAC layers")
    others = len(every) - len(inside)
    left = "1 other is as it was" if others == 1 else f"{others} others are as they were"
    line(
        f"{output}: {len(inside) - len(wide)} of {what} {'has' if len(inside) == 1 else 'have'} at most"
        f" {count(limit, 'significant bit')}"
        + (f"; wider: {', '.join(wide)}" if wide else "")
        + (f"; {left} (--scope all)" if others else "")
    )


def lowered(model: Model, output: str) -> None:
    """What lowering did, counted in the module."""
    every = model.info()
    staying = [each.key for each in every if not each.lowered]
    line(
        f"{output}: {len(every) - len(staying)} of {count(len(every), 'rescale')} computed in 32 bits"
        + (f"; 64 bits: {', '.join(staying)}" if staying else "")
    )


def compensation(model: Model) -> None:
    """What the last step of a model's recipe says."""
    options = model.recipe[-1].options
    distance = options["mean_lsb"]
    measured = "" if distance is None else f"; outputs differ by {distance:.4f} LSB in the mean on the calibration samples"
    line(f"compensated at {count(options['bits'], 'bit')}, {options['choice']}{measured}")
    if options["scope"] == "all":
        # Counted in the module, not taken from what was asked.
        limit = max(options["bits"], options["elementwise_bits"] or 0) + bool(options["hidden_bit"])
        every = model.info()
        wide = [each for each in every if (each.bits or 0) > limit]
        named = ", ".join(f"{each.key} ({each.name}, {count(each.bits or 0, 'bit')})" for each in wide)
        line(
            f"none of the {count(len(every), 'rescale')} has a multiplier of more than {count(limit, 'significant bit')}"
            if not wide
            else f"{len(wide)} of {count(len(every), 'rescale')} {'stays' if len(wide) == 1 else 'stay'} wide: {named}"
        )
        divisions(find_divisions(model))


def divisions(found: Sequence[Division]) -> None:
    """Average pools that divide; nothing where there are none."""
    if found:
        named = ", ".join(f"{each.key} (by {' or '.join(map(str, each.counts))})" for each in found)
        line(f"{count(len(found), 'average pool')} {'divides' if len(found) == 1 else 'divide'}, which is no rescale: {named}")


def search(found: SearchResult[Any]) -> None:
    """Every step of a search, then what was found."""
    title = f"loss of {found.metric}" if found.metric else "loss"
    columns = [Column("tried", left=True), Column(title), Column("at most"), Column("", left=True)]
    table(columns, [[each.label, f"{each.loss.value:.2f}", f"{each.loss.high:.2f}", each.says] for each in found.tried])
    single = f", {count(len(found.narrower), 'layer')} at {found.bits - 1}" if found.narrower else ""
    line(
        f"smallest proven width: {count(found.bits, 'bit')}{single}; {title} {found.drop:.2f}, at most {found.at_most:.2f} with"
        f" {100 * (1 - ERROR):g} % confidence"
    )


def finetuned(found: Finetuned[Any]) -> None:
    """One row an epoch, one a changed layer, then what was kept."""
    rows = []
    for entry in found.history:
        # Where gains were folded in, training began with that, and so did what is kept of epoch 0.
        stages = [(str(entry["epoch"]), entry, f"{entry['seconds']:.1f}")]
        if "folded" in entry:
            stages.append(("gains", entry["folded"], ""))
        for name, figures, seconds in stages:
            kept = " *" if entry["epoch"] == found.best_epoch and figures is stages[-1][1] else ""
            rows.append([f"{name}{kept}", f"{figures['validation_loss']:.4f}", f"{figures['agreement']:.2f}", seconds])
    columns = [Column("epoch"), Column("loss"), Column("agreement %"), Column("seconds")]
    table(columns, rows, title=f"held-out samples, {found.loss}")
    columns = [
        Column("layer", left=True),
        Column("name", left=True, name=True),
        Column("weights", minor=1),
        Column("changed %"),
        Column("mean |change|"),
        Column("largest"),
    ]
    rows = [
        [
            layer.op,
            layer.name,
            str(layer.weights),
            f"{100 * layer.changed / layer.weights:.2f}",
            f"{layer.mean_absolute:.2f}",
            str(layer.largest),
        ]
        for layer in found.changes.layers
        if layer.changed
    ]
    table(columns, rows, title="changed layers")
    begun = " with known gains folded in" if not found.best_epoch and "folded" in found.history[0] else ""
    line(
        f"kept: epoch {found.best_epoch}{begun}; {found.changes.percent:.2f} % of the weights changed, by"
        f" {found.changes.mean_absolute:.2f} steps on average, in {found.changes.touched} of"
        f" {count(len(found.changes.layers), 'layer')}"
    )
