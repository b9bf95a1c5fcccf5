# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The options of every step, each set declared once: name, type, default, limits, help and the passes that take it.

Everything else follows from the dataclasses here: strings of pass options (`pass_options`), the options of the command line
(cli/options.py), flags and configuration keys of `tosa-rescale-compile` (driver/settings.py) and what a recipe records
(`as_dict`). Tests hold the signatures of `Model` and the passes' own declaration, Passes.td, to them.

Options are checked where they are made. An enum may be given by its value, a number as text.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, Self

from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.parsing import MAX_BITS, MIN_BITS, About, parse_boolean, parse_enum, parse_number

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


class WeightRounding(enum.StrEnum):
    """How scaled weights become integers."""

    AUTO = "auto"  # least expected error of the accumulator
    NEAREST = "nearest"  # each to the nearest, ties up


class ShiftRounding(enum.StrEnum):
    """What rounds where the shift of a lowered rescale drops bits."""

    SHIFT = "shift"  # arithmetic_right_shift with round = true
    BIAS = "bias"  # half that is added before, in the bias of the convolution where that can be


class Loss(enum.StrEnum):
    """How a training compares the model with its teacher."""

    AUTO = "auto"  # by what the output holds
    DIVERGENCE = "divergence"  # Kullback-Leibler, of classes and tokens: their likelihoods
    SQUARES = "squares"  # of real values, embeddings, hidden states: the error as a share of their variance


class Preset(enum.StrEnum):
    """Named settings of several options at once."""

    NONE = "none"
    PAPER = "paper"  # truncate, hidden bit, single rounding: the source paper's setting


NARROW, COMPENSATE, ALIGN = "tosa-rescale-narrow", "tosa-rescale-compensate", "tosa-rescale-align"
LOWER, RAISE = "tosa-rescale-lower", "tosa-rescale-raise"
POOLS, CARRY, TABULATE = "tosa-rescale-pools", "tosa-rescale-carry", "tosa-rescale-tabulate"
"""Mnemonics of the passes that programs run by name; RAISE, POOLS and CARRY take no options."""


def option(help: str, *passes: str, default: Any = dataclasses.MISSING, **about: Any) -> Any:
    """A field of an options class; see About."""
    return dataclasses.field(default=default, metadata={"about": About(help, passes, **about)})


class Options:
    """What all sets of options can do. A subclass is a frozen dataclass whose fields are made by `option`."""

    def __post_init__(self) -> None:
        for name, (field, kind, optional) in describe(type(self)).items():
            value: Any = getattr(self, name)
            if value is None and optional:
                continue
            spelled, about = name.replace("_", "-"), about_of(field)
            if issubclass(kind, enum.StrEnum):
                value = parse_enum(kind, str(value), spelled)
            elif kind is bool:
                value = parse_boolean(value, spelled)
            elif kind in (int, float):
                value = parse_number(value, kind, about, spelled)
            object.__setattr__(self, name, value)  # frozen: what the caller gave is normalised once, here
        self.check()

    def check(self) -> None:
        """Raises OptionError where options contradict each other."""

    def pass_options(self, mnemonic: str, others: Mapping[str, Any] = types.MappingProxyType({})) -> str:
        """The pass with the options that it takes, as tosa-rescale-opt does: `name=option=value option=value`.

        Args:
            mnemonic: of the pass.
            others: options of the pass that are no fields, or values to take in the place of fields.
        """
        taken = {name: getattr(self, name) for name in describe(type(self)) if mnemonic in self.about(name).passes} | {**others}
        spelled = [
            f"{name.replace('_', '-')}={str(value).lower() if isinstance(value, bool) else value}"
            for name, value in taken.items()
            if value is not None
        ]
        return f"{mnemonic}={' '.join(spelled)}"

    @classmethod
    def about(cls, name: str) -> About:
        """What is known of one field."""
        return about_of(describe(cls)[name][0])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {name: value.value if isinstance(value, enum.Enum) else value for name, value in self._values().items()}

    def changed(self) -> dict[str, Any]:
        """Plain values of the fields that are not as they are by default."""
        fields = describe(type(self))
        return {name: value for name, value in self.as_dict().items() if getattr(self, name) != fields[name][0].default}

    def with_bits(self, bits: int) -> Self:
        """The same options at another width."""
        return dataclasses.replace(self, bits=bits)  # type: ignore[type-var]  # every subclass is a dataclass

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in describe(type(self))}


def about_of(field: dataclasses.Field[Any]) -> About:
    """What is known of a field that `option` made."""
    return field.metadata["about"]


@functools.cache
def describe(options: type[Options]) -> Mapping[str, tuple[dataclasses.Field[Any], type, bool]]:
    """Of each option, by name and in order: its field, its type without None, and whether None is legal."""
    hints = typing.get_type_hints(options)
    found = {}
    for field in dataclasses.fields(options):  # type: ignore[arg-type]  # every subclass is a dataclass
        if "about" not in field.metadata:
            continue  # a subclass outside this file may hold more than options
        kinds = typing.get_args(hints[field.name]) if isinstance(hints[field.name], types.UnionType) else (hints[field.name],)
        (kind,) = (each for each in kinds if each is not type(None))
        found[field.name] = (field, kind, type(None) in kinds)
    return types.MappingProxyType(found)


