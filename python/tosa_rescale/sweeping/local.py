# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Points of a sweep measured on this machine, on one compiled executable: while one is executed, the next ones are made."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from tosa_rescale_runtime import usable_cores

from tosa_rescale.core.options import NarrowOptions
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.measure.evaluate import OutputStore, evaluate
from tosa_rescale.measure.metrics import Metric
from tosa_rescale.sweeping.details import Describe
from tosa_rescale.sweeping.methods import METHODS, Made, MethodContext, make
from tosa_rescale.sweeping.results import BASE_BITS, SweepPoint

AHEAD = 2  # models that may wait to be executed
LARGE = 64 << 20  # bytes of a module above which one model is made at a time: each has several forms in memory


@dataclasses.dataclass(frozen=True, eq=False)
class _Ready:
    """A model to be measured.

    Attributes:
        made: the model.
        described: what describes it; None where that is not asked for.
        seconds: that making it took.
    """

    made: Made
    described: dict[str, Any] | None
    seconds: float


class LocalMeasurer:
    """Measures points in this process and its workers.

    Args:
        workers: processes that run samples; None: one for each core.
    """

    on_cluster = False

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers

    def measure(
        self,
        context: MethodContext,
        data: Dataset,
        points: Sequence[tuple[str, int]],
        options: NarrowOptions,
        metrics: Sequence[Metric] = (),
        describe: Describe | None = None,
    ) -> Iterator[tuple[SweepPoint, dict[str, Any] | None]]:
        """Yields each point with what describes its model as soon as it is measured.

        Args:
            context: the original model, and what to calibrate and train on.
            data: samples.
            points: methods and widths; the original model comes first, and all others are compared with it.
            options: of the narrowing; its `bits` is not used.
            metrics: what is measured; empty: what outputs and labels suggest.
            describe: describes a method's model, in a thread of its own.
        """

        def ready(method: str, k: int) -> _Ready:
            began = time.perf_counter()
            made = make(method, context, options.with_bits(1 if k == BASE_BITS else k))
            described = None if describe is None else describe(method, made.program)
            return _Ready(made, described, time.perf_counter() - began)

        with tempfile.TemporaryDirectory(prefix="tosa-rescale-") as folder:
            outputs = OutputStore(pathlib.Path(folder), len(data))
            for (method, k), each in _ahead(context, points, ready):
                began = time.perf_counter()
                program, base = each.made.program, k == BASE_BITS
                found = evaluate(
                    program,
                    data,
                    metrics=metrics,
                    reference=program if base else outputs,
                    keep=outputs if base else None,
                    workers=self._workers,
                    progress=context.progress,
                    label="original model" if base else f"{method} k={k}",
                )
                seconds = each.seconds + time.perf_counter() - began
                yield SweepPoint(method, k, found, seconds, each.made.training), each.described


def _ahead(
    context: MethodContext, points: Sequence[tuple[str, int]], ready: Callable[[str, int], _Ready]
) -> Iterator[tuple[tuple[str, int], _Ready]]:
    """Makes models in threads, a few ahead of whoever takes them; gives them in order.

    Execution waits for processes, so making models costs it nothing but their time on the cores. What trains is made when its
    turn comes: it takes all cores itself, and memory.
    """
    waiting: collections.deque[tuple[tuple[str, int], Callable[[], _Ready]]] = collections.deque()
    todo = iter(points)
    pool = ThreadPoolExecutor(min(AHEAD, usable_cores()) if len(context.model.bytecode) < LARGE else 1, "tosa-rescale-make")
    try:
        # Calibration first, beside the compilation of the original and models that need none. Who needs it is told of its
        # errors when calibrating again.
        calibrating = pool.submit(context.calibrate, [method for method, _ in points])

        def made(method: str, k: int) -> _Ready:
            if method in METHODS and METHODS[method].calibrates:
                wait([calibrating])
            return ready(method, k)

        while True:
            for point in itertools.islice(todo, AHEAD + 1 - len(waiting)):
                trains = point[0] in METHODS and METHODS[point[0]].trains
                waiting.append((point, functools.partial(ready, *point) if trains else pool.submit(made, *point).result))
            if not waiting:
                return
            point, result = waiting.popleft()
            yield point, result()
    finally:
        pool.shutdown(cancel_futures=True)
