# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Accuracy over multiplier width: every method at every width, on one compiled executable, resumable."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tosa_rescale.core.errors import OptionError, OutputError
from tosa_rescale.core.files import PathLike, write_text
from tosa_rescale.core.options import NarrowOptions, parse_bits
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.core.version import versions
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.measure.evaluate import Evaluation, OutputStore, evaluate
from tosa_rescale.sweeping.details import DetailStore, describe_point, measure_errors
from tosa_rescale.sweeping.methods import METHODS, CalibrationPlan, MethodContext
from tosa_rescale.sweeping.training import TrainingPlan, training_of

if TYPE_CHECKING:
    from tosa_rescale.api import Model

BASE_BITS = 32  # the original model, as it came
DEGRADATION = 0.5  # points of top-1 below base; the source paper's criterion

STATE_FILE = "sweep.json"
TRAINED = ("finetune",)  # methods whose models are not made twice


@dataclasses.dataclass(frozen=True)
class SweepPoint:
    """One method at one width.

    Attributes:
        method: a key of METHODS; "base" for the original model.
        bits: the width asked for; 32 for the original model.
        evaluation: accuracy, and agreement with the original model.
        seconds: all of it: rewriting, training, loading, executing.
        training: history, best_epoch and changes of the method `finetune`; see tosa_rescale.sweeping.training.
    """

    method: str
    bits: int
    evaluation: Evaluation
    seconds: float
    training: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: method, bits, seconds and the evaluation's figures."""
        figures = self.evaluation.as_dict()
        figures["execution_seconds"] = figures.pop("seconds")
        trained = {} if self.training is None else {"training": self.training}
        return {"method": self.method, "bits": self.bits, "seconds": self.seconds, **figures, **trained}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> SweepPoint:
        """The inverse of as_dict."""
        figures: dict[str, Any] = {f.name: values.get(f.name) for f in dataclasses.fields(Evaluation)}
        figures["seconds"] = values["execution_seconds"]
        if figures["histogram"] is not None:
            figures["histogram"] = {int(key): count for key, count in figures["histogram"].items()}
        return SweepPoint(values["method"], values["bits"], Evaluation(**figures), values["seconds"], values.get("training"))


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """A finished sweep.

    Attributes:
        model, data: what was swept, over what.
        options: those of the narrowing; its `bits` is the sweep's first.
        points: the original model first, then every method from wide to narrow.
        provenance: hashes of model and data, calibration and seed, versions, command, date; empty where it is not known.
        identity: of model, data and options; what the details of the points are kept under.
    """

    model: str
    data: str
    options: dict[str, Any]
    points: tuple[SweepPoint, ...]
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    identity: str = ""

    @property
    def base(self) -> SweepPoint:
        """The original model."""
        return self.points[0]

    def of_method(self, method: str) -> list[SweepPoint]:
        """The points of one method, wide to narrow."""
        return [point for point in self.points if point.method == method]

    @property
    def methods(self) -> list[str]:
        """The methods swept, in order."""
        return list(dict.fromkeys(point.method for point in self.points[1:]))

    def degradation_point(self, method: str) -> int | None:
        """The widest k whose top-1 is more than 0.5 points below base; None: no width is, or there are no labels."""
        base = self.base.evaluation.top1
        if base is None:
            return None
        fallen = [p.bits for p in self.of_method(method) if base - (p.evaluation.top1 or 0.0) > DEGRADATION]
        return max(fallen, default=None)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "model": self.model,
            "data": self.data,
            "options": self.options,
            "versions": versions(),
            "degradation_points": {method: self.degradation_point(method) for method in self.methods},
            "points": [point.as_dict() for point in self.points],
            "provenance": self.provenance,
            "identity": self.identity,
        }


