# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What narrow rescales are worth on a CPU: IREE on the original, on 31 bits rounded once, and on few bits lowered to 32-bit
operations, and LiteRT/XNNPACK on the original; all in turn, on one core and on all.

python bench/software.py MODEL [--bits 8,4,3,2,1] [--repeats 100] [--json docs/how-to/software.json]

The file collects models; tables in docs/how-to/compiler.md and README.md are made of it, and a test holds them to it.

Times are the least of all repeats; each is a burst of five inferences, so that a model finds its own caches. `dispatches` is
the sum of the least times of IREE's dispatches, on one core and without what starts them: the figure to go by where other work
shares the machine.

Multipliers are rounded to nearest and nothing is compensated: how fast a model runs does not depend on its numbers.
Every lowered model is compared with the same width before it was lowered: 0 values may differ.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import least, machine, random_inputs, record
from dispatches import profile
from tosa_rescale import Model
from tosa_rescale import load as load_model
from tosa_rescale_runtime import Executable, usable_cores

SAMPLES = 8
"""Random samples on which lowered models are compared."""

PROFILED_RUNS = 200


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
    parser.add_argument("--bits", default="8,4,3,2,1")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    bits = [int(each) for each in options.bits.split(",")]
    model = load_model(options.model)
    modules = variants(model, bits)
    for name, each in modules.items():
        rescales = each.info()
        print(f"{name}: {sum(r.lowered for r in rescales)} of {len(rescales)} rescales in 32 bits")
    made = {name: Executable.from_constants(each.bytecode, source=name) for name, each in modules.items()}
    specs = made["original"].inputs
    inputs = [random_inputs(tuple(n or 1 for n in spec.shape), spec.dtype, SAMPLES) for spec in specs]
    require_equal(model, bits, made, inputs)
    figures = {f"{name}, dispatches": 1e-6 * sum(t for t, _ in profile(each, PROFILED_RUNS)) for name, each in made.items()}
    figures |= measure(made, inputs, options)
    table = {}
    for name, seconds in figures.items():
        base = figures[f"original, {name.rpartition(', ')[2]}"]
        table[name] = {"ms": 1e3 * seconds, "times_original": base / seconds}
        print(f"{name:34s} {1e3 * seconds:9.3f} ms/sample   {base / seconds:5.2f}x the original in IREE")
    if options.json:
        lowered_counts = {name: [sum(r.lowered for r in each.info()), len(each.info())] for name, each in modules.items()}
        entry = {"repeats": options.repeats, "machine": machine(), "rescales_lowered": lowered_counts, "figures": table}
        record(options.json, options.model.name, entry)


def measure(made: dict[str, Executable], inputs: list[np.ndarray], options: argparse.Namespace) -> dict[str, float]:
    """Least seconds for a sample of each on one core, and on all: a process or an interpreter for each core."""
    cores, found = usable_cores(), {}
    for workers in sorted({1, cores}):
        given = [array[:workers] for array in inputs]
        where = f"{workers} core{'s' * (workers > 1)}"
        runs: dict[str, Callable[[], object]] = {
            f"{name}, {where}": lambda e=each, w=workers, g=given: e.run_many(*g, workers=w) for name, each in made.items()
        }
        if options.model.suffix == ".tflite":
            from engines import LiteRt

            stock = LiteRt(options.model, workers, 1)
            runs[f"XNNPACK, {where}"] = lambda s=stock, g=given: s.run_many(g[0])
        found |= {name: seconds / workers for name, seconds in least(runs, options.repeats).items()}
    return found


if __name__ == "__main__":
    main()
