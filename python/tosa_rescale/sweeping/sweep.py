# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Accuracy over multiplier width: every method at every width, on one compiled executable, resumable."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.files import PathLike
from tosa_rescale.core.options import NarrowOptions, Options
from tosa_rescale.core.parsing import parse_bits, parse_loss
from tosa_rescale.core.program import Program
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.core.version import versions
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.data.source import CalibrationPlan, as_dataset
from tosa_rescale.measure.metrics import Metric, find_metrics
from tosa_rescale.sweeping.details import Describe, describe_point, measure_errors
from tosa_rescale.sweeping.journal import Journal
from tosa_rescale.sweeping.methods import METHODS, MethodContext, make, own_options
from tosa_rescale.sweeping.results import BASE, BASE_BITS, DetailStore, SweepPoint, SweepResult
from tosa_rescale.sweeping.training import TrainingPlan

Point = tuple[str, int]


@dataclasses.dataclass(frozen=True)
class SweepPlan:
    """What a sweep compares.

    Attributes:
        bits: widths, 1..31; 32 stands for the original model, which is always measured.
        methods: keys of METHODS.
        options: of the narrowing; its `bits` is not used.
        calibration: what methods that calibrate calibrate on.
        training: what methods that train train on; None: no such method can be swept.
        errors: samples on which the error of every rescale is measured as well; 0: it is not.
        command: the command line that asked for it, for the report.
        own: the options that methods have of their own, by name of the method; filled up with defaults.
        metrics: what is measured, the metric that decides first; names, functions of the user's own, or rows (see
            tosa_rescale.measure.metrics). Empty: what outputs and labels suggest.
        max_drop: the loss that is allowed, in the unit of the metric that decides; None: the metric's own tolerance. It
            decides the verdict, not what is measured.

    Raises:
        OptionError: an unknown method or metric, a width or a loss out of range, a method that trains without a plan, or
            options of a method that is not swept.
    """

    bits: tuple[int, ...] = (32, 8, 6, 5, 4, 3, 2, 1)
    methods: tuple[str, ...] = ("narrow",)
    options: NarrowOptions = dataclasses.field(default_factory=lambda: NarrowOptions(31))
    calibration: CalibrationPlan = dataclasses.field(default_factory=CalibrationPlan)
    training: TrainingPlan | None = None
    errors: int = 0
    command: str = ""
    own: Mapping[str, Options] = dataclasses.field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()
    max_drop: float | None = None

    def __post_init__(self) -> None:
        if self.max_drop is not None:
            object.__setattr__(self, "max_drop", parse_loss(self.max_drop))
        object.__setattr__(self, "metrics", find_metrics(self.metrics))
        for name in self.methods:
            if name not in METHODS:
                raise OptionError(f"methods: {name!r} is not one of {', '.join(METHODS)}")
            if METHODS[name].trains and self.training is None:
                raise OptionError(f"methods: {name} needs samples to train on; give a plan (`training`)")
        object.__setattr__(self, "own", own_options(self.methods, self.own))
        self.points()

    def points(self) -> list[Point]:
        """The original model, then every method from wide to narrow."""
        widths = sorted({parse_bits(k) for k in self.bits if str(k) != str(BASE_BITS)}, reverse=True)
        return [(BASE, BASE_BITS), *((method, k) for method in self.methods for k in widths)]

    def identity(self, model: Program, data: Dataset) -> str:
        """A hash of all that decides the figures of a point."""
        plan = self.calibration
        source = plan.source.fingerprint() if isinstance(plan.source, Dataset) else plan.source
        fixed = {**self.options.as_dict(), "bits": None, "calibration": [source, plan.samples, plan.seed]}
        if self.training is not None:
            fixed["training"] = self.training.identity()
        if self.own:
            fixed["methods"] = {name: options.as_dict() for name, options in self.own.items()}
        if self.metrics:
            fixed["metrics"] = [metric.identity or metric.name for metric in self.metrics]
        decides = [model.fingerprint, data.fingerprint(), fixed, versions()["tosa-rescale"]]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()

    def provenance(self, model: Program, data: Dataset) -> dict[str, Any]:
        """Where the figures come from, for whoever reads them later."""
        plan = self.calibration
        calibrated = pathlib.Path(plan.source.source).name if isinstance(plan.source, Dataset) else plan.source
        return {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": self.command,
            "versions": versions(),
            "model_file_sha256": None if model.flatbuffer is None else hashlib.sha256(model.flatbuffer).hexdigest(),
            "module_sha256": model.fingerprint,
            "data_sha256": data.fingerprint(),
            "calibration": {"source": calibrated, "samples": plan.samples, "seed": plan.seed},
            "preprocessing": data.preprocessing.as_dict(),
        }


