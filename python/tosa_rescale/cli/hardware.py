# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale hardware-cost`: what k bits cost in silicon."""

from __future__ import annotations

import click

from tosa_rescale.cli import options


@options.command("hardware-cost")
@click.option("--regenerate", is_flag=True, help="Synthesise anew (minutes; extra `hardware`) and renew the stored figures.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), help="With --regenerate: file to write instead of the package's."
)
@options.wide
@options.json_file
def hardware_cost(regenerate: bool, output: str | None, json_file: str | None) -> int:
    """Show area, depth and area-delay product of a dot-product engine whose rescaler has k bits, against 32."""
    import dataclasses

    from tosa_rescale.cli import common, show
    from tosa_rescale.core.errors import OptionError
    from tosa_rescale.hardware import BITS, MACS, read_costs, relative_costs, write_costs

    if output and not regenerate:
        raise OptionError("output: has no effect without --regenerate; pass both")
    if regenerate:
        from tosa_rescale.core.files import require_writable
        from tosa_rescale.hardware.costs import COSTS
        from tosa_rescale.hardware.synthesis import fingerprint, measure_costs, tool_version

        target = require_writable(output or COSTS, force=True)
        tool = tool_version()
        write_costs(measure_costs(MACS, BITS, common.progress()), tool, fingerprint(), target)
        costs = read_costs(target)
    else:
        costs = read_costs()
    show.costs(costs)
    rows = [{**dataclasses.asdict(each), "area_delay": each.area_delay} for each in costs]
    for row, relative in zip(rows, relative_costs(costs), strict=True):
        row["relative"] = {k: v for k, v in dataclasses.asdict(relative).items() if k != "cost"}
    common.write_json(json_file, rows)
    return 0
