# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The trainable weights and biases of one MAC layer, and the bounds that they keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tosa_rescale_runtime import type_limits

from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.graph import Graph
from tosa_rescale.twin.values import Bounds, Node


def _assign(variable: Any, function: Callable[[Any], Any]) -> Any:
    return variable.assign(function(variable))


class Layer:
    """Weights and bias of one MAC layer: trainable, quantized in the forward pass.

    Attributes:
        key: of the op.
        kernel_variable: float32, in the graph's layout, on the scale of the integers (1 is one step).
        bias_variable: float64 [C].
        kernel_limits, bias_limits: the grid that quantization clips to.
    """

    def __init__(self, node: Node, graph: Graph, slack: float) -> None:
        self.key, self.where = node.key, node.where
        weights, bias = (graph.constants[node.operands[i]] for i in (1, 2))
        self._zero_point = int(graph.constants[node.operands[4]].reshape(-1)[0]) if len(node.operands) > 4 else 0
        # -128 stays out, as kernels that negate want it, unless the model uses it already.
        low, high = type_limits(node.operand_bits[1], node.operand_unsigned[1])
        self.kernel_limits = (min(low + 1, int(weights.min())) if low < 0 else low, high)
        self.bias_limits = type_limits(node.operand_bits[2], False)
        # Output channels are the first axis, except in depthwise layers: [H, W, C, M].
        rank = weights.ndim
        self._axes = (0, 1) if node.kind == "depthwise_conv2d" else tuple(range(1, rank))
        self._slack = slack
        self._limits: tuple[int, int, Bounds] | None = None
        self.kernel_variable = tf.Variable(weights.astype(np.float32), name=f"{node.key}/kernel")
        self.bias_variable = tf.Variable(bias.astype(np.float64), name=f"{node.key}/bias")
        self._start = weights.astype(np.float32)
        self._measure(weights, bias)

    def _measure(self, weights: np.ndarray, bias: np.ndarray) -> None:
        w = weights.astype(np.int64) - self._zero_point
        self._positive = np.maximum(w, 0).sum(self._axes).reshape(-1)
        self._negative = np.maximum(-w, 0).sum(self._axes).reshape(-1)
        self._bias = np.broadcast_to(bias.reshape(-1), self._positive.shape)

    def kernel(self) -> Any:
        """Zero-point-free integer weights, float32; gradients pass the rounding and stop where it clips."""
        return _quantized(self.kernel_variable, *self.kernel_limits) - float(self._zero_point)

    def bias(self) -> Any:
        """Integer bias, float64."""
        return _quantized(self.bias_variable, *self.bias_limits)

    def beside_kernel(self, by_channel: np.ndarray) -> np.ndarray:
        """Numbers by output channel, [C] or [1], in a shape that broadcasts to the kernel's."""
        if by_channel.size == 1:
            return by_channel.reshape(())
        shape = [1 if axis in self._axes else extent for axis, extent in enumerate(self.kernel_variable.shape)]
        return by_channel.reshape(shape)

    def bounds(self, low: int, high: int) -> Bounds:
        """What sums and biases may be for inputs in low..high, low <= 0 <= high, with room for training.

        Whatever the order of addition, a partial sum lies between the sum of all negative products and that of all
        positive ones.
        """
        most = self._positive * high - self._negative * low
        least = self._positive * low - self._negative * high
        room = 0
        if self._slack > 1:
            room = int((self._slack - 1) * max(most.max(), -least.min())) + 1
        found = Bounds(least - room, most + room, self._bias - room, self._bias + room)
        self._limits = (low, high, found)
        return found

    def within_bounds(self) -> Any:
        """Whether the weights of now keep the bounds that were used: a boolean tensor. Not so where none were used yet."""
        if self._limits is None:
            return tf.constant(False)
        low, high = (tf.constant(float(limit), tf.float64) for limit in self._limits[:2])
        limits = self._limits[2]
        w = tf.cast(self.kernel(), tf.float64)
        positive = tf.reshape(tf.reduce_sum(tf.maximum(w, 0.0), self._axes), [-1])
        negative = tf.reshape(tf.reduce_sum(tf.maximum(-w, 0.0), self._axes), [-1])
        bias = self.bias()
        held = [
            positive * high - negative * low <= limits.high.astype(np.float64),
            positive * low - negative * high >= limits.low.astype(np.float64),
            bias <= limits.bias_high.astype(np.float64),
            bias >= limits.bias_low.astype(np.float64),
        ]
        return tf.reduce_all([tf.reduce_all(each) for each in held])

    def project(self, update: Callable[[Any, Callable[[Any], Any]], Any] = _assign) -> None:
        """Brings weights that left the grid back to its border; part of a training step.

        Args:
            update: applies a function to every copy of a variable, where replicas have their own.
        """
        for variable, (low, high) in ((self.kernel_variable, self.kernel_limits), (self.bias_variable, self.bias_limits)):
            limits = [tf.constant(limit, variable.dtype) for limit in (low, high)]
            update(variable, lambda copy, limits=limits: tf.clip_by_value(copy, *limits))

    def gain_gradient(self, kernel: Any, bias: Any) -> Any:
        """The gradient by ln(gain) of each output channel, where the gain scales its weights and its bias.

        Args:
            kernel, bias: the gradients by weights and bias.

        Returns:
            float64, of the kernel's rank, 1 in all dimensions but those of the output channels.
        """
        weights = tf.cast(self.kernel_variable, tf.float64) - float(self._zero_point)
        by_weights = tf.reduce_sum(tf.cast(kernel, tf.float64) * weights, self._axes, keepdims=True)
        by_bias = bias * tf.convert_to_tensor(self.bias_variable)
        if bias.shape[0] == 1:
            return by_weights + by_bias
        return by_weights + tf.reshape(by_bias, by_weights.shape)

    def spread_gain(self, gain: Any) -> tuple[Any, Any]:
        """What small changes of ln(gain), shaped as by `gain_gradient`, do to weights and bias."""
        weights = tf.convert_to_tensor(self.kernel_variable) - float(self._zero_point)
        bias = tf.convert_to_tensor(self.bias_variable)
        by_bias = tf.reduce_mean(gain) if bias.shape[0] == 1 else tf.reshape(gain, [-1])
        return tf.cast(gain, tf.float32) * weights, by_bias * bias

    def fold_gain(self, gain: np.ndarray) -> bool:
        """Multiplies weights and bias by a gain for each output channel, cut off at the grid's ends.

        Args:
            gain: float64 [C] or [1].

        Returns:
            False where one bias stands for all channels, which cannot follow: nothing was changed.
        """
        weights, bias = self.kernel_variable.numpy(), self.bias_variable.numpy()
        if gain.size > 1 and bias.size == 1:
            return False
        zero_point = np.float32(self._zero_point)
        scaled = (weights - zero_point) * self.beside_kernel(gain).astype(np.float32) + zero_point
        self.kernel_variable.assign(np.clip(scaled, *self.kernel_limits))
        self.bias_variable.assign(np.clip(bias * gain, *self.bias_limits))
        return True

    def dither(self, rng: np.random.Generator, size: float) -> None:
        """Moves each weight that is an integer within its rounding interval, which changes no integer.

        Args:
            rng: draws the moves, uniform.
            size: the largest move, below 0.5.
        """
        weights = self.kernel_variable.numpy()
        moves = rng.uniform(-size, size, weights.shape).astype(np.float32)
        self.kernel_variable.assign(np.where(weights == np.rint(weights), weights + moves, weights))

    def mean_move(self) -> float:
        """Mean distance of the weights from where they started, in steps."""
        return float(np.abs(self.kernel_variable.numpy() - self._start).mean())

    def integers(self, copy: Callable[[Any], Any] = lambda variable: variable) -> tuple[np.ndarray, np.ndarray]:
        """Quantized weights (with their zero point, as in the graph) and bias, int64.

        Args:
            copy: which copy of a variable to read, where replicas have their own.
        """
        kernel = np.clip(np.rint(copy(self.kernel_variable).numpy()), *self.kernel_limits)
        bias = np.clip(np.rint(copy(self.bias_variable).numpy()), *self.bias_limits)
        return kernel.astype(np.int64), bias.astype(np.int64)

    def renew(self) -> None:
        """Chooses the bounds anew, from the weights of now; with twice the room where they were not kept."""
        if self._limits is not None and not self.within_bounds():
            self._slack = 1 + 2 * (self._slack - 1)
        self._measure(*self.integers())


def _quantized(variable: Any, low: int, high: int) -> Any:
    """round and clip; the gradient passes where nothing is clipped."""
    limits = (tf.constant(low, variable.dtype), tf.constant(high, variable.dtype))

    @tf.custom_gradient
    def quantize(w: Any) -> Any:
        rounded = tf.round(w)
        inside = tf.logical_and(rounded >= limits[0], rounded <= limits[1])

        def gradient(upstream: Any) -> Any:
            return tf.where(inside, upstream, tf.zeros([], upstream.dtype))

        return tf.clip_by_value(rounded, *limits), gradient

    return quantize(tf.convert_to_tensor(variable))
