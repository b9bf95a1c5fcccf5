# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sweeps and evaluations as tasks of a Ray cluster (extra `distributed`).

Work is cut into points (a method at a width) times shards of the data. What tasks need travels as objects: the model, what its
layers saw in calibration (measured once, so that every worker starts from the same numbers), compiled modules, and shards. A
shard holds encoded images, not the model's integers: it is smaller, workers decode in parallel, and the same shard serves every
model. A task that is lost with its worker runs again elsewhere. Tasks return counts, and counts are added exactly, so that the
figures are those of a local run, whatever the order in which tasks end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tosa_rescale.core.errors import ClusterError, OptionError, TosaRescaleError
from tosa_rescale.core.functions import find_function
from tosa_rescale.core.options import NarrowOptions
from tosa_rescale.core.program import Program
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.data.source import as_dataset
from tosa_rescale.measure.choice import MetricPlan, plan_metrics
from tosa_rescale.measure.engines import ENGINES
from tosa_rescale.measure.evaluate import CHUNK, Score, require_measurable
from tosa_rescale.measure.evaluation import Evaluation
from tosa_rescale.measure.metrics import Metric
from tosa_rescale.measure.own_metric import OwnRows
from tosa_rescale.sweeping.cluster_join import LOCAL, first_line, import_ray, join, not_installed
from tosa_rescale.sweeping.cluster_tasks import BASE, Point, environment, prepare_context, prepare_point, score_shard
from tosa_rescale.sweeping.details import Describe
from tosa_rescale.sweeping.methods import MethodContext
from tosa_rescale.sweeping.results import SweepPoint

RETRIES = 3
"""How often a task that was lost with its worker runs again."""

TASKS_PER_CORE = 4
"""Shards are made small enough for so many of one point on each core: the last ones to end then keep few cores waiting."""

TASKS_AHEAD = 3
"""Tasks handed to the cluster for each core: none waits for us, and little is left to do when we stop."""

