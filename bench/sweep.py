# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A whole sweep of several methods against its pure execution, in compilations of the model.

python bench/sweep.py MODEL [--samples 500] [--methods narrow,compensate,align] [--bits 1-8]

The sweep starts with an empty cache of compiled code. What executing its points takes is measured apart, with as many runs of
the original over the same samples. Seconds of the clock say what a user waits for on a quiet machine; those of processors,
of all processes, say the same on a busy one, and what both cores could do in half the time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tosa_rescale as tr
from linearity import processor_seconds
from tosa_rescale_runtime import Cache, Executable
from tosa_rescale_runtime.workers import close_all

ALONE = 64  # samples that one process runs, for the processor's seconds of one


def measured(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What a call gives, and its seconds: of the clock, and of processors, the worker processes included, which end here."""
    close_all()
    began = time.perf_counter(), processor_seconds()
    result = work()
    passed = time.perf_counter() - began[0]
    close_all()
    return result, passed, processor_seconds() - began[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--methods", default="narrow,compensate,align")
    parser.add_argument("--bits", default="1-8")
    options = parser.parse_args()
    model = tr.load(options.model)
    inputs = model.random_inputs(options.samples)
    with tempfile.TemporaryDirectory() as folder:
        executable, *compiled = measured(lambda: Executable.build(model.bytecode, cache=Cache(Path(folder, "one"))))
        os.environ["TOSA_RESCALE_CACHE"] = str(Path(folder, "cache"))
        asked = {"bits": options.bits, "methods": options.methods, "progress": False}
        result, *swept = measured(lambda: tr.sweep(model, inputs[0], Path(folder, "sweep"), **asked))
        files = len(list(Path(folder, "cache").glob("*.vmfb")))
    some = [each[:ALONE] for each in inputs]
    executable.run_many(*some)  # starts the processes
    began = time.perf_counter()
    executable.run_many(*inputs)
    passed = time.perf_counter() - began
    _, _, alone = measured(lambda: executable.run_each(some))
    executed = [each * len(result.points) for each in (passed, alone / len(some[0]) * options.samples)]
    for name, one, whole, pure in zip(("clock", "processors"), compiled, swept, executed, strict=True):
        print(
            f"{name}: one compilation {one:.1f} s; {len(result.points)} points {whole:.1f} s, of it execution {pure:.1f} s;"
            f" beyond execution {(whole - pure) / one:.2f} compilations"
        )
    print(f"executables compiled: {files}")


if __name__ == "__main__":
    main()
