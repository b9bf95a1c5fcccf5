# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The original with rescales of constants folded, as alignment folds them: then the ops of both models have the same keys."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from tosa_rescale.core.attributes import CONSTANT_BITS
from tosa_rescale.core.rescales import apply_rescale

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module

    from tosa_rescale.core.program import Program


def folded_like(original: Program, model: Program) -> Program:
    """The original, computing the same, without the rescales of constants that a model made from it has folded.

    Alignment folds `rescale(const)` into a constant, all that there are or none (passes/Constants.cpp).

    Args:
        original: the model before.
        model: the model that may have been aligned.

    Returns:
        `original` itself where the models have equally many rescales.
    """
    module = original.module()
    missing = len(module.rescales()) - len(model.module().rescales())
    if missing <= 0:
        return original
    _fold(module)
    return dataclasses.replace(original, bytecode=module.to_bytecode())


def _fold(module: Module) -> None:
    from tosa_rescale_runtime import constant_value
    from tosa_rescale_runtime.constants import erase_dead_constants, make_constant

    for op, rescale in zip([op for op in module.ops() if op.kind == "rescale"], module.rescales(), strict=True):
        operation = op.operation
        value = constant_value(operation.operands[0])
        parts = (rescale.multiplier, rescale.shift, rescale.input_zp, rescale.output_zp)
        if value is None or any(part is None for part in parts) or rescale.input_unsigned or rescale.output_unsigned:
            continue
        made = apply_rescale(rescale, value.astype(np.int64) - (rescale.input_zp or 0))
        result = make_constant(operation, made, operation.result.type)
        if rescale.input_bits < rescale.output_bits:  # what alignment may make of the constant depends on where it came from
            module.set_attribute(dataclasses.replace(op, operation=result.owner.operation), CONSTANT_BITS, rescale.input_bits)
        operation.result.replace_all_uses_with(result)
        operation.erase()
    erase_dead_constants(module.block)
