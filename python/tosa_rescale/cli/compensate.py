# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale compensate`."""

from __future__ import annotations

from typing import Any

import click

from tosa_rescale.cli import options
from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import CalibrationOptions, CompensateOptions

AUTO = "auto"


@options.command("compensate")
@options.model
@options.output
@click.option(
    "--bits", required=True, metavar="K|auto", help="Significant bits, 1 to 31; auto: the smallest that keeps --max-drop."
)
@options.calibration
@options.options_of(CalibrationOptions)
@options.options_of(CompensateOptions, leave_out=("bits",))
@click.option("--data", type=click.Path(), help="With --bits auto: what accuracy is measured on.")
@click.option("--max-drop", type=float, help="With --bits auto: loss that is allowed. Default: the metric's tolerance.")
@options.metrics
@click.option("--per-layer", is_flag=True, help="With --bits auto: let single layers go one bit lower.")
@options.allow_partial
@options.preprocessing
@options.wide
@options.json_file
@options.force
def compensate(
    model: str,
    output: str,
    bits: str,
    calibration: str,
    data: str | None,
    max_drop: float | None,
    metrics: str | None,
    per_layer: bool,
    allow_partial: bool,
    json_file: str | None,
    force: bool,
    **given: Any,
) -> int:
    """Narrow MODEL's multipliers to K bits and let weights and biases absorb the error; no training."""
    from tosa_rescale.cli import common, show
    from tosa_rescale.core.files import FileKind, kind_of, require_writable
    from tosa_rescale.data.source import CalibrationPlan
    from tosa_rescale.rewrite.compensate import compensate as run_compensation
    from tosa_rescale.sweeping.automatic import SearchOptions, compensate_automatically

    asked = options.taken(CompensateOptions, given, bits=1 if bits == AUTO else bits)
    _require_effect(bits, data)
    require_writable(output, force)
    loaded = common.load(model)
    loaded.require_rescales()
    common.require_output(loaded, output)
    for_litert = kind_of(output) is FileKind.LITERT and not allow_partial
    plan = options.taken(CalibrationPlan, given, source=common.calibration_source(calibration, given))
    if data is not None and bits == AUTO:
        search = SearchOptions(common.load_data(data, given), max_drop, metrics, per_layer)
        found = compensate_automatically(loaded, asked, plan, search, for_litert=for_litert, progress=common.progress())
        show.search(found)
        result = found.model
    else:
        result = run_compensation(loaded, asked, plan, for_litert=for_litert, progress=common.progress())
    show.remarks(result)
    show.compensation(result)
    common.save(result, output, force, allow_partial=allow_partial)
    common.write_json(json_file, dict(result.recipe[-1].options))
    return 0


def _require_effect(bits: str, data: str | None) -> None:
    """Raises OptionError where a search lacks its data, or where an option of a search has none."""
    if bits == AUTO:
        if data is None:
            raise OptionError("bits: auto measures accuracy and needs data; pass --data")
        return
    context = click.get_current_context()
    for name in ("data", "max_drop", "metrics", "per_layer"):
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise OptionError(f"{name.replace('_', '-')}: has no effect without --bits {AUTO}; pass that, or leave it out")
