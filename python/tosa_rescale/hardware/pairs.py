# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The rescales of a model as hardware stores them: compact pairs of multiplier and shift."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tosa_rescale.core.errors import ModelError
from tosa_rescale.core.options import Scope
from tosa_rescale.core.rescales import annotated, compact, trailing_zeros

if TYPE_CHECKING:
    from tosa_rescale_runtime import Rescale

    from tosa_rescale.core.program import Program

NO_ROUND = -1
ZERO_SHIFT = 62  # of a multiplier of 0: so far that a 32-bit value rounds to 0 whatever it is multiplied with
_SECOND_ROUND_FROM = 31  # DOUBLE_ROUND adds 1 << 30 where the shift is above 31 (TOSA, RESCALE)


@dataclasses.dataclass(frozen=True, eq=False)
class RescaleTable:
    """One tosa.rescale. With v the input less its zero point and c the channel it computes

        saturate(output_zp + ((v * multiplier[c] + half + second) >> shift[c]))

    with half = 1 << (shift[c] - 1), and second = +-(1 << second_round[c]) with the sign of v (v = 0: plus), or 0 where
    second_round[c] is -1. Where shift[c] <= 0 there is nothing to round: v * multiplier[c] << -shift[c].

    Attributes:
        key: position among the rescales of the graph, such as `rescale12`.
        name: its name in the source model.
        op: the op that made its input.
        scope: accumulator or elementwise.
        rounding_mode: SINGLE_ROUND or DOUBLE_ROUND.
        multiplier: int64 [C] or [1], odd, or 0.
        shift: int64 of the same length, -30..62.
        second_round: int64 of the same length, 0..30, or -1 for none.
        input_bits, output_bits: 8, 16, 32 or 48.
        input_unsigned, output_unsigned: the elements count as unsigned.
        input_zp, output_zp: zero points.
        shape: of the tensor; the channel is the index in the last dimension.
    """

    key: str
    name: str
    op: str
    scope: str
    rounding_mode: str
    multiplier: np.ndarray
    shift: np.ndarray
    second_round: np.ndarray
    input_bits: int
    output_bits: int
    input_unsigned: bool
    output_unsigned: bool
    input_zp: int
    output_zp: int
    shape: tuple[int | None, ...]

    @property
    def channels(self) -> int:
        """Number of pairs."""
        return len(self.multiplier)

    @property
    def bits(self) -> int:
        """Bits that the widest multiplier needs; 1 at least."""
        return max(1, int(self.multiplier.max()).bit_length())

    @property
    def input_type(self) -> str:
        """Such as `int32` or `uint8`."""
        return f"{'u' if self.input_unsigned else ''}int{self.input_bits}"

    @property
    def output_type(self) -> str:
        """Such as `int8`."""
        return f"{'u' if self.output_unsigned else ''}int{self.output_bits}"

    @property
    def rtl_parameters(self) -> dict[str, int] | None:
        """Parameters of the RTL's `rescaler` for this rescale, BITS aside; None where it does not compute it.

        It takes int32 and int48 without zero point to int8, int16 and int32, shifts right, and rounds twice only where the
        multiplier, made as wide as it gets, is what TOSA's pair was: normalised.
        """
        if (self.input_type, self.input_zp) not in (("int32", 0), ("int48", 0)) or (self.shift < 0).any():
            return None
        if self.output_type not in ("int8", "int16", "int32"):
            return None
        twice = self.rounding_mode == "DOUBLE_ROUND"
        if twice:
            length = np.frexp(self.multiplier.astype(np.float64))[1]
            expected = np.where((self.shift > length) & (self.multiplier != 0), length - 1, NO_ROUND)
            if (expected != self.second_round).any():
                return None
        # Where no pair gets that far, one rounding is the same.
        double = int(bool((self.second_round != NO_ROUND).any()))
        return {"ACCUMULATOR": self.input_bits, "RESULT": self.output_bits, "DOUBLE_ROUND": double}

    @property
    def fits_rtl(self) -> bool:
        """Whether the RTL of this project computes it."""
        return self.rtl_parameters is not None


def compact_pairs(multiplier: np.ndarray, shift: np.ndarray, double_round: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs without trailing zeros in the multiplier, and where the second rounding of DOUBLE_ROUND then adds.

    Exact for every value: multiplier, shift and both rounding terms lose the same power of two, and where the shift gets
    to 0 or below, the product had nothing to round.

    Args:
        multiplier: int64 [C], 0..2^31 - 1.
        shift: int64 [C], 1..62.
        double_round: DOUBLE_ROUND, else SINGLE_ROUND.

    Returns:
        Multiplier, shift and second_round of `RescaleTable`.
    """
    zeros = trailing_zeros(multiplier)
    least, shifts = compact(multiplier, shift)
    twice = (shift > _SECOND_ROUND_FROM) & double_round & (multiplier != 0)
    return (
        least,
        np.where(multiplier == 0, ZERO_SHIFT, shifts),
        np.where(twice, 30 - zeros, NO_ROUND),
    )


def read_tables(model: Program, scope: Scope = Scope.ALL) -> tuple[RescaleTable, ...]:
    """Every rescale of a model in program order.

    Args:
        model: any integer model.
        scope: those of MAC layers only, or all.

    Raises:
        ModelError: the model has no rescale in that scope, or one whose operands are not constant or whose rounding the
            specification leaves open (INEXACT_ROUND).
    """
    model.require_rescales()
    rescales: Sequence[Rescale] = annotated(model).rescales()
    tables = tuple(
        _read_table(rescale, model.source)
        for rescale in rescales
        if scope is Scope.ALL or rescale.info.get("scope") == scope.value
    )
    if not tables:
        raise ModelError(f"{model.source}: has no tosa.rescale in scope {scope.value}; pass `scope='all'`")
    return tables


def _read_table(rescale: Rescale, source: str) -> RescaleTable:
    if rescale.rounding_mode not in ("SINGLE_ROUND", "DOUBLE_ROUND"):
        raise ModelError(
            f"{source}: `{rescale.key}` has {rescale.rounding_mode}, whose result is open; only SINGLE_ROUND and"
            " DOUBLE_ROUND can be exported"
        )
    if rescale.multiplier is None or rescale.shift is None or rescale.input_zp is None or rescale.output_zp is None:
        raise ModelError(f"{source}: `{rescale.key}` has operands that are not constant, so there is no table of it to export")
    pairs = compact_pairs(rescale.multiplier, rescale.shift, rescale.rounding_mode == "DOUBLE_ROUND")
    return RescaleTable(
        rescale.key,
        rescale.name,
        rescale.info.get("producer", "?"),
        rescale.info.get("scope", "?"),
        rescale.rounding_mode,
        *pairs,
        input_bits=rescale.input_bits,
        output_bits=rescale.output_bits,
        input_unsigned=rescale.input_unsigned,
        output_unsigned=rescale.output_unsigned,
        input_zp=rescale.input_zp,
        output_zp=rescale.output_zp,
        shape=rescale.shape,
    )
