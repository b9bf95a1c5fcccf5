# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The place of the least element, which TOSA has no operation for, in a form that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module


def may_negate(bytecode: bytes) -> bool:
    """Whether a module may look for the largest of complements; bytecode names each kind of op that it has."""
    return b"argmax" in bytecode and b"sub" in bytecode


def complement_argmins(module: Module) -> bool:
    """Writes `-1 - x` in 8 or 16 bits, of which only the place of the largest is asked, as `~x`. Changes `module`.

    So LiteRT's converter writes ARG_MIN. The two are equal; but TOSA subtracts in 32 bits only, and IREE refuses anything else.

    Returns:
        Whether there were any.
    """
    from tosa_rescale_runtime.constants import constant_value, element_type, erase_dead_constants
    from tosa_rescale_runtime.mlir import ir

    found = False
    for op in list(module.ops()):
        if op.kind != "sub":
            continue
        difference = op.operation.result
        readers = [use.owner.operation for use in difference.uses]
        narrow = element_type(difference.type)[0] < 32
        if not narrow or not readers or any(reader.name != "tosa.argmax" for reader in readers):
            continue
        ones, given = constant_value(op.operation.operands[0]), op.operation.operands[1]
        if ones is None or not (ones == -1).all():
            continue
        while getattr(given.owner, "name", "") == "tosa.cast" and given.owner.operands[0].type == given.type:
            given = given.owner.operands[0]  # the converter's; it does nothing, and TOSA has none of the kind
        with op.operation.location:
            complement = ir.Operation.create(
                "tosa.bitwise_not", results=[difference.type], operands=[given], ip=ir.InsertionPoint(op.operation)
            )
        difference.replace_all_uses_with(complement.result)
        op.operation.erase()
        found = True
    if found:
        erase_dead_constants(module.block)
    return found
