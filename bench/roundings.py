# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How far a model is from itself where every rescale rounds another way, beside how far a narrowed form of it is.

python bench/roundings.py MODEL NARROWED DATA.npz [--samples 16]

Each rescale of MODEL gets a number of up to a third of a step added before it rounds, by chance: one of six results then
changes by 1, as many as where the same values are rounded on a grid of their own. What the network's output makes of that is
the noise of its own rounding; a narrowed model below it has nothing left that training could find.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tosa_rescale as tr
from tosa_rescale.twin import Twin
from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.scaling import Scale
from tosa_rescale_runtime import Module

SHIFT = 1 / 3
AT_ONCE = 16


def by_chance(accumulators: Any, scale: Scale, way: str) -> Any:
    """floor(a*M + 1/2 + u), u uniform in +-1/3: what needs no rounding stays as it is."""
    del way
    exact = tf.cast(accumulators, tf.float64) * tf.constant(scale.real, tf.float64)
    return tf.floor(exact + 0.5 + tf.random.uniform(tf.shape(exact), -SHIFT, SHIFT, tf.float64))


def outputs(model: tr.Model, samples: np.ndarray) -> np.ndarray:
    """The first output, float64, op by op."""
    twin = Twin(Module.parse(model.bytecode, model.source), reference=True)
    parts = [twin.run([samples[start : start + AT_ONCE]])[0] for start in range(0, len(samples), AT_ONCE)]
    return np.concatenate(parts).astype(np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("narrowed", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--samples", type=int, default=16)
    options = parser.parse_args()
    data = tr.load_data(options.data).take(options.samples)
    model, narrowed = tr.load(options.model), tr.load(options.narrowed)
    samples = np.concatenate([chunk[0] for chunk in data.batches(model.input_specs)])
    counted = data.extras.get("mask", np.ones(len(data))) > 0
    tf.random.set_seed(0)
    base = outputs(model, samples)[counted]
    with mock.patch("tosa_rescale.twin.scaling._rounded", by_chance):
        other = outputs(model, samples)[counted]
    print("| | error / variance | same largest value |\n|---|---|---|")
    for name, found in (("rounded another way", other), ("narrowed", outputs(narrowed, samples)[counted])):
        same = np.mean(found.argmax(-1) == base.argmax(-1))
        print(f"| {name} | {np.mean((found - base) ** 2) / base.var():.5f} | {100 * same:.2f} % |", flush=True)


if __name__ == "__main__":
    main()
