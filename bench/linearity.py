# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How time and memory of alignment and compensation grow with a network: synthetic encoders of 2, 4, 8 and 16 layers.

python bench/linearity.py [--layers 2,4,8,16] [--width 128] [--samples 8|0]

Each encoder (test/python/encoder_module.py) is measured in a process of its own: compensated at one bit in every rescale
without data, and with samples, where all executables are in the cache. Seconds are those of processors, of child processes too;
memory is the largest process's. The last row is the exponent over the layers, by least squares of the logarithms: 1 is linear.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parent.parent / "test" / "python"


def processor_seconds() -> float:
    """Of this process and those that it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_megabytes() -> float:
    """Of this process, or of the largest that it waited for."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def measure(layers: int, width: int, samples: int) -> list[float]:
    """Weights in thousands, rescales, seconds and megabytes without data, and, if there are some, the same with samples."""
    sys.path.insert(0, str(TESTS))
    from encoder_module import encoder, encoder_inputs
    from tosa_rescale import load
    from tosa_rescale.core.options import CompensateOptions
    from tosa_rescale.rewrite.compensate import Compensator

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "encoder.mlir")
        path.write_text(encoder(layers, width=width))
        model = load(path)
    module = model.module()
    constants = [module.constant(layer.op, 1) for layer in module.mac_layers()]
    weights = sum(weight.size for weight in constants if weight is not None)
    found = [weights / 1000, float(len(model.info()))]
    asked = CompensateOptions(bits=1, scope="all")  # type: ignore[arg-type]
    measured: list[tuple[list[np.ndarray] | None, int]] = [(None, 1)]
    if samples:
        measured.append(([encoder_inputs(samples, width=width)[:, 0]], 2))
    for given, runs in measured:
        began = 0.0
        for _ in range(runs):  # the first one compiles
            began = processor_seconds()
            Compensator(model, given, workers=1).compensate(asked)
        found += [processor_seconds() - began, peak_megabytes()]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default="2,4,8,16")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--samples", type=int, default=8, help="0: without data alone")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(*measure(options.one, options.width, options.samples))
        return
    layers = [int(each) for each in options.layers.split(",")]
    titles = ["layers", "thousand weights", "rescales", "no data, s", "MB", *(["samples, s", "MB"] if options.samples else [])]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    rows = []
    for count in layers:
        command = [
            sys.executable,
            __file__,
            "--one",
            str(count),
            "--width",
            str(options.width),
            "--samples",
            str(options.samples),
        ]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows.append([float(each) for each in said.split()])
        print(
            f"| {count} | " + " | ".join(f"{each:.3g}" if each < 100 else f"{each:.0f}" for each in rows[-1]) + " |", flush=True
        )
    slopes = np.polyfit(np.log(layers), np.log(np.array(rows)), 1)[0]
    print("| exponent | " + " | ".join(f"{each:.2f}" for each in slopes) + " |")


if __name__ == "__main__":
    main()
