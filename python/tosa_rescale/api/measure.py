# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The questions that users ask: `evaluate`, `check`, `run`, `sweep` and `report`, of models or of their files.

Nothing is computed here: arguments are brought into the one form that the functions below know, and handed over.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tosa_rescale.core.display import draws
from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.files import PathLike
from tosa_rescale.core.options import CalibrationOptions, NarrowOptions, Options
from tosa_rescale.core.parsing import parse_count, parse_names, parse_widths
from tosa_rescale.core.program import Program
from tosa_rescale.core.progress import Progress, chosen
from tosa_rescale.formats.read import as_program
from tosa_rescale.sweeping.results import SweepResult

if TYPE_CHECKING:
    from tosa_rescale.measure.check import CheckResult
    from tosa_rescale.measure.evaluate import OutputStore
    from tosa_rescale.measure.evaluation import Evaluation
    from tosa_rescale.sweeping.training import TrainingPlan


def evaluate(
    model: Program | PathLike,
    data: Any,
    *,
    metrics: Any = None,
    engine: str = "iree",
    reference: Program | PathLike | OutputStore | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Progress | bool | None = None,
    label: str = "evaluate",
) -> Evaluation:
    """Runs a model over a dataset.

    Args:
        model: the model, or the path of its file.
        data: samples and labels: a Dataset, a path, arrays or batches of them (tosa_rescale.data.source.as_dataset).
        metrics: what is measured: names by comma, `module:function` or functions, several in a list; None: what outputs and
            labels suggest (tosa_rescale.measure.metrics).
        engine: see tosa_rescale.measure.engines.
        reference: the model to compare with, or its path, executed by IREE; or its outputs.
        workers: threads; None: one for each core.
        cluster: "local", or the address of a Ray cluster (tosa_rescale.sweeping.cluster). None: this process and its workers.
        progress: what shows the work; see tosa_rescale.Model.
        label: what progress calls this.

    Raises:
        ClusterError: the cluster cannot be used.
        DataError: samples do not fit the input, labels not the output, or there is nothing to compare outputs with.
        ModelError: the reference has other outputs than the model, or the engine cannot run the model.
    """
    given: dict[str, Any] = {"metrics": metrics, "engine": engine, "label": label, "workers": _workers(workers)}
    known = reference if _is_known(reference) else as_program(cast("PathLike", reference), "reference")
    given |= {"reference": known, "progress": chosen(progress)}
    model = as_program(model)
    if cluster is None:
        from tosa_rescale.measure.evaluate import evaluate

        return evaluate(model, data, **given)
    from tosa_rescale.sweeping.cluster import evaluate_on

    return evaluate_on(cluster, model, data, **given)


def check(
    model: Program | PathLike,
    inputs: Any = 8,
    *,
    engines: str | Sequence[str] | None = None,
    seed: int = 0,
    workers: int | None = None,
    layers: bool | str = False,
    progress: Progress | bool | None = None,
) -> CheckResult:
    """Runs a model on several engines and compares every output value; the result is true where all agree.

    Args:
        model: the model, or the path of its file.
        inputs: a number of uniform random samples; a data set, or what is made one.
        engines: at least two, or their names by comma; None: all that are at hand, must agree and can run the model.
        seed: of the random samples.
        workers: threads; None: one for each core.
        layers: compare the differentiable twin with IREE inside the graph as well, after every "rescales" (True) or "ops".
        progress: what shows the work; see tosa_rescale.Model.

    Raises:
        OptionError: fewer than two engines, or an argument is out of range.
        CompileError: an engine that was asked for cannot compile the model, or fewer than two can run it.
        DataError: samples do not fit the input.
        MissingToolError: `layers`, and TensorFlow is not installed.
    """
    from tosa_rescale.measure.check import check

    return check(
        as_program(model),
        inputs,
        engines=None if engines is None else parse_names(engines, "engines"),
        seed=seed,
        workers=_workers(workers),
        layers=layers,
        progress=chosen(progress),
    )


