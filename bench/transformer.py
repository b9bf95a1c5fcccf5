# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A sentence encoder at few bits: Spearman of the similarity of pairs, and the cosine to its own embeddings as it came.

python bench/transformer.py MODEL.tosa TEST.npz [--calibration CALIBRATION.npz] [--pairs N] [--bits 1] [--methods ...] [--carry]

TEST.npz holds `x`, the model's input of each sentence [2 * pairs, tokens, width], rows 2i and 2i + 1 a pair; `mask`
[2 * pairs, tokens], 1 for tokens; `score` [pairs]. CALIBRATION.npz holds `x`. An embedding is the mean of the output over the
tokens, normalised. Methods: `narrow`, `none` (compensate without data), `samples` (with those of CALIBRATION.npz), and what
alignment gives with something left out: `no-constants`, `no-saturation`, `no-tables`, `align` (every multiplier still wide).
With `--carry` 16-bit tensors that are only widened again stay in 32 bits, in all rows but the first, and cosines are to the
embeddings of that model at full width.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
from tosa_rescale import Model, load
from tosa_rescale.core.options import CARRY, CompensateOptions
from tosa_rescale.core.passes import run_passes
from tosa_rescale.core.recipe import Step
from tosa_rescale.rewrite.compensate import Compensator
from tosa_rescale_runtime import Executable


def embed(output: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Normalised means over the tokens, float64 [N, width]."""
    weights = mask[..., None].astype(np.float64)
    means = (output * weights).sum(1) / weights.sum(1)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, the mean of them where values are equal."""
    distinct, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    del distinct
    last = np.cumsum(counts)
    return (last - (counts + 1) / 2)[index]


def spearman(embeddings: np.ndarray, score: np.ndarray) -> float:
    """Rank correlation of the pairs' cosines with the score."""
    cosine = (embeddings[0::2] * embeddings[1::2]).sum(1)
    return float(np.corrcoef(ranks(cosine), ranks(score))[0, 1])


def processor_seconds() -> float:
    """Of this process and those that it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def make(model: Model, method: str, bits: int, calibration: np.ndarray | None) -> Model:
    """The model after one method."""
    if method == "narrow":
        return model.narrow(bits, scope="all")
    if method == "align":
        aligned = run_passes(model.bytecode, [f"tosa-rescale-align=bits={bits}"], model.source)
        return model.after(aligned.bytecode, Step("align", {"bits": bits}), aligned.remarks)
    options = CompensateOptions(
        bits=bits,
        scope="all",  # type: ignore[arg-type]
        constants=method != "no-constants",
        saturation=method != "no-saturation",
        table_error=0.0 if method == "no-tables" else 1.0,
    )
    inputs = [calibration] if method == "samples" and calibration is not None else None
    return Compensator(model, inputs).compensate(options)


def carried(model: Model) -> Model:
    """The model with 16-bit tensors that are only widened again in 32 bits."""
    done = run_passes(model.bytecode, [CARRY], model.source)
    return model.after(done.bytecode, Step("carry", {}), done.remarks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--pairs", type=int, default=None, help="the first N pairs alone")
    parser.add_argument("--bits", default="1")
    parser.add_argument("--methods", default="narrow,align,no-constants,no-saturation,no-tables,none,samples")
    parser.add_argument("--carry", action="store_true")
    options = parser.parse_args()
    test = np.load(options.test)
    pairs = options.pairs or len(test["score"])
    samples, mask, score = test["x"][: 2 * pairs], test["mask"][: 2 * pairs], test["score"][:pairs]
    calibration = np.load(options.calibration)["x"] if options.calibration else None

    model = load(options.model)

    def embeddings(of: Model) -> np.ndarray:
        return embed(Executable.build(of.bytecode, source=of.source).run_many(samples)[0], mask)

    base = embeddings(model)
    print("| k | method | Spearman | cos | wide of rescales | seconds | of processors |\n|---|---|---|---|---|---|---|")
    print(f"| | as it came | {spearman(base, score):.4f} | 1 | | | |", flush=True)
    if options.carry:
        model = carried(model)
        ours, base = base, embeddings(model)
        print(
            f"| | carried | {spearman(base, score):.4f} | {(ours * base).sum(1).mean():.5f} | {len(model.info())} | | |",
            flush=True,
        )
    for bits in map(int, options.bits.split(",")):
        for method in options.methods.split(","):
            if method == "samples" and calibration is None:
                continue
            began, worked = time.perf_counter(), processor_seconds()
            made = make(model, method, bits, calibration)
            seconds, work = time.perf_counter() - began, processor_seconds() - worked
            ours = embeddings(made)
            rescales = made.info()
            wide = sum(each.above(bits) > 0 for each in rescales)
            print(
                f"| {bits} | {method} | {spearman(ours, score):.4f} | {(ours * base).sum(1).mean():.5f} | "
                f"{wide} of {len(rescales)} | {seconds:.1f} | {work:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
