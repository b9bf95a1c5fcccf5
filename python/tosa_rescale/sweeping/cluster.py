# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sweeps and evaluations as tasks of a Ray cluster (extra `distributed`); the only module that knows Ray.

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
import importlib
import importlib.metadata
import itertools
import logging
import os
import pathlib
import platform
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tosa_rescale_runtime import DEFAULT_FLAGS, Cache, compile_module, default_cache, externalize, usable_cores
from tosa_rescale_runtime.compile import cache_key

from tosa_rescale.core.errors import ClusterError, MissingToolError, OptionError, TosaRescaleError
from tosa_rescale.core.functions import find_function
from tosa_rescale.core.options import NarrowOptions
from tosa_rescale.core.program import Program
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.core.version import versions
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.data.source import as_dataset
from tosa_rescale.measure.choice import MetricPlan, plan_metrics
from tosa_rescale.measure.engines import ENGINES, Engine, IreeEngine, make_engine
from tosa_rescale.measure.evaluate import CHUNK, Itself, Score, require_measurable, score
from tosa_rescale.measure.evaluation import Evaluation
from tosa_rescale.measure.metrics import Metric
from tosa_rescale.measure.own_metric import OwnRows
from tosa_rescale.sweeping.methods import METHODS, MethodContext, make
from tosa_rescale.sweeping.results import BASE as BASE_METHOD
from tosa_rescale.sweeping.results import BASE_BITS, SweepPoint

LOCAL = "local"
RETRIES = 3
"""How often a task that was lost with its worker runs again."""

TASKS_PER_CORE = 4
"""Shards are made small enough for so many of one point on each core: the last ones to end then keep few cores waiting."""

TASKS_AHEAD = 3
"""Tasks handed to the cluster for each core: none waits for us, and little is left to do when we stop."""

LARGEST_SHARD = 4 * CHUNK
REACH_SECONDS = 5.0
ANSWER_SECONDS = 30.0

Point = tuple[str, int]
BASE: Point = (BASE_METHOD, BASE_BITS)


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


# -- on the workers ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """A rewritten model, and the compiled form of its skeleton by cache key."""

    model: Program
    compiled: Mapping[str, bytes]
    seconds: float


@dataclasses.dataclass(frozen=True)
class _SharedCache(Cache):
    """The worker's own cache behind what came as an object.

    Keys name the processor, so a worker of another kind does not find what was compiled elsewhere and compiles for itself.
    """

    objects: Mapping[str, bytes] = dataclasses.field(default_factory=dict)

    def get(self, key: str) -> bytes | None:
        return self.objects.get(key) or super().get(key)


class _Held:
    """Outputs in memory, as evaluation.Outputs."""

    def __init__(self, arrays: Sequence[np.ndarray] | None = None) -> None:
        self._chunks = [list(arrays)] if arrays is not None else []

    def append(self, outputs: list[np.ndarray]) -> None:
        self._chunks.append(outputs)

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        (arrays,) = self._chunks
        return [array[start:stop] for array in arrays]

    def joined(self) -> list[np.ndarray]:
        return [np.concatenate(column) for column in zip(*self._chunks, strict=True)]


def environment() -> dict[str, str]:
    """Versions of what decides the figures; they must be the same on all machines."""
    return {"python": platform.python_version(), **versions(), "pillow": importlib.metadata.version("pillow")}


@functools.lru_cache(maxsize=4)
def _require_versions(expected: tuple[tuple[str, str], ...]) -> None:
    found = environment()
    different = [f"{name} {found.get(name)} (not {version})" for name, version in expected if found.get(name) != version]
    if different:
        raise ClusterError(
            f"worker on {socket.gethostname()}: has {', '.join(different)}; install the same versions on every machine"
        )


def _prepare_context(expected: tuple[tuple[str, str], ...], context: MethodContext, methods: Sequence[str]) -> MethodContext:
    """Task: the context with its calibration done."""
    _require_versions(expected)
    if any(name in METHODS and METHODS[name].calibrates for name in methods):
        context.compensator.calibrate()
    return context


