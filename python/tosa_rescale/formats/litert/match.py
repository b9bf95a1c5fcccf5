# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Finds the flatbuffer operator of every multiply-accumulate op of a module."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from tosa_rescale.core.errors import ModelError
from tosa_rescale.formats.litert.operators import OPERANDS, TOSA_KINDS
from tosa_rescale.formats.litert.schema import LitertLayer

_MIN_SIMILARITY = 0.5  # cosine of an operator's weights before and after: compensation stays above 0.9, strangers near 0


@dataclasses.dataclass(frozen=True, eq=False)
class MacOp:
    """A multiply-accumulate op of a TOSA module, for `match_layers`.

    Attributes:
        name: the location's name.
        kind: `conv2d`, `depthwise_conv2d`, `transpose_conv2d`, `matmul` ...
        weights: its weights less their zero point, in TOSA's layout; None where they are no constant.
    """

    name: str
    kind: str
    weights: np.ndarray | None


def groups_of(ops: Sequence[tuple[str, str]], layers: Sequence[LitertLayer]) -> list[list[int]]:
    """Which of a module's ops are one operator of the flatbuffer: the groups of a grouped convolution follow one another.

    Args:
        ops: kind and location's name of the module's multiply-accumulate ops, in program order.
        layers: what `litert_layers` gave.

    Returns:
        Positions in `ops`, in order, one list for each operator.
    """
    counts = {layer.name.split(";")[0]: layer.groups for layer in layers}
    found: list[list[int]] = []
    for position, (kind, name) in enumerate(ops):
        open_group = found and ops[found[-1][0]] == (kind, name) and len(found[-1]) < counts.get(name, 1)
        if kind == "conv2d" and open_group:
            found[-1].append(position)
        else:
            found.append([position])
    return found


def match_layers(layers: Sequence[LitertLayer], ops: Sequence[MacOp], source: str = "model") -> list[LitertLayer]:
    """Finds the flatbuffer operator of every multiply-accumulate op of a module.

    By location name where exactly one operator has it, else by order among those left over. Either way kind, shape and content
    of the weights must agree.

    Args:
        layers: what `litert_layers` gave.
        ops: the module's ops, in program order.
        source: the flatbuffer's name, for errors.

    Returns:
        One layer for each op, in the order of `ops`.

    Raises:
        ModelError: the flatbuffer does not belong to the module.
    """
    remedy = "give the flatbuffer that the module was imported from"
    names = Counter(layer.name for layer in layers)
    op_names = Counter(op.name for op in ops)
    by_name = {layer.name: layer for layer in layers if names[layer.name] == 1}
    found = [by_name.get(op.name) if op_names[op.name] == 1 else None for op in ops]
    taken = {layer.operator for layer in found if layer is not None}
    left = iter([layer for layer in layers if layer.operator not in taken])
    matched: list[LitertLayer] = []
    for op, layer in zip(ops, found, strict=True):
        layer = layer or next(left, None)
        if layer is None:
            raise ModelError(
                f"{source}: does not belong to the module: it has {len(layers)} multiply-accumulate operators, the module "
                f"{len(ops)}, and {op.kind} {op.name!r} has no counterpart; {remedy}"
            )
        if reason := _mismatch(layer, op):
            raise ModelError(
                f"{source}: does not belong to the module: operator {layer.operator} ({layer.kind} {layer.name!r}) and "
                f"{op.kind} {op.name!r}: {reason}; {remedy}"
            )
        matched.append(layer)
    return matched


def _mismatch(layer: LitertLayer, op: MacOp) -> str | None:
    """Why the two cannot be the same operator; None where they can."""
    if op.kind not in TOSA_KINDS[layer.kind]:
        return f"a {layer.kind} does not become a {op.kind}"
    if op.weights is None or layer.weights.value is None:
        broadcast = layer.kind == "BATCH_MATMUL" and op.weights is None  # by an operation, which makes it no constant
        if (op.weights is None) != (layer.weights.value is None) and not broadcast:
            return "the weights are a constant in only one of the two"
        return None
    if layer.kind == "BATCH_MATMUL":  # the converter may have transposed the constant
        return None if op.weights.size == layer.weights.value.size else "its constant operand has another number of elements"
    if not same_layout(layer, op.weights):
        return f"its weights are {extents(layer.weights.shape)}, those of the module {extents(op.weights.shape)}"
    axis = OPERANDS[layer.kind].channel
    zero_point = layer.weights.zero_point[0]  # per-channel weights have 0 throughout
    before = np.moveaxis(layer.weights.value.astype(np.float64) - zero_point, axis, 0).reshape(layer.channels, -1)
    after = np.moveaxis(op.weights.reshape(layer.weights.shape).astype(np.float64), axis, 0).reshape(layer.channels, -1)
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    if not np.any(norms):
        return None
    similarity = float(np.median((before * after).sum(1)[norms > 0] / norms[norms > 0]))
    return (
        None
        if similarity >= _MIN_SIMILARITY
        else f"its weights differ from those of the module (similarity {similarity:.2f} of 1)"
    )


def same_layout(layer: LitertLayer, weights: np.ndarray) -> bool:
    """Whether the weights are in LiteRT's or TOSA's layout of this operator: the extents other than 1 agree, in order."""
    shape = layer.weights.shape
    if layer.kind == "DEPTHWISE_CONV_2D" and weights.ndim == 4 and weights.shape != shape:
        height, width, channels, times = weights.shape
        return (height, width, channels * times) == shape[1:]
    return [n for n in weights.shape if n != 1] == [n for n in shape if n != 1]


def extents(shape: Iterable[int]) -> str:
    """A shape for a message."""
    return "x".join(map(str, shape))
