# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale info`."""

from __future__ import annotations

import click

from tosa_rescale.cli import options
from tosa_rescale.core.options import Scope
from tosa_rescale.core.parsing import parse_bits


@options.command("info")
@options.model
@options.rescales
@click.option("--fail-above", metavar="K", help="Exit with 1 if any multiplier has more than K significant bits.")
@options.wide
@options.json_file
def info(model: str, scope: str, fail_above: str | None, json_file: str | None) -> int:
    """Show every rescale of MODEL: op, channels, significant bits, shift and value range, violations of the specification."""
    from tosa_rescale.cli import common, show
    from tosa_rescale.core.divisions import find_divisions
    from tosa_rescale.core.rescales import wider_than

    limit = None if fail_above is None else parse_bits(fail_above, "fail-above")
    loaded = common.load(model)
    loaded.require_rescales()
    rescales = [each for each in loaded.info() if scope == Scope.ALL or each.scope == scope]
    show.rescales(rescales)
    show.divisions(find_divisions(loaded))
    common.write_json(json_file, [each.as_dict() for each in rescales])
    if limit is None or not (found := wider_than(rescales, limit)):
        return 0
    show.too_wide(model, found, len(rescales), limit)
    return 1
