# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a better choice of scales could gain: alignment as it is, and with one tensor at a time held at the scale that it had.

python bench/scales.py [--seeds N] [--spread S]

A random encoder of two layers (test/python/encoder_module.py) at one bit, every multiplier behind weights still wide. S is how
large tokens are beside the outlier: at 0.05 their squares are a few codes. The error is the mean absolute difference of the
outputs from the original's on 16 samples, in parts of their mean magnitude; a tensor whose scale matters and is badly chosen
shows as an error that falls when it is held.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from tosa_rescale import Model, load
from tosa_rescale.core.attributes import FIXED_FACTOR
from tosa_rescale.core.passes import run_passes, to_bytecode
from tosa_rescale_runtime import Executable

sys.path.append(str(Path(__file__).parents[1] / "test/python"))
from encoder_module import INPUT_SCALE, EncoderText

TOKENS, WIDTH, OUTLIER = 8, 64, 7.9


def make(seed: int, spread: float, folder: Path) -> tuple[Model, np.ndarray]:
    """The encoder, and samples for it."""
    text = EncoderText(TOKENS, WIDTH, 2, seed)
    samples = np.random.default_rng(seed + 100).standard_normal((16, 1, TOKENS, WIDTH)) * spread
    text.input.x[...] *= spread
    text.input.x[:, 0, 0] = samples[:, :, 0, 0] = OUTLIER
    value = text.input
    for _ in range(2):
        value = text.block(value, 2 * WIDTH)
    path = folder / "encoder.mlir"
    path.write_text(text.module(value))
    return load(path), np.round(samples / INPUT_SCALE).clip(-32768, 32767).astype(np.int16)[:, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--spread", type=float, default=0.05)
    options = parser.parse_args()
    print("| seed | aligned | the best tensor held | the median one | held without a wide multiplier |\n|---|---|---|---|---|")
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            model, samples = make(seed, options.spread, Path(folder))
        outputs = Executable.build(model.bytecode).run_many(samples)[0].astype(np.float64)

        def error(bytecode: bytes, samples: np.ndarray = samples, outputs: np.ndarray = outputs) -> float | None:
            made = run_passes(bytecode, ["tosa-rescale-align=bits=1"])
            if any("keeps a multiplier" in remark.text for remark in made.remarks):
                return None
            found = Executable.build(made.bytecode).run_many(samples)[0]
            return float(np.abs(found - outputs).mean() / np.abs(outputs).mean())

        held = []
        for each in model.module().rescales():
            if each.output_bits <= 16:
                module = model.module()
                module.set_attribute(next(op for op in module.ops() if op.key == each.key), FIXED_FACTOR, 1.0)
                held.append(error(to_bytecode(module, "encoder")))
        narrow = sorted(each for each in held if each is not None)
        print(
            f"| {seed} | {error(model.bytecode):.5f} | {narrow[0]:.5f} | {narrow[len(narrow) // 2]:.5f} | "
            f"{len(narrow)} of {len(held)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
