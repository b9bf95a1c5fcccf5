# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ops on the bits of integers: shifts, leading zeros, bitwise and logical operations."""

from __future__ import annotations

from typing import Any

from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.ops.registry import Context, int64_of, lowers, same_shape, wrapped_integers
from tosa_rescale.twin.values import Node, Value, cast, straight_through


def _scaled(context: Context, value: Value, steps: Any) -> Any:
    """A value times 2^steps, in real numbers: what a shift's gradient follows."""
    plain = cast(context.numbers.plain(value), tf.float64)
    return plain * tf.pow(tf.constant(2.0, tf.float64), tf.cast(steps, tf.float64))


@lowers("arithmetic_right_shift")
def _arithmetic_right_shift(node: Node, context: Context, value: Value, by: Value) -> Value:
    integers, steps = same_shape(int64_of(context, value), int64_of(context, by))
    exact = tf.bitwise.right_shift(integers, steps)
    low, high = min(value.low, 0), max(value.high, 0)
    if node.attributes.get("round"):
        # Half rounds up: the last bit that was shifted out is added.
        last = tf.bitwise.bitwise_and(tf.bitwise.right_shift(integers, tf.maximum(steps - 1, 0)), tf.ones_like(integers))
        exact += tf.where(steps > 0, last, tf.zeros_like(last))
        high = min(high + 1, node.limits[1])
    return context.numbers.make(straight_through(tf.cast(exact, tf.float64), _scaled(context, value, -steps)), low, high)


@lowers("logical_right_shift")
def _logical_right_shift(node: Node, context: Context, value: Value, by: Value) -> Value:
    integers, steps = same_shape(int64_of(context, value), int64_of(context, by))
    bits = tf.bitwise.bitwise_and(integers, tf.constant((1 << node.bits) - 1, tf.int64))
    # Shifted by 0 the highest bit is a sign again.
    exact = wrapped_integers(tf.bitwise.right_shift(bits, steps), node.bits)
    return context.numbers.make(straight_through(tf.cast(exact, tf.float64), _scaled(context, value, -steps)), *node.limits)


@lowers("logical_left_shift")
def _logical_left_shift(node: Node, context: Context, value: Value, by: Value) -> Value:
    integers, steps = same_shape(int64_of(context, value), int64_of(context, by))
    exact = wrapped_integers(tf.bitwise.left_shift(integers, steps), node.bits)
    grown = [v << n for v in (value.low, value.high) for n in (max(by.low, 0), max(by.high, 0))]
    low, high = min(grown), max(grown)
    if low < node.limits[0] or high > node.limits[1]:
        low, high = node.limits
    return context.numbers.make(straight_through(tf.cast(exact, tf.float64), _scaled(context, value, steps)), low, high)


@lowers("clz")
def _clz(node: Node, context: Context, value: Value) -> Value:
    x = cast(context.numbers.plain(value), tf.float64)
    bits = node.operand_bits[0]
    # The exponent field of a float64 is the place of its leading one; integers of up to 53 bits are exact in it.
    exponent = tf.bitwise.right_shift(tf.bitcast(tf.maximum(x, 1.0), tf.int64), tf.constant(52, tf.int64)) - 1023
    zeros = tf.cast(bits - 1 - exponent, tf.float64)
    zeros = tf.where(x < 0, tf.zeros_like(x), tf.where(x < 1, tf.ones_like(x) * bits, zeros))
    return context.numbers.make(tf.stop_gradient(zeros), 0, bits)


@lowers("logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not")
def _bits(node: Node, context: Context, *values: Value) -> Value:
    integers = [int64_of(context, value) for value in values]
    operation = node.kind.partition("_")[2]
    if operation == "not":
        one = tf.constant(1, tf.int64)
        result = one - integers[0] if node.bits == 1 else -integers[0] - one
    else:
        function = {"and": tf.bitwise.bitwise_and, "or": tf.bitwise.bitwise_or, "xor": tf.bitwise.bitwise_xor}[operation]
        result = function(*same_shape(*integers))
    return context.numbers.make(tf.cast(result, tf.float64), *node.limits)
