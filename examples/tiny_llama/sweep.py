# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Perplexity and next tokens of an integer language model over the widths of its multipliers, executed by IREE.

python sweep.py OUT/llama_a16w8.mlirbc OUT/test.npz OUT/calibration.npz [--bits 1,2,3,4,8,31] [--save OUT]

Each width is narrowed to nearest, and aligned and compensated without data and with the samples of calibration.npz. A cell has
the perplexity, the same as a multiple of that of the model as it came, how many next tokens are that model's, and how many
rescales are wider than k bits. `--save` keeps the aligned models for tell.py.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import time

import tosa_rescale as tr

METHODS = {"narrow": "narrowed to nearest", "none": "aligned and compensated, no data", "samples": "the same, 32 sequences"}


def make(model: tr.Model, method: str, bits: int, calibration: tr.Dataset) -> tr.Model:
    """The model after one method."""
    if method == "narrow":
        return model.narrow(bits, scope="all")
    return model.compensate(bits, scope="all", calibration=calibration if method == "samples" else "none")


def score(made: tr.Model, model: tr.Model, test: tr.Dataset, bits: int) -> str:
    """Perplexity, the same as a multiple of the original's, next tokens that are the same, rescales that are wider."""
    found = made.evaluate(test, reference=model, metrics=["perplexity", "agreement"])
    ours, same = (found.metrics[name] for name in ("perplexity", "agreement"))
    rescales = made.info()
    wide = sum(each.above(bits) > 0 for each in rescales)
    return f"{ours.value:.3f}, {ours.value / ours.reference_value:.4f}x, {same.value:.1f} %, {wide} of {len(rescales)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("test", type=pathlib.Path)
    parser.add_argument("calibration", type=pathlib.Path)
    parser.add_argument("--bits", default="1,2,3,4,8,31")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--save", type=pathlib.Path, help="folder for the models that are aligned")
    options = parser.parse_args()
    model, calibration = tr.load(options.model), tr.load_data(options.calibration)
    test = tr.load_data(options.test)

    methods = options.methods.split(",")
    print("| k | " + " | ".join(METHODS[each] for each in methods) + " |", "|---" * (len(methods) + 1) + "|", sep="\n")
    for bits in map(int, options.bits.split(",")):
        cells = []
        for method in methods:
            start = time.perf_counter()
            made = make(model, method, bits, calibration)
            seconds = time.perf_counter() - start
            cells.append(score(made, model, test, bits))
            print(f"{METHODS[method]}, {bits} bits: {cells[-1]}; made in {seconds:.0f} s", file=sys.stderr)
            if options.save and method != "narrow":
                made.save(options.save / f"{options.model.stem}_{method}_{bits}.mlirbc")
        print(f"| {bits} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
