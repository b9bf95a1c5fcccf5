# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compile, validate, fine-tune, compile again: the narrowest executable that keeps its accuracy.

Usage: python compile_validate_recompile.py MODEL.tflite DATA OUT.vmfb   (needs the extra `train`)

`original.compensate(bits)` in place of `original.narrow(bits)` starts nearer to the goal.
"""

import pathlib
import sys

import tosa_rescale as tr

MAX_DROP = 0.5  # points of top-1, or of agreement where there are no labels


def main(model_path: str, data_path: str, output: str) -> None:
    original, data = tr.load(model_path), tr.load_data(data_path)
    lessons = data.take(len(data) // 4)  # fine-tuning uses no labels, but what it learned on is not scored
    data = data.drop(len(lessons))
    base = original.evaluate(data)
    for bits in (1, 2, 3, 4, 6, 8):
        candidate = original.narrow(bits)
        for step in ("narrowed", "fine-tuned"):
            if step == "fine-tuned":
                candidate = candidate.finetune(lessons, teacher=original, epochs=3)
            found = candidate.evaluate(data, reference=original)  # compiled by IREE; only the first time takes long
            change = found.agreement - 100 if base.top1 is None else found.top1 - base.top1
            print(f"k = {bits}, {step}: {change:+.2f} points", flush=True)
            if change >= -MAX_DROP:
                pathlib.Path(output).write_bytes(tr.compile(candidate))  # takes iree-compile's flags
                return
    raise SystemExit(f"no width up to 8 bits keeps {100 - MAX_DROP} %")


if __name__ == "__main__":
    main(*sys.argv[1:])