@dataclasses.dataclass(frozen=True)
class _Widths(Options):
    """What narrowing and compensation have in common."""

    bits: int = option(
        "Significant bits of the multiplier, 1 to 31.", NARROW, COMPENSATE, low=MIN_BITS, high=MAX_BITS, metavar="K"
    )
    hidden_bit: bool = option(
        "The leading one is implicit in the hardware and not counted in --bits.", NARROW, COMPENSATE, ALIGN, default=False
    )
    encoding: Encoding = option(
        "How the multiplier stands in the op: at the top of an i32, or compact in an i16 (k <= 15).",
        NARROW,
        COMPENSATE,
        default=Encoding.ALIGNED,
    )
    scope: Scope = option("Rescales of MAC layers only, or all.", NARROW, default=Scope.ACCUMULATOR)
    elementwise_bits: int | None = option(
        "Width for the rescales outside MAC layers, with --scope all.",
        NARROW,
        default=None,
        low=MIN_BITS,
        high=MAX_BITS,
        metavar="K2",
    )
    rounding_mode: RoundingMode = option("Rounding of the narrowed rescale.", NARROW, COMPENSATE, default=RoundingMode.SINGLE)

    def check(self) -> None:
        if self.elementwise_bits is not None and self.scope is not Scope.ALL:
            raise OptionError("elementwise-bits: has no effect with scope accumulator; pass `scope='all'`")
        if self.encoding is Encoding.SCALE16:
            widest = max(self.significant_bits, self.elementwise_bits or 0)
            if widest > MAX_SCALE16_BITS:
                raise OptionError(
                    f"encoding: scale16 holds at most {MAX_SCALE16_BITS} significant bits, got {widest};"
                    " use fewer bits or `encoding='aligned'`"
                )
            if self.rounding_mode is RoundingMode.DOUBLE:
                raise OptionError("encoding: scale16 forbids double rounding (TOSA RESCALE); use `rounding_mode='single'`")

    @property
    def significant_bits(self) -> int:
        """Significant bits of the multiplier, the leading one counted."""
        return min(MAX_BITS, self.bits + 1) if self.hidden_bit else self.bits

    def shared(self) -> dict[str, Any]:
        """The options that narrowing and compensation have in common, by name."""
        return {name: getattr(self, name) for name in describe(_Widths)}


@dataclasses.dataclass(frozen=True)
class NarrowOptions(_Widths):
    """What `tosa-rescale-narrow` is asked to do; each field says so itself (`about`).

    `preset=paper` sets truncate, hidden bit and single rounding: the source paper's setting (Mueller et al., 2025).

    Raises:
        OptionError: a value is out of range or contradicts another.
    """

    multiplier_rounding: MultiplierRounding | None = option(
        "How a 31-bit multiplier becomes a k-bit one. Default: nearest; before training with --fold-gains: up.",
        NARROW,
        default=None,
    )
    preset: Preset = option("paper: truncate, hidden bit and single rounding.", default=Preset.NONE)

    def check(self) -> None:
        if self.preset is Preset.PAPER:
            for name, value in PAPER.items():
                object.__setattr__(self, name, value)
        super().check()

    def before_training(self, training: FinetuneOptions, teacher: Any) -> NarrowOptions:
        """The options for a model that is trained afterwards: the same for Python, the command line and a sweep.

        Where the rounding is left open and only MAC layers are narrowed, their multipliers are rounded up if training folds
        gains in, as weights can shrink but not grow.

        Args:
            training: how it is trained.
            teacher: "original", "labels" or a model; labels tell no gains.
        """
        if self.multiplier_rounding is not None or self.scope is Scope.ALL:
            return self
        folds = training.fold_gains and teacher != "labels"
        rounding = MultiplierRounding.UP if folds else MultiplierRounding.NEAREST
        return dataclasses.replace(self, multiplier_rounding=rounding)


PAPER = {"multiplier_rounding": MultiplierRounding.TRUNCATE, "hidden_bit": True, "rounding_mode": RoundingMode.SINGLE}
"""What the preset `paper` sets."""


