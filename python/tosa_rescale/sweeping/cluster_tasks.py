# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the workers of a cluster run; nothing here knows Ray.

Each task is told which versions decide the figures, and refuses to run with others.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import platform
import socket
import time
from collections.abc import Mapping, Sequence

import numpy as np
from tosa_rescale_runtime import DEFAULT_FLAGS, Cache, CompileError, compile_module, default_cache, externalize
from tosa_rescale_runtime.compile import cache_key

from tosa_rescale.core.errors import ClusterError
from tosa_rescale.core.options import NarrowOptions
from tosa_rescale.core.program import Program
from tosa_rescale.core.version import versions
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.measure.choice import MetricPlan
from tosa_rescale.measure.engines import Engine, IreeEngine, make_engine, twin_instead
from tosa_rescale.measure.evaluate import Itself, Score, score
from tosa_rescale.sweeping.methods import MethodContext, make
from tosa_rescale.sweeping.results import BASE as BASE_METHOD
from tosa_rescale.sweeping.results import BASE_BITS

Point = tuple[str, int]
BASE: Point = (BASE_METHOD, BASE_BITS)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A rewritten model, and what executes it.

    Attributes:
        model: the model.
        engine: what executes it.
        compiled: of IREE, the compiled form of the model's skeleton by its cache key.
        skeleton: that key.
        seconds: that this took.
        says: why the engine is another one than was asked for; empty where it is not.
    """

    model: Program
    engine: str
    compiled: Mapping[str, bytes]
    skeleton: str
    seconds: float
    says: str = ""


@dataclasses.dataclass(frozen=True)
class _SharedCache(Cache):
    """The worker's own cache behind what came as an object.

    Keys name the processor, so a worker of another kind does not find what was compiled elsewhere and compiles for itself.
    """

    objects: Mapping[str, bytes] = dataclasses.field(default_factory=dict)

    def get(self, key: str) -> bytes | None:
        return self.objects.get(key) or super().get(key)


class Held:
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


def prepare_context(expected: tuple[tuple[str, str], ...], context: MethodContext, methods: Sequence[str]) -> MethodContext:
    """Task: the context with its calibration done."""
    _require_versions(expected)
    context.calibrate(methods)
    return context


def prepare_point(
    expected: tuple[tuple[str, str], ...],
    context: MethodContext,
    point: Point,
    options: NarrowOptions | None,
    engine: str,
    known: Prepared | None,
) -> Prepared:
    """Task: one model of the sweep, rewritten and compiled."""
    _require_versions(expected)
    began = time.perf_counter()
    method, bits = point
    model = context.model if point == BASE or options is None else make(method, context, options.with_bits(bits)).program
    compiled, skeleton, says = {}, "", ""
    if engine == "iree":
        lean = externalize(model.bytecode, (), model.source)
        skeleton = cache_key(lean.bytecode, DEFAULT_FLAGS)
        if known is not None and known.says and known.skeleton == skeleton:  # IREE would fail at it again
            engine, says = known.engine, known.says
        else:
            try:
                shared = known.compiled if known is not None else {}
                compiled = {skeleton: compile_module(lean.bytecode, DEFAULT_FLAGS, _shared_cache(shared))}
            except CompileError as error:
                engine, says = twin_instead(engine, model, error)
    return Prepared(model, engine, compiled, skeleton, time.perf_counter() - began, says)


def score_shard(
    expected: tuple[tuple[str, str], ...],
    prepared: Prepared,
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
    kept = Held() if base else None
    held = Itself() if base else None if reference is None else Held(reference)
    counted = score(_engine(prepared), prepared.model.input_specs, shard, plan, held, kept, first=first)
    return (counted, time.perf_counter() - began), kept.joined() if kept else None


_last_engine: tuple[tuple[str, str], Engine] | None = None


def _engine(prepared: Prepared) -> Engine:
    """The model's engine; the last one is kept, as the next shard is most often of the same point."""
    global _last_engine
    name = prepared.engine
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
