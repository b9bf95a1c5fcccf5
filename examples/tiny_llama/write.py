# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""More of what the float model writes, to train an integer one on: tokens `x`, and those that come next, `y`.

python write.py stories260K.bin OUT/training.npz [--count 400] [--length 64] [--seed 2] [--without OUT/test.npz]

`--without` leaves out texts that begin, with half of their tokens, as one of another data set does.
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np
from network import read_llama, write_stories


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=400, help="texts to write")
    parser.add_argument("--length", type=int, default=64, help="tokens of a text")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--without", type=pathlib.Path, help="a data set whose texts are left out")
    options = parser.parse_args()
    tokens = write_stories(read_llama(options.checkpoint, options.length), options.count, options.length, options.seed).numpy()
    if options.without:
        half = options.length // 2
        known = {tuple(text) for text in np.load(options.without)["x"][:, :half].tolist()}
        tokens = tokens[[tuple(text) not in known for text in tokens[:, :half].tolist()]]
    np.savez(options.output, x=tokens[:, :-1].astype(np.int32), y=tokens[:, 1:])
    print(f"{options.output}: {len(tokens)} texts")


if __name__ == "__main__":
    main()
