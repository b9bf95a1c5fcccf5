# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale report`."""

from __future__ import annotations

import pathlib

import click

from tosa_rescale.cli import options


@options.command("report")
@click.argument("results", metavar="DIR|sweep.json", type=click.Path())
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="The page. Default: report.html beside the results.")
@click.option("--max-drop", type=float, help="Loss that is allowed, for the verdict. Default: the sweep's.")
def report(results: str, output: str | None, max_drop: float | None) -> int:
    """Write the report page of a sweep again from what it has stored; the model is not needed.

    Files named finetune*.json and errors*.json in the folder, as `finetune --json` and `errors --json` write them, become
    sections of the page.
    """
    from tosa_rescale.cli import show
    from tosa_rescale.reporting.page import PAGE, read_stored, write_page

    folder = pathlib.Path(results) if pathlib.Path(results).is_dir() else pathlib.Path(results).parent
    target = pathlib.Path(output) if output else folder / PAGE
    write_page(target, read_stored(results).allowing(max_drop))
    show.line(str(target))
    return 0
