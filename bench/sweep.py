# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A whole sweep of several methods against its pure execution, in compilations of the model.

python bench/sweep.py MODEL [--samples 500] [--methods narrow,compensate,align] [--bits 1-8]

The sweep starts with an empty cache of compiled code. What executing its points takes is measured apart, with as many runs of
the original over the same samples.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import tosa_rescale as tr
from tosa_rescale_runtime import Cache, Executable


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
        began = time.perf_counter()
        executable = Executable.build(model.bytecode, cache=Cache(Path(folder, "one")))
        compiled = time.perf_counter() - began
        executable.run_many(*(each[:8] for each in inputs))
        os.environ["TOSA_RESCALE_CACHE"] = str(Path(folder, "cache"))
        began = time.perf_counter()
        result = tr.sweep(model, inputs[0], Path(folder, "sweep"), bits=options.bits, methods=options.methods, progress=False)
        swept = time.perf_counter() - began
        began = time.perf_counter()
        executable.run_many(*inputs)
        executed = (time.perf_counter() - began) * len(result.points)
        files = len(list(Path(folder, "cache").glob("*.vmfb")))
    print(f"one compilation {compiled:.1f} s; {len(result.points)} points {swept:.1f} s, of it execution {executed:.1f} s")
    print(f"beyond execution: {(swept - executed) / compiled:.2f} compilations; executables compiled: {files}")


if __name__ == "__main__":
    main()
