# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Images per second of IREE, through the product's runner, against LiteRT/XNNPACK on the same cores.

python bench/engines.py MODEL.tflite [--repeats 15] [--samples 32]
"""

from __future__ import annotations

import argparse
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from common import interleaved, load, random_inputs
from tosa_rescale_runtime import DEFAULT_FLAGS, Executable, usable_cores


class LiteRt:
    """The stock engine: one interpreter with `threads` threads for each of `workers` workers."""

    def __init__(self, model: Path, workers: int, threads: int) -> None:
        self._model, self._threads = str(model), threads
        self._pool = ThreadPoolExecutor(workers)
        self._own = threading.local()

    def _one(self, sample: np.ndarray) -> np.ndarray:
        interpreter = getattr(self._own, "interpreter", None)
        if interpreter is None:
            interpreter = self._own.interpreter = Interpreter(self._model, num_threads=self._threads)
            interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

    def run_many(self, samples: np.ndarray) -> np.ndarray:
        return np.concatenate(list(self._pool.map(self._one, (samples[i : i + 1] for i in range(len(samples))))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--samples", type=int, default=32)
    options = parser.parse_args()

    data, cores = load(options.model), usable_cores()
    ours = Executable.build(data)
    constants = Executable.from_constants(data)
    plain = Executable.build(data, flags=DEFAULT_FLAGS[:3])
    spec = ours.inputs[0]
    samples = random_inputs(tuple(n or 1 for n in spec.shape), spec.dtype, options.samples)
    one, per_core, threaded = LiteRt(options.model, 1, 1), LiteRt(options.model, cores, 1), LiteRt(options.model, 1, cores)
    medians = interleaved(
        {
            "litert, 1 core": lambda: one.run_many(samples),
            "iree, 1 core": lambda: ours.run_many(samples, workers=1),
            "iree, 1 core, constants": lambda: constants.run_many(samples, workers=1),
            "iree, 1 core, target flags only": lambda: plain.run_many(samples, workers=1),
            f"litert, {cores} interpreters": lambda: per_core.run_many(samples),
            f"litert, {cores} threads": lambda: threaded.run_many(samples),
            f"iree, {cores} workers": lambda: ours.run_many(samples),
        },
        options.repeats,
    )
    best_many = min(seconds for name, seconds in medians.items() if name.startswith("litert") and name != "litert, 1 core")
    for name, seconds in medians.items():
        base = medians["litert, 1 core"] if "1 core" in name else best_many
        print(f"{name:34s} {options.samples / seconds:8.1f} images/s   {base / seconds:5.2f}x LiteRT")


if __name__ == "__main__":
    main()
