# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What an evaluation found, as plain data: read back from JSON it is the same."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class MetricFigure:
    """One metric of one model.

    Attributes:
        name: of the metric, a key of tosa_rescale.measure.metrics.METRICS or `module:function`.
        value: the model's.
        reference_value: the reference model's on the same samples; None without a reference. Of a metric that compares with
            the reference itself it is what two equal models have: 100 % agreement, a mean square error of 0.
        loss: how much worse than the reference the model is, in the metric's unit; negative where it is better. None without
            a reference.
        loss_low, loss_high: bounds of the loss at 95 % confidence, from the differences of single samples: exact where a
            sample is right or wrong (tosa_rescale.core.statistics), else of drawings of the samples. None where not known.
        unit: "%" (a loss is then in points), "dB", or empty.
        more_is_better: a larger value is the better one.
        samples: number of samples, or of pairs of them, that it is an average of.
        tolerance: a loss above this counts as degradation; in the metric's unit.
    """

    name: str
    value: float
    reference_value: float | None = None
    loss: float | None = None
    loss_low: float | None = None
    loss_high: float | None = None
    unit: str = "%"
    more_is_better: bool = True
    samples: int = 0
    tolerance: float = 0.5

    @property
    def degraded(self) -> bool:
        """The loss is above what is tolerated."""
        return self.loss is not None and self.loss > self.tolerance


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        samples: number of samples.
        top1, top5: per cent of samples whose label is the largest, or among the five largest, values of the judged output;
            None without labels of classes. Of equal values the one of lower index counts as larger, as argmax does.
        agreement: per cent of decisions that are the reference's: the class of a sample or of a pixel; where that output
            holds no classes, per cent of its values that are equal. None without a reference.
        max_lsb, mean_lsb: largest and mean absolute difference of all outputs from the reference's, in LSB.
        histogram: difference in LSB to number of values.
        seconds: execution alone, without decoding.
        metrics: the figures that were asked for, or chosen by the outputs and labels, by name; the first one decides.
        paired: (samples whose label the reference ranks first and the model does not, the other way round); None without labels
            of classes or without a reference.
        says: why these metrics; empty where they were asked for.
        warnings: what is doubtful about the labels, one sentence each; then the figures prove nothing.
        notes: what was left out of the data, and another engine than the one asked for, one sentence each.
    """

    samples: int
    top1: float | None
    top5: float | None
    agreement: float | None
    max_lsb: int | None
    mean_lsb: float | None
    histogram: dict[int, int] | None
    seconds: float
    metrics: dict[str, MetricFigure] = dataclasses.field(default_factory=dict)
    paired: tuple[int, int] | None = None
    says: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def primary(self) -> MetricFigure | None:
        """The metric that decides: the first one; None where nothing was measured but differences."""
        return next(iter(self.metrics.values()), None)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Evaluation:
        """The inverse of as_dict, also by way of JSON; fields that an older version did not write are empty.

        Raises:
            TypeError, ValueError, AttributeError: the values are not those of an Evaluation.
        """
        known: dict[str, Any] = {
            field.name: values.get(field.name)
            for field in dataclasses.fields(Evaluation)
            if field.name in values or (field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING)
        }
        if known["histogram"] is not None:
            known["histogram"] = {int(step): count for step, count in known["histogram"].items()}
        known["metrics"] = {name: MetricFigure(**each) for name, each in (known.get("metrics") or {}).items()}
        if known.get("paired") is not None:
            worse, better = known["paired"]
            known["paired"] = (int(worse), int(better))
        for name in ("warnings", "notes"):
            known[name] = tuple(known.get(name) or ())
        return Evaluation(**known)
