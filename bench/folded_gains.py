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
from tosa_rescale.training import split_training
from tosa_rescale_runtime import Module
from tosa_rescale_runtime.module import read_rescale

INT32 = np.iinfo(np.int32)


def fold_gains(original: Model, narrowed: Model) -> tuple[Model, float]:
    """The narrowed model with M / M_q in weights and biases, and the share of weights beyond the grid."""
    module, before = Module.parse(narrowed.bytecode), Module.parse(original.bytecode)
    multipliers = {layer.op.key: _real(layer.rescale) for layer in before.mac_layers() if layer.rescale is not None}
    beyond = count = 0
    for layer in module.mac_layers():
        weights, bias = (module.constant(layer.op, operand) for operand in (1, 2))
        if layer.rescale is None or weights is None or bias is None:
            continue
        gain = multipliers[layer.op.key] / _real(layer.rescale)
        # Output channels: the last two dimensions of a depthwise kernel, the first of all others.
        depthwise = layer.op.kind == "depthwise_conv2d"
        shape = weights.shape[2:] if depthwise else (-1, *[1] * (weights.ndim - 1))
        wanted = np.rint(weights * (gain.reshape(shape) if gain.size > 1 else gain))
        beyond, count = beyond + int((np.abs(wanted) > 127).sum()), count + wanted.size
        module.set_constant(layer.op, 1, np.clip(wanted, -127, 127).astype(np.int64))
        module.set_constant(layer.op, 2, np.clip(np.rint(bias * gain), INT32.min, INT32.max).astype(np.int64))
    return dataclasses.replace(narrowed, bytecode=module.to_bytecode()), beyond / count


def _real(rescale: object) -> np.ndarray:
    found = read_rescale(rescale)  # type: ignore[arg-type]
    assert found.multiplier is not None and found.shift is not None
    return np.ldexp(found.multiplier.astype(np.float64), -found.shift)


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
