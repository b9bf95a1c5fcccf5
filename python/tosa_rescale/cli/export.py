# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale export`: tables, memory images, a C kernel, RTL and golden vectors."""

from __future__ import annotations

from typing import Any

import click

from tosa_rescale.cli.commands import (
    _console,
    _data_options,
    _load,
    _load_data,
    _progress,
    group,
)
from tosa_rescale.core.options import Scope


@group.command()
@click.argument("model", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), help="Folder to make.")
@click.option("--format", "formats", default="json,c,hex", show_default=True, help="By comma: json, c, hex, rtl.")
@click.option(
    "--scope",
    type=click.Choice([scope.value for scope in Scope]),
    default="all",
    show_default=True,
    help="All rescales, or those of MAC layers only.",
)
@click.option(
    "--goldens", metavar="DATA|random", help="Record golden vectors while IREE runs images, an .npz or random samples."
)
@click.option("--samples", type=click.IntRange(min=1), default=1, show_default=True, help="Samples for golden vectors.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=256, show_default=True, help="Vectors for each rescale and sample, at most."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of random samples and of the positions that vectors have."
)
@_data_options
@click.option("--force", is_flag=True, help="Write into a folder that exists.")
@click.option("--quiet", is_flag=True, help="No progress.")
def export(
    model: str,
    output: str,
    formats: str,
    scope: str,
    goldens: str | None,
    samples: int,
    limit: int,
    seed: int,
    take: int | None,
    leave_out: int | None,
    force: bool,
    quiet: bool,
    **preprocessing: Any,
) -> int:
    """Write MODEL's rescales for hardware and firmware: compact (m, s) as JSON, C, memory images; golden vectors."""
    import numpy as np

    from tosa_rescale.hardware.bundle import parse_formats, require_folder, write_bundle
    from tosa_rescale.hardware.goldens import record_goldens
    from tosa_rescale.hardware.pairs import read_tables

    wanted = parse_formats(formats)
    require_folder(output, force)
    loaded = _load(model)
    tables = read_tables(loaded, Scope(scope))
    recorded, inputs = None, []
    if goldens is not None:
        if goldens == "random":
            inputs = loaded.random_inputs(samples, seed)
        else:
            data = _load_data(goldens, preprocessing, take, leave_out).take(samples)
            inputs = [np.concatenate(list(data.quantized(loaded.input_spec)))]
        recorded = record_goldens(loaded, tables, inputs, limit, seed, _progress(quiet))
    written = write_bundle(output, loaded, tables, wanted, recorded, force)
    console = _console()
    pairs, bits = sum(table.channels for table in tables), max(table.bits for table in tables)
    for path in written:
        if path.suffix != ".txt":
            console.print(f"{path}  {path.stat().st_size} bytes")
    fitting = sum(table.fits_rtl for table in tables)
    console.print(f"{len(tables)} rescales, {pairs} pairs, widest {bits} bits; the RTL computes {fitting} of them")
    if recorded is not None:
        vectors = sum(len(each.input) for each in recorded.vectors)
        console.print(f"{vectors} golden vectors of {len(inputs[0])} samples, one .txt for each rescale")
    return 0