def run(
    model: Program | PathLike, *data: Any, engine: str = "iree", workers: int | None = None
) -> np.ndarray | tuple[np.ndarray, ...]:
    """What a model gives, as integers.

    Args:
        model: the model, or the path of its file.
        data: a data set or what is made one; one sample of the only input; or for each input, in order, an array [N, ...].
        engine: see tosa_rescale.measure.engines.
        workers: threads; None: one for each core.

    Returns:
        The output, `[N, *shape of a sample]`, of one sample without the first dimension; a tuple where there are several.

    Raises:
        DataError: samples do not fit the inputs.
        ModelError, OptionError: the engine cannot execute the model, or there is no such engine.
    """
    from tosa_rescale.measure.execute import execute

    outputs = execute(as_program(model), *data, engine=engine, workers=_workers(workers))
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def sweep(
    model: Program | PathLike,
    data: Any,
    folder: PathLike,
    *,
    bits: int | str | Sequence[int] = (32, 8, 6, 5, 4, 3, 2, 1),
    methods: str | Sequence[str] = ("narrow",),
    options: NarrowOptions | None = None,
    method_options: Mapping[str, Options] | None = None,
    calibration: Any = "synthetic",
    samples: int = 32,
    seed: int = 0,
    training: TrainingPlan | None = None,
    errors: int = 0,
    metrics: Any = None,
    max_drop: float | None = None,
    force: bool = False,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Progress | bool | None = None,
    command: str = "",
) -> SweepResult:
    """Evaluates every method at every width. An interrupted sweep goes on where it stopped.

    The original model is always evaluated, as the reference; a width of 32 stands for it.

    Args:
        model: the original model, or the path of its file.
        data: samples, with labels for accuracy: a data set or what is made one.
        folder: where results are kept; made if missing.
        bits: widths: 4, [1, 2, 8] or "1-4,8".
        methods: keys of tosa_rescale.sweeping.methods.METHODS; several also by comma.
        options: of the narrowing; its `bits` is not used.
        method_options: options that methods have of their own, by name of the method, such as
            `{"finetune": FinetuneOptions(epochs=4)}`; None: their defaults.
        calibration, samples, seed: what methods that calibrate calibrate on; see Model.compensate.
        training: what methods that train train on; None: no such method can be swept.
        errors: samples on which the error of every rescale is measured as well; 0: it is not.
        metrics: what is measured, the metric that decides first; see tosa_rescale.evaluate.
        max_drop: the loss that is allowed, in the unit of the metric that decides; None: the metric's own tolerance. It
            decides the verdict, not what is measured: a finished sweep is judged anew at once.
        force: start anew where the folder holds a sweep of something else.
        workers: threads; None: one for each core.
        cluster: "local", or the address of a Ray cluster (tosa_rescale.sweeping.cluster). None: this process and its workers.
            The figures are the same; seconds are then the sum over all workers.
        progress: what shows the work; see tosa_rescale.Model.
        command: the command line that asked for it, for the report.

    Raises:
        ClusterError: the cluster cannot be used.
        OptionError: an unknown method, or a width or a loss out of range.
        OutputError: the folder cannot be written, or holds a sweep of something else.
    """
    from tosa_rescale.data.source import CalibrationPlan
    from tosa_rescale.measure.metrics import find_metrics
    from tosa_rescale.sweeping.sweep import SweepPlan, run_sweep

    plan = SweepPlan(
        parse_widths(bits),
        parse_names(methods, "methods"),
        options or NarrowOptions(31),
        CalibrationPlan(**CalibrationOptions(samples, seed).as_dict(), source=calibration),
        training,
        parse_count(errors, "errors", least=0),
        command,
        method_options or {},
        find_metrics(metrics),
        max_drop,
    )
    measure, shown = _measurer(cluster, _workers(workers)), chosen(progress)
    return run_sweep(as_program(model), data, folder, plan, force=force, measure=measure, progress=shown)


def report(results: SweepResult | PathLike, output: PathLike | None = None, max_drop: float | None = None) -> pathlib.Path:
    """Writes the report page of a sweep from what it has stored; the model is not needed.

    Args:
        results: a sweep, or its folder.
        output: the page; None: report.html in the folder.
        max_drop: the loss that is allowed, in the unit of the metric that decides; None: the sweep's.

    Returns:
        The page's path.

    Raises:
        OptionError: the sweep is stored nowhere, or the loss is out of range.
        OutputError: the folder holds no sweep, or the page cannot be written.
        MissingToolError: matplotlib or jinja2 is not installed.
    """
    from tosa_rescale.reporting.page import PAGE, read_stored, stored_beside, write_page

    if isinstance(results, SweepResult):
        if results.folder is None:
            raise OptionError("results: the sweep does not say where it is stored; give its folder")
        stored, folder = stored_beside(results.folder, results), results.folder
    elif isinstance(results, (str, os.PathLike)):
        path = pathlib.Path(results)
        stored, folder = read_stored(path), path if path.is_dir() else path.parent
    else:
        raise OptionError(f"results: {type(results).__name__} is no sweep; give one, or its folder")
    target = folder / PAGE if output is None else pathlib.Path(output)
    write_page(target, stored.allowing(max_drop))
    return target


def _measurer(cluster: str | None, workers: int | None) -> Any:
    """What measures the points of a sweep: this machine or a cluster."""
    if cluster is None:
        from tosa_rescale.sweeping.local import LocalMeasurer

        return LocalMeasurer(workers)
    from tosa_rescale.sweeping.cluster import ClusterMeasurer

    return ClusterMeasurer(cluster, workers)


def _workers(workers: int | None) -> int | None:
    return None if workers is None else parse_count(workers, "workers")


def _is_known(reference: object) -> bool:
    """It is nothing, a model, or outputs that are kept: no path."""
    return reference is None or isinstance(reference, Program) or hasattr(reference, "read")


def renamed(given: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """The arguments of a method for a function that calls some of them otherwise."""
    return {names.get(name, name): value for name, value in given.items()}


@draws(SweepResult)
def _sweep_as_chart(result: SweepResult) -> str:
    from tosa_rescale.reporting.notebook import chart

    return chart(result)
