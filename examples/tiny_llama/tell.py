# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Two integer language models tell a story, side by side: the likeliest token each time, executed by IREE.

python tell.py OUT/llama_a16w8.mlirbc OUT/llama_a16w8_samples_1.mlirbc tok512.bin

The model sees sequences of one length. What is not written yet is filled up, and the causal mask keeps it from being seen.
"""

from __future__ import annotations

import argparse
import pathlib
import textwrap

import numpy as np
import tosa_rescale as tr
from checkpoint import BEGIN, read_vocabulary, text_of
from tosa_rescale_runtime import Executable

WIDTH = 60


def tell(model: tr.Model) -> list[int]:
    """Tokens of a story, the first one included."""
    (_, length), executable = model.signature.inputs[0].shape, Executable.build(model.bytecode, source=model.source)
    tokens = np.full((1, length), BEGIN, np.int32)
    for step in range(length - 1):
        tokens[0, step + 1] = executable.run_many(tokens)[0].reshape(length, -1)[step].argmax()
    return tokens[0].tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("left", type=pathlib.Path)
    parser.add_argument("right", type=pathlib.Path)
    parser.add_argument("vocabulary", type=pathlib.Path)
    options = parser.parse_args()
    columns = []
    for path in (options.left, options.right):
        model = tr.load(path)
        vocabulary = read_vocabulary(options.vocabulary, model.signature.outputs[0].shape[-1])
        text = text_of(tell(model), vocabulary)
        widest = max(each.bits or 31 for each in model.info())
        columns.append(
            [
                f"at most {widest} bit{'s' * (widest > 1)}",
                "",
                *(line for part in text.splitlines() for line in textwrap.wrap(part, WIDTH)),
            ]
        )
    for row in range(max(map(len, columns))):
        left, right = (column[row] if row < len(column) else "" for column in columns)
        print(f"{left:{WIDTH}}   {right}".rstrip())


if __name__ == "__main__":
    main()
