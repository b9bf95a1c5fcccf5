# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Points of a sweep measured on this machine, one after the other, on one compiled executable."""

from __future__ import annotations

import pathlib
import tempfile
import time
from collections.abc import Iterator, Sequence

from tosa_rescale.core.options import NarrowOptions
from tosa_rescale.core.program import Program
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.measure.evaluate import OutputStore, evaluate
from tosa_rescale.measure.metrics import Metric
from tosa_rescale.sweeping.methods import MethodContext, make
from tosa_rescale.sweeping.results import BASE_BITS, SweepPoint


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
    ) -> Iterator[tuple[SweepPoint, Program | None]]:
        """Yields each point with its model as soon as it is measured.

        Args:
            context: the original model, and what to calibrate and train on.
            data: samples.
            points: methods and widths; the original model comes first, and all others are compared with it.
            options: of the narrowing; its `bits` is not used.
            metrics: what is measured; empty: what outputs and labels suggest.
        """
        context.prepare(method for method, _ in points)
        with tempfile.TemporaryDirectory(prefix="tosa-rescale-") as folder:
            outputs = OutputStore(pathlib.Path(folder), len(data))
            for method, k in points:
                began = time.perf_counter()
                base = k == BASE_BITS
                made = make(method, context, options.with_bits(1 if base else k))
                found = evaluate(
                    made.program,
                    data,
                    metrics=metrics,
                    reference=made.program if base else outputs,
                    keep=outputs if base else None,
                    workers=self._workers,
                    progress=context.progress,
                    label="original model" if base else f"{method} k={k}",
                )
                yield SweepPoint(method, k, found, time.perf_counter() - began, made.training), made.program
