# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whole models, as given and at four widths: the TOSA reference model must say VALID, and IREE and the twin must equal it.

Usage: python test/conformance/models.py PATH... [--samples N] [--seed S]   (needs tosa-tools on PATH, and the extra `train`)

PATH is a model or a folder of models. Inputs are uniform random integers.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import time

import tosa_rescale as tr

ENGINES = ("iree", "tf", "reference")
WIDTHS = (8, 4, 2, 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=pathlib.Path)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    files = [file for path in asked.paths for file in (sorted(path.glob("*.tflite")) if path.is_dir() else [path])]
    runs = values = failed = 0
    for file in files:
        began, said = time.monotonic(), []
        original = tr.load(file)
        for bits in (None, *WIDTHS):
            name = "given" if bits is None else f"{bits} bits"
            try:
                model = original if bits is None else original.narrow(bits, scope="all")
                found = model.check(asked.samples, engines=ENGINES, seed=asked.seed)
            except tr.TosaRescaleError as error:  # the reference model's verdict among others: anything but VALID
                failed += 1
                said.append(f"{name} FAILED: {error}")
                continue
            runs += 1
            values += next(iter(found.pairs.values())).values
            wrong = {f"{a}/{b}": compared.mismatches for (a, b), compared in found.pairs.items() if not compared.exact}
            failed += bool(wrong)
            left = f", {len(model.remarks)} rescales left alone" if model.remarks else ""
            said.append(f"{name} {f'DIFFERS {wrong}' if wrong else 'equal'}{left}")
        print(f"{file.name}: {'; '.join(said)} ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{len(files)} models, {runs} runs VALID on three engines, {values} values, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
