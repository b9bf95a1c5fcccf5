# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How far a narrower multiplier moves what each rescale gives: predicted, measured alone, and measured at the end of the chain.

The source paper's Eq. 5 is `e_r = S_y * a_q * (M_q - M) + S_y * d_r`: an accumulator a_q, a multiplier that is off by
M_q - M, and a rounding error d_r, uniform in +-1/2. Here it is held against what IREE computes, for every rescale, over the
values that do not saturate in exact arithmetic (those that do have no error until they come back into range).

Where weights have been changed as well (compensated or trained), the multiplier's change is deliberate and Eq. 5 with the
original accumulator says nothing: the layer has another accumulator a', and what remains of the first term is
`S_y * (a' * M_q - a * M)`. That is what is predicted with there; without a change of weights a' is a and it is Eq. 5 itself.
An aligned model has other activation scales on purpose; it is held against the original with those scales. Rescales of
constants that alignment folded are none any more.

All figures are in LSB of the narrowed model's tensor: times `scale` they are in real units.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tosa_rescale.core.errors import DataError, ModelError
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.core.rescales import describe_rescales, raised
from tosa_rescale.data.source import as_dataset, input_arrays, random_inputs
from tosa_rescale.measure.error_figures import Difference as Difference
from tosa_rescale.measure.error_figures import Moments as Moments
from tosa_rescale.measure.error_figures import RescaleError as RescaleError
from tosa_rescale.measure.folded import folded_like
from tosa_rescale.measure.intended_scales import add_inner_factors, intended_original, scale_factors
from tosa_rescale.measure.rescale_measure import TAPPED_BITS, Measure, add_scales, make_measures

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module

    from tosa_rescale.core.program import Program


def rescale_errors(
    model: Program, original: Program, data: Any, *, progress: Progress | None = None
) -> tuple[RescaleError, ...]:
    """Measures every rescale of a narrowed model against the original's.

    Args:
        model: narrowed, compensated, aligned or trained.
        original: the model that it was made from.
        data: a number of uniform random samples; a Dataset, or what as_dataset makes one of.
        progress: shows rate and remaining time.

    Returns:
        One entry for each rescale, in program order.

    Raises:
        ModelError: the models have other rescales or inputs, or a multiplier, shift or zero point is not a constant.
        DataError: there are no samples, or they do not fit the input.
    """
    from tosa_rescale_runtime import Module

    original.require_rescales()
    model, original = raised(model), raised(original)
    original = folded_like(original, model)
    narrow, wide = model.module(), original.module()
    _require_same_graph(narrow, wide, model, original)
    specs = original.input_specs
    arrays = random_inputs(specs, data) if isinstance(data, int) else input_arrays(as_dataset(data), specs)
    if not len(arrays[0]):
        raise DataError("data: holds no samples; give at least one")
    factors = scale_factors(model, original, narrow, wide)
    intended = intended_original(model, original, any(factor != 1 for factor in factors.values()))
    exact = None if intended is None else Module.parse(intended, original.source)
    if exact is not None:
        add_inner_factors(factors, wide, exact)
    measures = make_measures(narrow, exact or wide, factors, exact is not None, describe_rescales(model))
    add_scales(measures, original, wide)
    # Where the scales cannot be repeated, the original stands for what was intended, and no rescale is isolated.
    aligned = original if intended is None else dataclasses.replace(original, bytecode=intended)
    _run(measures, (model, original, aligned), arrays, progress or Silent())
    return tuple(measure.result() for measure in measures)


def _run(
    measures: Sequence[Measure],
    programs: tuple[Program, Program, Program],
    arrays: Sequence[np.ndarray],
    progress: Progress,
) -> None:
    """Runs the model, the original and what was intended side by side, and adds up what differs.

    All are given the same taps: then they have one skeleton, which is compiled once.
    """
    from tosa_rescale_runtime import Executable, Tap

    results = [Tap(measure.rescale.key) for measure in measures]
    accumulators = {
        each.rescale.key: Tap(each.rescale.key, operand=0) for each in measures if each.rescale.input_bits <= TAPPED_BITS
    }
    layers = {key: Tap(key, operand=0) for key in sorted({each.layer.key for each in measures if each.layer is not None})}
    taps = [*results, *accumulators.values(), *layers.values()]
    model, original, aligned = programs
    different = [model, original, *([aligned] if aligned.bytecode != original.bytecode else [])]
    runs = [Executable.build(each.bytecode, taps=taps, source=each.source).run_taps(*arrays) for each in different]
    with progress.task("measure rescales", len(arrays[0])) as advance:
        for found in zip(*runs, strict=True):
            ours, theirs, given = found[0].taps, found[1].taps, found[-1].taps
            for measure, result in zip(measures, results, strict=True):
                accumulator = accumulators.get(measure.rescale.key)
                layer = None if measure.layer is None else layers[measure.layer.key]
                measure.add(
                    ours[result],
                    theirs[result],
                    given[result],
                    None if accumulator is None else given[accumulator],
                    None if layer is None else given[layer],
                )
            advance(1)


def _require_same_graph(narrow: Module, wide: Module, model: Program, original: Program) -> None:
    """Equal rescales and inputs; what a pass changes besides numbers is none of these."""

    def shape(module: Module) -> list[Any]:
        inputs: list[Any] = [(spec.shape, spec.dtype) for spec in module.signature.inputs]
        return inputs + [(each.key, each.shape, each.output_bits) for each in module.rescales()]

    if shape(narrow) != shape(wide):
        raise ModelError(
            f"{original.source}: has other rescales or inputs than {model.source}; give the model it was made from"
        )
    for module in (narrow, wide):
        for each in module.rescales():
            if any(part is None for part in (each.multiplier, each.shift, each.input_zp, each.output_zp)):
                raise ModelError(f"{module.source}: {each.name} has multipliers or zero points that are not constants")
