# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale convert`."""

from __future__ import annotations

import click

from tosa_rescale.cli import options
from tosa_rescale.core.errors import OptionError


@options.command("convert")
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("target", metavar="OUT", type=click.Path())
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Extent of an open first dimension.")
@click.option("--until", metavar="TENSOR", help="Of a .tflite: end with this tensor. Default: as far as TOSA goes.")
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="INPUT=1x224x224x3",
    help="Of a .tflite: the whole shape of an input that leaves other dimensions than the first open; once for each input.",
)
@click.option("--original", type=click.Path(), help="To .tflite: the file that the model was made from.")
@options.allow_partial
@options.force
def convert(
    source: str,
    target: str,
    batch: int,
    until: str | None,
    shapes: tuple[str, ...],
    original: str | None,
    allow_partial: bool,
    force: bool,
) -> int:
    """Convert a model from one file kind to another."""
    from tosa_rescale.api import load
    from tosa_rescale.cli import common, show
    from tosa_rescale.core.files import require_writable

    given = dict(map(parse_shape, shapes))
    require_writable(target, force)
    loaded = load(source, batch, until=until, shapes=given or None)
    show.remarks(loaded)
    common.require_output(loaded, target, original)
    common.save(loaded, target, force, original=original, allow_partial=allow_partial)
    return 0


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Name and shape of an input, from `name=1x224x224x3`. Raises OptionError."""
    name, equals, extents = text.rpartition("=")
    parts = extents.split("x")
    if not (name and equals and all(part.isdecimal() and int(part) for part in parts)):
        raise OptionError(f"shape: {text!r} is no shape of an input; give its name and extents, such as image=1x224x224x3")
    return name, tuple(map(int, parts))
