# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ops that make one value of many: pools, reductions, places of extremes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.ops.registry import (
    Context,
    batch_as_samples,
    fitted,
    int64_of,
    lowers,
    padded,
    samples_as_batch,
    wrapped_integers,
    zero_point_of,
)
from tosa_rescale.twin.scaling import Scale, rescaled
from tosa_rescale.twin.values import FLOAT64_EXACT, Node, Value, cast, straight_through

_EXTREMES: Mapping[str, Callable[..., Any]] = {
    "reduce_max": tf.reduce_max,
    "reduce_any": tf.reduce_max,
    "reduce_min": tf.reduce_min,
    "reduce_all": tf.reduce_min,
}


def _reciprocal(counts: np.ndarray) -> Scale:
    """The specification's reciprocal_scale."""
    k = np.array([int(n - 1).bit_length() for n in counts.reshape(-1)]).reshape(counts.shape)
    multiplier = (((np.int64(1) << 30) + 1) << k) // counts
    return Scale(multiplier, 30 + k)


@lowers("avg_pool2d")
def _avg_pool(node: Node, context: Context, value: Value, input_zp: Value, output_zp: Value) -> Value:
    kernel, stride, pad = (node.attributes[name] for name in ("kernel", "stride", "pad"))
    x, low, high = context.numbers.minus(value, zero_point_of(node, input_zp))
    x = samples_as_batch(x)
    height, width, channels = x.shape[1:]
    ones = np.pad(np.ones((height, width), np.int64), ((pad[0], pad[1]), (pad[2], pad[3])))
    windows = np.lib.stride_tricks.sliding_window_view(ones, kernel)[:: stride[0], :: stride[1]]
    counts = windows.sum((2, 3))[: node.shape[1], : node.shape[2]]  # padding does not count
    low, high = min(low * int(counts.max()), 0), max(high * int(counts.max()), 0)
    x = cast(x, context.numbers.dtype(low, high))
    if list(kernel) == [height, width] and not any(pad):
        total = tf.reduce_sum(x, [1, 2], keepdims=True)
    else:
        x = tf.pad(x, [(0, 0), (pad[0], pad[1]), (pad[2], pad[3]), (0, 0)])
        box = tf.ones([*kernel, 1, 1], x.dtype)
        x = tf.transpose(x, [0, 3, 1, 2])
        x = tf.reshape(x, [-1, *x.shape[2:], 1])
        total = tf.nn.conv2d(x, box, strides=stride, padding="VALID")
        total = tf.reshape(total, [-1, channels, *total.shape[1:3]])
        total = tf.transpose(total, [0, 2, 3, 1])[:, : node.shape[1], : node.shape[2]]
    scale = _reciprocal(counts[:, :, None] if counts.min() != counts.max() else counts[:1, :1, None])
    zero_point = zero_point_of(node, output_zp)
    return rescaled(context.numbers, batch_as_samples(total, node), low, high, scale, zero_point, node.limits)


@lowers("max_pool2d")
def _max_pool(node: Node, _context: Context, value: Value) -> Value:
    kernel, stride, pad = (node.attributes[name] for name in ("kernel", "stride", "pad"))
    least = float(value.low - value.offset)
    x, padding = padded(samples_as_batch(value.tensor), pad, kernel, stride, [1, 1], least)
    return value.with_tensor(batch_as_samples(tf.nn.max_pool2d(x, kernel, stride, padding), node))


@lowers(*_EXTREMES)
def _extreme(node: Node, _context: Context, value: Value) -> Value:
    # Of booleans, kept as 0 and 1, `all` is the least and `any` the largest.
    return value.with_tensor(_EXTREMES[node.kind](value.tensor, int(node.attributes["axis"]) + 1, keepdims=True))


@lowers("reduce_sum")
def _sum(node: Node, context: Context, value: Value) -> Value:
    axis = int(node.attributes["axis"]) + 1
    extent = int(value.tensor.shape[axis])
    low, high = min(value.low * extent, 0), max(value.high * extent, 0)
    plain = cast(context.numbers.plain(value), context.numbers.dtype(low, high))
    return fitted(node, context, tf.reduce_sum(plain, axis, keepdims=True), low, high)


@lowers("reduce_product")
def _product(node: Node, context: Context, value: Value) -> Value:
    axis = int(node.attributes["axis"]) + 1
    bound = max(abs(value.low), abs(value.high)) ** int(value.tensor.shape[axis])
    smooth = tf.reduce_prod(cast(context.numbers.plain(value), tf.float64), axis, keepdims=True)
    if bound <= FLOAT64_EXACT:
        return fitted(node, context, smooth, -bound, bound)
    exact = wrapped_integers(tf.reduce_prod(int64_of(context, value), axis, keepdims=True), node.bits)
    return context.numbers.make(straight_through(tf.cast(exact, tf.float64), smooth), *node.limits)


@lowers("argmax", "argmin")
def _place(node: Node, context: Context, value: Value) -> Value:
    axis = int(node.attributes["axis"]) + 1
    rank, extent = len(value.tensor.shape), int(value.tensor.shape[axis])
    best = (tf.reduce_max if node.kind == "argmax" else tf.reduce_min)(value.tensor, axis, keepdims=True)
    places = tf.reshape(tf.range(extent, dtype=tf.float32), [-1 if i == axis else 1 for i in range(rank)])
    # The first of equals: TensorFlow's own argmax gives any of them.
    first = tf.reduce_min(tf.where(tf.equal(value.tensor, best), places, float(extent)), axis)
    return context.numbers.make(tf.stop_gradient(first), 0, extent - 1)
