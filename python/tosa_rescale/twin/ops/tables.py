# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ops that interpolate: tables and resize."""

from __future__ import annotations

import numpy as np

from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.ops.registry import Context, constant_of, fitted, lowers
from tosa_rescale.twin.values import Node, Value, cast, straight_through


@lowers("table")
def _table(node: Node, context: Context, value: Value, table: Value) -> Value:
    entries = constant_of(node, table, "table")
    x = context.numbers.plain(value)
    index = tf.cast(x, tf.int32)
    if node.operand_bits[0] == 8:
        exact = tf.gather(tf.constant(entries, tf.float32), index + 128)
        # The slope over both neighbours; at the ends over the one that there is.
        slope = np.gradient(entries.astype(np.float64))
        smooth = cast(x, tf.float32) * tf.gather(tf.constant(slope, tf.float32), index + 128)
        low, high = int(entries.min()), int(entries.max())
    else:
        place = tf.bitwise.right_shift(index, tf.ones_like(index) * 7) + 256
        fraction = tf.cast(tf.bitwise.bitwise_and(index, tf.ones_like(index) * 127), tf.float64)
        base = tf.gather(tf.constant(entries, tf.float64), place)
        slope = tf.gather(tf.constant(entries, tf.float64), place + 1) - base
        exact = base * 128 + slope * fraction
        smooth = cast(x, tf.float64) * tf.stop_gradient(slope)
        low, high = int(entries.min()) * 128, int(entries.max()) * 128
    return context.numbers.make(straight_through(exact, smooth), low, high)


def _resize_matrix(extent: int, result: int, scale: tuple[int, int], offset: int, nearest: bool) -> np.ndarray:
    """Integer weights [result, extent] of one dimension."""
    numerator, denominator = scale
    matrix = np.zeros((result, extent), np.int64)
    for o in range(result):
        index, rest = divmod(o * denominator + offset, numerator)
        first, second = max(index, 0), min(index + 1, extent - 1)
        if nearest:
            matrix[o, second if 2 * rest >= numerator else first] = 1
        else:
            matrix[o, first] += numerator - rest
            matrix[o, second] += rest
    return matrix


@lowers("resize")
def _resize(node: Node, context: Context, value: Value, scale: Value, offset: Value, _border: Value) -> Value:
    yn, yd, xn, xd = constant_of(node, scale, "scale").tolist()
    oy, ox = constant_of(node, offset, "offset").tolist()
    nearest = "NEAREST" in str(node.attributes["mode"])
    x = context.numbers.plain(value)
    rows = _resize_matrix(int(x.shape[2]), node.shape[1], (yn, yd), oy, nearest)
    columns = _resize_matrix(int(x.shape[3]), node.shape[2], (xn, xd), ox, nearest)
    gain = 1 if nearest else yn * xn
    low, high = value.low * gain, value.high * gain
    dtype = context.numbers.dtype(low, high, max(abs(value.low), abs(value.high)) * gain)
    y = tf.einsum("nbhwc,yh,xw->nbyxc", cast(x, dtype), tf.constant(rows, dtype), tf.constant(columns, dtype))
    return fitted(node, context, y, low, high)
