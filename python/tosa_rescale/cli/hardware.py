# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale hardware-cost`: what k bits cost in silicon."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tosa_rescale.cli.commands import group

if TYPE_CHECKING:
    from rich.console import Console

    from tosa_rescale.hardware import Cost


@group.command("hardware-cost")
@click.option("--regenerate", is_flag=True, help="Synthesise anew (minutes; extra `hardware`) and renew the stored figures.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), help="With --regenerate: file to write instead of the package's."
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False), help="Write the figures to this file as well.")
@click.option("--quiet", is_flag=True, help="No progress.")
def hardware_cost(regenerate: bool, output: str | None, json_file: str | None, quiet: bool) -> int:
    """Show area, depth and area-delay product of a dot-product engine whose rescaler has k bits, against 32."""
    import dataclasses

    from rich.console import Console

    from tosa_rescale.core.errors import OptionError
    from tosa_rescale.hardware import BITS, MACS, read_costs, relative_costs, write_costs

    if output and not regenerate:
        raise OptionError("output: has no effect without --regenerate; pass both")
    if regenerate:
        from tosa_rescale.core.files import require_writable
        from tosa_rescale.core.progress import Bars, Silent
        from tosa_rescale.hardware.costs import COSTS
        from tosa_rescale.hardware.synthesis import fingerprint, measure_costs, tool_version

        target = require_writable(output or COSTS, force=True)
        tool = tool_version()
        write_costs(measure_costs(MACS, BITS, Silent() if quiet else Bars()), tool, fingerprint(), target)
        costs = read_costs(target)
    else:
        costs = read_costs()
    _print_costs(costs, Console(highlight=False))
    if json_file:
        from tosa_rescale.reporting import write_json

        rows = [{**dataclasses.asdict(each), "area_delay": each.area_delay} for each in costs]
        for row, relative in zip(rows, relative_costs(costs), strict=True):
            row["relative"] = {k: v for k, v in dataclasses.asdict(relative).items() if k != "cost"}
        write_json(pathlib.Path(json_file), rows)
    return 0


def _print_costs(costs: Sequence[Cost], console: Console) -> None:
    """One table for each number of MACs."""
    import rich.table

    from tosa_rescale.hardware import PAPER, relative_costs

    for macs in sorted({cost.macs for cost in costs}):
        table = rich.table.Table(title=f"dot-product engine, {macs} MACs")
        for column in ("k", "cells", "transistors", "vs 32", "depth", "vs 32", "area-delay, times better"):
            table.add_column(column, justify="right")
        for each in relative_costs(costs):
            cost = each.cost
            if cost.macs == macs:
                area, depth = f"{100 * (each.transistors - 1):+.1f} %", f"{100 * (each.depth - 1):+.1f} %"
                row = (str(cost.bits), str(cost.cells), str(cost.transistors), area, str(cost.depth), depth)
                table.add_row(*row, f"{1 / each.area_delay:.2f}")
        console.print(table)
        if macs in PAPER:
            console.print(f"source paper, 16 nm, k = 4: area {PAPER[macs]:+.1f} %")
