# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The parity matrix: do all engines give the same integers, for every model, width and method, on random and real inputs?

    python bench/parity.py MODEL.tflite [MODEL ...] [--data DATA] [--inputs N] [--bits 31,8,4,3,1] [--engines iree,tf,...]
                           [--reference-inputs N] [--json FILE]

For each model: as it came, narrowed (accumulators, and everything), compensated and aligned. `iree` against the twin at
every rescale; `iree` against each other engine at the outputs. One row a variant: values compared and mismatches. Exit
status 1 where anything differs. With --json, finished rows are kept and not computed again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tosa_rescale import Model, load, load_data
from tosa_rescale.measure.check import Layers, compare_layers
from tosa_rescale.measure.engines import make_engine
from tosa_rescale_runtime import compare_all


def variants(model: Model, widths: list[int]) -> Iterator[tuple[int, str, Model]]:
    """Width, method and model."""
    for k in widths:
        if k == 31:
            yield 31, "original", model
            continue
        yield k, "narrow", model.narrow(k)
        yield k, "narrow all", model.narrow(k, scope="all")
        yield k, "compensate", model.compensate(k, calibration="none")
        yield k, "align", model.compensate(k, calibration="none", scope="all")


def inputs_of(model: Model, data: Path | None, count: int) -> dict[str, list[np.ndarray]]:
    """Random integers, and real samples where there are any that fit."""
    found = {"random": model.random_inputs(count, seed=1)}
    if data is not None and len(model.signature.inputs) == 1:
        found["real"] = [np.concatenate(list(load_data(data).take(count).quantized(model.input_spec)))]
    return found


def measure(model: Model, arrays: list[np.ndarray], engines: list[str], reference_inputs: int) -> dict[str, list[int]]:
    """For each comparison [values, mismatches]."""
    layers = compare_layers(model, arrays, Layers.RESCALES, None)
    found = {"tf at every rescale": [sum(c.values for c in layers.values()), sum(c.mismatches for c in layers.values())]}
    expected = make_engine("iree", model).run_many(arrays)
    for name in engines:
        count = reference_inputs if name == "reference" else len(arrays[0])
        if count:
            actual = make_engine(name, model).run_many([array[:count] for array in arrays])
            compared = compare_all(actual, [e[:count] for e in expected])
            found[name] = [compared.values, compared.mismatches]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--inputs", type=int, default=4)
    parser.add_argument("--reference-inputs", type=int, default=1, help="samples for the reference model, which is slow")
    parser.add_argument("--bits", default="31,8,4,3,1")
    parser.add_argument("--engines", default="tf,tf64,reference", help="compared with iree")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    engines, widths = options.engines.split(","), [int(k) for k in options.bits.split(",")]
    done: dict[str, Any] = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    failed = 0
    for path in options.models:
        model = load(path)
        kinds = inputs_of(model, options.data, options.inputs)
        for k, method, variant in variants(model, widths):
            for kind, arrays in kinds.items():
                key = f"{path.stem}|{k}|{method}|{kind}"
                if key not in done:
                    began = time.perf_counter()
                    done[key] = measure(variant, arrays, engines, options.reference_inputs)
                    done[key]["seconds"] = round(time.perf_counter() - began, 1)
                    if options.json:
                        options.json.write_text(json.dumps(done, indent=1))
                row = {name: pair for name, pair in done[key].items() if name != "seconds"}
                bad = sum(pair[1] for pair in row.values())
                failed += bad
                cells = ", ".join(f"{name} {pair[1]}/{pair[0]}" for name, pair in row.items())
                print(f"{path.stem:28s} k={k:<2d} {method:10s} {kind:6s} mismatches/values: {cells}", flush=True)
    print(f"{failed} mismatches")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
