# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The operations of a graph: their names, what a MAC layer is, and what only moves data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .mlir import Operation, Value, ir

MAC_KINDS = ("conv2d", "conv3d", "depthwise_conv2d", "transpose_conv2d", "matmul")
"""Ops whose result is an accumulator: the same as `isAccumulatorOp` in passes/RescaleOps.cpp."""

DATA_MOVEMENT = ("reshape", "transpose", "slice", "identity")
"""Ops through which an accumulator stays one: the same as `getDataSource` in passes/RescaleOps.cpp, which also looks through
a `concat` of accumulators. `pad` is none: it puts values of its own beside them."""


@dataclass(frozen=True)
class Op:
    """One operation of the graph, with names that survive a pass.

    Attributes:
        key: kind and position among the ops of its kind, such as `rescale12`. Equal graphs have equal keys, so this is
            the name to use across variants of one model.
        kind: operation name without the dialect, such as `conv2d`.
        name: name in the source model, read from the location; the key where there is none.
        operation: the operation in the IR; valid while its module is.

    """

    key: str
    kind: str
    name: str
    operation: Operation


@dataclass(frozen=True)
class MacLayer:
    """A multiply-accumulate op and the rescale that reads its accumulator.

    Attributes:
        op: the convolution or matmul.
        rescale: the only rescale that reads the accumulator, also through ops that only move data; None where there is
            none or where there are several.
    """

    op: Op
    rescale: Op | None


def location_name(operation: Operation) -> str | None:
    """Returns the name an op has in the source model, or None.

    The converter joins the names of fused source ops by `;`; the first one is the op's own.
    """

    def find(location: Any) -> str | None:
        if isinstance(location, ir.NameLoc):
            return location.name_str.split(";")[0] or None
        if isinstance(location, ir.FusedLoc):
            return next((name for child in location.locations if (name := find(child))), None)
        return None

    return find(operation.location)


def is_accumulator_op(operation: Operation) -> bool:
    """Whether an operation's result is an accumulator; see `MAC_KINDS`."""
    return operation.name.partition(".")[2] in MAC_KINDS


def data_source(value: Value) -> Value:
    """Follows a value back through ops that only move data; see `DATA_MOVEMENT`.

    Args:
        value: any value.

    Returns:
        The value that was moved: the result of another op, or an argument of the function. A `concat` is followed, to its
        first operand, only where all of its operands are accumulators: then its result is one, too.

    """
    while (operation := definition(value)) is not None:
        kind = operation.name.partition(".")[2]
        joins = kind == "concat" and all(accumulator(operand) is not None for operand in operation.operands)
        if kind not in DATA_MOVEMENT and not joins:
            break
        value = operation.operands[0]
    return value


def accumulator(value: Value) -> Operation | None:
    """Returns the MAC op whose accumulator a value is, also after ops that only move data; None where it is none."""
    operation = definition(data_source(value))
    return operation if operation is not None and is_accumulator_op(operation) else None


def definition(value: Value) -> Operation | None:
    """Returns the operation that makes a value; None for an argument of the function."""
    return None if isinstance(value.owner, ir.Block) else value.owner.operation
