# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Taps in as few results as their elements have sizes: all values of one size one after the other.

IREE's passes over results take more than their share of time where there are hundreds: a chain of 300 layers with 600 taps
compiles in 36 s of a processor so, and in 74 s with a result for each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .mlir import Operation, Value, ir
from .signature import TensorSpec

ACCUMULATOR_BITS = 32  # of the narrowest ones


def pack(values: Sequence[Value], before: Operation) -> list[Value]:
    """Joins tensors whose elements are of one size.

    Args:
        values: tensors of static shape whose elements are signless integers of 1, 8, 16, 32 or 64 bits.
        before: the operation to build in front of.

    Returns:
        A tensor of one dimension for each size, in the order in which sizes come first.
    """
    groups: dict[int, list[Value]] = {}  # by the width of elements, as `_width` gives it
    with ir.Location.unknown(before.context):
        for value in values:
            groups.setdefault(ir.RankedTensorType(value.type).element_type.width, []).append(_flat(value, before))
        return [_joined(group, before) for group in groups.values()]


def unpack(packed: Sequence[Any], specs: Sequence[TensorSpec]) -> list[np.ndarray]:
    """Takes apart what a function gives whose results `pack` made.

    Args:
        packed: an array of one dimension for each size of elements, as the runtime returns them.
        specs: of the values that were packed, in their order.

    Returns:
        The values, each a copy with its spec's shape and dtype.
    """
    widths = list(dict.fromkeys(_width(spec) for spec in specs))
    hosts = {width: np.asarray(value.to_host()) for width, value in zip(widths, packed, strict=True)}
    start = dict.fromkeys(widths, 0)
    found = []
    for spec in specs:
        width, shape = _width(spec), [extent or 1 for extent in spec.shape]
        first = start[width]
        start[width] = first + math.prod(shape)
        found.append(hosts[width][first : start[width]].view(spec.dtype).reshape(shape).copy())
    return found


def _width(spec: TensorSpec) -> int:
    """Bits of an element in the function: a truth value has one."""
    return 1 if spec.dtype == np.bool_ else 8 * spec.dtype.itemsize


def _flat(value: Value, before: Operation) -> Value:
    kind = ir.RankedTensorType(value.type)
    if kind.rank == 1:
        return value
    if kind.element_type.width >= ACCUMULATOR_BITS:
        # Products are added up in tiles. Without it IREE 3.13 takes them out of these and into the joined result in a single
        # step, for which it has no stack where a row of tiles is large. Tensors of fewer bits go without: with a barrier for
        # each of them, 300 layers take four times as long to compile.
        value = _create("util.optimization_barrier", [value], kind, {}, before)
    flat = ir.RankedTensorType.get([math.prod(kind.shape)], kind.element_type)
    index = ir.IntegerType.get_signless(64)
    groups = [ir.ArrayAttr.get([ir.IntegerAttr.get(index, i) for i in range(kind.rank)])] if kind.rank else []
    attributes: dict[str, Any] = {"reassociation": ir.ArrayAttr.get(groups)}
    name = "tensor.collapse_shape"
    if not kind.rank:
        name, attributes["static_output_shape"] = "tensor.expand_shape", ir.DenseI64ArrayAttr.get([1])
    return _create(name, [value], flat, attributes, before)


def _joined(values: Sequence[Value], before: Operation) -> Value:
    if len(values) == 1:
        return values[0]
    kinds = [ir.RankedTensorType(value.type) for value in values]
    joined = ir.RankedTensorType.get([sum(kind.shape[0] for kind in kinds)], kinds[0].element_type)
    dimension = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), 0)
    return _create("tensor.concat", values, joined, {"dim": dimension}, before)


def _create(name: str, operands: Sequence[Value], result: Any, attributes: dict[str, Any], before: Operation) -> Value:
    given = {"operands": list(operands), "results": [result], "attributes": attributes}
    return ir.Operation.create(name, **given, ip=ir.InsertionPoint(before)).result
