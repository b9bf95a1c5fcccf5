# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A sweep of 8 widths against one compile and the pure execution.

python bench/sweep.py MODEL.tflite [--samples 64]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from common import load, random_inputs
from tosa_rescale.core.passes import run_passes
from tosa_rescale_runtime import Cache, Executable, externalize

BITS = (31, 8, 6, 5, 4, 3, 2, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--samples", type=int, default=64)
    options = parser.parse_args()
    data = load(options.model)
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        start = time.perf_counter()
        executable = Executable.build(data, cache=cache)
        compiled = time.perf_counter() - start
        spec = executable.inputs[0]
        samples = random_inputs(tuple(n or 1 for n in spec.shape), spec.dtype, options.samples)
        executable.run_many(samples[:8])

        # Width by width, as the sweep does it; execution alone is timed next to it, so that noise hits both.
        swept = executed = 0.0
        for bits in BITS:
            start = time.perf_counter()
            narrowed = data if bits == 31 else run_passes(data, [f"tosa-rescale-narrow=bits={bits}"]).bytecode
            variant = Executable.from_skeleton(externalize(narrowed), cache=cache)
            variant.run_many(samples)
            swept += time.perf_counter() - start
            start = time.perf_counter()
            executable.run_many(samples)
            executed += time.perf_counter() - start
        files = len(list(Path(folder).iterdir()))
    total, floor = compiled + swept, compiled + executed
    print(f"one compile {compiled:.1f} s, {len(BITS)} widths {swept:.1f} s, of it execution {executed:.1f} s")
    print(f"sweep / (compile + execution) = {total / floor:.2f}; executables compiled: {files}")


if __name__ == "__main__":
    main()
