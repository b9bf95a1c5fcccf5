# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What flows through the twin: integers held in floats, with a proven range."""

from __future__ import annotations

import dataclasses
from typing import Any

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
class Value:
    """Integers held in floats.

    A zero point is carried beside the tensor: what a rescale adds and the next layer takes off again is never computed.

    Attributes:
        tensor: float32 or float64 [N, *shape of the graph's value]; N is 1 for constants. Every element is an integer.
        low, high: the integers (tensor + offset) lie in this range, proven from weights and input ranges.
        offset: what is added to the tensor to get the integers.
        constant: the integers, int64 [*shape], where they are known.
    """

    tensor: Any
    low: int
    high: int
    offset: int = 0
    constant: np.ndarray | None = None

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
        """float32 where integers of these magnitudes are exact in it, else float64 (exact for every TOSA type, i48 too)."""
        exact = not self.reference and all(abs(bound) <= FLOAT32_EXACT for bound in bounds)
        return tf.float32 if exact else tf.float64

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
