# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the commands print."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import TYPE_CHECKING

import rich.table

if TYPE_CHECKING:
    from rich.console import Console

    from tosa_rescale.api import Model
    from tosa_rescale.core.rescales import RescaleInfo
    from tosa_rescale.measure.check import CheckResult
    from tosa_rescale.measure.evaluation import Evaluation
    from tosa_rescale.sweeping.search import SearchResult
    from tosa_rescale.twin.finetune import Finetuned

_MIN_NAME = 12  # characters of a name that info shows, however narrow the terminal


def print_info(rescales: Sequence[RescaleInfo], console: Console) -> None:
    """One row a rescale, then the violations, then how many multipliers have which width, then a summary."""
    aligned = any(each.scale_factor != 1 for each in rescales)
    columns = [
        "op",
        "scope",
        "channels",
        "type",
        "rounding",
        "bits",
        "2^n",
        "shift",
        "values",
        *(["factor"] if aligned else []),
    ]
    rows = [_info_cells(each)[: len(columns)] for each in rescales]
    widths = [max(len(text) for text in column) for column in zip(columns, *rows, strict=True)]
    table = rich.table.Table()
    # Names give way to the figures; every column has three characters of frame.
    room = console.width - sum(width + 3 for width in widths) - 4
    table.add_column("name", overflow="ellipsis", no_wrap=True, max_width=max(_MIN_NAME, room))
    for column in columns:
        right = column in ("channels", "bits", "shift", "values", "factor")
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    for each, row in zip(rescales, rows, strict=True):
        table.add_row(each.name, *row)
    console.print(table)
    for each in rescales:
        for violation in each.violations:
            console.print(f"violation: {each.name}: {violation}")
    by_bits = collections.Counter(bits for each in rescales for bits in each.multiplier_bits)
    console.print("multipliers by bits: " + ", ".join(f"{bits}: {count}" for bits, count in sorted(by_bits.items())))
    broken = sum(1 for each in rescales if each.violations)
    known = [each.bits for each in rescales if each.bits is not None]
    shifts = sum(1 for each in rescales if each.power_of_two)
    console.print(
        f"{len(rescales)} rescales, {sum(each.channels for each in rescales)} multipliers;"
        f" widest {max(known, default=0)} bits; {shifts} pure shifts; {broken} with violations"
        + (f"; {sum(each.scale_factor != 1 for each in rescales)} results have a new scale" if aligned else "")
    )


def _info_cells(each: RescaleInfo) -> list[str]:
    return [
        each.op,
        each.scope,
        str(each.channels),
        "scale32" if each.scale32 else "scale16",
        each.rounding_mode.removesuffix("_ROUND").lower(),
        "not constant" if each.bits is None else str(each.bits),
        "yes" if each.power_of_two else "",
        "-" if each.shift_min is None else f"{each.shift_min}..{each.shift_max}",
        "-" if each.value_min is None else f"{each.value_min}..{each.value_max}",
        f"{each.scale_factor:.4f}",
    ]


def print_too_wide(rescales: Sequence[RescaleInfo], bits: int, console: Console) -> None:
    """One row a rescale that has a multiplier of more than `bits` bits."""
    table = rich.table.Table(title=f"wider than {bits} bits")
    table.add_column("rescale")
    table.add_column("name", overflow="fold")
    for column in ("op", "bits", "multipliers above"):
        table.add_column(column, justify="left" if column == "op" else "right")
    for each in rescales:
        widest = "not constant" if each.bits is None else str(each.bits)
        table.add_row(each.key, each.name, each.op, widest, f"{each.above(bits)} of {max(1, each.channels)}")
    console.print(table)


def print_evaluation(found: Evaluation, console: Console) -> None:
    """The figures, one a line; those that do not apply are left out."""
    rows: list[tuple[str, str]] = [("samples", str(found.samples))]
    for label, value in (("top-1", found.top1), ("top-5", found.top5), ("agreement", found.agreement)):
        if value is not None:
            rows.append((label, f"{value:.2f} %"))
    if found.max_lsb is not None and found.mean_lsb is not None:
        rows += [("max difference", f"{found.max_lsb} LSB"), ("mean difference", f"{found.mean_lsb:.4f} LSB")]
    rows.append(("execution", f"{found.seconds:.1f} s, {found.samples / max(found.seconds, 1e-9):.1f} samples/s"))
    table = rich.table.Table(show_header=False, box=None)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if found.histogram:
        _print_histogram(found.histogram, console)


