# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Everything that the commands print for people: tables that fit the terminal, and sentences.

A table gives way to a narrow terminal in two steps: names lose their beginnings, as their ends tell layers apart, then minor
columns go, and a line says which. A file or a pipe has no width: there, and with --wide, nothing is left out.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from tosa_rescale.cli.options import TALK, WIDE

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from tosa_rescale.api import Model
    from tosa_rescale.core.options import NarrowOptions
    from tosa_rescale.core.rescales import RescaleInfo
    from tosa_rescale.hardware import Cost
    from tosa_rescale.measure.check import CheckResult
    from tosa_rescale.measure.evaluation import Evaluation, MetricFigure
    from tosa_rescale.measure.rescale_error import Difference, Moments, RescaleError
    from tosa_rescale.sweeping.results import SweepResult
    from tosa_rescale.sweeping.search import SearchResult
    from tosa_rescale.twin.finetune import Finetuned

UNLIMITED = 100_000
"""Columns of a console that has no width of its own."""

LEAST_NAME = 14
"""Characters of a name that remain before columns go."""

INNER_BITS = 32  # tensors between the rescales of an addition: their LSB means nothing to anyone


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: at its top.
        left: its texts begin at the left; figures end at the right.
        minor: 0 stays; of the others the largest goes first where the terminal is narrow.
        name: its texts are names of layers and may lose their beginnings.
    """

    title: str
    left: bool = False
    minor: int = 0
    name: bool = False


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 bit, 2 bits."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def line(text: str) -> None:
    """A sentence for people, on standard output."""
    _console().print(text, markup=False)


def plain(text: str) -> None:
    """A text for a shell, on standard output: as it is, in one line, whatever the width."""
    click.echo(text)


def note(text: str) -> None:
    """A sentence on standard error; -q leaves it out."""
    if _meta(TALK) != "quiet":
        click.echo(text, err=True)


def remarks(model: Model) -> None:
    """What the last step left alone, and why."""
    for remark in model.remarks:
        note(f"remark: {remark.where}: {remark.text}")


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], title: str | None = None, console: Console | None = None
) -> None:
    """Prints a table that fits the terminal.

    Args:
        columns: the columns.
        rows: one text for each column.
        title: above the table.
    """
    console = _console()
    shown = list(range(len(columns)))
    gone: list[str] = []
    while True:
        names = UNLIMITED
        excess = _width(_made(columns, rows, shown, title, names)) - console.width
        if excess > 0 and (named := [i for i in shown if columns[i].name]):
            longest = max(len(row[i]) for row in [*rows, [each.title for each in columns]] for i in named)
            names = max(LEAST_NAME, longest - excess)
            excess -= max(0, longest - names)
        minor = max((i for i in shown if columns[i].minor), key=lambda i: columns[i].minor, default=None)
        if excess <= 0 or minor is None:
            break
        shown.remove(minor)
        gone.append(columns[minor].title)
    console.print(_made(columns, rows, shown, title, names))
    if gone:
        console.print(f"not shown at this width: {', '.join(reversed(gone))}; --wide shows all", markup=False)


def _made(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], shown: Sequence[int], title: str | None, names: int
) -> Table:
    import rich.box
    import rich.markup
    import rich.table

    made = rich.table.Table(title=title, box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title_justify="left")
    for i in shown:
        made.add_column(columns[i].title, justify="left" if columns[i].left else "right", no_wrap=True)
    for row in rows:
        texts = [_ending(row[i], names) if columns[i].name else row[i] for i in shown]
        made.add_row(*map(rich.markup.escape, texts))
    return made


def _ending(text: str, length: int) -> str:
    """The end of a text that is too long."""
    return text if len(text) <= length else f"…{text[len(text) - length + 1 :]}"


def _width(made: Table) -> int:
    from rich.console import Console
    from rich.measure import Measurement

    roomy = Console(width=UNLIMITED)
    return Measurement.get(roomy, roomy.options, made).maximum


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    unlimited = _meta(WIDE) or not (console.is_terminal or os.environ.get("COLUMNS"))
    return Console(highlight=False, width=UNLIMITED, soft_wrap=True) if unlimited else console


def _meta(key: str) -> Any:
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(key)


# -- rescales ----------------------------------------------------------------------------------------------------------


def rescales(found: Sequence[RescaleInfo]) -> None:
    """One row a rescale, then the violations, then how many multipliers have which width, then a summary."""
    aligned = any(each.scale_factor != 1 for each in found)
    columns = [
        Column("key", left=True),
        Column("name", left=True, name=True),
        Column("op", left=True),
        Column("scope", left=True, minor=3),
        Column("channels", minor=1),
        Column("type", left=True, minor=4),
        Column("rounding", left=True, minor=5),
        Column("bits"),
        Column("2^n", left=True),
        Column("shift"),
        Column("values", minor=2),
        *([Column("factor", minor=6)] if aligned else []),
    ]
    table(columns, [_rescale(each)[: len(columns)] for each in found])
    for each in found:
        for violation in each.violations:
            line(f"violation: {each.key}, {each.name}: {violation}")
    by_bits = collections.Counter(bits for each in found for bits in each.multiplier_bits)
    line("multipliers by bits: " + ", ".join(f"{bits}: {number}" for bits, number in sorted(by_bits.items())))
    broken = sum(1 for each in found if each.violations)
    known = [each.bits for each in found if each.bits is not None]
    shifts = sum(1 for each in found if each.power_of_two)
    line(
        f"{count(len(found), 'rescale')}, {count(sum(each.channels for each in found), 'multiplier')};"
        f" widest {count(max(known, default=0), 'bit')}; {count(shifts, 'pure shift')}; {broken} with violations"
        + (f"; {sum(each.scale_factor != 1 for each in found)} results have a new scale" if aligned else "")
        + (f"; {sum(each.lowered for each in found)} lowered to 32 bits" if any(each.lowered for each in found) else "")
    )


def _rescale(each: RescaleInfo) -> list[str]:
    return [
        each.key,
        each.name,
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


def too_wide(model: str, found: Sequence[RescaleInfo], total: int, bits: int) -> None:
    """One row a rescale that has a multiplier of more than `bits` bits, and on standard error one line that names them."""
    rows = []
    for each in found:
        widest = "not constant" if each.bits is None else str(each.bits)
        rows.append([each.key, each.name, each.op, widest, f"{each.above(bits)} of {max(1, each.channels)}"])
    columns = [Column("key", left=True), Column("name", left=True, name=True), Column("op", left=True)]
    table([*columns, Column("bits"), Column("multipliers above")], rows, title=f"wider than {count(bits, 'bit')}")
    names = ", ".join(each.key for each in found)
    click.echo(f"{model}: {len(found)} of {total} rescales have multipliers wider than {count(bits, 'bit')}: {names}", err=True)


def narrowed(model: Model, options: NarrowOptions, output: str) -> None:
    """What narrowing did, counted in the module."""
    from tosa_rescale.core.options import Scope

    every = model.info()
    inside = every if options.scope is Scope.ALL else [each for each in every if each.scope == Scope.ACCUMULATOR]
    limit = max(options.significant_bits, options.elementwise_bits or 0)
    wide = [each.key for each in inside if each.above(limit)]
    what = "rescales" if options.scope is Scope.ALL else "rescales of MAC layers"
    line(
        f"{output}: {len(inside) - len(wide)} of {len(inside)} {what} have at most {count(limit, 'significant bit')}"
        + (f"; wider: {', '.join(wide)}" if wide else "")
        + (f"; {len(every) - len(inside)} others are as they were (--scope all)" if len(every) > len(inside) else "")
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


def search(found: SearchResult[Any]) -> None:
    """Every step of a search, then what was found."""
    from tosa_rescale.core.statistics import ERROR

    title = f"loss of {found.metric}" if found.metric else "loss"
    columns = [Column("tried", left=True), Column(title), Column("at most"), Column("", left=True)]
    table(columns, [[each.label, f"{each.loss.value:.2f}", f"{each.loss.high:.2f}", each.says] for each in found.tried])
    single = f", {count(len(found.narrower), 'layer')} at {found.bits - 1}" if found.narrower else ""
    line(
        f"smallest proven width: {count(found.bits, 'bit')}{single}; {title} {found.drop:.2f}, at most {found.at_most:.2f} with"
        f" {100 * (1 - ERROR):g} % confidence"
    )


# -- measurements ------------------------------------------------------------------------------------------------------


def evaluation(found: Evaluation) -> None:
    """The figures, one a line, with what is lost against a reference; those that do not apply are left out."""
    rows = [("samples", str(found.samples)), *((figure.name, _figure(figure)) for figure in found.metrics.values())]
    for label, value in (("top1", found.top1), ("top5", found.top5), ("agreement", found.agreement)):
        if value is not None and label not in found.metrics:
            rows.append((label, f"{value:.2f} %"))
    if found.max_lsb is not None and found.mean_lsb is not None:
        rows += [("max difference", f"{found.max_lsb} LSB"), ("mean difference", f"{found.mean_lsb:.4f} LSB")]
    rows.append(("execution", f"{found.seconds:.1f} s, {found.samples / max(found.seconds, 1e-9):.1f} samples/s"))
    for label, value in rows:
        line(f"{label:<16}{value}")
    if found.histogram:
        _histogram(found.histogram)
    if found.says:
        line(f"metrics: {found.says}")
    warnings(found)


def warnings(found: Evaluation) -> None:
    """What is doubtful about the labels, and what was left out, on standard error."""
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)


def _figure(figure: MetricFigure) -> str:
    """Value and unit; loss and its bounds where there is a reference."""
    unit = f" {figure.unit}" if figure.unit else ""
    value = f"{_significant(figure.value)}{unit}" if unit else f"{figure.value:.4g}"  # a share of 1, or a small error
    if figure.loss is None:
        return value
    points = " points" if figure.unit == "%" else unit
    bounds = ""
    if figure.loss_low is not None and figure.loss_high is not None:
        bounds = f" (at 95 % confidence {_significant(figure.loss_low)} to {_significant(figure.loss_high)})"
    return f"{value}, loss {_significant(figure.loss)}{points}{bounds}"


def _significant(value: float) -> str:
    """Two digits behind the point, or as many as a small value needs."""
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.1 else f"{value:.3g}"


def _histogram(histogram: dict[int, int], widest: int = 5) -> None:
    total = sum(histogram.values())
    inside = {d: n for d, n in histogram.items() if abs(d) <= widest}
    rows = [[f"{d:+d}" if d else "0", f"{100 * inside[d] / total:.2f}"] for d in sorted(inside)]
    if beyond := total - sum(inside.values()):
        rows.append([f"beyond ±{widest}", f"{100 * beyond / total:.2f}"])
    table([Column("LSB"), Column("% of values")], rows, title="difference of outputs")


def check(result: CheckResult) -> None:
    """One row a pair of engines, then the verdict."""
    columns = [Column("engines", left=True), Column("values"), Column("mismatches"), Column("max LSB")]
    rows = [
        [" = ".join(engines), str(compared.values), str(compared.mismatches), str(compared.max_lsb)]
        for engines, compared in result.pairs.items()
    ]
    table(columns, rows)
    for engine, error in result.left_out.items():
        line(f"{engine} is left out: {error}")
    if result.layers:
        values = sum(compared.values for compared in result.layers.values())
        first = result.first_difference
        what = "rescale" if all(key.startswith("rescale") for key in result.layers) else "op"
        line(
            f"{count(len(result.layers), what)}, twin = iree: {values} values, "
            + (
                "no mismatch"
                if first is None
                else f"first differing: {first[0]}, {first[1].mismatches} of {first[1].values}, by up to {first[1].max_lsb}"
            )
        )
    line(f"{count(result.samples, 'sample')}: {'bit-exact' if result.bit_exact else 'NOT bit-exact'}")


def rescale_errors(found: Sequence[RescaleError]) -> None:
    """One row a rescale whose result has 8 or 16 bits; `sat` is saturated, `real` the spread end to end in real units."""
    columns = [
        Column("name", left=True, name=True),
        Column("op", left=True, minor=5),
        Column("bits"),
        Column("sat %", minor=3),
        Column("predicted"),
        Column("measured", minor=1),
        Column("1 off %", minor=6),
        Column(">1 %", minor=7),
        Column("end to end"),
        Column("max", minor=2),
        Column("real", minor=4),
    ]
    shown = [each for each in found if each.output_bits < INNER_BITS]
    rows = []
    for each in shown:
        alone, chain = each.isolated, each.end_to_end
        rows.append(
            [
                f"{each.name}{' *' if each.absorbed else ''}",
                each.op,
                str(each.bits),
                "-" if each.measured is None and alone is None else f"{each.saturated:.0f}",
                _moments(each.predicted),
                _moments(each.measured),
                _share(alone, 1, 1),
                _share(alone, 2, None),
                _moments(chain),
                f"{chain.largest:.0f}",
                "-" if each.scale is None else f"{each.scale * chain.std:.2g}",
            ]
        )
    table(columns, rows, title="error of each rescale in LSB, mean ± standard deviation")
    if any(each.absorbed for each in shown):
        line("* weights or bias absorb the multiplier's change; predicted is what they leave of it, not its own error")
    if len(shown) < len(found):
        line(f"{count(len(found) - len(shown), 'rescale')} to 32 bits, inside additions and the like, in --json only")
    unknown = [each for each in shown if each.isolated is None]
    if unknown:
        line(f"not measured alone: {count(len(unknown), 'rescale')} whose layer or its scales are not the original's")


def _moments(figures: Moments | Difference | None) -> str:
    return "-" if figures is None else f"{figures.mean:+.2f} ± {figures.std:.2f}"


def _share(difference: Difference | None, least: int, most: int | None) -> str:
    """Per cent of values whose difference is this large."""
    if difference is None:
        return "-"
    total = sum(difference.histogram.values())
    inside = sum(n for step, n in difference.histogram.items() if abs(step) >= least and (most is None or abs(step) <= most))
    return f"{100 * inside / total:.2f}"


# -- training and sweeps -----------------------------------------------------------------------------------------------


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
    table(columns, rows, title="held-out samples")
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
        f" {found.changes.mean_absolute:.2f} steps on average, in {found.changes.touched} of {len(found.changes.layers)} layers"
    )


def sweep(result: SweepResult) -> None:
    """One row a point; those that lose more than the metric that decides tolerates are marked."""
    metrics = result.base.evaluation.metrics
    columns = [
        Column("method", left=True),
        Column("bits"),
        # The first metric decides; of the others the last goes first.
        *(
            Column(_titled(figure), minor=0 if i == 0 or figure.name == "agreement" else 4 + i)
            for i, figure in enumerate(metrics.values())
        ),
        *([] if "agreement" in metrics else [Column("agreement %")]),
        Column("max LSB", minor=1),
        Column("mean LSB", minor=2),
        Column("seconds", minor=3),
    ]
    rows = []
    for point in result.points:
        found, decisive = point.evaluation, result.figure(point)
        own = [found.metrics.get(name) for name in metrics]
        texts = ["-" if figure is None else _significant(figure.value) for figure in own]
        if texts:
            texts[0] += " *" if decisive is not None and decisive.degraded else "  "
        agreement = [] if "agreement" in metrics else [_number(found.agreement, 2)]
        rest = [_number(found.max_lsb, 0), _number(found.mean_lsb, 3), f"{point.seconds:.1f}"]
        rows.append([point.method, str(point.bits), *texts, *agreement, *rest])
    table(columns, rows, title=f"{pathlib.Path(result.model).name} on {pathlib.Path(result.data).name}")
    lost = [figure for point in result.points if (figure := result.figure(point)) is not None and figure.degraded]
    if lost:
        unit = "points" if lost[0].unit == "%" else lost[0].unit
        line(f"* loses more than {lost[0].tolerance:g} {unit}".rstrip() + f" of {lost[0].name}, as measured")
    warnings(result.base.evaluation)


def _titled(figure: MetricFigure) -> str:
    return f"{figure.name} {figure.unit}".rstrip()


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


# -- hardware ----------------------------------------------------------------------------------------------------------


def exported(written: Sequence[pathlib.Path], tables: Sequence[Any], goldens: Any, samples: int) -> None:
    """The files of an export, and what they hold.

    Args:
        written: the files.
        tables: hardware.pairs.Table of each rescale.
        goldens: hardware.goldens.Goldens; None: none were recorded.
        samples: how many samples these are of.
    """
    for path in written:
        if path.suffix != ".txt":
            line(f"{path}  {path.stat().st_size} bytes")
    pairs, bits = sum(each.channels for each in tables), max(each.bits for each in tables)
    fitting = sum(each.fits_rtl for each in tables)
    line(
        f"{count(len(tables), 'rescale')}, {count(pairs, 'pair')}, widest {count(bits, 'bit')};"
        f" the RTL computes {fitting} of them"
    )
    if goldens is not None:
        vectors = sum(len(each.input) for each in goldens.vectors)
        line(f"{count(vectors, 'golden vector')} of {count(samples, 'sample')}, one .txt for each rescale")


def costs(found: Sequence[Cost]) -> None:
    """One table for each number of MACs."""
    from tosa_rescale.hardware import PAPER, relative_costs

    titles = ("k", "cells", "transistors", "vs 32", "depth", "vs 32", "area-delay, times better")
    for macs in sorted({cost.macs for cost in found}):
        rows = []
        for each in relative_costs(found):
            cost = each.cost
            if cost.macs == macs:
                area, depth = f"{100 * (each.transistors - 1):+.1f} %", f"{100 * (each.depth - 1):+.1f} %"
                row = [str(cost.bits), str(cost.cells), str(cost.transistors), area, str(cost.depth), depth]
                rows.append([*row, f"{1 / each.area_delay:.2f}"])
        table([Column(title) for title in titles], rows, title=f"dot-product engine, {macs} MACs")
        if macs in PAPER:
            line(f"source paper, 16 nm, k = 4: area {PAPER[macs]:+.1f} %")
