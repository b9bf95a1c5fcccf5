# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Slices of constants as constants: what converters make of the weights of grouped convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module


def slices_constants(bytecode: bytes) -> bool:
    """Whether a module may have slices of constants; bytecode names each kind of op that it has."""
    return b"slice" in bytecode


def fold_slices(module: Module) -> bool:
    """Replaces every `tosa.slice` of a constant by a constant. Changes `module`.

    A convolution whose weights are a slice has no constant weights, so that nothing could be folded into them.

    Returns:
        Whether there were any.
    """
    from tosa_rescale_runtime.constants import constant_value, erase_dead_constants, make_constant, shape_value

    found = False
    for op in list(module.ops()):
        if op.kind != "slice" or (value := constant_value(op.operation.operands[0])) is None:
            continue
        start, size = (shape_value(op.operation.operands[i]) for i in (1, 2))
        part = value[tuple(slice(low, low + extent) for low, extent in zip(start, size, strict=True))]
        constant = make_constant(op.operation, np.ascontiguousarray(part), op.operation.result.type)
        op.operation.result.replace_all_uses_with(constant)
        op.operation.erase()
        found = True
    if found:
        erase_dead_constants(module.block)
    return found
