# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Softmax of int16 as LiteRT computes it, where its converter to TOSA writes another function.

The kernel takes the difference from the largest value at a scale of 10/65535, adds 32767 and saturates the sum to 16 bits, the
index of a table of exponentials. The converter writes a `tosa.cast` for the last step, and that wraps around: where values lie
more than 10 below the largest one, they come out as likely as if they were near it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module
    from tosa_rescale_runtime.mlir import Operation, Value

_CENTRE = 32767  # is added to differences
_LEAST = np.iinfo(np.int16).min - _CENTRE  # of a difference that does not saturate


def may_wrap(bytecode: bytes) -> bool:
    """Whether a module may have such a softmax; bytecode names each kind of op that it has."""
    return all(kind in bytecode for kind in (b"reduce_max", b"cast", b"table"))


def saturate_softmaxes(module: Module) -> bool:
    """Takes differences below what 16 bits hold as the least one, which is what saturating gives. Changes `module`.

    Returns:
        Whether there were any such differences to bound.
    """
    from tosa_rescale_runtime.constants import constant_value, make_constant
    from tosa_rescale_runtime.mlir import ir

    found = False
    for op in module.ops():
        if op.kind != "cast":
            continue
        centred = _maker(op.operation.operands[0], "tosa.add")
        difference = None if centred is None else _of_largest(centred.operands[0])
        if centred is None or difference is None:
            continue
        centre = constant_value(centred.operands[1])
        if centre is None or not (centre == _CENTRE).all():
            continue
        least = make_constant(centred, np.full_like(centre, _LEAST), centred.operands[1].type)
        with centred.location:
            bounded = ir.Operation.create(
                "tosa.maximum", results=[difference.type], operands=[difference, least], ip=ir.InsertionPoint(centred)
            )
        centred.operands[0] = bounded.result
        found = True
    return found


def _of_largest(value: Value) -> Value | None:
    """The value itself where it is a rescaled difference from the largest of a tensor."""
    rescale = _maker(value, "tosa.rescale")
    difference = None if rescale is None else _maker(rescale.operands[0], "tosa.sub")
    return value if difference is not None and _maker(difference.operands[1], "tosa.reduce_max") is not None else None


def _maker(value: Value, kind: str) -> Operation | None:
    """The operation of this kind that makes a value; None: another one does."""
    owner = value.owner
    return owner if getattr(owner, "name", "") == kind else None
