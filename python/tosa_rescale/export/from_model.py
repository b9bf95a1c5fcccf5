# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a model to what the writers of files take: plain arrays, no MLIR."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from tosa_rescale.errors import ModelError
from tosa_rescale.export.litert import LayerPatch, MacOp, litert_layers, match_layers, write_litert
from tosa_rescale.importer import import_flatbuffer

if TYPE_CHECKING:
    from tosa_rescale_runtime import MacLayer, Module, Rescale

    from tosa_rescale.model import Model


def to_litert(model: Model, flatbuffer: bytes, allow_partial: bool = False) -> bytes:
    """Writes a rewritten model's weights, biases and multipliers into the flatbuffer that it was imported from.

    Args:
        model: the model.
        flatbuffer: the LiteRT file that it came from.
        allow_partial: leave element-wise multipliers, which scales cannot express, as they were.

    Returns:
        The flatbuffer; `flatbuffer` itself where nothing was rewritten.

    Raises:
        ModelError: the flatbuffer does not belong to the model, or has multipliers that scales cannot express.
    """
    from tosa_rescale_runtime import Module

    new = Module.parse(model.bytecode, model.source)
    old = Module.parse(import_flatbuffer(flatbuffer, model.source).bytecode, model.source)
    layers, old_layers = new.mac_layers(), old.mac_layers()
    if [layer.op.kind for layer in layers] != [layer.op.kind for layer in old_layers]:
        raise ModelError(f"{model.source}: the flatbuffer does not belong to the model; give the one it was imported from")
    rows = match_layers(litert_layers(flatbuffer, model.source), [_mac_op(old, each) for each in old_layers], model.source)

    numbers = [_numbers(new, layer) for layer in layers]
    changed = [n != o for n, o in zip(numbers, (_numbers(old, layer) for layer in old_layers), strict=True)]
    expressible = {layer.rescale.key for layer in layers if layer.rescale and new.constant(layer.op, 1) is not None}
    unexpressed = _narrowed_elsewhere(new, old, expressible)
    if not any(changed) and not unexpressed:
        return flatbuffer
    whole = any(row.input.dtype == "uint8" for row in rows)  # a uint8 file is written anew as an int8 one
    patches = [
        n.patch(row.operator, model.source)
        for row, n, c in zip(rows, numbers, changed, strict=True)
        if n is not None and (c or whole)
    ]
    return write_litert(flatbuffer, patches, unexpressed=unexpressed, allow_partial=allow_partial, source=model.source)


@dataclasses.dataclass(frozen=True, eq=False)
class _Numbers:
    """The numbers of one layer: zero-point-free weights, bias, compact multipliers and shifts."""

    name: str
    weights: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Numbers):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self))

    def patch(self, operator: int, source: str) -> LayerPatch:
        weights = self.weights.astype(np.int8)
        if not np.array_equal(weights, self.weights):
            low, high = int(self.weights.min()), int(self.weights.max())
            raise ModelError(
                f"{source}: the weights of {self.name} less their zero point go from {low} to {high}, LiteRT's int8 holds"
                " -127 to 127; compensate the model, which gives each channel a multiplier of its own"
            )
        return LayerPatch(operator, weights, self.bias, self.multiplier, self.shift)


def _numbers(module: Module, layer: MacLayer) -> _Numbers | None:
    """None where the layer has no constant weights, or no rescale of its own."""
    weights, bias = module.constant(layer.op, 1), module.constant(layer.op, 2) if layer.op.kind != "matmul" else None
    if weights is None or bias is None or layer.rescale is None:
        return None
    multiplier, shift = module.constant(layer.rescale, 1), module.constant(layer.rescale, 2)
    if multiplier is None or shift is None:
        return None
    channels = module.result_shape(layer.op)[-1]
    bias = np.broadcast_to(bias.reshape(-1), (channels or 1,))  # TOSA lets one element stand for all channels
    return _Numbers(layer.op.name, _zero_point_free(module, layer, weights), bias, *compact(multiplier, shift))


def compact(multiplier: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers and shifts as hardware stores them: trailing zeros of the multiplier moved to the shift.

    Args:
        multiplier, shift: integers [C], as they stand in the op; multiplier >= 0.

    Returns:
        int64 [C] each; the value m * 2^-s is the same. A multiplier of 0 keeps its shift.
    """
    multiplier, shift = multiplier.astype(np.int64), shift.astype(np.int64)
    lowest = np.where(multiplier > 0, multiplier & -multiplier, 1)
    zeros = np.log2(lowest).astype(np.int64)  # exact: powers of two up to 2^30
    return multiplier >> zeros, shift - zeros


def _zero_point_free(module: Module, layer: MacLayer, weights: np.ndarray) -> np.ndarray:
    zero_point = module.constant(layer.op, 4)
    offset = 0 if zero_point is None else int(zero_point.reshape(-1)[0])
    return weights.astype(np.int16) - np.int16(offset)


def _mac_op(module: Module, layer: MacLayer) -> MacOp:
    weights = module.constant(layer.op, 1)
    return MacOp(layer.op.name, layer.op.kind, None if weights is None else _zero_point_free(module, layer, weights))


def _narrowed_elsewhere(new: Module, old: Module, expressible: set[str]) -> list[str]:
    """Names of the rescales outside `expressible` whose multipliers are not what they were."""
    before = {rescale.key: rescale for rescale in old.rescales()}
    names = []
    for rescale in new.rescales():
        was = before.get(rescale.key)
        if rescale.key in expressible or was is None:
            continue
        if _value(rescale) != _value(was):
            names.append(rescale.name)
    return names


def _value(rescale: Rescale) -> list[list[int]] | None:
    if rescale.multiplier is None or rescale.shift is None:
        return None
    return [each.tolist() for each in compact(rescale.multiplier, rescale.shift)]
