# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale errors`: what a narrower multiplier does to every rescale."""

from __future__ import annotations

from typing import Any

import click

from tosa_rescale.cli import options


@options.command("errors")
@options.model
@click.option("--reference", required=True, type=click.Path(), help="The model that MODEL was made from.")
@options.data
@options.samples_of_data
@options.wide
@options.json_file
def errors(model: str, reference: str, data: str, json_file: str | None, **given: Any) -> int:
    """Show the error of every rescale of MODEL, in LSB: predicted (Eq. 5 of the source paper), measured alone, end to end."""
    from tosa_rescale.cli import common, show
    from tosa_rescale.measure.rescale_error import rescale_errors

    narrowed, original = common.load(model), common.load(reference)
    found = rescale_errors(narrowed, original, common.load_data(data, given), progress=common.progress())
    show.rescale_errors(found)
    common.write_json(json_file, [each.as_dict() for each in found])
    return 0