def read_sweep(path: PathLike) -> SweepResult:
    """Reads a stored sweep, finished or not.

    Args:
        path: a sweep's folder, or a `sweep.json` or `results.json` in it.

    Raises:
        OutputError: it is missing, not a sweep's, or has not even the original model's point yet.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        known = [path / name for name in (STATE_FILE, "results.json") if (path / name).is_file()]
        if not known:
            raise OutputError(f"{path}: holds no {STATE_FILE}; name the folder that `tosa-rescale sweep -o` wrote")
        # Before a sweep's state named model and data, only the results did.
        path = next((each for each in known if "model" in _read_state(each)), known[0])
    values = _read_state(path)
    try:
        points = [SweepPoint.from_dict(each) for each in values["points"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OutputError(f"{path}: is not a sweep's state; name the folder that `tosa-rescale sweep -o` wrote") from error
    points.sort(key=lambda point: point.method != "base")
    if not points or points[0].method != "base":
        raise OutputError(f"{path}: the original model is not measured yet; run `tosa-rescale sweep` once more")
    provenance = values.get("provenance") or {"versions": values.get("versions", {})}
    return SweepResult(
        values.get("model", "model"),
        values.get("data", "data"),
        values.get("options", {}),
        tuple(points),
        provenance,
        values.get("identity", ""),
    )


def _read_state(path: pathlib.Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise OutputError(f"{path}: is not a sweep's state; name the folder that `tosa-rescale sweep -o` wrote")
    return values


def sweep(
    model: Model,
    data: Dataset,
    folder: PathLike,
    *,
    bits: Sequence[int] = (32, 8, 6, 5, 4, 3, 2, 1),
    methods: Sequence[str] = ("narrow",),
    options: NarrowOptions | None = None,
    calibration: CalibrationPlan | None = None,
    training: TrainingPlan | None = None,
    force: bool = False,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Progress | None = None,
    errors: int = 0,
    command: str = "",
) -> SweepResult:
    """Evaluates every method at every width. An interrupted sweep goes on where it stopped.

    The original model is always evaluated, as the reference; a width of 32 stands for it.

    Args:
        model: the original model.
        data: samples, with labels for accuracy.
        folder: where results are kept; made if missing.
        bits: widths.
        methods: keys of METHODS.
        options: of the narrowing; its `bits` is not used.
        calibration: what methods that calibrate calibrate on; None: synthetic samples.
        training: what methods that train train on; None: no such method can be swept.
        force: start anew where the folder holds a sweep of something else.
        workers: threads; None: one for each core.
        cluster: "local", or the address of a Ray cluster (tosa_rescale.sweeping.cluster). None: this process and its workers.
            The figures are the same; seconds are then the sum over all workers.
        progress: shows rate and remaining time.
        errors: samples on which the error of every rescale is measured as well; 0: it is not.
        command: the command line that asked for it, for the report.

    Raises:
        ClusterError: the cluster cannot be used.
        OptionError: an unknown method, or a width out of range.
        OutputError: the folder cannot be written, or holds a sweep of something else.
    """
    widths = sorted({parse_bits(b) for b in bits if int(b) != BASE_BITS}, reverse=True)
    for method in methods:
        if method not in METHODS:
            raise OptionError(f"methods: {method!r} is not one of {', '.join(METHODS)}")
    model.require_rescales()
    options = options or NarrowOptions(31)
    progress, calibration = progress or Silent(), calibration or CalibrationPlan()
    if training is not None:
        training = dataclasses.replace(training, scored=data, folder=training.folder or pathlib.Path(folder) / ".training")
    elif "finetune" in methods:
        raise OptionError("methods: finetune needs samples to train on; give a training plan (--train, --epochs)")
    if cluster is not None and "finetune" in methods:
        raise OptionError("methods: finetune does not run on --cluster; give `finetune` a tf.distribute strategy instead")
    context = MethodContext(model, calibration, progress, training=training)
    identity = _identity(model, data, options, calibration, training)
    about = {
        "model": model.source,
        "data": data.source,
        "options": options.as_dict(),
        "provenance": _provenance(model, data, calibration, command),
    }
    journal = _Journal(pathlib.Path(folder), identity, about, force)
    details = DetailStore(journal.folder, identity)

    def keep_details(method: str, k: int, made: Model | None) -> None:
        if made is None:
            made = model if method == "base" else METHODS[method](context, options.with_bits(k))
        found = describe_point(made, model)
        if errors and method != "base":
            found |= {"errors": measure_errors(made, model, data.take(errors), progress), "errors_samples": errors}
        details.write(method, k, found)

    wanted = [("base", BASE_BITS), *((method, k) for method in methods for k in widths)]
    todo = [point for point in wanted[1:] if point not in journal.done]
    if todo or wanted[0] not in journal.done:
        # The original's outputs are what all others are compared with; a resumed sweep makes them again.
        where = _measure_here(context, data, journal.folder / ".original", workers)
        if cluster is not None:
            where = _measure_on(cluster, context, data, workers)
        for point, made in where([wanted[0], *todo], options):
            if made is not None:
                keep_details(point.method, point.bits, made)  # first: a point in the journal is complete
            journal.add(point)
    for method, k in wanted:
        # What an older version, a run without errors or a cluster did not keep; but nothing is trained for it.
        known = details.read(method, k)
        lacks = not known or (method != "base" and known.get("errors_samples", 0) < errors)
        if lacks and method not in TRAINED:
            keep_details(method, k, None)
    for name in (".original", ".training"):
        shutil.rmtree(journal.folder / name, ignore_errors=True)
    points = tuple(journal.done[key] for key in wanted)
    return SweepResult(model.source, data.source, about["options"], points, journal.provenance, identity)


# Points, each with its model where it was made in this process.
_Measure = Callable[[list[tuple[str, int]], NarrowOptions], Iterator[tuple[SweepPoint, "Model | None"]]]


def _measure_here(context: MethodContext, data: Dataset, folder: pathlib.Path, workers: int | None) -> _Measure:
    """Measures points one after the other; the first is the original, whose outputs are kept for the others in `folder`."""

    def measure(points: list[tuple[str, int]], options: NarrowOptions) -> Iterator[tuple[SweepPoint, Model | None]]:
        outputs = OutputStore(folder, len(data))
        for method, k in points:
            began = time.perf_counter()
            base = k == BASE_BITS
            model = context.model if base else METHODS[method](context, options.with_bits(k))
            label = "original model" if base else f"{method} k={k}"
            reference, keep = (None, outputs) if base else (outputs, None)
            found = evaluate(
                model, data, reference=reference, keep=keep, workers=workers, progress=context.progress, label=label
            )
            found = _with_itself(found) if base else found
            yield SweepPoint(method, k, found, time.perf_counter() - began, training_of(model)), model

    return measure


def _measure_on(cluster: str, context: MethodContext, data: Dataset, workers: int | None) -> _Measure:
    """Measures points on a cluster, each when its last task ends."""

    def measure(points: list[tuple[str, int]], options: NarrowOptions) -> Iterator[tuple[SweepPoint, Model | None]]:
        from tosa_rescale.sweeping.cluster import BASE, connect

        with connect(cluster, workers) as joined:
            for each in joined.points(context, data, points, options, progress=context.progress):
                found = _with_itself(each.evaluation) if each.point == BASE else each.evaluation
                yield SweepPoint(*each.point, found, each.seconds), None

    return measure


def _with_itself(base: Evaluation) -> Evaluation:
    """The original's figures: it agrees with itself."""
    return dataclasses.replace(base, agreement=100.0, max_lsb=0, mean_lsb=0.0)