@dataclasses.dataclass(frozen=True)
class CompensateOptions(_Widths):
    """What a compensation is asked to do; each field says so itself (`about`).

    It chooses the multipliers of MAC layers itself, so it takes no `multiplier_rounding`; those of other rescales are
    rounded to nearest.

    Raises:
        OptionError: a value is out of range or contradicts another.
    """

    align: bool = option("With --scope all: change activation scales so that all multipliers become narrow.", default=True)
    clipping: float = option(
        "Without samples: by which share alignment may make a scale smaller, at most.",
        ALIGN,
        default=0.1,
        low=0,
        high=0.5,
    )
    constants: bool = option(
        "Fold rescales of constants and let products with constants take up multipliers; not for models from a .tflite.",
        ALIGN,
        default=True,
    )
    saturation: bool = option(
        "Clamp a tensor whose scale grows at the values where it saturated before; not for models from a .tflite.",
        ALIGN,
        default=True,
    )
    table_error: float = option(
        "Largest error, in steps of its entries, at which alignment may write a table anew for another scale of its input where"
        " a multiplier would stay wide else; 0 leaves all tables.",
        ALIGN,
        default=1.0,
        low=0,
    )
    weighted_means: bool = option(
        "Make means over other numbers of values than powers of two convolutions with constant weights: average pools, which"
        " divide, and where alignment would leave multipliers wide, other means.",
        ALIGN,
        default=False,
    )
    carry: bool = option(
        "Keep 16-bit tensors that are only widened again in 32 bits, which rounds them more finely; not for models from a"
        " .tflite.",
        default=False,
    )
    tabulate: bool = option(
        "Where multipliers would stay wide, make element-wise functions of one int8 tensor, as a leaky ReLU, tables of 256"
        " entries; not for .tflite files.",
        ALIGN,
        default=False,
    )
    strict: bool = option("Fail where alignment must leave multipliers wide.", ALIGN, default=False)
    promote: bool = option(
        "Where a layer has one multiplier for all channels, give each channel its own.", COMPENSATE, default=True
    )
    clip: bool = option("Cut off single weights where the others gain more by it.", COMPENSATE, default=True)
    weight_rounding: WeightRounding = option(
        "How scaled weights become integers: least expected error of the accumulator, or each to the nearest.",
        COMPENSATE,
        default=WeightRounding.AUTO,
    )
    shrinkage: float = option(
        "How much an assumption about a layer's inputs counts against what calibration measured, 0 to 1.",
        COMPENSATE,
        default=0.3,
        low=0,
        high=1,
    )

    def check(self) -> None:
        super().check()
        if self.rounding_mode is RoundingMode.DOUBLE:
            raise OptionError("rounding-mode: compensation makes single rounding or keeps what is there; use single or keep")
        if self.strict and not self.aligns:
            raise OptionError("strict: contradicting scales come from alignment; use scope all, with align")
        if self.tabulate and not self.aligns:
            raise OptionError("tabulate: takes the place of what alignment leaves wide; use scope all, with align")

    @property
    def aligns(self) -> bool:
        """Whether activation scales change."""
        return self.align and self.scope is Scope.ALL

    @staticmethod
    def like(options: NarrowOptions, *, align: bool = True, scope: Scope | None = None) -> CompensateOptions:
        """Compensation at a narrowing's width, scope and encoding; how that rounds multipliers does not concern it.

        Args:
            options: the narrowing's.
            align: see the field.
            scope: another one than the narrowing's.
        """
        return CompensateOptions(**{**options.shared(), "scope": scope or options.scope}, align=align)

    def narrow_options(self) -> NarrowOptions:
        """The options for the rescales that have no weights to fold into."""
        return NarrowOptions(**self.shared())


@dataclasses.dataclass(frozen=True)
class LowerOptions(Options):
    """What `tosa-rescale-lower` is asked to do; each field says so itself (`about`).

    Raises:
        OptionError: a value is out of range.
    """

    scope: Scope = option("All rescales, or those of MAC layers only.", LOWER, default=Scope.ALL)
    rounding: ShiftRounding = option(
        "What rounds: the shift, or half that is added before, in the bias where that can be (faster in IREE).",
        LOWER,
        default=ShiftRounding.SHIFT,
    )
    wide_inputs: bool = option("Lower rescales of i48 too, where their range fits 32 bits.", LOWER, default=False)
    strict: bool = option("Fail where a rescale cannot be lowered.", LOWER, default=False)


@dataclasses.dataclass(frozen=True)
class CalibrationOptions(Options):
    """How samples for a calibration are taken.

    Raises:
        OptionError: a value is out of range.
    """

    samples: int = option("Calibration samples, at most.", default=32, low=1)
    seed: int = option("Seed of random samples.", default=0)


@dataclasses.dataclass(frozen=True)
class FinetuneOptions(Options):
    """What a fine-tuning is asked to do; each field says so itself (`about`).

    Raises:
        OptionError: a value is out of range.
    """

    epochs: int = option("Passes over the data.", default=2, low=1)
    batch: int = option("Samples for one step.", default=16, low=1)
    learning_rate: float = option(
        "Share of the loss that one batch aims to remove; for the default optimizer.",
        default=0.5,
        low=0,
        high=float("inf"),
        open_low=True,
        open_high=True,
    )
    validation: float = option(
        "Share of the data held out to choose the epoch; at least one sample.",
        default=0.1,
        low=0,
        high=1,
        open_low=True,
        open_high=True,
    )
    seed: int = option("Seed of the order of samples.", default=0)
    reference: bool = option("float64 everywhere (slow).", default=False, only_in_python=True)
    fold_gains: bool = option(
        "Before training, scale the weights of each channel by what narrowing did to its multiplier.", default=True
    )
    loss: Loss = option(
        "How outputs are compared with the teacher's: as likelihoods of classes, or as real values.", default=Loss.AUTO
    )