def _prepare_point(
    expected: tuple[tuple[str, str], ...],
    context: MethodContext,
    point: Point,
    options: NarrowOptions | None,
    engine: str,
    known: _Prepared | None,
) -> _Prepared:
    """Task: one model of the sweep, rewritten and compiled."""
    _require_versions(expected)
    began = time.perf_counter()
    method, bits = point
    model = context.model if point == BASE or options is None else make(method, context, options.with_bits(bits)).program
    compiled: Mapping[str, bytes] = {}
    if engine == "iree":
        skeleton = externalize(model.bytecode, (), model.source)
        key = cache_key(skeleton.bytecode, DEFAULT_FLAGS)
        shared = known.compiled if known is not None else {}
        compiled = {key: compile_module(skeleton.bytecode, DEFAULT_FLAGS, _shared_cache(shared))}
    return _Prepared(model, compiled, time.perf_counter() - began)


def _score_shard(
    expected: tuple[tuple[str, str], ...],
    prepared: _Prepared,
    engine: str,
    shard: Dataset,
    first: int,
    plan: MetricPlan,
    reference: list[np.ndarray] | None,
    base: bool,
) -> tuple[tuple[Score, float], list[np.ndarray] | None]:
    """Task: counts of one point on one shard, whose first sample is at `first`, with its seconds; and the outputs of the base,
    with which others are compared.
    """
    _require_versions(expected)
    began = time.perf_counter()
    kept = _Held() if base else None
    held = Itself() if base else None if reference is None else _Held(reference)
    counted = score(_engine(prepared, engine), prepared.model.input_specs, shard, plan, held, kept, first=first)
    return (counted, time.perf_counter() - began), kept.joined() if kept else None


_last_engine: tuple[tuple[str, str], Engine] | None = None


def _engine(prepared: _Prepared, name: str) -> Engine:
    """An engine for the model; the last one is kept, as the next shard is most often of the same point."""
    global _last_engine
    identity = (prepared.model.fingerprint, name)
    if _last_engine is None or _last_engine[0] != identity:
        if name == "iree":
            engine: Engine = IreeEngine(prepared.model, workers=1, cache=_shared_cache(prepared.compiled))
        else:
            engine = make_engine(name, prepared.model, 1)
        _last_engine = (identity, engine)
    return _last_engine[1]


def _shared_cache(objects: Mapping[str, bytes]) -> _SharedCache:
    own = default_cache()
    return _SharedCache(own.folder, own.limit_bytes, objects)