def print_compensation(model: Model, console: Console) -> None:
    """What the last step of a model's recipe says."""
    options = model.recipe[-1].options
    distance = options["mean_lsb"]
    measured = "" if distance is None else f"; outputs differ by {distance:.4f} LSB in the mean on the calibration samples"
    console.print(f"compensated at {options['bits']} bits, {options['choice']}{measured}")
    if options["scope"] == "all":
        # Counted in the module, not taken from what was asked.
        limit = max(options["bits"], options["elementwise_bits"] or 0)
        wide = [each.name for each in model.info() if (each.bits or 0) > limit]
        count = len(model.info())
        console.print(
            f"none of the {count} rescales has a multiplier of more than {limit} significant bits"
            if not wide
            else f"{len(wide)} of {count} rescales keep a multiplier of more than {limit} significant bits: {', '.join(wide)}"
        )


def print_search(found: SearchResult, console: Console) -> None:
    """Every step of a search, then what was found."""
    table = rich.table.Table()
    table.add_column("tried")
    table.add_column("points lost", justify="right")
    for label, drop in found.tried:
        table.add_row(label, f"{drop:.2f}")
    console.print(table)
    single = f", {len(found.narrower)} layers at {found.bits - 1}" if found.narrower else ""
    console.print(f"smallest width: {found.bits} bits{single}; {found.drop:.2f} points lost")


def print_check(result: CheckResult, console: Console) -> None:
    """One row a pair of engines, then the verdict."""
    table = rich.table.Table()
    for column in ("engines", "values", "mismatches", "max LSB"):
        table.add_column(column, justify="left" if column == "engines" else "right")
    for engines, compared in result.pairs.items():
        table.add_row(" = ".join(engines), str(compared.values), str(compared.mismatches), str(compared.max_lsb))
    console.print(table)
    if result.layers:
        values = sum(compared.values for compared in result.layers.values())
        first = result.first_difference
        console.print(
            f"{len(result.layers)} rescales, twin = iree: {values} values, "
            + (
                "no mismatch"
                if first is None
                else f"first differing: {first[0]}, {first[1].mismatches} of {first[1].values}, by up to {first[1].max_lsb}"
            )
        )
    console.print(f"{result.samples} samples: {'bit-exact' if result.bit_exact else 'NOT bit-exact'}")


def print_finetuned(found: Finetuned, console: Console) -> None:
    """One row an epoch, one a changed layer, then what was kept."""
    epochs = rich.table.Table(title="held-out samples")
    for column in ("epoch", "loss", "agreement %", "seconds"):
        epochs.add_column(column, justify="right")
    for entry in found.history:
        # Where gains were folded in, training began with that, and so did what is kept of epoch 0.
        stages = [(str(entry["epoch"]), entry, f"{entry['seconds']:.1f}")]
        if "folded" in entry:
            stages.append(("gains", entry["folded"], ""))
        for name, figures, seconds in stages:
            kept = " *" if entry["epoch"] == found.best_epoch and figures is stages[-1][1] else ""
            epochs.add_row(f"{name}{kept}", f"{figures['validation_loss']:.4f}", f"{figures['agreement']:.2f}", seconds)
    console.print(epochs)
    layers = rich.table.Table(title="changed layers")
    for column in ("layer", "name", "weights", "changed %", "mean |change|", "largest"):
        layers.add_column(column, justify="left" if column in ("layer", "name") else "right", overflow="fold")
    for layer in found.changes.layers:
        if layer.changed:
            percent = f"{100 * layer.changed / layer.weights:.2f}"
            layers.add_row(layer.op, layer.name, str(layer.weights), percent, f"{layer.mean_absolute:.2f}", str(layer.largest))
    console.print(layers)
    begun = " with known gains folded in" if not found.best_epoch and "folded" in found.history[0] else ""
    console.print(
        f"kept: epoch {found.best_epoch}{begun}; {found.changes.percent:.2f} % of the weights changed, by"
        f" {found.changes.mean_absolute:.2f} steps on average, in {found.changes.touched} of {len(found.changes.layers)} layers"
    )


def _print_histogram(histogram: dict[int, int], console: Console, widest: int = 5) -> None:
    total = sum(histogram.values())
    inside = {d: n for d, n in histogram.items() if abs(d) <= widest}
    table = rich.table.Table(title="difference of outputs, LSB")
    for difference in sorted(inside):
        table.add_column(f"{difference:+d}" if difference else "0", justify="right")
    beyond = total - sum(inside.values())
    cells = [f"{100 * inside[d] / total:.2f} %" for d in sorted(inside)]
    if beyond:
        table.add_column(f"beyond +-{widest}", justify="right")
        cells.append(f"{100 * beyond / total:.2f} %")
    table.add_row(*cells)
    console.print(table)
