# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What becomes of each operator, checked against the flatbuffer and turned into new constants."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tosa_rescale.core.display import count
from tosa_rescale.core.errors import ModelError
from tosa_rescale.formats.litert.match import extents, same_layout
from tosa_rescale.formats.litert.multipliers import weight_scales
from tosa_rescale.formats.litert.operators import OPERANDS
from tosa_rescale.formats.litert.part import Part
from tosa_rescale.formats.litert.schema import LitertLayer, name_of, tensor_at

_NAMED_AT_MOST = 5


@dataclasses.dataclass(frozen=True, eq=False)
class LayerPatch:
    """What becomes of one operator.

    Attributes:
        operator: position of the operator in the first subgraph (`LitertLayer.operator`).
        weights: int8, zero point 0. TOSA's layout or LiteRT's, which have the same order in memory: conv2d and transpose_conv2d
            OHWI in both; depthwise HWCM in TOSA, 1HW(CM) in LiteRT; fully connected O11I in TOSA, OI in LiteRT.
        bias: int32 [C], or int64 beside int16 activations, in units of the accumulator.
        multiplier: int64 [C] or [1], the compact multiplier m >= 0; 0 keeps the channel's scale.
        shift: int64, as long as `multiplier`: the accumulator is multiplied by m * 2^-shift.
    """

    operator: int
    weights: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class ConstantPatch:
    """What becomes of a constant that an operator adds or multiplies with; its zero point stays.

    Attributes:
        operator: position of the operator in the first subgraph.
        slot: position of the constant among the operator's inputs.
        value: the elements, of the tensor's dtype and size.
        scale: real units for one step.
    """

    operator: int
    slot: int
    value: np.ndarray
    scale: float


@dataclasses.dataclass(frozen=True, eq=False)
class Constant:
    """New content of a constant tensor: bytes, scales, channel dimension; zero points are 0."""

    data: bytes
    scale: np.ndarray
    axis: int

    def same(self, other: Constant) -> bool:
        return self.data == other.data and self.axis == other.axis and np.array_equal(self.scale, other.scale)


@dataclasses.dataclass(frozen=True, eq=False)
class Edit:
    """One operator's new constants; `bias` is None where there is none and none is needed."""

    layer: LitertLayer
    weights: Constant
    bias: Constant | None


def require_patches(
    listed: Mapping[int, LitertLayer], patches: Sequence[LayerPatch], scales: Mapping[int, float], unsigned: bool, source: str
) -> None:
    counts = Counter(patch.operator for patch in patches)
    if twice := [str(operator) for operator, count in counts.items() if count > 1]:
        raise ModelError(f"{source}: `layers` names operator {some(twice)} more than once; give one patch for each operator")
    bare = [layer for layer in listed.values() if layer.operator not in counts]
    if unsigned and bare:
        raise ModelError(
            f"{source}: a uint8 model is written as an int8 one and needs a patch for every multiply-accumulate operator; "
            f"without one: {some([layer.name for layer in bare])}"
        )
    # Of a product of matrices the kernel derives the multiplier from their scales alone, also where one is constant.
    fixed = [layer for layer in bare if layer.weights.value is not None and layer.kind != "BATCH_MATMUL"]
    if moved := [layer.name for layer in fixed if layer.input.index in scales or layer.output.index in scales]:
        raise ModelError(f"{source}: `activation_scales` changes the multiplier of {some(moved)}; give a patch for it")


def scales_by_position(model: Any, part: Part, wanted: Mapping[str, float], source: str) -> dict[int, float]:
    """New scales by position of the tensor. Raises ModelError for one that must stay or that does not exist."""
    graph = model.subgraphs[0]
    border = {int(index) for index in (*graph.inputs, *graph.outputs)} | {each.index for each in (*part.inputs, *part.outputs)}
    indices: dict[int, float] = {}
    positions: dict[str, list[int]] = {}
    for index, tensor in enumerate(graph.tensors if wanted else ()):
        positions.setdefault(name_of(tensor), []).append(index)
    for name, scale in wanted.items():
        found = positions.get(name, [])
        if len(found) != 1:
            raise ModelError(f"{source}: `activation_scales`: requires one tensor named {name!r}, the file has {len(found)}")
        if found[0] in border:
            raise ModelError(
                f"{source}: `activation_scales`: {name!r} is an input or output of the graph, whose scale must stay"
            )
        if not (np.isfinite(scale) and scale >= np.finfo(np.float32).tiny):
            raise ModelError(f"{source}: `activation_scales`: {name!r}: {scale} is no scale; give a positive number")
        if len(tensor_at(model, found[0]).scale) != 1:
            raise ModelError(f"{source}: `activation_scales`: {name!r} has no scale of its own")
        indices[found[0]] = float(np.float32(scale))
    return indices


