# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which activation scales a model was given on purpose, and what the original is with these scales."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from tosa_rescale.core.attributes import FIXED_FACTOR, SCALE_FACTOR
from tosa_rescale.core.options import CompensateOptions
from tosa_rescale.core.passes import run_passes_on
from tosa_rescale.rewrite.compensate import align_pass, with_kernel_limits, with_tables

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module, Op, Rescale

    from tosa_rescale.core.program import Program

SAME_FACTOR = 1e-6  # float32 scales of one tensor in two files


def scale_factors(model: Program, original: Program, narrow: Module, wide: Module) -> dict[str, float]:
    """What each rescale's result scale is, over the original's: from the files' scales, and what alignment noted since."""
    ours, theirs = file_scales(model), file_scales(original)
    factors = {}
    for rescale, op in zip(narrow.rescales(), rescale_ops(narrow), strict=True):
        name = narrow.tensor_name(op) or ""
        known = name in ours and name in theirs and theirs[name] > 0 and rescale.output_bits in (8, 16)
        factor = rescale.scale_factor * (ours[name] / theirs[name] if known else 1.0)
        factors[rescale.key] = 1.0 if abs(factor - 1) < SAME_FACTOR else factor
    for rescale in wide.rescales():
        factors[rescale.key] /= rescale.scale_factor
    return factors


def add_inner_factors(factors: dict[str, float], wide: Module, aligned: Module) -> None:
    """Alignment notes factors on tensors of 8 and 16 bits; those between them follow, as M is S_in / S_out."""
    for rescale, was, op in zip(aligned.rescales(), wide.rescales(), rescale_ops(aligned), strict=True):
        before, after = (real_multipliers(each) for each in (was, rescale))
        if rescale.output_bits in (8, 16) or not before.all() or not after.all():
            continue
        owner = op.operation.operands[0].owner
        maker = next((each for each in aligned.ops() if each.operation == owner), None)
        source = 1.0
        if maker is not None:
            source = factors.get(maker.key) or aligned.attribute(maker, SCALE_FACTOR) or 1.0
        factor = source * float((before / after).reshape(-1)[0])
        factors[rescale.key] = 1.0 if abs(factor - 1) < SAME_FACTOR else factor


def real_multipliers(rescale: Rescale) -> np.ndarray:
    """The multipliers as real numbers, float64 [C]."""
    assert rescale.multiplier is not None and rescale.shift is not None
    return np.ldexp(rescale.multiplier.astype(np.float64), -rescale.shift)


def rescale_ops(module: Module) -> list[Op]:
    return [op for op in module.ops() if op.kind == "rescale"]


def file_scales(model: Program) -> dict[str, float]:
    """Tensor scales of the .tflite that a model was loaded from; alignment since then is in the module, not in there."""
    from tosa_rescale.formats.litert.scales import tensor_scales
    from tosa_rescale.formats.litert.schema import unpack

    return {} if model.flatbuffer is None else tensor_scales(unpack(model.flatbuffer, model.source))


def intended_original(model: Program, original: Program, repeat: bool) -> bytes | None:
    """The original with the model's activation scales and full multipliers; None where these scales cannot be repeated.

    A step that aligned is repeated also where no tensor of 8 or 16 bits has a factor (`repeat`): those between may have one.
    """
    names = {field.name for field in dataclasses.fields(CompensateOptions)}
    for step in model.recipe[len(original.recipe) :]:
        if step.name == "compensate":
            options = CompensateOptions(**{name: value for name, value in step.options.items() if name in names})
            if options.aligns:
                litert = original.flatbuffer is not None
                aligned = run_passes_on(_with_factors_of(model, original), [align_pass(options, litert)], original.source)
                return with_tables(original, aligned).bytecode
    return None if repeat else original.bytecode


def _with_factors_of(model: Program, original: Program) -> Module:
    """The original with the factors that alignment gave to the scales of the model, for the pass to apply again."""
    from tosa_rescale_runtime import Module

    aligned, module = Module.parse(model.bytecode, model.source), with_kernel_limits(original)
    ops = {op.key: op for op in aligned.ops()}
    for op in module.ops():
        if op.key in ops and module.result_bits(op) in (8, 16):
            factor = aligned.attribute(ops[op.key], SCALE_FACTOR) or 1.0
            module.set_attribute(op, FIXED_FACTOR, float(factor))
    return module
