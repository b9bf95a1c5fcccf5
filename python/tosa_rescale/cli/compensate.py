# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale compensate`."""

from __future__ import annotations

import pathlib
import tempfile
from typing import TYPE_CHECKING, Any

import click

from tosa_rescale.cli import options
from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import CalibrationOptions, CompensateOptions

if TYPE_CHECKING:
    from tosa_rescale.api import Model
    from tosa_rescale.data.dataset import Dataset
    from tosa_rescale.rewrite.compensate import Compensator

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
@click.option("--max-drop", type=float, help="With --bits auto: what may be lost. Default: the metric's tolerance.")
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
    from tosa_rescale.core.files import require_writable
    from tosa_rescale.data.source import CalibrationPlan
    from tosa_rescale.rewrite.compensate import Compensator

    asked = options.taken(CompensateOptions, given, bits=1 if bits == AUTO else bits)
    _require_effect(bits, data)
    require_writable(output, force)
    loaded = common.load(model)
    loaded.require_rescales()
    common.require_output(loaded, output)
    plan = options.taken(CalibrationPlan, given, source=common.calibration_source(calibration, given))
    compensator = Compensator(loaded, plan.inputs(loaded.input_specs), common.progress())
    if data is not None and bits == AUTO:
        scored = plan.leave_out(common.load_data(data, given))
        result = _search(loaded, scored, compensator, asked, max_drop, metrics, per_layer)
    else:
        result = compensator.compensate(asked)
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


def _search(
    loaded: Model,
    scored: Dataset,
    compensator: Compensator[Model],
    asked: CompensateOptions,
    max_drop: float | None,
    metrics: str | None,
    per_layer: bool,
) -> Model:
    from tosa_rescale.cli import common, show
    from tosa_rescale.sweeping.search import find_bits

    with tempfile.TemporaryDirectory(prefix="tosa-rescale-") as folder:
        found = find_bits(
            loaded,
            scored,
            pathlib.Path(folder),
            compensator,
            max_drop=max_drop,
            metrics=metrics,
            per_layer=per_layer,
            options=asked,
            progress=common.progress(),
        )
    show.search(found)
    return found.model