def edit(listed: Mapping[int, LitertLayer], patch: LayerPatch, scales: Mapping[int, float], source: str) -> Edit:
    """The new constants of one operator. Raises ModelError where the patch does not fit it."""
    layer = listed.get(patch.operator)
    if layer is None:
        raise ModelError(f"{source}: operator {patch.operator} is no integer multiply-accumulate operator; see `litert_layers`")
    where = f"{source}: operator {patch.operator} ({layer.kind} {layer.name!r})"
    multiplier, shift = np.asarray(patch.multiplier, np.int64), np.asarray(patch.shift, np.int64)
    _require_fitting(layer, patch, multiplier, shift, where)
    input_scale = scales.get(layer.input.index, float(layer.input.scale[0]))
    output_scale = scales.get(layer.output.index, float(layer.output.scale[0]))
    if len(layer.weights.scale) <= len(multiplier):
        scale = np.broadcast_to(layer.weights.scale, multiplier.shape).copy()
    else:  # per-channel before, one multiplier now
        scale = np.full(multiplier.shape, layer.weights.scale.min(), np.float32)
    live = multiplier > 0
    try:
        scale[live] = weight_scales(multiplier[live], shift[live], input_scale, output_scale)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error
    axis = OPERANDS[layer.kind].channel if len(scale) > 1 else 0
    bias = None
    if layer.bias is not None or patch.bias.any():
        bias_scale = (np.float64(np.float32(input_scale)) * scale.astype(np.float64)).astype(np.float32)
        bias = Constant(patch.bias.astype(_bias_dtype(layer)).tobytes(), bias_scale, 0)
    return Edit(layer, Constant(patch.weights.tobytes(), scale, axis), bias)


def _bias_dtype(layer: LitertLayer) -> str:
    """int64 beside int16 activations, unless the file has another; else int32."""
    wide = layer.input.dtype == "int16" if layer.bias is None else layer.bias.dtype == "int64"
    return "<i8" if wide else "<i4"


def _require_fitting(layer: LitertLayer, patch: LayerPatch, multiplier: np.ndarray, shift: np.ndarray, where: str) -> None:
    if layer.weights.value is None:
        raise ModelError(f"{where}: both operands are activations; its multiplier cannot be expressed by a weight scale")
    if layer.input.dtype not in ("int8", "uint8", "int16") or layer.weights.dtype not in ("int8", "uint8"):
        raise ModelError(
            f"{where}: has {layer.input.dtype} activations and {layer.weights.dtype} weights; requires 8-bit weights, and"
            " activations of 8 or 16 bits"
        )
    weights, bias = patch.weights, patch.bias
    if weights.dtype != np.int8 or not same_layout(layer, weights):
        raise ModelError(
            f"{where}: requires int8 weights {extents(layer.weights.shape)}, got {weights.dtype} {extents(weights.shape)}"
        )
    if bias.dtype not in (np.int32, np.int64) or bias.shape != (layer.channels,):
        raise ModelError(
            f"{where}: requires an int32 or int64 bias of {count(layer.channels, 'element')}, got"
            f" {bias.dtype} {extents(bias.shape)}"
        )
    low, high = (int(bias.min(initial=0)), int(bias.max(initial=0)))
    limits = np.iinfo(_bias_dtype(layer))
    if low < limits.min or high > limits.max:
        raise ModelError(
            f"{where}: its bias goes from {low} to {high}, LiteRT's {limits.dtype} holds {limits.min} to {limits.max}"
        )
    if layer.kind == "BATCH_MATMUL" and bias.any():
        raise ModelError(f"{where}: a BATCH_MATMUL takes no bias, got one other than 0")
    if multiplier.shape != shift.shape or multiplier.shape not in ((1,), (layer.channels,)) or (multiplier < 0).any():
        raise ModelError(
            f"{where}: requires 1 or {layer.channels} multipliers >= 0 and as many shifts, "
            f"got {extents(multiplier.shape)} and {extents(shift.shape)}"
        )


def some(names: Sequence[str]) -> str:
    """Names for a message, the first few of them."""
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more