LARGEST_SHARD = 4 * CHUNK


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a cluster found for one point.

    Attributes:
        point: method and width.
        evaluation: the figures; `seconds` is the sum over workers.
        seconds: of all its tasks together.
    """

    point: Point
    evaluation: Evaluation
    seconds: float


class Cluster:
    """A connection to a Ray cluster.

    Args:
        ray: the package.
        cores: of all workers together, now.
    """

    def __init__(self, ray: Any, cores: int) -> None:
        self._ray, self.cores = ray, cores
        self._expected = ray.put(tuple(environment().items()))

    def points(
        self,
        context: MethodContext,
        data: Dataset,
        points: Sequence[Point],
        options: NarrowOptions | None,
        *,
        engine: str = "iree",
        reference: Program | None = None,
        metrics: Any = None,
        progress: Progress | None = None,
        label: str = "sweep",
    ) -> Iterator[Measured]:
        """Measures models on a dataset; yields each as soon as its last shard is done.

        Args:
            context: the original model, and what to calibrate on.
            data: samples; files are read here, workers need not see them.
            points: methods and widths. BASE, where given, comes first and is what all others are compared with.
            options: of the narrowing; None: every point is the context's model itself.
            engine: what executes them.
            reference: a model to compare with where BASE is not among the points; executed by IREE.
            metrics: what is measured; None or empty: what outputs and labels suggest.
            progress: shows rate and remaining time.
            label: what progress calls this.

        Raises:
            ClusterError: workers are lost again and again, or have other versions.
            TosaRescaleError: what a task raised.
        """
        plan = plan_metrics(metrics, context.model, data, reference or options is not None)
        require_measurable(plan, data, reference or options)
        data = self._with_functions(plan, data)
        work = _Work(self, context, data, points, options, engine, reference, plan)
        todo = ((index, part) for index in range(len(points)) for part in range(work.parts))
        totals, seconds, left = [Score(plan) for _ in points], [0.0] * len(points), [work.parts] * len(points)
        waiting: dict[Any, int] = {}
        with (progress or Silent()).task(label, len(points) * len(data)) as advance:
            while True:
                # Points end one after the other: tasks start in the order in which they are submitted.
                for index, part in itertools.islice(todo, TASKS_AHEAD * self.cores - len(waiting)):
                    waiting[work.submit(index, part)] = index
                if not waiting:
                    return
                (done,), _ = self._ray.wait(list(waiting), num_returns=1)
                index = waiting.pop(done)
                counted, spent = self.get(done)
                totals[index].merge(counted)
                seconds[index] += spent
                left[index] -= 1
                advance(counted.samples)
                if not left[index]:
                    prepared = self.get(work.models[index])
                    found = totals[index].result(data, [prepared.says] if prepared.says else ())
                    yield Measured(points[index], found, seconds[index] + prepared.seconds)

    def _with_functions(self, plan: MetricPlan, data: Dataset) -> Dataset:
        """The data with its function itself: functions of the user's own travel, workers need not have their modules."""
        own = [metric.rows.function for metric in plan.chosen if isinstance(metric.rows, OwnRows)]
        if data.preprocessing.preprocess is not None:
            function = find_function(data.preprocessing.preprocess, "preprocess")
            own.append(function)
            data = data[:]
            data.preprocessing = dataclasses.replace(data.preprocessing, preprocess=function)
        for function in own:
            module = sys.modules.get(getattr(function, "__module__", ""))
            path = getattr(module, "__file__", None)
            if module is not None and path is not None and not _is_installed(path):
                self._ray.cloudpickle.register_pickle_by_value(module)
        return data

    def put(self, value: Any) -> Any:
        """Makes an object of a value, for tasks to use."""
        return self._ray.put(value)

    def task(self, function: Callable[..., Any], num_returns: int = 1) -> Callable[..., Any]:
        """From a function of cluster_tasks to one that starts it on a worker; gives references of what it will return."""
        made = self._ray.remote(num_cpus=1, num_returns=num_returns, max_retries=RETRIES)(function)
        return functools.partial(made.remote, self._expected)

    def get(self, reference: Any) -> Any:
        """Waits for what a task returns. Raises ClusterError, or the TosaRescaleError that the task raised."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, TosaRescaleError):
                raise cause from None
            if isinstance(cause, ImportError):
                raise not_installed(cause) from error
            raise ClusterError(f"a task failed: {type(cause).__name__}: {first_line(cause)}") from error
        except errors.OutOfMemoryError as error:
            raise ClusterError("workers run out of memory; start the cluster with fewer cores on each machine") from error
        except errors.RayError as error:
            if "No module named" in str(error):
                raise not_installed(error) from error
            raise ClusterError(
                f"a task was lost {RETRIES + 1} times: {type(error).__name__}: {first_line(error)}; is there enough memory?"
            ) from error


class _Work:
    """One point after the other, shard by shard, handed to a cluster as it is asked for; see Cluster.points.

    Attributes:
        parts: number of shards.
        models: reference of each point's Prepared, as far as it was submitted.
    """

    def __init__(
        self,
        cluster: Cluster,
        context: MethodContext,
        data: Dataset,
        points: Sequence[Point],
        options: NarrowOptions | None,
        engine: str,
        reference: Program | None,
        plan: MetricPlan,
    ) -> None:
        self._points, self._options, self._engine, self._reference = points, options, engine, reference
        self._plan = cluster.put(plan)
        self._prepare, self._measure = cluster.task(prepare_point), cluster.task(score_shard, num_returns=2)
        self._context = cluster.task(prepare_context)(_without_progress(context), [method for method, _ in points])
        size = max(1, min(LARGEST_SHARD, -(-len(data) // (TASKS_PER_CORE * cluster.cores))))
        size = -(-size // data.group) * data.group  # rows that belong together go to one worker
        self._starts = range(0, len(data), size)
        self.parts, self.models = len(self._starts), []
        # Read when first used: on a large dataset the first workers need not wait for the last file.
        self._shard = functools.cache(lambda i: cluster.put(data[self._starts[i] : self._starts[i] + size].detached()))
        self._original: Any = None
        if reference is not None:
            self._original = self._prepare(_without_progress(MethodContext(reference)), BASE, None, "iree", None)
        self._compared: dict[int, Any] = {}  # outputs of the original or the reference, by shard

    def submit(self, index: int, part: int) -> Any:
        """Starts one point on one shard; gives the reference of its counts and seconds."""
        base = self._points[index] == BASE and self._options is not None
        if index == len(self.models):
            made = self._prepare(self._context, self._points[index], self._options, self._engine, self._original)
            self.models.append(made)
            self._original = made if base else self._original
        if self._reference is not None and part not in self._compared:
            self._compared[part] = self._score(self._original, part, None, True)[1]
        counted, outputs = self._score(self.models[index], part, self._compared.get(part), base)
        if base:
            self._compared[part] = outputs
        return counted

    def _score(self, model: Any, part: int, others: Any, keep: bool) -> Any:
        return self._measure(model, self._shard(part), self._starts[part], self._plan, others, keep)


@contextlib.contextmanager
def connect(address: str, workers: int | None = None) -> Iterator[Cluster]:
    """Joins a cluster for as long as the block runs.

    Args:
        address: "local" starts one on this machine; else what `ray start --head` printed (HOST:PORT), "auto" for the one that
            this machine belongs to, or ray://HOST:10001 from a machine that does not. Where this process has joined a
            cluster already, "local" and "auto" use that one, and it stays joined.
        workers: worker processes of a local cluster; None: one for each core.

    Raises:
        MissingToolError: Ray is not installed.
        OptionError: `workers`, and the cluster is not a local one.
        ClusterError: nothing answers at the address, or it runs other versions of Ray or Python.
    """
    if workers is not None and address != LOCAL:
        raise OptionError(f"workers: {address} has as many as its machines have cores; `workers` is for `cluster='local'`")
    ray = import_ray()
    joined = ray.is_initialized() and address in (LOCAL, "auto")
    if not joined:
        join(ray, address, workers)
    try:
        yield Cluster(ray, max(1, int(ray.cluster_resources().get("CPU", 1))))
    finally:
        # Tasks are not cancelled one by one: Ray 2.60 may end this process when a task ends as it is cancelled.
        if not joined:
            ray.shutdown()


def evaluate_on(
    address: str,
    model: Program,
    data: Any,
    engine: str,
    reference: object,
    workers: int | None,
    progress: Progress | None,
    label: str,
    metrics: Any = None,
) -> Evaluation:
    """`tosa_rescale.evaluate` on a cluster."""
    data = as_dataset(data)
    if not (reference is None or isinstance(reference, Program)):
        raise OptionError("cluster: outputs stay with the workers; give a model as the reference")
    if engine not in ENGINES:
        raise OptionError(f"engine: {engine!r} is not one of {', '.join(ENGINES)}")
    with connect(address, workers) as cluster:
        context = MethodContext(model, workers=1)
        (found,) = cluster.points(
            context, data, [BASE], None, engine=engine, reference=reference, metrics=metrics, progress=progress, label=label
        )
    return found.evaluation


class ClusterMeasurer:
    """Measures the points of a sweep on a cluster, each when its last task ends; see `connect` for the arguments."""

    on_cluster = True

    def __init__(self, address: str, workers: int | None = None) -> None:
        self._address, self._workers = address, workers

    def measure(
        self,
        context: MethodContext,
        data: Dataset,
        points: Sequence[Point],
        options: NarrowOptions,
        metrics: Sequence[Metric] = (),
        describe: Describe | None = None,
    ) -> Iterator[tuple[SweepPoint, None]]:
        """Yields each point as soon as it is measured; its model stays with the workers, and is not described."""
        del describe
        with connect(self._address, self._workers) as joined:
            for each in joined.points(
                context, data, points, options, metrics=metrics, progress=context.progress, label="samples"
            ):
                yield SweepPoint(*each.point, each.evaluation, each.seconds), None


def _is_installed(path: str) -> bool:
    """A file of an installed package, which workers have as well."""
    return any(part in ("site-packages", "dist-packages") for part in pathlib.Path(path).parts)


def _without_progress(context: MethodContext) -> MethodContext:
    return dataclasses.replace(context, progress=Silent(), workers=1)
