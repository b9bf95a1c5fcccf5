# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What of a LiteRT flatbuffer is written in another way before it is read, with the same result: one file for each.

Names that several tensors have are changed too; that is not worth a remark.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from tosa_rescale.formats.litert.depthwise import convolve_depthwise
from tosa_rescale.formats.litert.float_arithmetic import compute_in_integers
from tosa_rescale.formats.litert.islands import Islands
from tosa_rescale.formats.litert.names import name_apart
from tosa_rescale.formats.litert.part import describe
from tosa_rescale.formats.litert.schema import pack, unpack
from tosa_rescale.formats.litert.zeros import scale_zeros

_BETWEEN = "integers instead of float32, between a DEQUANTIZE and a QUANTIZE"
_STEPS: tuple[tuple[str, Callable[[Any], list[int]]], ...] = (
    ("makes zeros alone, at a scale that float32 cannot hold; they get another one", scale_zeros),
    ("is read as the depthwise convolution that it is", convolve_depthwise),
    (f"computes with {_BETWEEN} (a square rounds as MUL does)", compute_in_integers),
)


@dataclasses.dataclass(frozen=True)
class Simplified:
    """A flatbuffer in the form that is read.

    Attributes:
        data: the flatbuffer; the bytes that were given where nothing was written in another way.
        model: its ModelT.
        remarks: what was, a sentence for each kind.
    """

    data: bytes
    model: Any
    remarks: tuple[str, ...] = ()


def simplify(data: bytes, source: str) -> Simplified:
    """Writes a flatbuffer in the form that is read; what it computes stays the same.

    Args:
        data: a LiteRT flatbuffer.
        source: its name, for errors.

    Raises:
        ModelError: not a readable LiteRT flatbuffer.
    """
    model, remarks = unpack(data, source), []
    try:
        for says, step in _STEPS:
            if operators := step(model):
                remarks.append(f"{says}: {describe(model, operators)}")
        islands = Islands(model)  # of what the steps leave
        if islands.movers:
            remarks.append(f"moves {_BETWEEN} of one scale: {describe(model, sorted(islands.movers))}")
        renamed = name_apart(model)
        if not remarks and not renamed:
            return Simplified(data, model)
        islands.join()
    except (IndexError, TypeError, ValueError, AttributeError):  # positions that lead nowhere: whoever reads the graph says so
        return Simplified(data, unpack(data, source))  # one of them may have begun
    packed = pack(model)
    return Simplified(packed, unpack(packed, source), tuple(remarks))
