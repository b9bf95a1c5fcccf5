# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Perplexity and next tokens of an integer language model over the widths of its multipliers, executed by IREE.

python sweep.py OUT/llama_a16w8.mlirbc OUT/test.npz OUT/calibration.npz [--bits 1,2,3,4,8,31] [--save OUT]

Each width is narrowed to nearest, and aligned and compensated without data and with the samples of calibration.npz; the last
columns compare with the model as it came, which is the 31-bit one. `--save` keeps the aligned models for tell.py.
"""

from __future__ import annotations

import argparse
import pathlib
import time

import tosa_rescale as tr


def make(model: tr.Model, method: str, bits: int, calibration: tr.Dataset) -> tr.Model:
    """The model after one method."""
    if method == "narrow":
        return model.narrow(bits, scope="all")
    return model.compensate(bits, scope="all", calibration=calibration if method == "samples" else "none")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("test", type=pathlib.Path)
    parser.add_argument("calibration", type=pathlib.Path)
    parser.add_argument("--bits", default="1,2,3,4,8,31")
    parser.add_argument("--methods", default="narrow,none,samples")
    parser.add_argument("--save", type=pathlib.Path, help="folder for the models that are aligned")
    options = parser.parse_args()
    model, calibration = tr.load(options.model), tr.load_data(options.calibration)
    test = tr.load_data(options.test)

    print("| k | method | wide of rescales | perplexity | against 31 bits | same next token | seconds |")
    print("|---|---|---|---|---|---|---|")
    for bits in map(int, options.bits.split(",")):
        for method in options.methods.split(","):
            start = time.perf_counter()
            made = make(model, method, bits, calibration)
            seconds = time.perf_counter() - start
            found = made.evaluate(test, reference=model, metrics=["perplexity", "agreement"])
            ours, same = (found.metrics[name] for name in ("perplexity", "agreement"))
            against = ours.value / ours.reference_value
            rescales = made.info()
            wide = sum(each.above(bits) > 0 for each in rescales)
            print(
                f"| {bits} | {method} | {wide} of {len(rescales)} | {ours.value:.4f} | {against:.4f} | "
                f"{same.value:.2f} % | {seconds:.0f} |",
                flush=True,
            )
            if options.save and method != "narrow":
                made.save(options.save / f"{options.model.stem}_{method}_{bits}.mlirbc")


if __name__ == "__main__":
    main()