class _Journal:
    """The finished points of a sweep, on disk after each one."""

    def __init__(self, folder: pathlib.Path, identity: str, about: dict[str, Any], force: bool) -> None:
        self.folder, self._identity, self._about = folder, identity, about
        self.done: dict[tuple[str, int], SweepPoint] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error
        path = folder / STATE_FILE
        if not path.exists():
            return
        try:
            state = json.loads(path.read_text())
            points = [SweepPoint.from_dict(each) for each in state["points"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            if force:
                return
            raise OutputError(f"{path}: is not a sweep's state; pass --force to start anew") from error
        if state.get("identity") == identity:
            self.done = {(point.method, point.bits): point for point in points}
            self._about = {**about, "provenance": state.get("provenance", about["provenance"])}
        elif not force:
            raise OutputError(
                f"{folder}: holds a sweep of another model, data or options;"
                " choose another folder or pass --force to start anew"
            )

    @property
    def provenance(self) -> dict[str, Any]:
        """Of the run that measured the points, not of one that only found them."""
        return self._about["provenance"]

    def add(self, point: SweepPoint) -> None:
        self.done[point.method, point.bits] = point
        state = {"identity": self._identity, **self._about, "points": [each.as_dict() for each in self.done.values()]}
        write_text(self.folder / STATE_FILE, json.dumps(state, indent=1))


def _identity(model: Model, data: Dataset, options: NarrowOptions, plan: CalibrationPlan, training: TrainingPlan | None) -> str:
    source = plan.source.fingerprint() if isinstance(plan.source, Dataset) else plan.source
    fixed = {**options.as_dict(), "bits": None, "calibration": [source, plan.samples, plan.seed]}
    if training is not None:
        fixed["training"] = training.identity()
    return hashlib.sha256(
        json.dumps([model.fingerprint, data.fingerprint(), fixed, versions()["tosa-rescale"]]).encode()
    ).hexdigest()


def _provenance(model: Model, data: Dataset, plan: CalibrationPlan, command: str) -> dict[str, Any]:
    """Where the figures come from, for whoever reads them later."""
    file = None if model.flatbuffer is None else hashlib.sha256(model.flatbuffer).hexdigest()
    calibrated = plan.source if isinstance(plan.source, str) else pathlib.Path(plan.source.source).name
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "versions": versions(),
        "model_file_sha256": file,
        "module_sha256": model.fingerprint,
        "data_sha256": data.fingerprint(),
        "calibration": {"source": calibrated, "samples": plan.samples, "seed": plan.seed},
        "preprocessing": dataclasses.asdict(data.preprocessing),
    }