# -- on the driver -----------------------------------------------------------------------------------------------------


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
        ray = self._ray
        plan = plan_metrics(metrics, context.model, data, reference or options is not None)
        require_measurable(plan, data, reference or options)
        data = self._with_functions(plan, data)
        planned = ray.put(plan)
        prepare, measure = self._task(_prepare_point), self._task(_score_shard, num_returns=2)
        common = self._submit(self._task(_prepare_context), _without_progress(context), [method for method, _ in points])
        size = max(1, min(LARGEST_SHARD, -(-len(data) // (TASKS_PER_CORE * self.cores))))
        size = -(-size // data.group) * data.group  # rows that belong together go to one worker
        starts = range(0, len(data), size)
        # Read when first used: on a large dataset the first workers need not wait for the last file.
        shard = functools.cache(lambda i: ray.put(data[starts[i] : starts[i] + size].detached()))
        original: Any = None
        if reference is not None:
            original = self._submit(prepare, _without_progress(MethodContext(reference)), BASE, None, "iree", None)
        compared: dict[int, Any] = {}  # outputs of the original or the reference, by shard
        models: list[Any] = []

        def submit(index: int, part: int) -> Any:
            nonlocal original
            base = points[index] == BASE and options is not None
            if index == len(models):
                models.append(self._submit(prepare, common, points[index], options, engine, original))
                original = models[index] if base else original
            if reference is not None and part not in compared:
                compared[part] = self._submit(measure, original, "iree", shard(part), starts[part], planned, None, True)[1]
            others = compared.get(part)
            counted, outputs = self._submit(measure, models[index], engine, shard(part), starts[part], planned, others, base)
            if base:
                compared[part] = outputs
            return counted

        todo = ((index, part) for index in range(len(points)) for part in range(len(starts)))
        totals = [Score(plan) for _ in points]
        seconds, left = [0.0] * len(points), [len(starts)] * len(points)
        waiting: dict[Any, int] = {}
        with (progress or Silent()).task(label, len(points) * len(data)) as advance:
            while True:
                # Points end one after the other: tasks start in the order in which they are submitted.
                for index, part in itertools.islice(todo, TASKS_AHEAD * self.cores - len(waiting)):
                    waiting[submit(index, part)] = index
                if not waiting:
                    return
                (done,), _ = ray.wait(list(waiting), num_returns=1)
                index = waiting.pop(done)
                counted, spent = self._get(done)
                totals[index].merge(counted)
                seconds[index] += spent
                left[index] -= 1
                advance(counted.samples)
                if not left[index]:
                    spent = seconds[index] + self._get(models[index]).seconds
                    yield Measured(points[index], totals[index].result(data), spent)

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

    def _task(self, function: Callable[..., Any], num_returns: int = 1) -> Any:
        return self._ray.remote(num_cpus=1, num_returns=num_returns, max_retries=RETRIES)(function)

    def _submit(self, task: Any, *arguments: Any) -> Any:
        return task.remote(self._expected, *arguments)

    def _get(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, TosaRescaleError):
                raise cause from None
            if isinstance(cause, ImportError):
                raise _not_installed(cause) from error
            raise ClusterError(f"a task failed: {type(cause).__name__}: {_first_line(cause)}") from error
        except errors.OutOfMemoryError as error:
            raise ClusterError("workers run out of memory; start the cluster with fewer cores on each machine") from error
        except errors.RayError as error:
            if "No module named" in str(error):
                raise _not_installed(error) from error
            raise ClusterError(
                f"a task was lost {RETRIES + 1} times: {type(error).__name__}: {_first_line(error)}; is there enough memory?"
            ) from error


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
        raise OptionError(f"workers: {address} has as many as its machines have cores; --workers is for --cluster local")
    ray = _import_ray()
    joined = ray.is_initialized() and address in (LOCAL, "auto")
    if not joined:
        _join(ray, address, workers)
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
    ) -> Iterator[tuple[SweepPoint, Program | None]]:
        """Yields each point as soon as it is measured; its model stays with the workers."""
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


def _import_ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingToolError(
            f"cluster: {error.name} is not installed; pip install 'tosa-rescale[distributed]' on every machine"
        ) from error


def _join(ray: Any, address: str, workers: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    logging.getLogger("ray").setLevel(logging.ERROR)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to its makers otherwise
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # those of tasks that nobody waits for after the first error
    try:
        if address == LOCAL:
            if not any(os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
                os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # else one is left in the user's home
            ray.init(address=LOCAL, num_cpus=workers or usable_cores(), include_dashboard=False, **quiet)
        else:
            _require_answer(address)
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
        what = "no cluster can be started here" if address == LOCAL else "cannot be joined"
        raise ClusterError(f"{address}: {what}: {_first_line(error)}") from error


def _require_answer(address: str) -> None:
    """Raises ClusterError where no cluster answers: Ray itself tries for minutes and then ends the process."""
    if address == "auto":
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (host and colon and port.isdigit()):
        raise ClusterError(f"{address}: is no address of a cluster; give HOST:PORT, ray://HOST:PORT, auto or local")
    try:
        socket.create_connection((host, int(port)), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ClusterError(
            f"{address}: no cluster can be reached: {reason}; start one with `ray start --head`, or use --cluster local"
        ) from error
    if address.startswith("ray://"):
        return
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "health-check", "--address", address]
    try:
        healthy = subprocess.run(command, capture_output=True, check=False, timeout=ANSWER_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        healthy = False
    if not healthy:
        raise ClusterError(f"{address}: something answers, but no Ray cluster that accepts this version and its RAY_AUTH_TOKEN")


def _not_installed(error: BaseException) -> ClusterError:
    return ClusterError(
        f"workers cannot run tasks: {_first_line(error)}; install 'tosa-rescale[distributed]', same version, on every machine"
    )


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
