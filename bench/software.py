# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What narrow rescales are worth on a CPU: IREE on the original, on 31 bits rounded once, and on few bits lowered to 32-bit
operations, and LiteRT/XNNPACK on the original; all in turn, on one core and on all.

python bench/software.py MODEL [--bits 8,4,1] [--repeats 15] [--samples 8] [--json FILE]

Multipliers are rounded to nearest and nothing is compensated: how fast a model runs does not depend on its numbers.
Every lowered model is compared with the same width before it was lowered: 0 values may differ.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import interleaved, random_inputs
from tosa_rescale import Model
from tosa_rescale import load as load_model
from tosa_rescale_runtime import Executable, usable_cores


def variants(model: Model, bits: list[int]) -> dict[str, Model]:
    """The original, 31 bits with SINGLE_ROUND, and each width lowered."""
    made = {"original": model, "31 bits, single": model.narrow(31, scope="all")}
    for k in bits:
        made[f"{k} bits, lowered" if k > 1 else "1 bit, lowered"] = lowered(model.narrow(k, scope="all"))
    return made


def lowered(model: Model) -> Model:
    """The model in 32 bits, in the form that is fastest in IREE."""
    return model.lower(rounding="bias", wide_inputs=True)


def require_equal(model: Model, bits: list[int], made: dict[str, Executable], inputs: list[np.ndarray]) -> None:
    """Runs each width as it is, compile-once, against the lowered one."""
    names = [name for name in made if name.endswith("lowered")]
    for k, name in zip(bits, names, strict=True):
        plain = Executable.build(model.narrow(k, scope="all").bytecode).run_many(*inputs, workers=1)
        ours = made[name].run_many(*inputs, workers=1)
        differing = sum(int((a != b).sum()) for a, b in zip(plain, ours, strict=True))
        print(f"{name}: {differing} of {sum(a.size for a in plain)} values differ from {k} bits in 64-bit arithmetic")
        if differing:
            raise SystemExit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--bits", default="8,4,1")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    bits = [int(each) for each in options.bits.split(",")]
    model, cores = load_model(options.model), usable_cores()
    modules = variants(model, bits)
    for name, each in modules.items():
        rescales = each.info()
        print(f"{name}: {sum(r.lowered for r in rescales)} of {len(rescales)} rescales in 32 bits")
    made = {name: Executable.from_constants(each.bytecode, source=name) for name, each in modules.items()}
    specs = made["original"].inputs
    inputs = [random_inputs(tuple(n or 1 for n in spec.shape), spec.dtype, options.samples) for spec in specs]
    require_equal(model, bits, made, inputs)

    runs: dict[str, Callable[[], object]] = {}
    counts = (1, cores) if cores > 1 else (1,)
    for workers in counts:
        for name, executable in made.items():
            runs[f"{name}, {workers} core{'s' * (workers > 1)}"] = lambda e=executable, w=workers: e.run_many(
                *inputs, workers=w
            )
        if options.model.suffix == ".tflite":
            from engines import LiteRt

            stock = LiteRt(options.model, workers, 1)
            runs[f"XNNPACK, {workers} core{'s' * (workers > 1)}"] = lambda s=stock: s.run_many(inputs[0])
    seconds = interleaved(runs, options.repeats)
    figures = {}
    for name, each in seconds.items():
        base = seconds[f"original, {name.rpartition(', ')[2]}"]
        figures[name] = {"ms": 1e3 * each / options.samples, "times_original": base / each}
        print(f"{name:34s} {figures[name]['ms']:9.3f} ms/sample   {figures[name]['times_original']:5.2f}x the original in IREE")
    if options.json:
        options.json.write_text(json.dumps({"model": options.model.name, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
