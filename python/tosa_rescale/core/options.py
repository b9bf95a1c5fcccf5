# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The options of a narrowing, checked where they are made, and their form as pass options."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, Self, TypeVar

from tosa_rescale.core.errors import OptionError

_E = TypeVar("_E", bound=enum.StrEnum)

MIN_BITS, MAX_BITS = 1, 31
MAX_SCALE16_BITS = 15


class MultiplierRounding(enum.StrEnum):
    """How a 31-bit multiplier M becomes a k-bit one M_q."""

    NEAREST = "nearest"  # the k-bit value nearest to M, ties up
    UP = "up"  # the smallest k-bit value >= M
    TRUNCATE = "truncate"  # the low bits cut off, as a hardware without the arithmetic does


class Encoding(enum.StrEnum):
    """How a k-bit multiplier stands in a tosa.rescale (TOSA 1.0, RESCALE)."""

    ALIGNED = "aligned"  # scale32, the k bits at the top of the i32: keeps the value range
    SCALE16 = "scale16"  # the compact k bits in an i16; k <= 15, SINGLE_ROUND


class Scope(enum.StrEnum):
    """Which rescales are narrowed."""

    ACCUMULATOR = "accumulator"  # those of convolutions, fully connected layers and matmuls
    ALL = "all"  # element-wise ones too: adds, means, softmax


class RoundingMode(enum.StrEnum):
    """The rounding of the narrowed rescale itself (not of its multiplier)."""

    SINGLE = "single"
    DOUBLE = "double"
    KEEP = "keep"


class Preset(enum.StrEnum):
    """Named settings of several options at once."""

    NONE = "none"
    PAPER = "paper"  # truncate, hidden bit, single rounding: the source paper's setting


def parse_enum(kind: type[_E], value: str, option: str) -> _E:
    """The member of `kind` that `value` names. Raises OptionError that lists the legal values."""
    try:
        return kind(value)
    except ValueError:
        legal = ", ".join(member.value for member in kind)
        raise OptionError(f"{option}: {value!r} is not one of {legal}") from None


def parse_bits(value: int | str, option: str = "bits") -> int:
    """A multiplier width in bits, 1..31. Raises OptionError."""
    try:
        bits = int(value)
    except ValueError:
        raise OptionError(f"{option}: {value!r} is not a whole number; give one from {MIN_BITS} to {MAX_BITS}") from None
    if not MIN_BITS <= bits <= MAX_BITS:
        raise OptionError(f"{option}: {bits} is out of range; give a whole number from {MIN_BITS} to {MAX_BITS}")
    return bits


@dataclasses.dataclass(frozen=True)
class NarrowOptions:
    """What `tosa-rescale-narrow` is asked to do.

    Attributes:
        bits: significant bits of the multiplier, 1..31.
        multiplier_rounding: how the multiplier is rounded to that width.
        hidden_bit: the leading one is implicit in the hardware and not counted in `bits`.
        encoding: how the multiplier stands in the op.
        scope: which rescales are narrowed.
        elementwise_bits: width for the rescales outside the accumulator scope when `scope` is all; None: as `bits`.
        rounding_mode: rounding of the narrowed rescale.
        preset: `paper` sets truncate, hidden bit and single rounding.

    Raises:
        OptionError: a value is out of range or contradicts another.
    """

    bits: int
    multiplier_rounding: MultiplierRounding = MultiplierRounding.NEAREST
    hidden_bit: bool = False
    encoding: Encoding = Encoding.ALIGNED
    scope: Scope = Scope.ACCUMULATOR
    elementwise_bits: int | None = None
    rounding_mode: RoundingMode = RoundingMode.SINGLE
    preset: Preset = Preset.NONE

    def __post_init__(self) -> None:
        set_ = object.__setattr__  # frozen: normalise what the caller gave once, here
        set_(self, "bits", parse_bits(self.bits))
        set_(self, "multiplier_rounding", parse_enum(MultiplierRounding, self.multiplier_rounding, "multiplier-rounding"))
        set_(self, "encoding", parse_enum(Encoding, self.encoding, "encoding"))
        set_(self, "scope", parse_enum(Scope, self.scope, "scope"))
        set_(self, "rounding_mode", parse_enum(RoundingMode, self.rounding_mode, "rounding-mode"))
        set_(self, "preset", parse_enum(Preset, self.preset, "preset"))
        if self.preset is Preset.PAPER:
            set_(self, "multiplier_rounding", MultiplierRounding.TRUNCATE)
            set_(self, "hidden_bit", True)
            set_(self, "rounding_mode", RoundingMode.SINGLE)
        if self.elementwise_bits is not None:
            set_(self, "elementwise_bits", parse_bits(self.elementwise_bits, "elementwise-bits"))
            if self.scope is not Scope.ALL:
                raise OptionError("elementwise-bits: has no effect with scope accumulator; pass --scope all")
        if self.encoding is Encoding.SCALE16:
            widest = max(self.significant_bits, self.elementwise_bits or 0)
            if widest > MAX_SCALE16_BITS:
                raise OptionError(
                    f"encoding: scale16 holds at most {MAX_SCALE16_BITS} significant bits, got {widest};"
                    " use fewer bits or --encoding aligned"
                )
            if self.rounding_mode is RoundingMode.DOUBLE:
                raise OptionError("encoding: scale16 forbids double rounding (TOSA RESCALE); use --rounding-mode single")

    @property
    def significant_bits(self) -> int:
        """Significant bits of the multiplier, the leading one counted."""
        return min(MAX_BITS, self.bits + 1) if self.hidden_bit else self.bits

    def with_bits(self, bits: int) -> Self:
        """The same options at another width."""
        return dataclasses.replace(self, bits=bits)

    def pass_options(self) -> str:
        """The options in the form that `--tosa-rescale-narrow=` takes."""
        options = {
            "bits": self.bits,
            "multiplier-rounding": self.multiplier_rounding.value,
            "hidden-bit": str(self.hidden_bit).lower(),
            "encoding": self.encoding.value,
            "scope": self.scope.value,
            "rounding-mode": self.rounding_mode.value,
        }
        if self.elementwise_bits is not None:
            options["elementwise-bits"] = self.elementwise_bits
        return " ".join(f"{name}={value}" for name, value in options.items())

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            key: (value.value if isinstance(value, enum.Enum) else value) for key, value in dataclasses.asdict(self).items()
        }
