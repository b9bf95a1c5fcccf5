# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How seconds and memory of each step grow with a network: its weights, and its rescales.

python bench/growth.py [--weights 1,4,16,64] [--rescales 10,100,1000] [--samples 4]

Networks are chains of fully connected layers with random weights, as LiteRT's converter makes them: eight layers of more and
more million weights, then more and more layers of 32 x 32 weights. Each is measured in a process of its own. Seconds are those
of processors, of child processes too; memory is the largest process's so far, so it grows along a row. The last row of a table
is the exponent, by least squares of the logarithms of the last two networks: 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from linearity import TESTS, peak_megabytes, processor_seconds

STEPS = ("import", "narrow", "align", "compensate", "compile", "evaluate", "write")


def chain(layers: int, width: int) -> bytes:
    """A LiteRT model of fully connected layers with ReLU: int8 [1, width] in and out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import networks
        import tensorflow as tf

    def call(x: Any) -> dict[str, Any]:
        for _ in range(layers):
            weights = np.random.default_rng(0).normal(0, (2 / width) ** 0.5, (width, width)).astype(np.float32)
            x = tf.nn.relu(tf.linalg.matmul(x, tf.constant(weights)))
        return {"y": x}

    return networks.convert(call, {"x": (1, width)}, "int8")


def measure(path: Path, samples: int) -> dict[str, list[float]]:
    """Seconds and megabytes of each step, by its name."""
    from tosa_rescale import load
    from tosa_rescale_runtime import Executable

    found: dict[str, list[float]] = {}

    def step(name: str, work: Callable[[], Any]) -> Any:
        began = processor_seconds()
        result = work()
        found[name] = [processor_seconds() - began, peak_megabytes()]
        return result

    model = step("import", lambda: load(path))
    narrowed = step("narrow", lambda: model.narrow(4))
    step("align", lambda: model.compensate(1, scope="all", calibration="none"))
    (inputs,) = model.random_inputs(samples)
    step("compile", lambda: Executable.build(model.bytecode))
    step("evaluate", lambda: narrowed.evaluate(inputs, reference=model))
    made = step("compensate", lambda: model.compensate(1, scope="all", calibration=inputs))
    step("write", lambda: made.to_litert())
    found["rescales"] = [float(len(model.info())), 0.0]
    return found


def table(title: str, sizes: list[int], shapes: list[tuple[int, int]], samples: int) -> None:
    """Prints one table."""
    print(
        f"\n| {title} | rescales | "
        + " | ".join(f"{each}, s (MB)" for each in STEPS)
        + " |\n"
        + "|---" * (len(STEPS) + 2)
        + "|"
    )
    rows = []
    for size, (layers, width) in zip(sizes, shapes, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "chain.tflite")
            own = [sys.executable, __file__, "--one", str(path), str(layers), str(width), "--samples", str(samples)]
            subprocess.run([*own, "--only-make"], check=True, capture_output=True)
            found = json.loads(subprocess.run(own, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        rows.append([max(found[each][0], 1e-3) for each in STEPS])
        cells = " | ".join(f"{found[each][0]:.2f} ({found[each][1]:.0f})" for each in STEPS)
        print(f"| {size} | {found['rescales'][0]:.0f} | {cells} |", flush=True)
    if len(rows) > 1:
        slopes = np.log(np.array(rows[-1]) / rows[-2]) / np.log(sizes[-1] / sizes[-2])
        print("| exponent | | " + " | ".join(f"{each:.2f}" for each in slopes) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="1,4,16,64", help="millions")
    parser.add_argument("--rescales", default="10,100,1000")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--only-make", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        sys.path.insert(0, str(TESTS))
        path = Path(options.one[0])
        if options.only_make:
            path.write_bytes(chain(int(options.one[1]), int(options.one[2])))
        else:
            print(json.dumps(measure(path, options.samples)))
        return
    if options.weights:
        millions = [int(each) for each in options.weights.split(",")]
        table("million weights", millions, [(8, round((each * 1e6 / 8) ** 0.5)) for each in millions], options.samples)
    if options.rescales:
        counts = [int(each) for each in options.rescales.split(",")]
        table("layers", counts, [(each, 32) for each in counts], options.samples)


if __name__ == "__main__":
    main()
