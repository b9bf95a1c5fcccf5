# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the benchmarks share: reading a model, and timing several things against each other."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tosa_rescale import load as load_model


def load(model: Path) -> bytes:
    """Reads a model as TOSA bytecode with a static batch."""
    return load_model(model).bytecode


def random_inputs(shape: tuple[int, ...], dtype: np.dtype, count: int) -> np.ndarray:
    """Returns `count` uniform random samples [count, *shape[1:]]."""
    limits = np.iinfo(dtype)
    return np.random.default_rng(0).integers(limits.min, limits.max, (count, *shape[1:]), dtype, endpoint=True)


def interleaved(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Times several things in turn, so that a noisy machine hits all of them alike.

    Returns:
        The median of each in seconds.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


BURST = 5


def least(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Times several things in turn, for a machine that is never quiet.

    Each has its turn `repeats` times, a burst of runs each: the first of them finds the caches full of what the others left.

    Returns:
        The least time of each in seconds: what other work cannot have made shorter.
    """
    times = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, run in runs.items():
            for _ in range(BURST):
                start = time.perf_counter()
                run()
                times[name] = min(times[name], time.perf_counter() - start)
    return times


def machine() -> str:
    """Name of this machine's processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


def record(path: Path, model: str, entry: Mapping[str, Any]) -> None:
    """Puts what was measured of a model into a file that collects several, in place of what was there of it."""
    found = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**found, model: entry}, indent=1, sort_keys=True) + "\n")
