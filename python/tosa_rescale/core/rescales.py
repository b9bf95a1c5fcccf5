# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is known of every rescale of a module; `tosa-rescale info`."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tosa_rescale.core.attributes import LOWERED
from tosa_rescale.core.display import Summary, count
from tosa_rescale.core.options import RAISE
from tosa_rescale.core.passes import run_passes
from tosa_rescale.core.program import SHIFTS, P, Program

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module, Rescale


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
        key: position among the rescales of the graph, such as `rescale12`.
        multiplier_bits: significant bits of each multiplier; empty if not constant.
        intended_bits: the same, but of a multiplier that misses one of fewer bits by less than 2^-22 of it, as the float32
            scales of a .tflite make them, those of that one.
        power_of_two: every multiplier is a power of two or 0: the rescale is a shift; None if not constant.
        lowered: the module has it as operations of 32 bits (`tosa-rescale-lower`); the other figures are of the rescale that
            these compute.
        value_min, value_max: range of the input, zero point taken off, that is proved by weights, biases and input ranges;
            None if unknown.
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
    key: str = ""
    multiplier_bits: tuple[int, ...] = ()
    power_of_two: bool | None = None
    lowered: bool = False
    value_min: int | None = None
    value_max: int | None = None
    intended_bits: tuple[int, ...] = ()

    def above(self, bits: int) -> int:
        """How many multipliers are meant to have more significant bits than this; one at least where they are not constant."""
        if self.bits is None:
            return max(1, self.channels)
        return sum(each > bits for each in self.intended_bits)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        lists = ("violations", "multiplier_bits", "intended_bits")
        return {**dataclasses.asdict(self), **{name: list(getattr(self, name)) for name in lists}}


def significant_bits(multipliers: np.ndarray) -> np.ndarray:
    """Bits from the leading to the last one of each multiplier.

    Args:
        multipliers: int64 [C], >= 0.

    Returns:
        int64 [C]; 0 for a multiplier of 0, 1 for a power of two.
    """
    multipliers = np.asarray(multipliers, np.int64)
    odd = multipliers // np.maximum(multipliers & -multipliers, 1)
    return bit_lengths(odd)


def bit_lengths(values: np.ndarray) -> np.ndarray:
    """Position of the leading bit of each integer, counted from 1: int64 [N] of integers [N], 0 <= v < 2^53; 0 for 0."""
    return np.frexp(np.asarray(values, np.float64))[1].astype(np.int64)  # v = f * 2^e with 1/2 <= f < 1


def intended_bits(multipliers: np.ndarray) -> np.ndarray:
    """Significant bits, where missing fewer bits by less than 2^-22 of the multiplier counts as having them, as in the passes.

    Args:
        multipliers: int64 [C], 0 <= m < 2^31.

    Returns:
        int64 [C]; more than 16 are those of `significant_bits`: there so small a difference is a bit like any other.
    """
    found = significant_bits(multipliers)
    length = bit_lengths(multipliers)
    for bits in range(_MAX_SLACK_WIDTH, 0, -1):
        step = np.int64(1) << np.maximum(length - bits, 0)
        excess = multipliers % step
        missed = np.minimum(excess, step - excess)
        found = np.where((found > bits) & (missed << _SLACK_BITS < multipliers), bits, found)
    return found


_SLACK_BITS, _MAX_SLACK_WIDTH = 22, 16
"""A difference of less than 2^-22 of the value is what float32 scales leave; constants of passes/RescaleMath.h."""


