# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Means of a flatbuffer as layers with constant weights: what `tosa-rescale-align` with `weighted-means` does to a module."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence, Set
from typing import Any

import numpy as np

from tosa_rescale.core.errors import ModelError
from tosa_rescale.formats.litert.build import add_constant, add_numbers, add_tensor_like, make_depthwise, new_operator
from tosa_rescale.formats.litert.operators import FULLY_CONNECTED_VERSIONS, INT8_VERSIONS
from tosa_rescale.formats.litert.pools import UINT8_ZERO_POINT, weights_of_a_mean
from tosa_rescale.formats.litert.schema import dtype_of, name_of, op_name, pack, schema, tensor_at, unpack

_KINDS = ("MEAN", "SUM")


@dataclasses.dataclass(frozen=True)
class MeanLayout:
    """How a convolution sees the values of means: [outer, window, inner].

    Attributes:
        order: the order of dimensions that brings the values of a mean together; None where they are.
        outer: number of windows.
        window: height and width of one.
        inner: channels, each with means of its own.
    """

    order: tuple[int, ...] | None
    outer: int
    window: tuple[int, int]
    inner: int

    @property
    def count(self) -> int:
        """Number of values of a mean."""
        return math.prod(self.window)

    @staticmethod
    def of(shape: Sequence[int], reduced: Set[int]) -> MeanLayout:
        """The layout of means over some dimensions: the same as that of the pass, WeightedMean.cpp.

        Args:
            shape: extents of the values.
            reduced: the dimensions that means are taken over.
        """
        wide = [axis for axis, extent in enumerate(shape) if extent != 1]
        inside = [axis for axis in wide if axis in reduced]
        first, last = min(inside, default=0), max(inside, default=0)
        kept = [axis for axis in range(len(shape)) if axis not in reduced]
        count = math.prod(shape[axis] for axis in inside)
        if any(first < axis < last and axis not in reduced for axis in wide):
            order = (*kept, *sorted(reduced))
            return MeanLayout(order, math.prod(shape[axis] for axis in kept), (count, 1), 1)
        outer, inner = math.prod(shape[:first]), math.prod(shape[last + 1 :])
        sides = tuple(shape[axis] for axis in inside)
        return MeanLayout(None, outer, sides if inner > 1 and len(sides) == 2 else (count, 1), inner)


def with_weighted_means(data: bytes, names: Set[str], source: str) -> bytes:
    """Replaces MEAN and SUM by layers with weights: FULLY_CONNECTED, or DEPTHWISE_CONV_2D where other dimensions follow.

    Args:
        data: a LiteRT flatbuffer.
        names: of the tensors that the operators in question make.
        source: the flatbuffer's name, for errors.

    Raises:
        ModelError: not a readable LiteRT flatbuffer, or dimensions that are not known.
    """
    model = unpack(data, source)
    graph = model.subgraphs[0]
    operators, found = [], False
    for each in graph.operators:
        if op_name(model, each) in _KINDS and name_of(graph.tensors[int(each.outputs[0])]) in names:
            operators += _Mean(model, each, source).operators()
            found = True
        else:
            operators.append(each)
    graph.operators = operators
    return pack(model) if found else data


