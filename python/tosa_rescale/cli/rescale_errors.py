# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale errors`: what a narrower multiplier does to every rescale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tosa_rescale.cli.commands import (
    _console,
    _data_options,
    _json,
    _load,
    _load_data,
    _model,
    _progress,
    _quiet,
    _write_json,
    group,
)

if TYPE_CHECKING:
    from tosa_rescale.measure.rescale_error import Difference, Moments, RescaleError

INNER_BITS = 32  # tensors between the rescales of an addition: their LSB means nothing to anyone


@group.command()
@_model
@click.option("--reference", required=True, type=click.Path(), help="The model that MODEL was made from.")
@click.option("--data", required=True, type=click.Path(), help="Images or .npz.")
@_data_options
@_json
@_quiet
def errors(
    model: str,
    reference: str,
    data: str,
    json_file: str | None,
    quiet: bool,
    take: int | None,
    leave_out: int | None,
    **preprocessing: Any,
) -> int:
    """Show the error of every rescale of MODEL, in LSB: predicted (Eq. 5 of the source paper), measured alone, end to end."""
    from tosa_rescale.measure.rescale_error import rescale_errors

    narrowed, original = _load(model), _load(reference)
    samples = _load_data(data, preprocessing, take, leave_out)
    found = rescale_errors(narrowed, original, samples, progress=_progress(quiet))
    print_errors(found, _console())
    _write_json(json_file, [each.as_dict() for each in found])
    return 0


def print_errors(found: tuple[RescaleError, ...], console: Any) -> None:
    """One row a rescale whose result has 8 or 16 bits; `sat` is saturated, `real` the spread end to end in real units."""
    import rich.box
    import rich.table

    table = rich.table.Table(title="error of each rescale in LSB, mean \u00b1 standard deviation", box=rich.box.SIMPLE_HEAD)
    table.add_column("name", overflow="ellipsis", no_wrap=True, max_width=22)
    for column in ("op", "bits", "sat %", "predicted", "measured", "1 off %", ">1 %", "end to end", "max", "real"):
        table.add_column(column, justify="left" if column == "op" else "right", no_wrap=True)
    shown = [each for each in found if each.output_bits < INNER_BITS]
    for each in shown:
        alone, chain = each.isolated, each.end_to_end
        table.add_row(
            each.name,
            f"{each.op}{' *' if each.absorbed else ''}",
            str(each.bits),
            "-" if each.measured is None and alone is None else f"{each.saturated:.0f}",
            _moments(each.predicted),
            _moments(each.measured),
            _share(alone, 1, 1),
            _share(alone, 2, None),
            _moments(chain),
            f"{chain.largest:.0f}",
            "-" if each.scale is None else f"{each.scale * chain.std:.2g}",
        )
    console.print(table)
    if any(each.absorbed for each in shown):
        console.print("* weights or bias absorb the multiplier's change; predicted is what they leave of it, not its own error")
    if len(shown) < len(found):
        console.print(f"{len(found) - len(shown)} rescales to 32 bits, inside additions and the like, are in --json only")
    unknown = [each for each in shown if each.isolated is None]
    if unknown:
        console.print(f"{len(unknown)} rescales cannot be measured alone: their layer or its scales are not the original's")


def _moments(figures: Moments | Difference | None) -> str:
    return "-" if figures is None else f"{figures.mean:+.2f} \u00b1 {figures.std:.2f}"


def _share(difference: Difference | None, least: int, most: int | None) -> str:
    """Per cent of values whose difference is this large."""
    if difference is None:
        return "-"
    total = sum(difference.histogram.values())
    count = sum(n for step, n in difference.histogram.items() if abs(step) >= least and (most is None or abs(step) <= most))
    return f"{100 * count / total:.2f}"
