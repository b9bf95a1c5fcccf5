# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The methods that a sweep compares: each makes a narrowed model from the original. To add one, add a function and a row."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from tosa_rescale.core.options import NarrowOptions, Scope
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.rewrite.compensate import CALIBRATION_SAMPLES, CompensateOptions, Compensator, calibration_inputs
from tosa_rescale.sweeping.training import TrainingPlan, finetune_method

if TYPE_CHECKING:
    from tosa_rescale.api import Model


@dataclasses.dataclass(frozen=True)
class CalibrationPlan:
    """What methods that calibrate calibrate on.

    Attributes:
        source: a dataset, "synthetic" or "none".
        samples: how many, at most.
        seed: of synthetic samples.
    """

    source: Dataset | str = "synthetic"
    samples: int = CALIBRATION_SAMPLES
    seed: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class MethodContext:
    """What all points of a sweep share, so that it is made once.

    Attributes:
        model: the original.
        plan: what to calibrate on.
        progress: shows rate and remaining time.
        workers: processes that run samples; None: one for each core.
        training: what methods that train train on.
    """

    model: Model
    plan: CalibrationPlan = CalibrationPlan()
    progress: Progress = dataclasses.field(default_factory=Silent)
    workers: int | None = None
    training: TrainingPlan | None = None

    @functools.cached_property
    def compensator(self) -> Compensator:
        """Calibrated once for all widths."""
        inputs = calibration_inputs(self.model, self.plan.source, self.plan.samples, self.plan.seed)
        return Compensator(self.model, inputs, self.progress, self.workers)


def _narrow(context: MethodContext, options: NarrowOptions) -> Model:
    return context.model.narrow(**options.as_dict())


def _compensate(context: MethodContext, options: NarrowOptions) -> Model:
    asked = CompensateOptions(options.bits, options.scope, options.elementwise_bits, options.encoding, align=False)
    return context.model.compensated_by(context.compensator, asked)


def _align(context: MethodContext, options: NarrowOptions) -> Model:
    """Every rescale of the network, whatever the scope."""
    asked = CompensateOptions(options.bits, Scope.ALL, options.elementwise_bits, options.encoding)
    return context.model.compensated_by(context.compensator, asked)


Method = Callable[[MethodContext, NarrowOptions], "Model"]

METHODS: dict[str, Method] = {"narrow": _narrow, "compensate": _compensate, "align": _align, "finetune": finetune_method}

CALIBRATED = ("compensate", "align")
"""Methods that use the context's compensator."""
