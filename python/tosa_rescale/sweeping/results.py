# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a sweep found: its points and their provenance, as they stand on disk."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from tosa_rescale.core.display import Shown, Summary, significant
from tosa_rescale.core.errors import OutputError
from tosa_rescale.core.files import PathLike, write_text
from tosa_rescale.core.version import versions
from tosa_rescale.measure.evaluation import Evaluation, MetricFigure

BASE, BASE_BITS = "base", 32
"""Method and width that stand for the original model, as it came."""

DEGRADATION = 0.5  # points of top-1 below base; the source paper's criterion. Metrics have a tolerance of their own

STATE_FILE = "sweep.json"
POINTS_FOLDER = "points"


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
        found = Evaluation.from_dict({**values, "seconds": values["execution_seconds"]})
        return SweepPoint(values["method"], values["bits"], found, values["seconds"], values.get("training"))


@dataclasses.dataclass(frozen=True, repr=False)
class SweepResult(Shown):
    """A finished sweep.

    Attributes:
        model, data: what was swept, over what.
        options: those of the narrowing; its `bits` is the sweep's first.
        points: the original model first, then every method from wide to narrow.
        provenance: hashes of model and data, calibration and seed, versions, command, date; empty where it is not known.
        identity: of model, data and options; what the details of the points are kept under.
        says: method to what it does, one line; empty for results of older versions.
        max_drop: the loss that is allowed, in the unit of the metric that decides; None: the metric's own tolerance.
        folder: where it is stored; None: nowhere. Equal results may lie in different folders.
    """

    model: str
    data: str
    options: dict[str, Any]
    points: tuple[SweepPoint, ...]
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    identity: str = ""
    says: dict[str, str] = dataclasses.field(default_factory=dict)
    max_drop: float | None = None
    folder: pathlib.Path | None = dataclasses.field(default=None, compare=False)

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

    @property
    def metric(self) -> str | None:
        """The metric that decides; None where the original was not measured with one."""
        primary = self.base.evaluation.primary
        return None if primary is None else primary.name

    def figure(self, point: SweepPoint) -> MetricFigure | None:
        """What a point has of the metric that decides."""
        found = None if self.metric is None else point.evaluation.metrics.get(self.metric)
        if found is None or self.max_drop is None:
            return found
        return dataclasses.replace(found, tolerance=self.max_drop)

    def degradation_point(self, method: str) -> int | None:
        """The widest k that loses more of the metric that decides than is tolerated; None: no width does."""
        found = ((point.bits, self.figure(point)) for point in self.of_method(method))
        return max((bits for bits, figure in found if figure is not None and figure.degraded), default=None)

    @property
    def title(self) -> str:
        """What was swept over what, without folders."""
        return f"{pathlib.Path(self.model).name} on {pathlib.Path(self.data).name}"

    def tolerated(self) -> str:
        """What the star behind a value means; empty where no point has one."""
        lost = [each for point in self.points if (each := self.figure(point)) is not None and each.degraded]
        if not lost:
            return ""
        unit = "points" if lost[0].unit == "%" else lost[0].unit
        return f"* loses more than {lost[0].tolerance:g} {unit}".rstrip() + f" of {lost[0].name}, as measured"

    def metric_cells(self, point: SweepPoint) -> list[str]:
        """Of each metric of the sweep the point's value; a star behind the first where more is lost than is tolerated."""
        own = [point.evaluation.metrics.get(name) for name in self.base.evaluation.metrics]
        texts = ["-" if figure is None else significant(figure.value) for figure in own]
        decisive = self.figure(point)
        return [f"{texts[0]} {'*' if decisive is not None and decisive.degraded else ' '}", *texts[1:]] if texts else []

    def summary(self) -> Summary:
        """One row a point: its metrics and differences."""
        metrics = self.base.evaluation.metrics
        columns = ["method", "bits", *(f"{each.name} {each.unit}".rstrip() for each in metrics.values())]
        columns += [*([] if "agreement" in metrics else ["agreement %"]), "max LSB", "mean LSB"]
        rows = []
        for point in self.points:
            found = point.evaluation
            agreement = [] if "agreement" in metrics else [_or_dash(found.agreement, 2)]
            differences = [*agreement, _or_dash(found.max_lsb, 0), _or_dash(found.mean_lsb, 3)]
            rows.append([point.method, str(point.bits), *self.metric_cells(point), *differences])
        warnings = [f"warning: {each}" for each in self.base.evaluation.warnings]
        return Summary(self.title, rows, columns, [*filter(None, [self.tolerated()]), *warnings])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "model": self.model,
            "data": self.data,
            "options": self.options,
            "metric": self.metric,
            "versions": versions(),
            "degradation_points": {method: self.degradation_point(method) for method in self.methods},
            "points": [point.as_dict() for point in self.points],
            "provenance": self.provenance,
            "identity": self.identity,
            "methods": self.says,
            "max_drop": self.max_drop,
        }


def _or_dash(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def with_metrics(points: Sequence[SweepPoint]) -> list[SweepPoint]:
    """Points of a sweep that knew top-1 and agreement alone, with figures of both; others as they are.

    Args:
        points: the original model's first.
    """
    if not points or any(point.evaluation.metrics for point in points):
        return list(points)
    base = points[0].evaluation
    names = ("top1", "agreement") if base.top1 is not None else ("agreement",)

    def figures(found: Evaluation) -> dict[str, MetricFigure]:
        values = {name: (getattr(found, name), getattr(base, name)) for name in names}
        return {
            name: MetricFigure(name, own, of_base, of_base - own, samples=found.samples, tolerance=DEGRADATION)
            for name, (own, of_base) in values.items()
            if own is not None and of_base is not None
        }

    return [
        dataclasses.replace(point, evaluation=dataclasses.replace(point.evaluation, metrics=figures(point.evaluation)))
        for point in points
    ]


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
        tuple(with_metrics(points)),
        provenance,
        values.get("identity", ""),
        dict(values.get("methods") or {}),
        values.get("max_drop"),
        path.parent,
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


class DetailStore:
    """What the points of a sweep are made of (tosa_rescale.sweeping.details): a JSON file for each beside the sweep's state,
    `points/<method>-<bits>.json`, so that the report can be made again without the model.

    Args:
        folder: the sweep's.
        identity: of the sweep; details of another one count as missing.
    """

    def __init__(self, folder: pathlib.Path, identity: str) -> None:
        self._folder, self._identity = folder / POINTS_FOLDER, identity

    def read(self, method: str, bits: int) -> dict[str, Any]:
        """What is known of a point; empty where nothing is."""
        try:
            values = json.loads(self._path(method, bits).read_text())
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) and values.get("identity") == self._identity else {}

    def write(self, method: str, bits: int, values: dict[str, Any]) -> None:
        """Keeps what is known of a point. Raises OutputError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_text(self._path(method, bits), json.dumps({"identity": self._identity, **values}) + "\n")

    def _path(self, method: str, bits: int) -> pathlib.Path:
        return self._folder / f"{method}-{bits}.json"
