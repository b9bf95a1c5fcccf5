# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How two models of one graph differ in their weights: what compensation or fine-tuning did to them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from tosa_rescale_runtime import MAC_KINDS, Module

from tosa_rescale.core.errors import ModelError

CONVOLUTIONS = tuple(kind for kind in MAC_KINDS if kind != "matmul")
"""Ops whose operands 1 and 2 are weights and bias: what calibration measures, compensation folds into and training moves."""


@dataclasses.dataclass(frozen=True)
class LayerChange:
    """How one layer's weights differ between two models of one graph.

    Attributes:
        op: key of the op.
        name: in the source model.
        weights: number of weights.
        changed: how many differ.
        mean_absolute: mean absolute difference of those that do, in steps; 0 where none does.
        largest: largest absolute difference of a weight.
        biases_changed: how many biases differ.
    """

    op: str
    name: str
    weights: int
    changed: int
    mean_absolute: float
    largest: int
    biases_changed: int


@dataclasses.dataclass(frozen=True)
class WeightChanges:
    """How a model's weights differ from another's, layer by layer."""

    layers: tuple[LayerChange, ...]

    @property
    def percent(self) -> float:
        """Per cent of all weights that differ."""
        total = sum(layer.weights for layer in self.layers)
        return 100 * sum(layer.changed for layer in self.layers) / total if total else 0.0

    @property
    def mean_absolute(self) -> float:
        """Mean absolute difference of the weights that differ, in steps."""
        changed = sum(layer.changed for layer in self.layers)
        return sum(layer.changed * layer.mean_absolute for layer in self.layers) / changed if changed else 0.0

    @property
    def touched(self) -> int:
        """Number of layers with a weight or bias that differs."""
        return sum(1 for layer in self.layers if layer.changed or layer.biases_changed)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "percent": self.percent,
            "mean_absolute": self.mean_absolute,
            "touched": self.touched,
            "layers": [dataclasses.asdict(layer) for layer in self.layers],
        }


def weight_changes(before: bytes, after: bytes) -> WeightChanges:
    """Compares the weights of two modules of one graph.

    Args:
        before, after: the modules, bytecode.

    Raises:
        ModelError: they are not of one graph.
    """
    modules = [Module.parse(each) for each in (before, after)]
    first, second = ([op for op in module.ops() if op.kind in CONVOLUTIONS] for module in modules)
    if [op.key for op in first] != [op.key for op in second]:
        raise ModelError("the models have other layers; compare a model with one made from it")
    layers = []
    for one, other in zip(first, second, strict=True):
        arrays = [(modules[0].constant(one, i), modules[1].constant(other, i)) for i in (1, 2)]
        if any(old is None or new is None for old, new in arrays):
            continue  # weights computed by the graph are not changed by anyone
        (old, new), (old_bias, new_bias) = [(np.asarray(a), np.asarray(b)) for a, b in arrays]
        if old.shape != new.shape:
            raise ModelError(f"the models differ in the shape of {one.key}; compare a model with one made from it")
        other_now = old != new
        difference = np.abs(new[other_now].astype(np.int64) - old[other_now].astype(np.int64))
        changed = len(difference)
        layers.append(
            LayerChange(
                one.key,
                one.name,
                old.size,
                changed,
                float(difference.sum() / changed) if changed else 0.0,
                int(difference.max(initial=0)),
                int((old_bias != new_bias).sum()),
            )
        )
    return WeightChanges(tuple(layers))
