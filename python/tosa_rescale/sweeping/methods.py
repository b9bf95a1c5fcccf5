# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The methods that a sweep compares: each makes a narrowed model from the original. To add one, add a function and a row.

A method that has options of its own names their dataclass in its row; the command line offers them, a sweep carries their
values and hands them to the method in its context.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import CompensateOptions, FinetuneOptions, NarrowOptions, Options, Scope
from tosa_rescale.core.program import Program
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.data.source import CalibrationPlan
from tosa_rescale.rewrite.compensate import Compensator
from tosa_rescale.rewrite.narrow import narrow
from tosa_rescale.sweeping.results import BASE
from tosa_rescale.sweeping.training import TrainingPlan, train

_O = TypeVar("_O", bound=Options)


@dataclasses.dataclass(frozen=True, eq=False)
class MethodContext:
    """What all points of a sweep share, so that it is made once.

    Attributes:
        model: the original.
        plan: what to calibrate on.
        progress: shows rate and remaining time.
        workers: processes that run samples; None: one for each core.
        training: what methods that train train on.
        own: the options that methods have of their own, by the method's name.
    """

    model: Program
    plan: CalibrationPlan = dataclasses.field(default_factory=CalibrationPlan)
    progress: Progress = dataclasses.field(default_factory=Silent)
    workers: int | None = None
    training: TrainingPlan | None = None
    own: Mapping[str, Options] = dataclasses.field(default_factory=dict)

    def options_of(self, method: str, kind: type[_O]) -> _O:
        """The options that a method has of its own; their defaults where none were given."""
        found = self.own.get(method, kind())
        assert isinstance(found, kind)  # own_options has seen to it
        return found

    def calibrate(self, methods: Iterable[str]) -> None:
        """Runs the samples of the calibration, once for all that the methods ask of them."""
        rows = [METHODS[name] for name in methods if name in METHODS]
        if any(each.calibrates for each in rows):
            self.compensator.calibrate(aligns=any(each.aligns for each in rows))

    @functools.cached_property
    def compensator(self) -> Compensator[Program]:
        """Calibrated once for all widths."""
        return Compensator(self.model, self.plan.inputs(self.model.input_specs), self.progress, self.workers)


@dataclasses.dataclass(frozen=True, eq=False)
class Made:
    """What a method made.

    Attributes:
        program: the model.
        training: of a method that trains: history, best_epoch, changes; plain values, for JSON.
    """

    program: Program
    training: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        name: what the command line and the results call it.
        make: from the original model and the options to a new model.
        says: one line for the report.
        calibrates: it uses the context's compensator.
        aligns: it changes the scales of activations.
        trains: it needs a training plan, and its models are not made twice.
        clusters: its points may be measured on a cluster.
        options: the class of the options that it has of its own, all with defaults; None: it has none.
    """

    name: str
    make: Callable[[MethodContext, NarrowOptions], Made]
    says: str
    calibrates: bool = False
    aligns: bool = False
    trains: bool = False
    clusters: bool = True
    options: type[Options] | None = None


def _narrow(context: MethodContext, options: NarrowOptions) -> Made:
    return Made(narrow(context.model, options))


def _compensate(context: MethodContext, options: NarrowOptions) -> Made:
    return Made(context.compensator.compensate(CompensateOptions.like(options, align=False)))


def _align(context: MethodContext, options: NarrowOptions) -> Made:
    """Every rescale of the network, whatever the scope."""
    return Made(context.compensator.compensate(CompensateOptions.like(options, scope=Scope.ALL)))


def _finetune(context: MethodContext, options: NarrowOptions) -> Made:
    assert context.training is not None  # SweepPlan requires it of a method that trains
    own = context.options_of("finetune", FinetuneOptions)
    return Made(*train(context.model, options, own, context.training, context.progress))


METHODS: dict[str, Method] = {
    each.name: each
    for each in (
        Method("narrow", _narrow, "multipliers are rounded, nothing else changes"),
        Method("compensate", _compensate, "weights and biases absorb what the multipliers lose", calibrates=True),
        Method(
            "align",
            _align,
            "every rescale of the network is narrowed, adds and means included; activation scales change as well",
            calibrates=True,
            aligns=True,
        ),
        Method(
            "finetune",
            _finetune,
            "weights are trained through the integer arithmetic",
            trains=True,
            clusters=False,
            options=FinetuneOptions,
        ),
    )
}


def make(method: str, context: MethodContext, options: NarrowOptions) -> Made:
    """The model of one point; the original for the method `base`."""
    return Made(context.model) if method == BASE else METHODS[method].make(context, options)


def own_options(methods: Sequence[str], given: Mapping[str, Options]) -> dict[str, Options]:
    """The options that methods have of their own, by name of the method: those given, else the defaults.

    Args:
        methods: keys of METHODS.
        given: options by name of the method.

    Raises:
        OptionError: options are given for a method that is not swept or has none, or are of another class.
    """
    kinds = {name: kind for name in methods if (kind := METHODS[name].options) is not None}
    for name, options in given.items():
        if name not in kinds or not isinstance(options, kinds[name]):
            having = ", ".join(f"{each} ({kind.__name__})" for each, kind in kinds.items()) or "no method that is swept"
            raise OptionError(f"method_options: {name!r} takes no {type(options).__name__}; give those of {having}")
    return {name: given.get(name, kind()) for name, kind in kinds.items()}
