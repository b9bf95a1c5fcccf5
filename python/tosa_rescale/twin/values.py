# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What flows through the twin: integers held in floats, with a proven range."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from tosa_rescale_runtime import Rescale, TosaRescaleError, type_limits

from tosa_rescale.twin.backend import tf

FLOAT32_EXACT = 1 << 24
FLOAT64_EXACT = 1 << 53


class LoweringError(TosaRescaleError):
    """An op that the twin cannot express; the message names it and its place in the model."""


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """One op of the graph, read once so that tracing needs no IR.

    Attributes:
        key, kind, name: see tosa_rescale_runtime.Op.
        operands: numbers of the values it reads.
        result: number of the value it gives.
        attributes: as Python values.
        shape: of the result.
        bits: width of the result's elements.
        unsigned: the result's element type is unsigned.
        operand_bits: width of each operand's elements; 0 for shapes.
        operand_unsigned: each operand's element type is unsigned.
        rescale: what a `tosa.rescale` says.
    """

    key: str
    kind: str
    name: str
    operands: tuple[int, ...]
    result: int
    attributes: dict[str, Any]
    shape: tuple[int, ...]
    bits: int
    unsigned: bool
    operand_bits: tuple[int, ...]
    operand_unsigned: tuple[bool, ...]
    rescale: Rescale | None

    @property
    def where(self) -> str:
        """The op and its place, for messages."""
        return f"`{self.key}` (tosa.{self.kind} at {self.name})"

    @property
    def limits(self) -> tuple[int, int]:
        """The range of the result's element type."""
        return type_limits(self.bits, self.unsigned)


@dataclasses.dataclass(frozen=True, eq=False)
class Bounds:
    """What a MAC layer's sums and biases may be, for each output channel; int64 [C].

    Attributes:
        low, high: the sum of products, and each of its partial sums in whatever order, low <= 0 <= high.
        bias_low, bias_high: the bias.
    """

    low: np.ndarray
    high: np.ndarray
    bias_low: np.ndarray
    bias_high: np.ndarray

    @property
    def channels(self) -> int:
        """How many output channels."""
        return len(self.low)

    @property
    def partial(self) -> int:
        """The largest magnitude of a partial sum without bias."""
        return int(max(self.high.max(), -self.low.min()))

    @property
    def least(self) -> int:
        """The least accumulator."""
        return int((self.low + self.bias_low).min())

    @property
    def most(self) -> int:
        """The largest accumulator."""
        return int((self.high + self.bias_high).max())


class Weights(Protocol):
    """What a MAC op asks of its weights: the quantized tensors, and bounds for the accumulator."""

    def kernel(self) -> Any:
        """Zero-point-free integer weights, float32, in the graph's layout."""
        ...

    def bias(self) -> Any:
        """Integer bias [C], float64."""
        ...

    def beside_kernel(self, by_channel: np.ndarray) -> np.ndarray:
        """Numbers by output channel, [C] or [1], in a shape that broadcasts to the kernel's."""
        ...

    def bounds(self, low: int, high: int) -> Bounds:
        """For inputs in low..high, low <= 0 <= high."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Accumulation:
    """How accumulators came about; what is behind them may compute them another way.

    Attributes:
        x: zero-point-free inputs, float32 [N, ...].
        convolve: from inputs and a kernel in the graph's layout, both float32, to the sums of products [N, ..., C].
        weights: of the layer.
        bounds: of the layer, for its inputs.
    """

    x: Any
    convolve: Callable[[Any, Any], Any]
    weights: Weights
    bounds: Bounds


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """Integers held in floats.

    A zero point is carried beside the tensor: what a rescale adds and the next layer takes off again is never computed.

    Attributes:
        tensor: float32 or float64 [N, *shape of the graph's value]; N is 1 for constants. Every element is an integer.
        low, high: the integers (tensor + offset) lie in this range, proven from weights and input ranges.
        offset: what is added to the tensor to get the integers.
        constant: the integers, int64 [*shape], where they are known.
        made: how they were accumulated, where a MAC layer made them in float32.
    """

    tensor: Any
    low: int
    high: int
    offset: int = 0
    constant: np.ndarray | None = None
    made: Accumulation | None = None

    def with_tensor(self, tensor: Any) -> Value:
        """The same range and offset with elements moved, repeated or left out."""
        return Value(tensor, self.low, self.high, self.offset)


class Numbers:
    """Which float type holds what.

    Args:
        reference: float64 everywhere.
    """

    def __init__(self, reference: bool) -> None:
        self.reference = reference

    def dtype(self, *bounds: int) -> Any:
        """float32 where integers of these magnitudes are exact in it, else float64.

        Raises:
            ValueError: not even float64 holds them. It does every TOSA type, i48 too, and sums of 2^23 products of 16 bits.
        """
        largest = max(map(abs, bounds))
        if largest > FLOAT64_EXACT:
            raise ValueError(f"integers up to {largest:.3g} may occur, beyond the 2^53 of a float64")
        return tf.float64 if self.reference or largest > FLOAT32_EXACT else tf.float32

    def constant(self, array: np.ndarray) -> Value:
        """A constant of the graph, with a batch dimension of 1."""
        array = np.asarray(array).astype(np.int64)
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        dtype = self.dtype(low, high)
        return Value(tf.constant(array[None], dtype), low, high, 0, array)

    def make(self, tensor: Any, low: int, high: int, offset: int = 0) -> Value:
        """A value whose tensor has the type that its range asks for."""
        return Value(cast(tensor, self.dtype(low - offset, high - offset)), low, high, offset)

    def minus(self, value: Value, zero_point: int) -> tuple[Any, int, int]:
        """A value less a zero point: tensor, low, high. Nothing is computed where the zero point is the offset."""
        low, high = value.low - zero_point, value.high - zero_point
        if value.offset == zero_point:
            return value.tensor, low, high
        dtype = self.dtype(low, high, value.low - value.offset, value.high - value.offset, value.offset - zero_point)
        return cast(value.tensor, dtype) + tf.cast(value.offset - zero_point, dtype), low, high

    def plain(self, value: Value) -> Any:
        """The integers of a value."""
        return self.minus(value, 0)[0]


def cast(tensor: Any, dtype: Any) -> Any:
    """tf.cast, left out where it would do nothing."""
    return tensor if tensor.dtype == dtype else tf.cast(tensor, dtype)


def straight_through(exact: Any, surrogate: Any) -> Any:
    """The exact value forwards, the surrogate's gradient backwards.

    Args:
        exact: what the integer op gives.
        surrogate: a differentiable tensor of the same shape.
    """

    @tf.custom_gradient
    def joined(smooth: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            return cast(upstream, smooth.dtype)

        return exact, gradient

    return joined(surrogate)
