# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One function for each TOSA op. To add one, write it and name it in a `@lowers` line.

Every value has the batch of samples as an extra first dimension, before the graph's own: an axis of the graph is one
further to the right, and a graph that mixes its batch dimension with others (a transformer's reshapes) needs no thought.

Forward results equal the specification's integers. Gradients are those of the same op on real numbers: roundings are
straight through, saturation has its true mask, a table has the slope of its neighbours, counting zeros has none.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.fused import fused
from tosa_rescale.twin.scaling import Scale, rescaled
from tosa_rescale.twin.values import (
    Accumulation,
    LoweringError,
    Node,
    Numbers,
    Value,
    Weights,
    cast,
    straight_through,
    type_limits,
)


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


def _constant(node: Node, value: Value, what: str) -> np.ndarray:
    if value.constant is None:
        raise LoweringError(f"{node.where}: requires a constant {what}; fold it first")
    return value.constant


def _zero_point(node: Node, value: Value) -> int:
    return int(_constant(node, value, "zero point").reshape(-1)[0])


def _clipped(node: Node, low: int, high: int) -> tuple[int, int]:
    """A computed range cut to the type's: the specification does not define what overflows."""
    bottom, top = node.limits
    return min(max(low, bottom), top), max(min(high, top), bottom)


def _broadcast_batch(tensors: list[Any]) -> list[Any]:
    """Repeats constants over the batch, for ops that do not broadcast."""
    batch = tf.reduce_max([tf.shape(t)[0] for t in tensors])
    return [t if t.shape[0] != 1 else tf.repeat(t, batch, axis=0) for t in tensors]


# -- rescale -----------------------------------------------------------------------------------------------------------


@lowers("rescale")
def _rescale(node: Node, context: Context, value: Value, *_operands: Value) -> Value:
    rescale = node.rescale
    assert rescale is not None
    if rescale.multiplier is None or rescale.shift is None or rescale.input_zp is None or rescale.output_zp is None:
        raise LoweringError(f"{node.where}: requires constant multipliers, shifts and zero points; fold them first")
    if rescale.rounding_mode == "INEXACT_ROUND":
        raise LoweringError(f"{node.where}: requires SINGLE_ROUND or DOUBLE_ROUND, got INEXACT_ROUND, which fixes no result")
    if rescale.input_unsigned and not node.operand_unsigned[0]:
        value = _as_unsigned(context, value, rescale.input_bits)
    scale = Scale(rescale.multiplier, rescale.shift, rescale.rounding_mode == "DOUBLE_ROUND")
    limits = type_limits(rescale.output_bits, rescale.output_unsigned)
    result = None
    if value.made is not None and rescale.input_zp == 0:
        result = fused(context.numbers, value.made, scale, rescale.output_zp, limits)
    if result is None:
        tensor, low, high = context.numbers.minus(value, rescale.input_zp)
        result = rescaled(context.numbers, tensor, low, high, scale, rescale.output_zp, limits)
    if rescale.output_unsigned and not node.unsigned:
        return _wrapped(context, result, rescale.output_bits)
    return result


@lowers("apply_scale")
def _apply_scale(node: Node, context: Context, value: Value, multiplier: Value, shift: Value) -> Value:
    scale = Scale(
        _constant(node, multiplier, "multiplier"),
        _constant(node, shift, "shift"),
        "DOUBLE_ROUND" in str(node.attributes["rounding_mode"]),
    )
    return rescaled(context.numbers, context.numbers.plain(value), value.low, value.high, scale, 0, node.limits)


def _as_unsigned(context: Context, value: Value, bits: int) -> Value:
    """A signless tensor read as unsigned: negative integers stand for those above the signed range."""
    if value.low >= 0:
        return value
    plain = context.numbers.plain(value)
    return context.numbers.make(tf.where(plain < 0, plain + 2.0**bits, plain), 0, (1 << bits) - 1)


def _wrapped(context: Context, value: Value, bits: int) -> Value:
    """Unsigned integers kept in a signless tensor: the same bits, read as signed."""
    low, high = type_limits(bits, False)
    if value.high <= high:
        return value
    plain = context.numbers.plain(value)
    return context.numbers.make(tf.where(plain > high, plain - 2.0**bits, plain), low, high)


# -- multiply and accumulate -------------------------------------------------------------------------------------------


def _merge(tensor: Any) -> Any:
    """[N, B, ...] to [N*B, ...]: TensorFlow's convolutions know one batch dimension."""
    return tf.reshape(tensor, [-1, *tensor.shape[2:]])


def _split(tensor: Any, node: Node) -> Any:
    return tf.reshape(tensor, [-1, *node.shape])


def _same_padding(extent: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    reach = (kernel - 1) * dilation + 1
    total = max((math.ceil(extent / stride) - 1) * stride + reach - extent, 0)
    return total // 2, total - total // 2


def _pad_spatially(
    x: Any, pad: list[int], kernel: list[int], stride: list[int], dilation: list[int], fill: float = 0.0
) -> tuple[Any, str]:
    """Pads [N, ..., C] as the op says, or names the padding of TensorFlow that does the same without a copy."""
    pairs = list(zip(pad[::2], pad[1::2], strict=True))
    if not any(pad):
        return x, "VALID"
    same = [_same_padding(n, k, s, d) for n, k, s, d in zip(x.shape[1:-1], kernel, stride, dilation, strict=True)]
    if fill == 0.0 and pairs == same:
        return x, "SAME"
    return tf.pad(x, [(0, 0), *pairs, (0, 0)], constant_values=tf.cast(fill, x.dtype)), "VALID"


def _accumulate(
    node: Node, context: Context, value: Value, zero_point: Value, convolve: Callable[[Any, Any], Any], taps: int
) -> Value:
    """Runs a convolution in the float type that its partial sums fit, then adds the bias."""
    weights = context.weights(node)
    if weights is None:
        raise LoweringError(f"{node.where}: requires constant weights and bias; fold them first")
    x, low, high = context.numbers.minus(value, _zero_point(node, zero_point))
    bounds = weights.bounds(min(low, 0), max(high, 0))
    dtype = context.numbers.dtype(bounds.partial, low, high)
    x = cast(x, dtype)
    y = convolve(x, cast(weights.kernel(), dtype))
    total = context.numbers.dtype(bounds.partial, bounds.least, bounds.most)
    accumulators = cast(y, total) + cast(weights.bias(), total)
    value = context.numbers.make(accumulators, *_clipped(node, bounds.least, bounds.most))
    if dtype != tf.float32:
        return value
    # What follows may have no use for these accumulators; TensorFlow then never computes them.
    return dataclasses.replace(value, made=Accumulation(x, convolve, weights, bounds))


def _spread(kernel: Any, dilation: list[int]) -> Any:
    """A kernel [K..., IC, OC] with zeros between its taps, which does without dilation."""
    for axis, step in enumerate(dilation):
        if step > 1:
            taps = tf.unstack(kernel, axis=axis)
            between = [tf.zeros_like(taps[0])] * (step - 1)
            kernel = tf.stack([part for tap in taps[:-1] for part in (tap, *between)] + [taps[-1]], axis)
    return kernel


@lowers("conv2d", "conv3d")
def _conv(node: Node, context: Context, value: Value, kernel: Value, _bias: Value, input_zp: Value, _zp: Value) -> Value:
    pad, stride, dilation = (node.attributes[name] for name in ("pad", "stride", "dilation"))
    spatial = len(stride)
    convolution = tf.nn.conv2d if spatial == 2 else tf.nn.conv3d
    window = list(kernel.tensor.shape[2:-1])

    def convolve(x: Any, w: Any) -> Any:
        x, padding = _pad_spatially(_merge(x), pad, window, stride, dilation)
        w = tf.transpose(w, [*range(1, spatial + 2), 0])
        if spatial == 2:
            return _split(convolution(x, w, strides=stride, padding=padding, dilations=dilation), node)
        # TensorFlow's conv3d knows no dilation on a CPU.
        return _split(convolution(x, _spread(w, dilation), strides=[1, *stride, 1], padding=padding), node)

    return _accumulate(node, context, value, input_zp, convolve, math.prod(window))


@lowers("depthwise_conv2d")
def _depthwise(node: Node, context: Context, value: Value, kernel: Value, _bias: Value, input_zp: Value, _zp: Value) -> Value:
    pad, stride, dilation = (node.attributes[name] for name in ("pad", "stride", "dilation"))
    window = list(kernel.tensor.shape[1:3])
    # TensorFlow wants equal strides, and none beside dilation: then the full result is thinned out.
    direct = stride[0] == stride[1] and (max(dilation) == 1 or max(stride) == 1)
    step = stride if direct else [1, 1]

    def convolve(x: Any, w: Any) -> Any:
        x, padding = _pad_spatially(_merge(x), pad, window, step, dilation)
        y = tf.nn.depthwise_conv2d(x, w, strides=[1, *step, 1], padding=padding, dilations=dilation)
        return _split(y if direct else y[:, :: stride[0], :: stride[1]], node)

    return _accumulate(node, context, value, input_zp, convolve, math.prod(window))


@lowers("transpose_conv2d")
def _transpose_conv(node: Node, context: Context, value: Value, kernel: Value, _b: Value, input_zp: Value, _zp: Value) -> Value:
    (top, bottom, left, right), stride = node.attributes["out_pad"], node.attributes["stride"]
    channels, rows, columns, _ = kernel.tensor.shape[1:]

    def convolve(x: Any, w: Any) -> Any:
        x = _merge(x)
        full = [(n - 1) * s + k for n, s, k in zip(x.shape[1:3], stride, (rows, columns), strict=True)]
        shape = [tf.shape(x)[0], *full, channels]
        y = tf.nn.conv2d_transpose(x, tf.transpose(w, [1, 2, 0, 3]), shape, strides=stride, padding="VALID")
        y = tf.pad(y, [(0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0)), (0, 0)])
        height, width = y.shape[1:3]
        y = y[:, max(-top, 0) : height - max(-bottom, 0), max(-left, 0) : width - max(-right, 0)]
        return _split(y, node)

    return _accumulate(node, context, value, input_zp, convolve, rows * columns)


@lowers("fully_connected")
def _fully_connected(node: Node, context: Context, value: Value, _w: Value, _b: Value, input_zp: Value, _zp: Value) -> Value:
    def convolve(x: Any, w: Any) -> Any:
        return _split(tf.matmul(_merge(x), w, transpose_b=True), node)

    return _accumulate(node, context, value, input_zp, convolve, 1)


@lowers("matmul")
def _matmul(node: Node, context: Context, a: Value, b: Value, a_zp: Value, b_zp: Value) -> Value:
    x, x_low, x_high = context.numbers.minus(a, _zero_point(node, a_zp))
    y, y_low, y_high = context.numbers.minus(b, _zero_point(node, b_zp))
    products = [p * q for p in (x_low, x_high) for q in (y_low, y_high)]
    depth = int(x.shape[-1])
    bound = depth * max(map(abs, products))
    dtype = context.numbers.dtype(bound)
    result = tf.matmul(cast(x, dtype), cast(y, dtype))
    return context.numbers.make(result, *_clipped(node, depth * min(products), depth * max(products)))


# -- pools and reductions ----------------------------------------------------------------------------------------------


def _reciprocal(counts: np.ndarray) -> Scale:
    """The specification's reciprocal_scale."""
    k = np.array([int(n - 1).bit_length() for n in counts.reshape(-1)]).reshape(counts.shape)
    multiplier = (((np.int64(1) << 30) + 1) << k) // counts
    return Scale(multiplier, 30 + k)


@lowers("avg_pool2d")
def _avg_pool(node: Node, context: Context, value: Value, input_zp: Value, output_zp: Value) -> Value:
    kernel, stride, pad = (node.attributes[name] for name in ("kernel", "stride", "pad"))
    x, low, high = context.numbers.minus(value, _zero_point(node, input_zp))
    x = _merge(x)
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
    return rescaled(context.numbers, _split(total, node), low, high, scale, _zero_point(node, output_zp), node.limits)


@lowers("max_pool2d")
def _max_pool(node: Node, _context: Context, value: Value) -> Value:
    kernel, stride, pad = (node.attributes[name] for name in ("kernel", "stride", "pad"))
    x, padding = _pad_spatially(_merge(value.tensor), pad, kernel, stride, [1, 1], float(value.low - value.offset))
    return value.with_tensor(_split(tf.nn.max_pool2d(x, kernel, stride, padding), node))


@lowers("reduce_sum", "reduce_product", "reduce_max", "reduce_min", "reduce_all", "reduce_any")
def _reduce(node: Node, context: Context, value: Value) -> Value:
    axis = int(node.attributes["axis"])
    if node.kind in ("reduce_max", "reduce_all"):
        return value.with_tensor(
            tf.reduce_max(value.tensor, axis + 1, True) if node.kind == "reduce_max" else _all(value, axis)
        )
    if node.kind in ("reduce_min", "reduce_any"):
        return value.with_tensor(
            tf.reduce_min(value.tensor, axis + 1, True) if node.kind == "reduce_min" else _any(value, axis)
        )
    plain = context.numbers.plain(value)
    extent = int(plain.shape[axis + 1])
    if node.kind == "reduce_product":
        bound = max(abs(value.low), abs(value.high)) ** extent
        plain = cast(plain, context.numbers.dtype(bound))
        return context.numbers.make(tf.reduce_prod(plain, axis + 1, True), *_clipped(node, -bound, bound))
    low, high = min(value.low * extent, value.low), max(value.high * extent, value.high)
    plain = cast(plain, context.numbers.dtype(low, high))
    return context.numbers.make(tf.reduce_sum(plain, axis + 1, True), *_clipped(node, low, high))


def _all(value: Value, axis: int) -> Any:
    return tf.reduce_min(value.tensor, axis + 1, True)


def _any(value: Value, axis: int) -> Any:
    return tf.reduce_max(value.tensor, axis + 1, True)


@lowers("argmax", "argmin")
def _argmax(node: Node, context: Context, value: Value) -> Value:
    axis = int(node.attributes["axis"])
    extent = int(value.tensor.shape[axis + 1])
    function = tf.argmax if node.kind == "argmax" else tf.argmin
    return context.numbers.make(function(value.tensor, axis + 1, output_type=tf.int32), 0, extent - 1)


# -- element by element ------------------------------------------------------------------------------------------------


@lowers("add", "sub")
def _add(node: Node, context: Context, a: Value, b: Value) -> Value:
    if node.kind == "add":
        low, high = a.low + b.low, a.high + b.high
    else:
        low, high = a.low - b.high, a.high - b.low
    dtype = context.numbers.dtype(low, high, a.low, a.high, b.low, b.high)
    x, y = cast(context.numbers.plain(a), dtype), cast(context.numbers.plain(b), dtype)
    return context.numbers.make(x + y if node.kind == "add" else x - y, *_clipped(node, low, high))


@lowers("mul")
def _mul(node: Node, context: Context, a: Value, b: Value, shift: Value) -> Value:
    s = _zero_point(node, shift)
    products = [p * q for p in (a.low, a.high) for q in (b.low, b.high)]
    x, y = context.numbers.plain(a), context.numbers.plain(b)
    if s == 0:
        dtype = context.numbers.dtype(*products)
        return context.numbers.make(cast(x, dtype) * cast(y, dtype), *_clipped(node, min(products), max(products)))
    half = 1 << (s - 1)
    low, high = (min(products) + half) >> s, (max(products) + half) >> s
    smooth = cast(x, tf.float64) * cast(y, tf.float64) * 2.0**-s
    if max(map(abs, products)) + half <= 1 << 53:
        exact = tf.floor(smooth + 0.5)
    else:
        product = tf.cast(x, tf.int64) * tf.cast(y, tf.int64) + tf.constant(half, tf.int64)
        exact = tf.cast(tf.bitwise.right_shift(product, tf.constant(s, tf.int64)), tf.float64)
    return context.numbers.make(straight_through(exact, smooth), *_clipped(node, low, high))


@lowers("arithmetic_right_shift", "logical_right_shift", "logical_left_shift")
def _shift(node: Node, context: Context, a: Value, b: Value) -> Value:
    x, s = context.numbers.plain(a), context.numbers.plain(b)
    integers, steps = tf.cast(x, tf.int64), tf.cast(s, tf.int64)
    bits = node.operand_bits[0]
    smooth = cast(x, tf.float64)
    if node.kind == "logical_left_shift":
        exact = _wrap(tf.bitwise.left_shift(*_same_shape(integers, steps)), bits)
        smooth = smooth * tf.pow(tf.constant(2.0, tf.float64), cast(s, tf.float64))
        grown = [v << n for v in (a.low, a.high) for n in (max(b.low, 0), max(b.high, 0))]
        low, high = min(grown), max(grown)
        if low < node.limits[0] or high > node.limits[1]:
            low, high = node.limits
    else:
        if node.kind == "logical_right_shift":
            integers = tf.bitwise.bitwise_and(integers, tf.constant((1 << bits) - 1, tf.int64))
        exact = tf.bitwise.right_shift(*_same_shape(integers, steps))
        low, high = (a.low, a.high) if node.kind == "arithmetic_right_shift" else node.limits
        low, high = min(low, 0), max(high, 0)
        if node.attributes.get("round"):
            before = tf.bitwise.right_shift(*_same_shape(integers, tf.maximum(steps - 1, 0)))
            exact += tf.where(steps > 0, tf.bitwise.bitwise_and(before, tf.constant(1, tf.int64)), tf.zeros([], tf.int64))
            high += 1
        smooth = smooth * tf.pow(tf.constant(2.0, tf.float64), -cast(s, tf.float64))
    low, high = _clipped(node, low, high)
    return context.numbers.make(straight_through(tf.cast(exact, tf.float64), smooth), low, high)


def _same_shape(a: Any, b: Any) -> tuple[Any, Any]:
    shape = tf.broadcast_dynamic_shape(tf.shape(a), tf.shape(b))
    return tf.broadcast_to(a, shape), tf.broadcast_to(b, shape)


def _wrap(integers: Any, bits: int) -> Any:
    """Two's complement of `bits` bits."""
    spare = tf.constant(64 - bits, tf.int64)
    return tf.bitwise.right_shift(tf.bitwise.left_shift(integers, spare), spare)


@lowers("clz")
def _clz(node: Node, context: Context, value: Value) -> Value:
    x = cast(context.numbers.plain(value), tf.float64)
    bits = node.operand_bits[0]
    # The exponent field of a float64 is the place of its leading one; integers of up to 53 bits are exact in it.
    exponent = tf.bitwise.right_shift(tf.bitcast(tf.maximum(x, 1.0), tf.int64), tf.constant(52, tf.int64)) - 1023
    zeros = tf.cast(bits - 1 - exponent, tf.float64)
    zeros = tf.where(x < 0, tf.zeros_like(x), tf.where(x < 1, tf.ones_like(x) * bits, zeros))
    return context.numbers.make(tf.stop_gradient(zeros), 0, bits)


@lowers("abs")
def _abs(node: Node, context: Context, value: Value) -> Value:
    high = max(abs(value.low), abs(value.high))
    return context.numbers.make(tf.abs(context.numbers.plain(value)), *_clipped(node, 0, high))


@lowers("negate")
def _negate(node: Node, context: Context, value: Value, input_zp: Value | None = None, output_zp: Value | None = None) -> Value:
    zero, out = (0 if z is None else _zero_point(node, z) for z in (input_zp, output_zp))
    x, low, high = context.numbers.minus(value, zero)
    bottom, top = node.limits
    x = tf.clip_by_value(-x, tf.cast(bottom - out, x.dtype), tf.cast(top - out, x.dtype))
    return context.numbers.make(x, *_clipped(node, out - high, out - low), offset=out)


@lowers("maximum", "minimum")
def _extremum(node: Node, context: Context, a: Value, b: Value) -> Value:
    dtype = context.numbers.dtype(a.low, a.high, b.low, b.high)
    x, y = cast(context.numbers.plain(a), dtype), cast(context.numbers.plain(b), dtype)
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
    x = value.tensor
    low, high = (tf.cast(limit - value.offset, x.dtype) for limit in (bottom, top))
    clamped = min(max(value.low, bottom), top), max(min(value.high, top), bottom)
    return context.numbers.make(tf.clip_by_value(x, low, high), *clamped, offset=value.offset)


@lowers("cast")
def _cast(node: Node, context: Context, value: Value) -> Value:
    plain = context.numbers.plain(value)
    if node.bits == 1:
        return context.numbers.make(tf.cast(tf.not_equal(plain, 0), tf.float32), 0, 1)
    low, high = node.limits
    if value.low >= low and value.high <= high:
        return value
    # Narrowing keeps the low bits.
    return context.numbers.make(
        straight_through(tf.cast(_wrap(tf.cast(plain, tf.int64), node.bits), plain.dtype), plain), low, high
    )


@lowers("equal", "greater", "greater_equal")
def _compare(node: Node, context: Context, a: Value, b: Value) -> Value:
    dtype = context.numbers.dtype(a.low, a.high, b.low, b.high)
    x, y = cast(context.numbers.plain(a), dtype), cast(context.numbers.plain(b), dtype)
    function = {"equal": tf.equal, "greater": tf.greater, "greater_equal": tf.greater_equal}[node.kind]
    return context.numbers.make(tf.cast(function(x, y), tf.float32), 0, 1)


@lowers("select")
def _select(node: Node, context: Context, condition: Value, a: Value, b: Value) -> Value:
    low, high = min(a.low, b.low), max(a.high, b.high)
    dtype = context.numbers.dtype(low, high)
    x, y = cast(context.numbers.plain(a), dtype), cast(context.numbers.plain(b), dtype)
    return context.numbers.make(tf.where(tf.not_equal(context.numbers.plain(condition), 0), x, y), low, high)


@lowers("logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not")
def _bits(node: Node, context: Context, *values: Value) -> Value:
    integers = [tf.cast(context.numbers.plain(value), tf.int64) for value in values]
    operation = node.kind.partition("_")[2]
    if operation == "not":
        one = tf.constant(1, tf.int64)
        result = one - integers[0] if node.bits == 1 else -integers[0] - one
    else:
        function = {"and": tf.bitwise.bitwise_and, "or": tf.bitwise.bitwise_or, "xor": tf.bitwise.bitwise_xor}[operation]
        result = function(*_same_shape(*integers))
    return context.numbers.make(tf.cast(result, tf.float64), *node.limits)


@lowers("intdiv")
def _intdiv(node: Node, context: Context, a: Value, b: Value) -> Value:
    x, y = (tf.cast(context.numbers.plain(v), tf.int64) for v in (a, b))
    bound = max(abs(a.low), abs(a.high))
    # Towards zero, as in C; TensorFlow's division of integers rounds down.
    quotient = tf.sign(x) * tf.sign(y) * (tf.abs(x) // tf.abs(y))
    return context.numbers.make(tf.cast(quotient, tf.float64), *_clipped(node, -bound, bound))


@lowers("table")
def _table(node: Node, context: Context, value: Value, table: Value) -> Value:
    entries = _constant(node, table, "table")
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
    return context.numbers.make(straight_through(exact, smooth), *_clipped(node, low, high))


# -- resize ------------------------------------------------------------------------------------------------------------


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
    yn, yd, xn, xd = _constant(node, scale, "scale").tolist()
    oy, ox = _constant(node, offset, "offset").tolist()
    nearest = "NEAREST" in str(node.attributes["mode"])
    x = context.numbers.plain(value)
    rows = _resize_matrix(int(x.shape[2]), node.shape[1], (yn, yd), oy, nearest)
    columns = _resize_matrix(int(x.shape[3]), node.shape[2], (xn, xd), ox, nearest)
    gain = 1 if nearest else yn * xn
    low, high = value.low * gain, value.high * gain
    dtype = context.numbers.dtype(low, high, max(abs(value.low), abs(value.high)) * gain)
    y = tf.einsum("nbhwc,yh,xw->nbyxc", cast(x, dtype), tf.constant(rows, dtype), tf.constant(columns, dtype))
    return context.numbers.make(y, *_clipped(node, low, high))


# -- moving data -------------------------------------------------------------------------------------------------------


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
    begin = _constant(node, start, "start").tolist()
    return value.with_tensor(tf.slice(value.tensor, [0, *begin], [-1, *node.shape]))


@lowers("pad")
def _pad(node: Node, context: Context, value: Value, padding: Value, fill: Value) -> Value:
    pairs = _constant(node, padding, "padding").reshape(-1, 2).tolist()
    with_ = _zero_point(node, fill)
    filled = tf.pad(value.tensor, [(0, 0), *pairs], constant_values=tf.cast(with_ - value.offset, value.tensor.dtype))
    return Value(filled, min(value.low, with_), max(value.high, with_), value.offset)


@lowers("concat")
def _concat(node: Node, context: Context, *values: Value) -> Value:
    low, high = min(v.low for v in values), max(v.high for v in values)
    offset = values[0].offset if len({v.offset for v in values}) == 1 else 0
    dtype = context.numbers.dtype(low - offset, high - offset)
    parts = [cast(context.numbers.minus(v, offset)[0], dtype) for v in values]
    return Value(tf.concat(_broadcast_batch(parts), int(node.attributes["axis"]) + 1), low, high, offset)


@lowers("reverse")
def _reverse(node: Node, _context: Context, value: Value) -> Value:
    return value.with_tensor(tf.reverse(value.tensor, [int(node.attributes["axis"]) + 1]))


@lowers("tile")
def _tile(node: Node, _context: Context, value: Value, multiples: Value) -> Value:
    return value.with_tensor(tf.tile(value.tensor, [1, *_constant(node, multiples, "multiples").tolist()]))


@lowers("gather")
def _gather(node: Node, context: Context, values: Value, indices: Value) -> Value:
    index = tf.cast(context.numbers.plain(indices), tf.int32)
    tensor, index = _broadcast_batch([values.tensor, index])
    return values.with_tensor(tf.gather(tensor, index, axis=2, batch_dims=2))


@lowers("scatter")
def _scatter(node: Node, context: Context, values: Value, indices: Value, given: Value) -> Value:
    low, high = min(values.low, given.low), max(values.high, given.high)
    dtype = context.numbers.dtype(low, high)
    tensor, index, updates = _broadcast_batch(
        [
            cast(context.numbers.plain(values), dtype),
            tf.cast(context.numbers.plain(indices), tf.int32),
            cast(context.numbers.plain(given), dtype),
        ]
    )
    # One row of indices for each update: sample, batch, place.
    samples, batches, _ = tf.unstack(tf.shape(index))
    sample, batch = (tf.reshape(tf.range(n), shape) for n, shape in ((samples, [-1, 1, 1]), (batches, [1, -1, 1])))
    places = tf.stack([sample + tf.zeros_like(index), batch + tf.zeros_like(index), index], -1)
    return context.numbers.make(tf.tensor_scatter_nd_update(tensor, places, updates), low, high)
