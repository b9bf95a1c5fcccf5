# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where in a graph a loss is taken: its output, or what a softmax at its end reads."""

from __future__ import annotations

from collections.abc import Sequence

from tosa_rescale.twin.graph import Graph
from tosa_rescale.twin.values import Node

PRODUCTS = ("conv2d", "conv3d", "depthwise_conv2d", "transpose_conv2d", "matmul")
"""Ops behind which a network is at work again."""

MOVES = ("reshape", "transpose", "clamp")
"""Ops on the way to a softmax that change no decision."""


def loss_point(graph: Graph) -> Node | None:
    """Where the loss is taken: None for the graph's first output, else an op before it.

    A softmax at the end of an integer model has coarse steps and hardly a gradient. It changes no decision, so the loss is
    taken before it. What has tables at its end and is no softmax, as a LayerNorm or an activation, is the output itself.
    """
    last = max((i for i, node in enumerate(graph.nodes) if node.kind in PRODUCTS), default=None)
    if last is None:
        return None
    tail = graph.nodes[last:]
    largest = next((node for node in tail if node.kind == "reduce_max"), None)
    if largest is None or not _is_softmax(graph, tail, largest):
        return None
    made = {node.result: node for node in graph.nodes}
    found = made.get(largest.operands[0])
    while found is not None and (found.kind in MOVES or (found.kind == "rescale" and found.bits > found.operand_bits[0])):
        found = made.get(found.operands[0])
    return found if found in tail else None


def _is_softmax(graph: Graph, tail: Sequence[Node], largest: Node) -> bool:
    """Whether a tail takes the largest of the classes off, and all else is made of that: exp by tables, divided by its sum."""
    if int(largest.attributes["axis"]) != len(largest.shape) - 1:
        return False
    subtracted, exponents, kinds = {largest.result}, set[int](), set[str]()
    for node in tail:
        if exponents.intersection(node.operands):
            if not all(each in exponents or each in graph.constants for each in node.operands):
                return False  # something else comes in
            exponents.add(node.result)
            kinds.add(node.kind)
        elif node.kind in ("rescale", "reshape") and node.operands[0] in subtracted:
            subtracted.add(node.result)
        elif node.kind == "sub" and node.operands[1] in subtracted:
            exponents.add(node.result)
        elif node.kind in ("table", "reduce_sum"):
            return False
    return {"table", "reduce_sum", "mul"} <= kinds and graph.outputs[0] in exponents
