# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Divisions that are no rescales: average pools over windows that are no powers of two.

Hardware multiplies with the reciprocal of the window's size, so a network whose rescales are all shifts may keep multipliers
there.
"""

from __future__ import annotations

import dataclasses
import math

from tosa_rescale.core.program import Program


@dataclasses.dataclass(frozen=True)
class Division:
    """One `avg_pool2d` that divides.

    Attributes:
        key, name: of the op; see tosa_rescale_runtime.Op.
        counts: of how many values it takes means, in rising order: windows that reach over the border hold fewer.
    """

    key: str
    name: str
    counts: tuple[int, ...]


def find_divisions(program: Program) -> list[Division]:
    """Every average pool that divides by something else than a power of two, in program order."""
    module = program.module()
    found = []
    for op in module.ops():
        if op.kind != "avg_pool2d":
            continue
        windows = _windows(
            module.attribute(op, "kernel"),
            module.attribute(op, "stride"),
            module.attribute(op, "pad"),
            [extent or 1 for extent in module.operand_shape(op, 0)[1:3]],
            [extent or 1 for extent in module.result_shape(op)[1:3]],
        )
        counts = tuple(sorted({count for count in windows if count & (count - 1)}))
        if counts:
            found.append(Division(op.key, op.name, counts))
    return found


def _windows(kernel: list[int], stride: list[int], pad: list[int], extents: list[int], output: list[int]) -> set[int]:
    """How many values within the image each window holds (TOSA, AVG_POOL2D)."""
    sides = []
    for size, step, before, extent, places in zip(kernel, stride, pad[::2], extents, output, strict=True):
        starts = [place * step - before for place in range(places)]
        sides.append({min(start + size, extent) - max(start, 0) for start in starts})
    return {math.prod(pair) for pair in ((high, wide) for high in sides[0] for wide in sides[1])}
