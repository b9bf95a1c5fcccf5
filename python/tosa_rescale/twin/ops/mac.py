# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ops that multiply and accumulate: convolutions and matrix products."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.ops.registry import (
    Context,
    batch_as_samples,
    fitted,
    lowers,
    padded,
    product_ends,
    samples_as_batch,
    zero_point_of,
)
from tosa_rescale.twin.values import Accumulation, LoweringError, Node, Value, cast


def _accumulate(node: Node, context: Context, value: Value, zero_point: Value, convolve: Callable[[Any, Any], Any]) -> Value:
    """Runs a convolution in the float type that its partial sums fit, then adds the bias."""
    weights = context.weights(node)
    if weights is None:
        raise LoweringError(f"{node.where}: requires constant weights and bias; fold them first")
    x, low, high = context.numbers.minus(value, zero_point_of(node, zero_point))
    bounds = weights.bounds(min(low, 0), max(high, 0))
    dtype = context.numbers.dtype(bounds.partial, low, high)
    x = cast(x, dtype)
    y = _convolved(context, convolve, x, weights.kernel(), dtype)
    total = context.numbers.dtype(bounds.partial, bounds.least, bounds.most)
    accumulators = cast(y, total) + cast(weights.bias(), total)
    result = fitted(node, context, accumulators, bounds.least, bounds.most)
    bottom, top = node.limits
    if dtype != tf.float32 or bounds.least < bottom or bounds.most > top:
        return result
    # What follows may have no use for these accumulators; TensorFlow then never computes them.
    return dataclasses.replace(result, made=Accumulation(x, convolve, weights, bounds))


def _convolved(context: Context, convolve: Callable[[Any, Any], Any], x: Any, kernel: Any, dtype: Any) -> Any:
    """Sums of products, in a float type that is exact forwards. Gradients need no more than float32, at half of the time."""
    if dtype == tf.float32 or context.numbers.reference:
        return convolve(x, cast(kernel, dtype))

    @tf.custom_gradient
    def apply(x: Any, kernel: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            narrow = [tf.cast(each, tf.float32) for each in (x, kernel)]
            # What is convolved here for its gradients' sake is never computed.
            with tf.GradientTape() as tape:
                tape.watch(narrow)
                unused = convolve(*narrow)
            by_x, by_kernel = tape.gradient(unused, narrow, tf.cast(upstream, tf.float32))
            return cast(by_x, x.dtype), by_kernel

        return convolve(x, cast(kernel, dtype)), gradient

    return apply(x, kernel)


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
    linear = not any(pad) and all(extent == 1 for extent in (*window, *value.tensor.shape[2:-1]))

    def convolve(x: Any, w: Any) -> Any:
        if linear:
            # A layer over rows, as transformers have them: TensorFlow's convolution goes row by row backwards.
            rows = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), tf.reshape(w, [-1, x.shape[-1]]), transpose_b=True)
            return batch_as_samples(rows, node)
        x, padding = padded(samples_as_batch(x), pad, window, stride, dilation)
        w = tf.transpose(w, [*range(1, spatial + 2), 0])
        if spatial == 2:
            return batch_as_samples(convolution(x, w, strides=stride, padding=padding, dilations=dilation), node)
        # TensorFlow's conv3d knows no dilation on a CPU.
        return batch_as_samples(convolution(x, _spread(w, dilation), strides=[1, *stride, 1], padding=padding), node)

    return _accumulate(node, context, value, input_zp, convolve)


@lowers("depthwise_conv2d")
def _depthwise(node: Node, context: Context, value: Value, kernel: Value, _bias: Value, input_zp: Value, _zp: Value) -> Value:
    pad, stride, dilation = (node.attributes[name] for name in ("pad", "stride", "dilation"))
    window = list(kernel.tensor.shape[1:3])
    # TensorFlow wants equal strides, and none beside dilation: then the full result is thinned out.
    direct = stride[0] == stride[1] and (max(dilation) == 1 or max(stride) == 1)
    step = stride if direct else [1, 1]

    def convolve(x: Any, w: Any) -> Any:
        x, padding = padded(samples_as_batch(x), pad, window, step, dilation)
        y = tf.nn.depthwise_conv2d(x, w, strides=[1, *step, 1], padding=padding, dilations=dilation)
        return batch_as_samples(y if direct else y[:, :: stride[0], :: stride[1]], node)

    return _accumulate(node, context, value, input_zp, convolve)


@lowers("transpose_conv2d")
def _transpose_conv(node: Node, context: Context, value: Value, kernel: Value, _b: Value, input_zp: Value, _zp: Value) -> Value:
    (top, bottom, left, right), stride = node.attributes["out_pad"], node.attributes["stride"]
    channels, rows, columns, _ = kernel.tensor.shape[1:]

    def convolve(x: Any, w: Any) -> Any:
        x = samples_as_batch(x)
        full = [(n - 1) * s + k for n, s, k in zip(x.shape[1:3], stride, (rows, columns), strict=True)]
        shape = [tf.shape(x)[0], *full, channels]
        y = tf.nn.conv2d_transpose(x, tf.transpose(w, [1, 2, 0, 3]), shape, strides=stride, padding="VALID")
        y = tf.pad(y, [(0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0)), (0, 0)])
        height, width = y.shape[1:3]
        y = y[:, max(-top, 0) : height - max(-bottom, 0), max(-left, 0) : width - max(-right, 0)]
        return batch_as_samples(y, node)

    return _accumulate(node, context, value, input_zp, convolve)


@lowers("matmul")
def _matmul(node: Node, context: Context, a: Value, b: Value, a_zp: Value, b_zp: Value) -> Value:
    x, *x_ends = context.numbers.minus(a, zero_point_of(node, a_zp))
    y, *y_ends = context.numbers.minus(b, zero_point_of(node, b_zp))
    low, high = product_ends((x_ends[0], x_ends[1]), (y_ends[0], y_ends[1]))
    depth = int(x.shape[-1])
    dtype = context.numbers.dtype(depth * max(-low, high), *x_ends, *y_ends)
    # One sample for all, as a constant is: TensorFlow's oneDNN repeats matrices by itself wrongly, down to a corrupted heap.
    samples = tf.maximum(tf.shape(x)[0], tf.shape(y)[0])
    x, y = (_repeated(cast(each, dtype), samples) for each in (x, y))
    return fitted(node, context, tf.matmul(x, y), depth * low, depth * high)


def _repeated(matrices: Any, samples: Any) -> Any:
    """[1 or N, B, H, W] to [N, B, H, W]."""
    return matrices if matrices.shape[0] is None else tf.broadcast_to(matrices, [samples, *matrices.shape[1:]])
