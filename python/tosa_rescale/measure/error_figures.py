# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is found of the error of one rescale, as plain data."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of an error, in LSB."""

    mean: float
    std: float


@dataclasses.dataclass(frozen=True)
class Difference:
    """How integers differ from others, in LSB.

    Attributes:
        mean, std: of the difference.
        largest: largest absolute difference.
        histogram: how often each difference occurs, 0 included; rounded to whole LSB where an aligned tensor's step is
            not the original's. What is beyond +-255, the most that 8 bits can differ by, counts as +-255.
    """

    mean: float
    std: float
    largest: float
    histogram: dict[int, int]

    @property
    def off(self) -> float:
        """Per cent of values that differ by at least one LSB."""
        total = sum(self.histogram.values())
        return 100 * (1 - self.histogram.get(0, 0) / total) if total else 0.0

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Difference:
        """The inverse of dataclasses.asdict, also by way of JSON."""
        return Difference(**{**values, "histogram": {int(step): count for step, count in values["histogram"].items()}})


@dataclasses.dataclass(frozen=True)
class RescaleError:
    """What one rescale of a narrowed model does to its tensor.

    Attributes:
        key: of the rescale, such as `rescale12`.
        name: in the source model.
        op: the op that made its input.
        scope: accumulator or elementwise.
        bits: significant bits of the widest multiplier.
        output_bits: width of its result's elements.
        absorbed: the layer's weights or bias differ from the original's: they absorb what the multiplier lost.
        aligned: the scale of its input or result differs from the original's.
        values: number of values measured.
        saturated: per cent of them that saturate in exact arithmetic.
        predicted: mean and spread after Eq. 5, from the accumulators and the multipliers; None where `measured` is.
        measured: the same on the integers: this rescale alone, on what the original feeds to its layer, against the exact
            real value; over the values that do not saturate. None where all do, or the layer cannot be computed by itself.
        isolated: this rescale alone against the original's integers, over all values; None where the layer cannot be
            computed by itself.
        end_to_end: the narrowed network's tensor against the original network's, over all values.
        scale: real units for one LSB of the narrowed model's tensor; None where unknown.
    """

    key: str
    name: str
    op: str
    scope: str
    bits: int
    output_bits: int
    absorbed: bool
    aligned: bool
    values: int
    saturated: float
    predicted: Moments | None
    measured: Moments | None
    isolated: Difference | None
    end_to_end: Difference
    scale: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> RescaleError:
        """The inverse of as_dict, also by way of JSON.

        Raises:
            KeyError, TypeError: the values are not those of a RescaleError.
        """
        parts: dict[str, Any] = {name: None if values[name] is None else Moments(**values[name]) for name in _MOMENTS}
        parts["isolated"] = None if values["isolated"] is None else Difference.from_dict(values["isolated"])
        parts["end_to_end"] = Difference.from_dict(values["end_to_end"])
        return RescaleError(**{**values, **parts})


_MOMENTS = ("predicted", "measured")
