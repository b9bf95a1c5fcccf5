# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compile, validate, compensate, compile again: the narrowest executable that keeps its accuracy.

Usage: python compile_validate_recompile.py MODEL.tflite DATA OUT.vmfb
"""

import pathlib
import sys

import tosa_rescale as tr

MAX_DROP = 0.5  # points of top-1, or of agreement where there are no labels
TARGET = (
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
)


def main(model_path: str, data_path: str, output: str) -> None:
    original, data = tr.load(model_path), tr.load_data(data_path)
    base = original.evaluate(data)
    for bits in (1, 2, 3, 4, 6, 8):
        for step in ("narrow", "compensate"):  # the cheap way first; fine-tuning would be a third
            candidate = getattr(original, step)(bits)
            found = candidate.evaluate(data, reference=original)
            kept = found.agreement if base.top1 is None else found.top1 + 100 - base.top1
            print(f"{step} {bits}: {kept - 100:+.2f} points")
            if kept >= 100 - MAX_DROP:
                own = [f"--tosa-rescale-bits={bits}", *(["--tosa-rescale-compensate"] if step == "compensate" else [])]
                pathlib.Path(output).write_bytes(tr.compile(original, [*TARGET, *own]))
                return
    raise SystemExit(f"no width up to 8 bits keeps {100 - MAX_DROP} %")


if __name__ == "__main__":
    main(*sys.argv[1:])
