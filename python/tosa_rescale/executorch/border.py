# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Scales, zero points and memory order at the border of a delegated graph: a .tosa file holds none of them.

ExecuTorch leaves the quantize nodes outside of an integer graph; inside, every input is read by a dequantize node with the
same scale and every output is written by a quantize node.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from tosa_rescale.core.quantization import GraphQuantization, TensorQuantization

_READS, _WRITES = "dequantize_per_tensor", "quantize_per_tensor"


@dataclasses.dataclass(frozen=True)
class Border:
    """What surrounds a delegated graph.

    Attributes:
        quantization: of its inputs and outputs, in order, as input0, output0 and so on; the scale is 0.0 where a tensor is not
            quantized.
        orders: of each input, its dimensions from the outermost to the innermost in memory: (0, 2, 3, 1) is channels_last.
    """

    quantization: GraphQuantization
    orders: tuple[tuple[int, ...], ...]


def read_border(program: Any) -> Border:
    """Reads the border of a graph as the partitioner cut it out, before it is lowered.

    Args:
        program: a torch.export.ExportedProgram.
    """
    nodes = {node.name: node for node in program.graph.nodes}
    inputs = [nodes[name] for name in program.graph_signature.user_inputs]
    outputs = [nodes[name] for name in program.graph_signature.user_outputs]
    return Border(
        GraphQuantization(
            tuple(
                _quantization(f"input{i}", next((user for user in node.users if _is(user, _READS)), None))
                for i, node in enumerate(inputs)
            ),
            tuple(_quantization(f"output{i}", node if _is(node, _WRITES) else None) for i, node in enumerate(outputs)),
        ),
        tuple(tuple(node.meta["val"].dim_order()) for node in inputs),
    )


def given_input(node: Any) -> Any:
    """What a program's user gives for an argument of a delegate.

    TOSA has no int64. ExecuTorch's quantizer narrows tokens, positions and masks of this type to int32 in front of the
    delegate, which is exact: they are indices or flags.

    Args:
        node: the argument, in the lowered program.

    Returns:
        The input in front of its conversions; the node itself where an operator of the program makes it.
    """
    inner = node.args[0] if _is(node, _WRITES) or narrows_input(node) else node
    return inner if inner.op == "placeholder" else node


def narrows_input(node: Any) -> bool:
    """Whether all that a node does is to make int32 of an input of int64."""
    import torch

    schema = getattr(node.target, "_schema", None)
    if schema is None or schema.name != "dim_order_ops::_to_dim_order_copy" or node.args[0].op != "placeholder":
        return False
    before, after = node.args[0].meta["val"], node.meta["val"]
    return (before.dtype, after.dtype) == (torch.int64, torch.int32) and before.dim_order() == after.dim_order()


def _is(node: Any, name: str) -> bool:
    schema = getattr(node.target, "_schema", None)
    # The overload `tensor` has no numbers for scale and zero point; the Arm quantizer never makes it.
    return schema is not None and schema.name == f"quantized_decomposed::{name}" and not schema.overload_name


def _quantization(name: str, node: Any) -> TensorQuantization:
    """Scale and zero point are the second and third argument of both operators."""
    return (
        TensorQuantization(name, 0.0, 0) if node is None else TensorQuantization(name, float(node.args[1]), int(node.args[2]))
    )
