# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale convert`."""

from __future__ import annotations

import click

from tosa_rescale.cli import options


@options.command("convert")
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("target", metavar="OUT", type=click.Path())
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Extent of an open first dimension.")
@options.part
@click.option("--original", type=click.Path(), help="To .tflite: the file that the model was made from.")
@options.allow_partial
@options.force
def convert(
    source: str,
    target: str,
    batch: int,
    original: str | None,
    allow_partial: bool,
    force: bool,
) -> int:
    """Convert a model from one file kind to another."""
    from tosa_rescale.cli import common
    from tosa_rescale.core.files import require_writable

    require_writable(target, force)
    loaded = common.load(source, batch)
    common.require_output(loaded, target, original)
    common.save(loaded, target, force, original=original, allow_partial=allow_partial)
    return 0
