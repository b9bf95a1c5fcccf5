# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a narrowed multiplier is off by, for each channel of a layer that still has the original's weights.

M / M_q is known, so training need not find it: weights and bias times that give the original's results, as far as the grid of
integers reaches. The largest weight of a channel is usually at its end, and where M_q < M it stays too small.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tosa_rescale.core.changes import CONVOLUTIONS
from tosa_rescale.twin.graph import Graph
from tosa_rescale.twin.scaling import Scale
from tosa_rescale.twin.values import Node


def narrowed_gains(narrowed: Graph, original: Graph) -> Mapping[str, np.ndarray]:
    """M / M_q of each layer whose multipliers were narrowed and whose weights and bias are the original's.

    Args:
        narrowed, original: the same network; ops are found by their key.

    Returns:
        Key of the layer to float64 [C] or [1]; layers whose gains are all 1 are left out. Nothing where activations have other
        scales than the original's, as after alignment.
    """
    if any(node.rescale is not None and node.rescale.scale_factor != 1 for node in (*narrowed.nodes, *original.nodes)):
        return {}
    found = {}
    originals = {node.key: node for node in original.nodes}
    for node in narrowed.nodes:
        before = originals.get(node.key)
        if before is None or node.kind not in CONVOLUTIONS or not _same_weights(narrowed, node, original, before):
            continue
        ours, theirs = _multipliers(narrowed, node), _multipliers(original, before)
        if ours is None or theirs is None:
            continue
        ours, theirs = np.broadcast_arrays(ours, theirs)
        # A channel of multiplier 0 is constant, whatever its weights.
        gain = np.divide(theirs, ours, out=np.ones(ours.shape), where=ours > 0)
        if (gain != 1).any():
            found[node.key] = gain
    return found


def _same_weights(narrowed: Graph, node: Node, original: Graph, before: Node) -> bool:
    pairs = [(narrowed.constants.get(node.operands[i]), original.constants.get(before.operands[i])) for i in (1, 2)]
    return all(a is not None and b is not None and np.array_equal(a, b) for a, b in pairs)


def _multipliers(graph: Graph, node: Node) -> np.ndarray | None:
    """M of the rescale that alone reads a layer's accumulators; None where there is none."""
    readers = [each for each in graph.nodes if node.result in each.operands]
    if len(readers) != 1 or node.result in graph.outputs or readers[0].rescale is None:
        return None
    multiplier, shift = readers[0].rescale.multiplier, readers[0].rescale.shift
    return None if multiplier is None or shift is None else Scale(multiplier, shift).real.reshape(-1)
