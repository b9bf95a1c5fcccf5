# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arithmetic and comparisons of single elements."""

from __future__ import annotations

from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.ops.registry import (
    Context,
    common,
    fitted,
    int64_of,
    lowers,
    product_ends,
    same_shape,
    wrapped_integers,
    zero_point_of,
)
from tosa_rescale.twin.values import FLOAT64_EXACT, Node, Value, cast, straight_through


@lowers("add", "sub")
def _add(node: Node, context: Context, a: Value, b: Value) -> Value:
    if node.kind == "add":
        low, high = a.low + b.low, a.high + b.high
    else:
        low, high = a.low - b.high, a.high - b.low
    dtype = context.numbers.dtype(low, high, a.low, a.high, b.low, b.high)
    x, y = cast(context.numbers.plain(a), dtype), cast(context.numbers.plain(b), dtype)
    return fitted(node, context, x + y if node.kind == "add" else x - y, low, high)


@lowers("mul")
def _mul(node: Node, context: Context, a: Value, b: Value, shift: Value) -> Value:
    s = zero_point_of(node, shift)
    half = 1 << (s - 1) if s else 0
    least, most = product_ends((a.low, a.high), (b.low, b.high))
    low, high = (least + half) >> s, (most + half) >> s
    x, y = context.numbers.plain(a), context.numbers.plain(b)
    if s == 0 and max(-least, most) <= FLOAT64_EXACT:
        dtype = context.numbers.dtype(least, most, a.low, a.high, b.low, b.high)
        return fitted(node, context, cast(x, dtype) * cast(y, dtype), low, high)
    smooth = cast(x, tf.float64) * cast(y, tf.float64) * 2.0**-s
    if max(-least, most) + half <= FLOAT64_EXACT:
        return fitted(node, context, straight_through(tf.floor(smooth + 0.5), smooth), low, high)
    product = tf.cast(x, tf.int64) * tf.cast(y, tf.int64) + tf.constant(half, tf.int64)
    exact = tf.bitwise.right_shift(product, tf.constant(s, tf.int64))
    bottom, top = node.limits
    if low < bottom or high > top:  # the low bits, as `fitted` keeps them
        exact, low, high = wrapped_integers(exact, node.bits), bottom, top
    return context.numbers.make(straight_through(tf.cast(exact, tf.float64), smooth), low, high)


@lowers("abs")
def _abs(node: Node, context: Context, value: Value) -> Value:
    low = 0 if value.low <= 0 <= value.high else min(abs(value.low), abs(value.high))
    return fitted(node, context, tf.abs(context.numbers.plain(value)), low, max(abs(value.low), abs(value.high)))


@lowers("negate")
def _negate(node: Node, context: Context, value: Value, input_zp: Value | None = None, output_zp: Value | None = None) -> Value:
    zero, out = (0 if z is None else zero_point_of(node, z) for z in (input_zp, output_zp))
    x, low, high = context.numbers.minus(value, zero)
    bottom, top = node.limits
    low, high = (min(max(end, bottom), top) for end in (out - high, out - low))
    saturated = tf.clip_by_value(-x, tf.cast(low - out, x.dtype), tf.cast(high - out, x.dtype))
    return context.numbers.make(saturated, low, high, offset=out)


@lowers("maximum", "minimum")
def _extremum(node: Node, context: Context, a: Value, b: Value) -> Value:
    x, y = common(context, a, b)
    if node.kind == "maximum":
        return context.numbers.make(tf.maximum(x, y), max(a.low, b.low), max(a.high, b.high))
    return context.numbers.make(tf.minimum(x, y), min(a.low, b.low), min(a.high, b.high))


@lowers("clamp")
def _clamp(node: Node, context: Context, value: Value) -> Value:
    bottom, top = (int(node.attributes[name]) for name in ("min_val", "max_val"))
    if node.unsigned:
        bottom, top = bottom % (1 << node.bits), top % (1 << node.bits)
    if bottom <= value.low and value.high <= top:
        return value
    # Limits beyond the value's own may not be exact in its float type, and cut nothing.
    low, high = min(max(value.low, bottom), top), max(min(value.high, top), bottom)
    ends = [tf.cast(end - value.offset, value.tensor.dtype) for end in (low, high)]
    return context.numbers.make(tf.clip_by_value(value.tensor, *ends), low, high, offset=value.offset)


@lowers("cast")
def _cast(node: Node, context: Context, value: Value) -> Value:
    if node.bits == 1:
        return context.numbers.make(tf.cast(tf.not_equal(context.numbers.plain(value), 0), tf.float32), 0, 1)
    return fitted(node, context, context.numbers.plain(value), value.low, value.high)  # narrowing keeps the low bits


@lowers("equal", "greater", "greater_equal")
def _compare(node: Node, context: Context, a: Value, b: Value) -> Value:
    function = {"equal": tf.equal, "greater": tf.greater, "greater_equal": tf.greater_equal}[node.kind]
    return context.numbers.make(tf.cast(function(*common(context, a, b)), tf.float32), 0, 1)


@lowers("select")
def _select(node: Node, context: Context, condition: Value, a: Value, b: Value) -> Value:
    chosen = tf.where(tf.not_equal(context.numbers.plain(condition), 0), *common(context, a, b))
    return context.numbers.make(chosen, min(a.low, b.low), max(a.high, b.high))


@lowers("intdiv")
def _intdiv(node: Node, context: Context, a: Value, b: Value) -> Value:
    x, y = same_shape(int64_of(context, a), int64_of(context, b))
    bound = max(abs(a.low), abs(a.high))
    # Towards zero, as in C; TensorFlow's division of integers rounds down.
    quotient = tf.sign(x) * tf.sign(y) * (tf.abs(x) // tf.abs(y))
    return fitted(node, context, tf.cast(quotient, tf.float64), -bound, bound)
