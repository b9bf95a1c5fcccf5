# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale evaluate`."""

from __future__ import annotations

from typing import Any

import click

from tosa_rescale.cli import options


@options.command("evaluate")
@options.model
@options.data
@click.option("--engine", default="iree", show_default=True, help=options.ENGINES_HELP)
@click.option("--reference", type=click.Path(), help="Model to compare with.")
@options.metrics
@options.samples_of_data
@options.workers
@options.cluster
@options.json_file
def evaluate(
    model: str,
    data: str,
    engine: str,
    reference: str | None,
    metrics: str | None,
    workers: int | None,
    cluster: str | None,
    json_file: str | None,
    **given: Any,
) -> int:
    """Measure MODEL's accuracy on DATA and, with --reference, what it loses against another model."""
    from tosa_rescale.cli import common, show

    loaded = common.load(model)
    other = common.load(reference) if reference else None
    samples = common.load_data(data, given)
    found = loaded.evaluate(
        samples,
        metrics=metrics,
        engine=engine,
        reference=other,
        workers=workers,
        cluster=cluster,
        progress=common.progress(),
    )
    show.evaluation(found)
    common.write_json(json_file, found.as_dict())
    return 0
