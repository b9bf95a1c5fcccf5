# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Files of llama2.c: the checkpoint of a Llama, and the vocabulary of its tokenizer."""

from __future__ import annotations

import dataclasses
import pathlib
import struct

import numpy as np

BEGIN = 1
"""The token before a story."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The header of a checkpoint: seven int32 in this order.

    Attributes:
        width: of the residual stream.
        hidden: width inside of the feed-forward layers.
        layers: number of blocks.
        heads: of queries.
        kv_heads: of keys and values; each serves heads / kv_heads heads of queries.
        vocabulary: tokens; negative in a file whose classifier has weights of its own.
        length: the longest sequence.
    """

    width: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    length: int

    @property
    def head(self) -> int:
        """Width of one head."""
        return self.width // self.heads


def shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """The weights behind the header, in their order: float32, little endian, [outputs, inputs] for each block."""
    layers, width, hidden, head = sizes.layers, sizes.width, sizes.hidden, sizes.head
    return {
        "embedding": (abs(sizes.vocabulary), width),
        "attention_norm": (layers, width),
        "query": (layers, sizes.heads * head, width),
        "key": (layers, sizes.kv_heads * head, width),
        "value": (layers, sizes.kv_heads * head, width),
        "output": (layers, width, sizes.heads * head),
        "feed_norm": (layers, width),
        "gate": (layers, hidden, width),
        "down": (layers, width, hidden),
        "up": (layers, hidden, width),
        "last_norm": (width,),
        "cosines": (sizes.length, head // 2),
        "sines": (sizes.length, head // 2),
        "classifier": () if sizes.vocabulary > 0 else (-sizes.vocabulary, width),
    }


def read_checkpoint(path: pathlib.Path) -> tuple[Sizes, dict[str, np.ndarray]]:
    """Header and weights of a checkpoint.

    Returns:
        The sizes, and float32 arrays by the names of `shapes`; `classifier` is the embedding where they are shared.

    Raises:
        SystemExit: the file is not a checkpoint.
    """
    data = path.read_bytes()
    if len(data) < 28:
        raise SystemExit(f"{path}: is too short for the header of a llama2.c checkpoint")
    sizes = Sizes(*struct.unpack("<7i", data[:28]))
    if min(dataclasses.astuple(sizes)[:5]) < 1 or not sizes.vocabulary or sizes.width % sizes.heads:
        raise SystemExit(f"{path}: is not a llama2.c checkpoint: its header is {sizes}")
    wanted = {name: shape for name, shape in shapes(sizes).items() if shape}
    counts = [int(np.prod(shape)) for shape in wanted.values()]
    values = np.frombuffer(data, "<f4", offset=28)
    if len(values) != sum(counts):
        raise SystemExit(f"{path}: has {len(values)} weights, its header asks for {sum(counts)}")
    parts = np.split(values, np.cumsum(counts)[:-1])
    weights = {name: part.reshape(shape) for (name, shape), part in zip(wanted.items(), parts, strict=True)}
    return dataclasses.replace(sizes, vocabulary=abs(sizes.vocabulary)), {"classifier": weights["embedding"], **weights}


def read_vocabulary(path: pathlib.Path, count: int) -> list[bytes]:
    """The bytes of each token. The file has the longest length as int32, then for each token a float32 score, an int32
    length, and its bytes.

    Args:
        path: the file.
        count: how many tokens there are.
    """
    data, at, pieces = path.read_bytes(), 4, []
    for _ in range(count):
        if at + 8 > len(data):
            raise SystemExit(f"{path}: has {len(pieces)} tokens, the model {count}")
        (length,) = struct.unpack_from("<i", data, at + 4)
        pieces.append(data[at + 8 : at + 8 + length])
        at += 8 + length
    return pieces


def text_of(tokens: list[int] | np.ndarray, pieces: list[bytes]) -> str:
    """What tokens say: a piece such as <0x0A> is a byte, the first three tokens are silent, a story begins without a space."""
    said = b""
    for token in map(int, tokens):
        piece = pieces[token]
        if token < 3:
            continue
        said += bytes([int(piece[3:5], 16)]) if piece.startswith(b"<0x") and len(piece) == 6 else piece
    return said.decode("utf-8", "replace").lstrip(" ")
