# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a dot-product engine sees, beat by beat: for test benches, and for the activity of its nets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tosa_rescale.core.errors import ModelError
from tosa_rescale.hardware.pairs import read_tables

if TYPE_CHECKING:
    from tosa_rescale_runtime import MacLayer, Module

    from tosa_rescale.core.program import Program


@dataclasses.dataclass(frozen=True, eq=False)
class Beats:
    """Outputs of a layer, B beats each.

    Attributes:
        activations: int64 [N, B, MACS].
        weights: int64 [N, B, MACS].
        bias: int64 [N], with the zero point of the activations folded in.
        multiplier, shift: int64 [N], compact.
        zero_point: of the result.
        result: int64 [N], what the model computed.
        activation_bits: 8 or 16.
    """

    activations: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    zero_point: int
    result: np.ndarray
    activation_bits: int = 8

    def lines(self) -> tuple[str, str]:
        """Files `beats` and `results` of the engine's test bench.

        A beat that does not carry a field gets another value there: reading it would show.
        """
        lines = []
        mask = (1 << (48 if self.activation_bits == 16 else 32)) - 1
        outputs, beats, _ = self.activations.shape
        for n in range(outputs):
            for b in range(beats):
                first, last = b == 0, b == beats - 1
                pair = (int(self.multiplier[n]), int(self.shift[n]), self.zero_point & 0xFF) if last else (0, 0, 0)
                words = (packed(self.activations[n, b], self.activation_bits), packed(self.weights[n, b], 8))
                fields = (first, last, *words, (int(self.bias[n]) if first else 77) & mask, *pair)
                lines.append(" ".join(f"{int(field):x}" for field in fields))
        low = (1 << self.activation_bits) - 1
        results = [f"{int(value) & low:x}" for value in self.result]
        return "\n".join(lines) + "\n", "\n".join(results) + "\n"


def packed(lanes: np.ndarray, bits: int) -> int:
    """Lanes as one number, the first in the low bits."""
    mask = (1 << bits) - 1
    return sum((int(value) & mask) << bits * index for index, value in enumerate(lanes))


def layer_beats(model: Program, macs: int, inputs: Sequence[np.ndarray], limit: int = 4096) -> Beats:
    """The dense layer or convolution of 1 x 1 with the most input channels, over samples, with the results that IREE computes.

    Args:
        model: of int8 or int16 activations and int8 weights without zero point.
        macs: products a beat; missing ones are 0.
        inputs: one array [N, ...] for each input of the graph.
        limit: outputs at most, spread over all.

    Raises:
        ModelError: the model has no such layer.
    """
    from tosa_rescale_runtime import Executable, Module, Tap

    module = Module.parse(model.bytecode, model.source)
    layers = [each for each in module.mac_layers() if _is_dense(module, each)]
    if not layers:
        raise ModelError(f"{model.source}: has no dense layer or 1 x 1 convolution with symmetric weights; give another model")
    layer = max(layers, key=lambda each: module.constant(each.op, 1).shape[-1])  # type: ignore[union-attr]
    assert layer.rescale is not None
    weights, bias, zero_point = (module.constant(layer.op, operand).astype(np.int64) for operand in (1, 2, 3))  # type: ignore[union-attr]
    weights = weights.reshape(len(weights), -1)
    (table,) = (each for each in read_tables(model) if each.key == layer.rescale.key)
    executable = Executable.build(model.bytecode, taps=[Tap(layer.op.key, 0), Tap(layer.rescale.key)], source=model.source)
    before, after = [], []
    for sample in zip(*inputs, strict=True):
        *_, activations, results = executable.run(*(each[None] for each in sample))
        before.append(activations.reshape(-1, weights.shape[1]).astype(np.int64))
        after.append(results.reshape(-1, len(weights)).astype(np.int64))
    rows, results = np.concatenate(before), np.concatenate(after)
    chosen = np.unique(np.linspace(0, results.size - 1, min(limit, results.size)).astype(np.int64))
    row, channel = np.divmod(chosen, len(weights))
    pad = ((0, 0), (0, -weights.shape[1] % macs))
    folded = np.broadcast_to(bias.reshape(-1), len(weights)) - int(zero_point.flat[0]) * weights.sum(1)
    return Beats(
        np.pad(rows, pad)[row].reshape(len(chosen), -1, macs),
        np.pad(weights, pad)[channel].reshape(len(chosen), -1, macs),
        folded[channel],
        np.broadcast_to(table.multiplier, len(weights))[channel],
        np.broadcast_to(table.shift, len(weights))[channel],
        table.output_zp,
        results.reshape(-1)[chosen],
        16 if table.output_bits == 16 else 8,
    )


def _is_dense(module: Module, layer: MacLayer) -> bool:
    if layer.op.kind != "conv2d" or layer.rescale is None or module.attribute(layer.op, "stride") != [1, 1]:
        return False
    constants = [module.constant(layer.op, operand) for operand in (1, 2, 3, 4)]
    if any(each is None for each in constants):
        return False
    weights, _, _, zero_point = constants
    return weights.shape[1:3] == (1, 1) and not zero_point.any()  # type: ignore[union-attr]


def random_beats(
    macs: int, bits: int, activation_bits: int = 8, outputs: int = 512, products: int = 64, seed: int = 0
) -> Beats:
    """Uniform activations and weights, and pairs that bring most sums into the result's range."""
    rng = np.random.default_rng(seed)
    beats = max(1, products // macs)
    top = 1 << (activation_bits - 1)
    activations = rng.integers(-top, top, (outputs, beats, macs))
    weights = rng.integers(-128, 128, (outputs, beats, macs))
    multiplier = rng.integers(1 << (bits - 1), 1 << bits, outputs)
    # Sums have a deviation of sqrt(products) * (top / sqrt 3) * 74; a third of the range is meant to hold one.
    scale = np.sqrt(products) * 74 * 3 / np.sqrt(3)
    shift = np.full(outputs, int(np.log2(scale)) + bits)
    bias = rng.integers(-(1 << 10), 1 << 10, outputs)
    total = bias + (activations * weights).sum((1, 2))
    result = np.array([_rescaled(int(a), int(m), int(s), top) for a, m, s in zip(total, multiplier, shift, strict=True)])
    return Beats(activations, weights, bias, multiplier, shift, 0, result, activation_bits)


def _rescaled(value: int, multiplier: int, shift: int, top: int) -> int:
    return min(max((value * multiplier + (1 << (shift - 1))) >> shift, -top), top - 1)
