# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is known of every rescale of a module; `tosa-rescale info`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class RescaleInfo:
    """One tosa.rescale.

    Attributes:
        name: its name in the source model.
        op: the op that made its input (conv2d, depthwise_conv2d, add, ...).
        scope: accumulator or elementwise.
        channels: number of multipliers.
        scale32: multipliers are i32, else i16.
        rounding_mode: SINGLE_ROUND, DOUBLE_ROUND or INEXACT_ROUND.
        bits: significant bits of the widest multiplier, from the leading to the last one; None if not constant.
        shift_min, shift_max: range of the shifts as they stand in the op; None if not constant.
        scale_factor: what alignment multiplied the scale of its result by; 1 where that is as it was.
        violations: rules of the TOSA specification that it breaks or cannot be proved to keep.
    """

    name: str
    op: str
    scope: str
    channels: int
    scale32: bool
    rounding_mode: str
    bits: int | None
    shift_min: int | None
    shift_max: int | None
    violations: tuple[str, ...]
    scale_factor: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**dataclasses.asdict(self), "violations": list(self.violations)}


def significant_bits(multipliers: np.ndarray) -> np.ndarray:
    """Bits from the leading to the last one of each multiplier.

    Args:
        multipliers: int64 [C], >= 0.

    Returns:
        int64 [C]; 0 for a multiplier of 0, 1 for a power of two.
    """
    return np.array([(m // (m & -m)).bit_length() if m else 0 for m in map(int, multipliers)], np.int64)


def describe_rescales(bytecode: bytes) -> list[RescaleInfo]:
    """Reads every rescale of a module that `tosa-rescale-annotate` has been over."""
    from tosa_rescale_runtime import Module

    described = []
    for rescale in Module.parse(bytecode).rescales():
        multiplier, shift = rescale.multiplier, rescale.shift
        described.append(
            RescaleInfo(
                name=rescale.name,
                op=rescale.info.get("producer", "?"),
                scope=rescale.info.get("scope", "?"),
                channels=0 if multiplier is None else len(multiplier),
                scale32=rescale.scale32,
                rounding_mode=rescale.rounding_mode,
                bits=None if multiplier is None else int(significant_bits(multiplier).max()),
                shift_min=None if shift is None else int(shift.min()),
                shift_max=None if shift is None else int(shift.max()),
                violations=tuple(rescale.info.get("violations", ())),
                scale_factor=rescale.scale_factor,
            )
        )
    return described
