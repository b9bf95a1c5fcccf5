# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale sensitivity`: which rescale needs its bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from tosa_rescale.cli import options
from tosa_rescale.core.parsing import parse_bits

if TYPE_CHECKING:
    from tosa_rescale.measure.sensitivity import Sensitivity


@options.command("sensitivity")
@options.model
@options.data
@click.option("--bits", metavar="K", required=True, help="Significant bits of the one rescale that is narrowed, 1 to 31.")
@click.option(
    "--metrics",
    metavar="NAMES",
    help="Rank by what the first of these metrics loses (see `evaluate`). Default: by the outputs' mean difference.",
)
@options.rescales
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Print the N costliest alone; files have all.")
@options.samples_of_data
@options.workers
@options.wide
@options.json_file
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False), help="Write the figures to this file as a table.")
def sensitivity(
    model: str,
    data: str,
    bits: str,
    metrics: str | None,
    scope: str,
    top: int | None,
    workers: int | None,
    json_file: str | None,
    csv_file: str | None,
    **given: Any,
) -> int:
    """Rank MODEL's rescales by what each costs when it alone is narrowed to K bits."""
    from tosa_rescale.cli import common, show
    from tosa_rescale.measure.sensitivity import COLUMNS
    from tosa_rescale.reporting.tables import write_rows

    width = parse_bits(bits, "bits")
    loaded = common.load(model)
    samples = common.load_data(data, given)
    found = loaded.sensitivity(samples, width, metrics=metrics, scope=scope, workers=workers, progress=common.progress())
    print_ranking(found[:top], width)
    left = len(loaded.info()) - len(found)
    show.line(
        f"{show.count(len(samples), 'sample')}; {show.count(left, 'other rescale')} not in scope or no wider than"
        f" {show.count(width, 'bit')}" + (f"; the first {top} of {len(found)} shown" if top and top < len(found) else "")
    )
    common.write_json(json_file, [each.as_dict() for each in found])
    if csv_file:
        write_rows(csv_file, COLUMNS, [each.as_row() for each in found])
    return 0


def print_ranking(found: Sequence[Sensitivity], bits: int) -> None:
    """One row a rescale, the costliest first."""
    from tosa_rescale.cli.show import Column, count, table

    figure = found[0].figure if found else None
    columns = [
        Column("key", left=True),
        Column("name", left=True, name=True),
        Column("op", left=True, minor=2),
        Column("bits", minor=1),
        Column("mean LSB"),
        Column("max LSB", minor=3),
        *([Column(figure.name), Column("loss")] if figure else []),
    ]
    rows = []
    for each in found:
        row = [each.key, each.name, each.op, str(each.before), f"{each.mean_lsb:.4f}", str(each.max_lsb)]
        if each.figure is not None:
            row += [f"{each.figure.value:.4g}", "-" if each.figure.loss is None else f"{each.figure.loss:+.3g}"]
        rows.append(row)
    table(columns, rows, title=f"what one rescale at {count(bits, 'bit')} costs, all others as they are")