class Measurer(Protocol):
    """What measures points: this machine (local.py) or a cluster (cluster.py)."""

    on_cluster: bool

    def measure(
        self,
        context: MethodContext,
        data: Dataset,
        points: Sequence[Point],
        options: NarrowOptions,
        metrics: Sequence[Metric] = (),
        describe: Describe | None = None,
    ) -> Iterator[tuple[SweepPoint, dict[str, Any] | None]]:
        """Yields each point when it is measured, with what describes its model where that was made in this process.

        Where the original model is among the points, it comes first, and all others are compared with its outputs.
        """
        ...


def run_sweep(
    model: Program,
    data: Any,
    folder: PathLike,
    plan: SweepPlan,
    *,
    measure: Measurer,
    force: bool = False,
    progress: Progress | None = None,
) -> SweepResult:
    """Evaluates every method at every width. An interrupted sweep goes on where it stopped.

    Args:
        model: the original model.
        data: samples, with labels for accuracy; a Dataset or what as_dataset makes one of.
        folder: where results are kept; made if missing.
        plan: what is compared.
        measure: what measures the points.
        force: start anew where the folder holds a sweep of something else.
        progress: shows rate and remaining time.

    Raises:
        ClusterError: the cluster cannot be used.
        DataError: samples or labels do not fit the model or a metric.
        MetricError: a function of the user's own failed; the points measured before it are kept.
        ModelError: the model has no rescale (a float model).
        OptionError: a method does not run on a cluster.
        OutputError: the folder cannot be written, or holds a sweep of something else.
    """
    model.require_rescales()
    data = as_dataset(data)
    for name in plan.methods:
        if measure.on_cluster and not METHODS[name].clusters:
            raise OptionError(f"methods: {name} does not run on --cluster; give `finetune` a tf.distribute strategy instead")
    context = _context(model, data, pathlib.Path(folder), plan, progress or Silent())
    about = {
        "model": model.source,
        "data": data.source,
        "options": plan.options.as_dict(),
        "provenance": plan.provenance(model, data),
        "methods": {name: METHODS[name].says for name in plan.methods},
        "metrics": [metric.name for metric in plan.metrics],
        "max_drop": plan.max_drop,
    }
    identity = plan.identity(model, data)
    journal = Journal(pathlib.Path(folder), identity, about, force)
    details = _Details(DetailStore(journal.folder, identity), context, data, plan)
    wanted = plan.points()
    todo = [point for point in wanted[1:] if point not in journal.done]
    if todo or wanted[0] not in journal.done:
        # The original's outputs are what all others are compared with; a resumed sweep makes them again.
        with context.progress.task("sweep", len(todo) + 1) as advance:
            for point, described in measure.measure(
                context, data, [wanted[0], *todo], plan.options, plan.metrics, details.describe
            ):
                if described is not None:
                    details.store.write(point.method, point.bits, described)  # first: a point in the journal is complete
                journal.add(point)
                advance(1)
    for method, k in wanted:
        details.complete(method, k)
    shutil.rmtree(journal.folder / ".training", ignore_errors=True)
    points = tuple(journal.done[key] for key in wanted)
    found = (about["options"], points, journal.provenance, identity, about["methods"], plan.max_drop)
    return SweepResult(model.source, data.source, *found, pathlib.Path(folder))


def _context(model: Program, data: Dataset, folder: pathlib.Path, plan: SweepPlan, progress: Progress) -> MethodContext:
    training = plan.training
    if training is not None:
        kept = training.folder or folder / ".training"
        training = dataclasses.replace(training, scored=data, folder=kept, metrics=plan.metrics)
    return MethodContext(model, plan.calibration, progress, training=training, own=plan.own)


@dataclasses.dataclass(frozen=True)
class _Details:
    """Keeps what each point is made of."""

    store: DetailStore
    context: MethodContext
    data: Dataset
    plan: SweepPlan

    def describe(self, method: str, made: Program) -> dict[str, Any]:
        """Describes a method's model, and measures the errors of its rescales where asked."""
        found = describe_point(made, self.context.model)
        if self.plan.errors and method != BASE:
            samples = self.data.take(self.plan.errors)
            found |= {
                "errors": measure_errors(made, self.context.model, samples, self.context.progress),
                "errors_samples": self.plan.errors,
            }
        return found

    def complete(self, method: str, k: int) -> None:
        """Adds what an older version, a run without errors or a cluster did not keep; but nothing is trained for it."""
        known = self.store.read(method, k)
        lacks = not known or (method != BASE and known.get("errors_samples", 0) < self.plan.errors)
        if lacks and not (method != BASE and METHODS[method].trains):
            made = make(method, self.context, self.plan.options.with_bits(min(k, 31)))
            self.store.write(method, k, self.describe(method, made.program))