def compact(multiplier: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers and shifts as hardware stores them: trailing zeros of the multiplier moved to the shift.

    Args:
        multiplier, shift: integers [C], as they stand in the op; multiplier >= 0.

    Returns:
        int64 [C] each; the value m * 2^-s is the same. A multiplier of 0 keeps its shift.
    """
    multiplier, shift = multiplier.astype(np.int64), shift.astype(np.int64)
    zeros = trailing_zeros(multiplier)
    return multiplier >> zeros, shift - zeros


def trailing_zeros(multipliers: np.ndarray) -> np.ndarray:
    """Zeros below the last one of each multiplier, int64 [C]; 0 for a multiplier of 0."""
    lowest = np.where(multipliers > 0, multipliers & -multipliers, 1)
    return np.log2(lowest).astype(np.int64)  # exact: powers of two up to 2^30


def apply_rescale(rescale: Rescale, values: np.ndarray) -> np.ndarray:
    """What a rescale gives for zero-point-free accumulators, as the specification says it (TOSA, RESCALE).

    Args:
        rescale: with constant multipliers and shifts.
        values: int64 [..., C], less the input zero point; below 2^32, so that the product fits.

    Returns:
        int64 [..., C]: shifted, rounded, with the output zero point, saturated.
    """
    from tosa_rescale_runtime import type_limits

    assert rescale.multiplier is not None and rescale.shift is not None
    shift = rescale.shift
    rounding = np.int64(1) << (shift - 1)
    if rescale.rounding_mode == "DOUBLE_ROUND":
        rounding = rounding + np.where(shift > 31, np.where(values >= 0, 1 << 30, -(1 << 30)), 0)
    scaled = ((values * rescale.multiplier + rounding) >> shift) + (rescale.output_zp or 0)
    return np.clip(scaled, *type_limits(rescale.output_bits, rescale.output_unsigned))


def wider_than(rescales: Sequence[RescaleInfo], bits: int) -> list[RescaleInfo]:
    """The rescales with a multiplier of more significant bits than this, or with one that is not constant."""
    return [each for each in rescales if each.above(bits)]


def is_lowered(program: Program) -> bool:
    """Whether rescales were lowered to operations of 32 bits. Shifts alone do not say so: converters write some as well."""
    return any(op.kind in SHIFTS and LOWERED in op.operation.attributes for op in program.module().ops())


def raised(program: P) -> P:
    """The program with a `tosa.rescale` wherever one was lowered to operations of 32 bits; the same one where none was.

    What reads or changes rescales starts with this. Both compute the same.
    """
    if not is_lowered(program):
        return program
    return dataclasses.replace(program, bytecode=run_passes(program.bytecode, [RAISE], program.source).bytecode)


def annotated(program: Program) -> Module:
    """The module with what `tosa-rescale-annotate` knows of each rescale, the lowered ones included."""
    from tosa_rescale_runtime import Module

    passes = [*([RAISE] if is_lowered(program) else []), "tosa-rescale-annotate"]
    return Module.parse(run_passes(program.bytecode, passes, program.source).bytecode, program.source)


def describe_rescales(program: Program) -> list[RescaleInfo]:
    """Every rescale of a program, in program order."""
    described = []
    for rescale in annotated(program).rescales():
        multiplier, shift = rescale.multiplier, rescale.shift
        widths = None if multiplier is None else significant_bits(multiplier)
        described.append(
            RescaleInfo(
                name=rescale.name,
                op=rescale.info.get("producer", "?"),
                scope=rescale.info.get("scope", "?"),
                channels=0 if multiplier is None else len(multiplier),
                scale32=rescale.scale32,
                rounding_mode=rescale.rounding_mode,
                bits=None if widths is None else int(widths.max()),
                shift_min=None if shift is None else int(shift.min()),
                shift_max=None if shift is None else int(shift.max()),
                violations=tuple(rescale.info.get("violations", ())),
                scale_factor=rescale.scale_factor,
                key=rescale.key,
                multiplier_bits=() if widths is None else tuple(widths.tolist()),
                power_of_two=None if widths is None else bool((widths <= 1).all()),
                lowered=rescale.lowered,
                value_min=rescale.info.get("value_min"),
                value_max=rescale.info.get("value_max"),
                intended_bits=() if multiplier is None else tuple(intended_bits(multiplier.astype(np.int64)).tolist()),
            )
        )
    return described


def summarize(program: Program) -> Summary:
    """What a model is: its border, its rescales and their widths, and the steps that made it."""
    signature = program.signature
    rescales = program.module().rescales()
    widths = [0 if each.multiplier is None else int(significant_bits(each.multiplier).max()) for each in rescales]
    by_bits = ", ".join(f"{bits}: {widths.count(bits)}" for bits in sorted(set(widths)))
    title = f"{pathlib.Path(program.source).name}: {count(len(rescales), 'rescale')}"
    rows = [
        ("takes", ", ".join(f"{each.name} {each.dtype} {_extents(each.shape)}" for each in signature.inputs)),
        ("gives", ", ".join(f"{each.name} {each.dtype} {_extents(each.shape)}" for each in signature.outputs)),
        ("rescales by bits", by_bits or ("none: a float model" if program.is_real else "none: it moves integers")),
        ("steps", ", then ".join(each.short() for each in program.recipe) or "none, as it came"),
    ]
    if program.remarks:
        rows.append(("remarks", f"{len(program.remarks)}, in `remarks`"))
    return Summary(title + (f", widest {count(max(widths), 'bit')}" if widths else ""), rows)


def _extents(shape: Sequence[int | None]) -> str:
    return f"[{', '.join('?' if each is None else str(each) for each in shape)}]"
