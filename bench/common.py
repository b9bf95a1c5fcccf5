# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the benchmarks share: reading a model, and timing several things against each other."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))


def opt_tool() -> str:
    """Returns the path of `tosa-rescale-opt`: `TOSA_RESCALE_OPT`, else from PATH."""
    tool = os.environ.get("TOSA_RESCALE_OPT") or shutil.which("tosa-rescale-opt")
    if tool is None:
        raise SystemExit("tosa-rescale-opt is not on PATH; set TOSA_RESCALE_OPT")
    return tool


def run_passes(data: bytes, *flags: str) -> bytes:
    """Runs passes on a module, bytecode in and out."""
    command = [opt_tool(), "-", *flags, "--emit-bytecode", "-o", "-"]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def load(model: Path) -> bytes:
    """Converts a .tflite to TOSA bytecode with a static batch; reads other files as they are."""
    if model.suffix != ".tflite":
        return model.read_bytes()
    import tosa_converter_for_tflite

    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder, "model.mlirbc")
        tosa_converter_for_tflite.tflite_flatbuffer_to_tosa_mlir(str(model), str(converted))
        return run_passes(converted.read_bytes(), "--tosa-rescale-static-batch")


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
