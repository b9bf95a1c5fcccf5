# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale sweep`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tosa_rescale.cli import options
from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import CalibrationOptions, NarrowOptions, Options
from tosa_rescale.core.parsing import parse_widths
from tosa_rescale.sweeping.methods import METHODS

SHARED = (*options.offered(NarrowOptions), *options.offered(CalibrationOptions))
"""What all methods have in common; a method's own option of the same name gets the same value."""


def own_options() -> dict[str, tuple[str, type[Options]]]:
    """The options that methods have of their own, by name: the method, and the class that declares it."""
    found: dict[str, tuple[str, type[Options]]] = {}
    for method in METHODS.values():
        for name in [] if method.options is None else options.offered(method.options):
            if name not in SHARED:
                assert method.options is not None
                found.setdefault(name, (method.name, method.options))
    return found


def _method_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, (method, kind) in reversed(own_options().items()):
        function = options.click_option(kind, name, f"{method}: ")(function)
    return function


@options.command("sweep")
@options.model
@options.configuration
@options.data
@click.option(
    "--bits",
    default="32,8,6,5,4,3,2,1",
    show_default=True,
    help="Widths and ranges by comma, such as 1-4,8; 32 stands for the original.",
)
@click.option("--methods", default="narrow", show_default=True, help=f"By comma: {', '.join(METHODS)}.")
@options.calibration
@options.options_of(CalibrationOptions)
@click.option(
    "--train", type=click.Path(), help="finetune: images or .npz to train on. Default: half of DATA, then not scored."
)
@click.option("--train-samples", type=click.IntRange(min=2), help="finetune: use this many of them.")
@click.option(
    "--teacher",
    type=click.Choice(["original", "labels"]),
    default="original",
    show_default=True,
    help="finetune: imitate the original, or learn from labels.",
)
@_method_options
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False), help="Folder for the results.")
@click.option(
    "--errors", type=click.IntRange(min=0), default=0, show_default=True, help="Samples to measure every rescale's error on."
)
@options.metrics
@click.option("--max-drop", type=float, help="Loss that is allowed, for the verdict. Default: the metric's tolerance.")
@options.options_of(NarrowOptions, leave_out=("bits",))
@options.samples_of_data
@options.workers
@options.cluster
@options.wide
@options.json_file
@options.force
def sweep(
    model: str,
    data: str,
    bits: str,
    methods: str,
    calibration: str,
    train: str | None,
    train_samples: int | None,
    teacher: str,
    output: str,
    errors: int,
    metrics: str | None,
    max_drop: float | None,
    workers: int | None,
    cluster: str | None,
    json_file: str | None,
    force: bool,
    **given: Any,
) -> int:
    """Measure accuracy over multiplier width. An interrupted sweep goes on where it stopped."""
    from tosa_rescale.api import sweep as run_sweep
    from tosa_rescale.cli import common, show
    from tosa_rescale.data.source import CalibrationPlan
    from tosa_rescale.reporting import write_report, write_training
    from tosa_rescale.sweeping.training import TrainingPlan, split_training

    widths = parse_widths(bits)
    names = [name.strip() for name in methods.split(",") if name.strip()]
    # The narrowest width stands for all where options are checked; each point has its own.
    asked = options.taken(NarrowOptions, given, bits=min((b for b in widths if b != 32), default=31))
    _require_swept(names)
    own = {name: options.taken(kind, given) for name in names if name in METHODS and (kind := METHODS[name].options)}
    plan = options.taken(CalibrationPlan, given, source=common.calibration_source(calibration, given))
    loaded = common.load(model)
    scored = plan.leave_out(common.load_data(data, given))
    training = None
    if any(METHODS[name].trains for name in names if name in METHODS):
        source = None if train is None else common.load_whole(train, given)
        chosen, scored = split_training(scored, source, train_samples)
        training = TrainingPlan(chosen, teacher=teacher)
    result = run_sweep(
        loaded,
        scored,
        output,
        bits=widths,
        methods=names,
        options=asked,
        method_options=own,
        calibration=plan.source,
        samples=plan.samples,
        seed=plan.seed,
        training=training,
        force=force,
        workers=workers,
        cluster=cluster,
        progress=common.progress(),
        errors=errors,
        metrics=metrics,
        max_drop=max_drop,
        command=click.get_current_context().find_root().obj or "",
    )
    show.sweep(result)
    show.training(result)
    for written in [*write_report(output, result), *write_training(output, result)]:
        show.line(str(written))
    common.write_json(json_file, [point.as_dict() for point in result.points])
    return 0


def _require_swept(methods: list[str]) -> None:
    """Raises OptionError where an option was given that none of the methods has."""
    context = click.get_current_context()
    for name in own_options():
        having = [each.name for each in METHODS.values() if each.options and name in options.offered(each.options)]
        typed = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if typed and not set(having) & set(methods):
            raise OptionError(f"{name.replace('_', '-')}: has no effect without --methods {', '.join(having)}; pass that too")
