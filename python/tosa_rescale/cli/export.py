# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale export`: tables, memory images, a C kernel, RTL, golden vectors, node data for Model Explorer."""

from __future__ import annotations

from typing import Any

import click

from tosa_rescale.cli import options
from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import Scope


@options.command("export")
@options.model
@click.option("-o", "--output", required=True, type=click.Path(), help="Folder to make.")
@click.option(
    "--format", "formats", default="json,c,hex", show_default=True, help="By comma: json, c, hex, rtl, model-explorer."
)
@options.rescales
@click.option(
    "--goldens", metavar="DATA|random", help="Record golden vectors while IREE runs images, an .npz or random samples."
)
@click.option("--samples", type=click.IntRange(min=1), default=1, show_default=True, help="Samples for golden vectors.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=256, show_default=True, help="Vectors for each rescale and sample, at most."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of random samples and of the positions that vectors have."
)
@click.option("--errors", type=click.Path(), help="model-explorer: show these too, from `errors --json`.")
@click.option("--sensitivity", type=click.Path(), help="model-explorer: show these too, from `sensitivity --json`.")
@options.samples_of_data
@click.option("--force", is_flag=True, help="Write into a folder that exists.")
def export(
    model: str,
    output: str,
    formats: str,
    scope: str,
    goldens: str | None,
    samples: int,
    limit: int,
    seed: int,
    errors: str | None,
    sensitivity: str | None,
    force: bool,
    **given: Any,
) -> int:
    """Write MODEL's rescales for hardware and firmware: compact (m, s) as JSON, C, memory images; golden vectors."""
    from tosa_rescale.cli import common, show
    from tosa_rescale.data.source import input_arrays
    from tosa_rescale.hardware.bundle import parse_formats, require_folder, write_bundle
    from tosa_rescale.hardware.goldens import record_goldens
    from tosa_rescale.hardware.model_explorer import read_figures
    from tosa_rescale.hardware.pairs import read_tables

    wanted = parse_formats(formats)
    given_figures = {name: path for name, path in (("error", errors), ("sensitivity", sensitivity)) if path is not None}
    if given_figures and "model-explorer" not in wanted:
        raise OptionError("errors, sensitivity: have no effect without --format model-explorer; pass that too")
    require_folder(output, force)
    loaded = common.load(model)
    tables = read_tables(loaded, Scope(scope))
    figures = {name: read_figures(path, name, tables) for name, path in given_figures.items()}
    recorded, inputs = None, []
    if goldens is not None:
        if goldens == "random":
            inputs = loaded.random_inputs(samples, seed)
        else:
            data = common.load_data(goldens, given).take(samples)
            inputs = input_arrays(data, loaded.input_specs)
        recorded = record_goldens(loaded, tables, inputs, limit, seed, common.progress())
    written = write_bundle(output, loaded, tables, wanted, recorded, force, figures)
    show.exported(written, tables, recorded, len(inputs[0]) if inputs else 0)
    return 0
