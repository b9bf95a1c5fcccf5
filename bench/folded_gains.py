# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What weights could make good, were every channel's gain known exactly: the limit that the grid of integers sets.

    python bench/folded_gains.py MODEL.tflite --data DATA --bits K [--multiplier-rounding R] [--preset P] [--train-samples N]

A narrowed multiplier M_q is off by one factor for a whole channel. Weights times M / M_q undo that, if they fit: the largest
weight of a channel is usually at the end of the grid, and where M_q < M it would have to grow. Prints accuracy and agreement
narrowed, then with all gains folded into weights and biases, cut off at the grid, and the share of weights that were cut off.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from tosa_rescale import Model, load, load_data
from tosa_rescale.sweeping.training import split_training
from tosa_rescale.twin import Twin, emit, read_graph
from tosa_rescale.twin.gains import narrowed_gains
from tosa_rescale_runtime import Module


def fold_gains(original: Model, narrowed: Model) -> tuple[Model, float]:
    """The narrowed model with M / M_q in weights and biases, and the share of weights beyond the grid."""
    ours, theirs = (read_graph(Module.parse(model.bytecode)) for model in (narrowed, original))
    twin, gains = Twin(ours), narrowed_gains(ours, theirs)
    beyond = count = 0
    for key, layer in twin.layers.items():
        count += layer.kernel().numpy().size
        if key in gains:
            wanted = layer.kernel().numpy() * layer.beside_kernel(gains[key])
            if layer.fold_gain(gains[key]):
                # Rounding alone moves a weight by half a step at most.
                beyond += int((np.abs(layer.kernel().numpy() - wanted) > 0.5001).sum())
    return dataclasses.replace(narrowed, bytecode=emit(twin, narrowed.bytecode)), beyond / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bits", type=int, required=True)
    parser.add_argument("--multiplier-rounding", default="nearest")
    parser.add_argument("--preset", default="none")
    parser.add_argument("--train-samples", type=int, default=0, help="leave out what a sweep with this option trains on")
    options = parser.parse_args()
    original, data = load(options.model), load_data(options.data)
    if options.train_samples:
        data = split_training(data, None, options.train_samples)[1]
    narrowed = original.narrow(options.bits, multiplier_rounding=options.multiplier_rounding, preset=options.preset)
    folded, beyond = fold_gains(original, narrowed)
    for name, model in (("narrowed", narrowed), ("gains folded", folded)):
        found = model.evaluate(data, reference=original)
        print(f"{name:14s} top-1 {found.top1} %, agreement {found.agreement} %", flush=True)
    print(f"weights beyond the grid: {100 * beyond:.2f} %")


if __name__ == "__main__":
    main()
