# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Narrowing as a whole process against the same tool running no pass on the same file.

python bench/narrow.py MODEL.tflite [--repeats 31]
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from common import interleaved, load
from tosa_rescale.core.passes import find_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--repeats", type=int, default=31)
    options = parser.parse_args()
    data = load(options.model)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.mlirbc"), Path(folder, "out.mlirbc")
        source.write_bytes(data)

        def process(*passes: str) -> None:
            command = [str(find_tool()), str(source), *passes, "--emit-bytecode", "-o", str(target)]
            subprocess.run(command, check=True)

        medians = interleaved({"no pass": process, "narrow": lambda: process("--tosa-rescale-narrow=bits=4")}, options.repeats)
    for name, seconds in medians.items():
        print(f"{name:8s} {seconds * 1e3:6.1f} ms   {seconds / medians['no pass']:.2f}x")


if __name__ == "__main__":
    main()
