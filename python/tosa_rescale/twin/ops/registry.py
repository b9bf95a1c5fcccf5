# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The table of lowerings, and what several families of ops need."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.values import LoweringError, Node, Numbers, Value, Weights, cast, straight_through, type_limits


class Context(Protocol):
    """What an op's function may use besides its operands."""

    numbers: Numbers

    def weights(self, node: Node) -> Weights | None:
        """The weights of a MAC op; None where they are not constants."""
        ...


Lowering = Callable[..., Value]

LOWERINGS: dict[str, Lowering] = {}
"""TOSA op (without the dialect) to function (node, context, *operands) -> result."""


def lowers(*kinds: str) -> Callable[[Lowering], Lowering]:
    """Enters a function in the table."""

    def enter(function: Lowering) -> Lowering:
        for kind in kinds:
            LOWERINGS[kind] = function
        return function

    return enter


def constant_of(node: Node, value: Value, what: str) -> np.ndarray:
    """The integers of an operand that must be a constant."""
    if value.constant is None:
        raise LoweringError(f"{node.where}: requires a constant {what}; fold it first")
    return value.constant


def zero_point_of(node: Node, value: Value) -> int:
    """The one integer of a zero point, or of another constant of one element."""
    return int(constant_of(node, value, "zero point").reshape(-1)[0])


def fitted(node: Node, context: Context, tensor: Any, low: int, high: int) -> Value:
    """A result in the type of the op's result.

    Where the proven range leaves the type, the low bits are kept. The specification calls such values UNPREDICTABLE, and
    two's complement is what integer engines make of them.

    Args:
        node: the op.
        context: which float types to use.
        tensor: the exact result, below 2^53 where it may leave the type.
        low, high: its range.
    """
    bottom, top = node.limits
    if bottom <= low and high <= top:
        return context.numbers.make(tensor, low, high)
    tensor = cast(tensor, tf.float64)
    span = float(top - bottom + 1)
    wrapped = tensor - tf.floor((tensor - float(bottom)) / span) * span
    return context.numbers.make(straight_through(wrapped, tensor), bottom, top)


def wrapped_integers(integers: Any, bits: int) -> Any:
    """The low bits of 64-bit integers, as two's complement of this width."""
    spare = tf.constant(64 - bits, tf.int64)
    return tf.bitwise.right_shift(tf.bitwise.left_shift(integers, spare), spare)


def int64_of(context: Context, value: Value) -> Any:
    """The integers of a value as int64."""
    return tf.cast(context.numbers.plain(value), tf.int64)


def common(context: Context, *values: Value) -> list[Any]:
    """The integers of some values, in a float type that holds all of them."""
    dtype = context.numbers.dtype(*(limit for value in values for limit in (value.low, value.high)))
    return [cast(context.numbers.plain(value), dtype) for value in values]


def product_ends(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """The least and the largest product of integers of two ranges."""
    products = [p * q for p in a for q in b]
    return min(products), max(products)


def repeated_over_batch(tensors: list[Any]) -> list[Any]:
    """Repeats constants over the batch of samples, for ops that do not broadcast."""
    batch = tf.reduce_max([tf.shape(t)[0] for t in tensors])
    return [t if t.shape[0] != 1 else tf.repeat(t, batch, axis=0) for t in tensors]


def same_shape(*tensors: Any) -> list[Any]:
    """Tensors broadcast to one shape, for ops that do not broadcast."""
    shape = tf.shape(tensors[0])
    for tensor in tensors[1:]:
        shape = tf.broadcast_dynamic_shape(shape, tf.shape(tensor))
    return [tf.broadcast_to(tensor, shape) for tensor in tensors]


def samples_as_batch(tensor: Any) -> Any:
    """[N, B, ...] to [N*B, ...]: TensorFlow's convolutions and pools know one batch dimension."""
    return tf.reshape(tensor, [-1, *tensor.shape[2:]])


def batch_as_samples(tensor: Any, node: Node) -> Any:
    """[N*B, ...] to [N, *shape of the op's result]."""
    return tf.reshape(tensor, [-1, *node.shape])


def _same_padding(extent: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    reach = (kernel - 1) * dilation + 1
    total = max((math.ceil(extent / stride) - 1) * stride + reach - extent, 0)
    return total // 2, total - total // 2


def padded(
    x: Any, pad: list[int], kernel: list[int], stride: list[int], dilation: list[int], fill: float = 0.0
) -> tuple[Any, str]:
    """Pads the border of [N, ..., C] as an op says, or names the padding of TensorFlow that does the same without a copy.

    Args:
        x: the input.
        pad: before and after, for each spatial dimension.
        kernel, stride, dilation: of each spatial dimension.
        fill: what is padded with: 0 for a convolution, for a pool what never wins.

    Returns:
        The tensor, and the padding to ask TensorFlow's op for.
    """
    pairs = list(zip(pad[::2], pad[1::2], strict=True))
    if not any(pad):
        return x, "VALID"
    same = [_same_padding(n, k, s, d) for n, k, s, d in zip(x.shape[1:-1], kernel, stride, dilation, strict=True)]
    if pairs == same:
        return x, "SAME"
    return tf.pad(x, [(0, 0), *pairs, (0, 0)], constant_values=tf.cast(fill, x.dtype)), "VALID"


def as_unsigned(context: Context, value: Value, bits: int) -> Value:
    """A signless tensor read as unsigned: negative integers stand for those above the signed range."""
    if value.low >= 0:
        return value
    plain = context.numbers.plain(value)
    return context.numbers.make(tf.where(plain < 0, plain + 2.0**bits, plain), 0, (1 << bits) - 1)


def as_signed(context: Context, value: Value, bits: int) -> Value:
    """Unsigned integers kept in a signless tensor: the same bits, read as signed."""
    low, high = type_limits(bits, False)
    if value.high <= high:
        return value
    plain = context.numbers.plain(value)
    return context.numbers.make(tf.where(plain > high, plain - 2.0**bits, plain), low, high)