class _Mean:
    """One MEAN or SUM, to be replaced."""

    def __init__(self, model: Any, operator: Any, source: str) -> None:
        self.model, self.operator, self.graph = model, operator, model.subgraphs[0]
        self.values, self.result = (self.graph.tensors[int(each[0])] for each in (operator.inputs, operator.outputs))
        self.name = name_of(self.result)
        self.shape = _extents(self.values)
        axes = tensor_at(model, int(operator.inputs[1])).value
        if axes is None:
            raise self._error(source, "its axes are no constant")
        self.reduced = {int(axis) % len(self.shape) for axis in axes.reshape(-1)}
        self.layout = MeanLayout.of(self.shape, self.reduced)
        self.before: list[Any] = []
        open_axes = [axis for axis, extent in enumerate(self.shape) if extent < 0]
        if open_axes and (len(open_axes) > 1 or open_axes[0] > min(self.reduced)):
            raise self._error(source, f"its input has the extents {self.shape}")

    def _error(self, source: str, reason: str) -> ModelError:
        return ModelError(
            f"{source}: the mean {self.name!r} cannot be written with weights: {reason}; compensate without `weighted_means`"
        )

    def operators(self) -> list[Any]:
        """What stands in its place, in order."""
        layout = self.layout
        is_plain = self.reduced == {len(self.shape) - 1} and self.operator.builtinOptions.keepDims
        given, outer = int(self.operator.inputs[0]), max(layout.outer, -1)
        if layout.order is not None:
            given = self._transposed(given, layout.order)
        if layout.inner > 1:
            given = self._reshaped(given, [outer, *layout.window, layout.inner])
            shape = [outer, 1, 1, layout.inner]
        elif is_plain:
            shape = [*self.shape[:-1], 1]
        else:
            given, shape = self._reshaped(given, [outer, layout.count]), [outer, 1]
        made = int(self.operator.outputs[0])
        if _extents(self.result) == shape:
            return [*self.before, self._layer(given, made)]
        sums = add_tensor_like(self.model, self.result, f"{self.name}/sums", shape)
        layer = self._layer(given, sums)
        return [*self.before, layer, self._reshape(sums, made, _extents(self.result))]

    def _transposed(self, given: int, order: Sequence[int]) -> int:
        made = add_tensor_like(self.model, self.values, f"{self.name}/order", [self.shape[axis] for axis in order])
        inputs = [given, add_numbers(self.model, f"{self.name}/axes", order)]
        self.before.append(new_operator(self.model, "TRANSPOSE", inputs, made, INT8_VERSIONS["TRANSPOSE"]))
        return made

    def _reshaped(self, given: int, shape: Sequence[int]) -> int:
        """A tensor in another shape, or itself where it has that."""
        if _extents(self.graph.tensors[given]) == list(shape):
            return given
        made = add_tensor_like(self.model, self.values, f"{self.name}/values", shape)
        self.before.append(self._reshape(given, made, shape))
        return made

    def _reshape(self, given: int, made: int, shape: Sequence[int]) -> Any:
        name = name_of(self.graph.tensors[made])
        operator = new_operator(self.model, "RESHAPE", [given, add_numbers(self.model, f"{name}/shape", shape)], made)
        operator.builtinOptions.newShape = np.array(shape, np.int32)
        return operator

    def _layer(self, given: int, made: int) -> Any:
        """The layer with weights."""
        layout, dtype = self.layout, dtype_of(self.values)
        taps, shift = weights_of_a_mean(layout.count)
        zero_point, kind = (UINT8_ZERO_POINT, np.uint8) if dtype == "uint8" else (0, np.int8)
        shape = (1, *layout.window, layout.inner) if layout.inner > 1 else (1, layout.count)
        weights = np.repeat(taps + zero_point, layout.inner).reshape(shape).astype(kind)
        unit = 2.0**-shift * (layout.count if op_name(self.model, self.operator) == "SUM" else 1)
        bias = np.zeros(layout.inner, np.int64 if dtype == "int16" else np.int32)
        scale = float(np.float32(self.values.quantization.scale[0]))
        inputs = [
            given,
            add_constant(self.model, f"{self.name}/weights", weights, unit, zero_point),
            add_constant(self.model, f"{self.name}/bias", bias, scale * unit, 0),
        ]
        if layout.inner == 1:
            layer = new_operator(self.model, "FULLY_CONNECTED", inputs, made, FULLY_CONNECTED_VERSIONS[dtype])
            layer.builtinOptions.keepNumDims = True
            return layer
        layer = schema().OperatorT()
        layer.inputs, layer.outputs, layer.builtinOptions = inputs, [made], schema().Pool2DOptionsT()
        layer.builtinOptions.padding = schema().Padding.VALID
        layer.builtinOptions.strideH = layer.builtinOptions.strideW = 1
        make_depthwise(self.model, layer, dtype)
        return layer


def _extents(tensor: Any) -> list[int]:
    """Extents of a tensor; -1 where one is not known before the model runs."""
    return [int(extent) for extent in (tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature)]
