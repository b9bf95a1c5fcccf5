# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale check`."""

from __future__ import annotations

from typing import Any

import click

from tosa_rescale.cli import options


@options.command("check")
@options.model
@click.option("--engines", help=f"At least two, by comma ({options.ENGINES_HELP}). Default: all at hand that must agree.")
@click.option("--inputs", type=click.IntRange(min=1), default=8, show_default=True, help="Number of random samples.")
@click.option("--data", type=click.Path(), help="Images or .npz instead of random samples.")
@click.option(
    "--layers",
    type=click.Choice(["none", "rescales", "ops"]),
    is_flag=False,
    flag_value="rescales",
    default="none",
    help="Compare the twin with IREE inside the graph as well: after every rescale (--layers alone), or after every op.",
)
@options.seed
@options.samples_of_data
@options.workers
@options.wide
@options.json_file
def check(
    model: str,
    engines: str | None,
    inputs: int,
    data: str | None,
    layers: str,
    seed: int,
    workers: int | None,
    json_file: str | None,
    **given: Any,
) -> int:
    """Compare engines on MODEL. Exit status 0 only if they agree bit for bit."""
    from tosa_rescale.cli import common, show

    loaded = common.load(model)
    what = common.load_data(data, given) if data else inputs
    names = [name.strip() for name in engines.split(",")] if engines else None
    result = loaded.check(what, engines=names, seed=seed, workers=workers, layers=layers, progress=common.progress())
    show.check(result)
    common.write_json(json_file, result.as_dict())
    return 0 if result.bit_exact else 1
