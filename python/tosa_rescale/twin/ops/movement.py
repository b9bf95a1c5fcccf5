# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ops that move, repeat or leave out elements and change none."""

from __future__ import annotations

from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.ops.registry import Context, common, constant_of, lowers, repeated_over_batch, zero_point_of
from tosa_rescale.twin.values import Node, Value, cast


@lowers("identity")
def _identity(_node: Node, _context: Context, value: Value) -> Value:
    return value


@lowers("reshape")
def _reshape(node: Node, _context: Context, value: Value, _shape: Value | None = None) -> Value:
    return value.with_tensor(tf.reshape(value.tensor, [-1, *node.shape]))


@lowers("transpose")
def _transpose(node: Node, _context: Context, value: Value) -> Value:
    return value.with_tensor(tf.transpose(value.tensor, [0, *(int(axis) + 1 for axis in node.attributes["perms"])]))


@lowers("slice")
def _slice(node: Node, _context: Context, value: Value, start: Value, _size: Value) -> Value:
    begin = constant_of(node, start, "start").tolist()
    return value.with_tensor(tf.slice(value.tensor, [0, *begin], [-1, *node.shape]))


@lowers("pad")
def _pad(node: Node, context: Context, value: Value, padding: Value, fill: Value) -> Value:
    pairs = constant_of(node, padding, "padding").reshape(-1, 2).tolist()
    with_ = zero_point_of(node, fill)
    low, high = min(value.low, with_), max(value.high, with_)
    x = cast(value.tensor, context.numbers.dtype(low - value.offset, high - value.offset))
    filled = tf.pad(x, [(0, 0), *pairs], constant_values=tf.cast(with_ - value.offset, x.dtype))
    return Value(filled, low, high, value.offset)


@lowers("concat")
def _concat(node: Node, context: Context, *values: Value) -> Value:
    low, high = min(v.low for v in values), max(v.high for v in values)
    offset = values[0].offset if len({v.offset for v in values}) == 1 else 0
    dtype = context.numbers.dtype(low - offset, high - offset)
    parts = [cast(context.numbers.minus(v, offset)[0], dtype) for v in values]
    return Value(tf.concat(repeated_over_batch(parts), int(node.attributes["axis"]) + 1), low, high, offset)


@lowers("reverse")
def _reverse(node: Node, _context: Context, value: Value) -> Value:
    return value.with_tensor(tf.reverse(value.tensor, [int(node.attributes["axis"]) + 1]))


@lowers("tile")
def _tile(node: Node, _context: Context, value: Value, multiples: Value) -> Value:
    return value.with_tensor(tf.tile(value.tensor, [1, *constant_of(node, multiples, "multiples").tolist()]))


@lowers("gather")
def _gather(_node: Node, context: Context, values: Value, indices: Value) -> Value:
    index = tf.cast(context.numbers.plain(indices), tf.int32)
    tensor, index = repeated_over_batch([values.tensor, index])
    return values.with_tensor(tf.gather(tensor, index, axis=2, batch_dims=2))


@lowers("scatter")
def _scatter(_node: Node, context: Context, values: Value, indices: Value, given: Value) -> Value:
    kept, new = common(context, values, given)
    index = tf.cast(context.numbers.plain(indices), tf.int32)
    tensor, index, updates = repeated_over_batch([kept, index, new])
    # One row of indices for each update: sample, batch, place.
    samples, batches, _ = tf.unstack(tf.shape(index))
    sample, batch = (tf.reshape(tf.range(n), shape) for n, shape in ((samples, [-1, 1, 1]), (batches, [1, -1, 1])))
    places = tf.stack([sample + tf.zeros_like(index), batch + tf.zeros_like(index), index], -1)
    scattered = tf.tensor_scatter_nd_update(tensor, places, updates)
    return context.numbers.make(scattered, min(values.low, given.low), max(values.high, given.high))
