# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""TOSA modules as differentiable TensorFlow functions that give the same integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tosa_rescale_runtime import Module

from tosa_rescale.core.changes import CONVOLUTIONS
from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.graph import Graph, read_graph
from tosa_rescale.twin.layer import Layer
from tosa_rescale.twin.ops import LOWERINGS
from tosa_rescale.twin.values import LoweringError, Node, Numbers, Value

SLACK = 1.25
"""Training room of the proofs: accumulators may grow by this before a layer's float type is chosen anew."""


class Twin:
    """A module as a TensorFlow function.

    Args:
        module: a module, or its graph.
        reference: float64 everywhere, instead of float32 where that is proven exact.
        trainable: leave room in the bounds for weights that grow.

    Attributes:
        graph: what it computes.
        layers: weights and biases by the key of their op.

    Raises:
        LoweringError: an op has no lowering.
    """

    def __init__(self, module: Module | Graph, *, reference: bool = False, trainable: bool = False) -> None:
        self.graph = module if isinstance(module, Graph) else read_graph(module)
        self.numbers = Numbers(reference)
        slack = SLACK if trainable else 1.0
        self.layers: dict[str, Layer] = {}
        for node in self.graph.nodes:
            if node.kind in CONVOLUTIONS and all(node.operands[i] in self.graph.constants for i in (1, 2)):
                self.layers[node.key] = Layer(node, self.graph, slack)
        self._compiled: Any = None

    def weights(self, node: Node) -> Layer | None:
        """The weights of a MAC op; None where they are not constants."""
        return self.layers.get(node.key)

    def trace(self, inputs: Sequence[Any], stop_at: str | None = None) -> dict[int, Value]:
        """Runs the graph, eagerly or within a tf.function.

        Args:
            inputs: for each input a tensor [N, *shape of a sample] of integers of any numeric type; see
                `Signature.sample_shape`.
            stop_at: key of the op after which to stop.

        Returns:
            Every value by its number.
        """
        graph = self.graph
        values: dict[int, Value] = {}
        specs = graph.signature.inputs
        for number, spec, (low, high), tensor in zip(graph.inputs, specs, graph.input_limits, inputs, strict=True):
            # The graph's own dimensions stay behind that of the samples, a batch dimension of 1 too.
            tensor = tf.reshape(tensor, [-1, *(int(n or 1) for n in spec.shape)])
            values[number] = self.numbers.make(tensor, low, high)
        for node in graph.nodes:
            for operand in node.operands:
                if operand not in values:
                    values[operand] = self.numbers.constant(graph.constants[operand])
            try:
                values[node.result] = LOWERINGS[node.kind](node, self, *(values[operand] for operand in node.operands))
            except LoweringError:
                raise
            except (TypeError, ValueError, KeyError, tf.errors.OpError) as error:
                raise LoweringError(f"{graph.source}: {node.where} could not be lowered: {error}") from error
            # Ops with dynamic broadcasts forget the shape, which later ops read.
            values[node.result].tensor.set_shape([None, *node.shape])
            if node.key == stop_at:
                break
        return values

    def integers(self, inputs: Sequence[Any], keys: Sequence[str] | None = None) -> list[Any]:
        """The outputs, or the results of some ops, as float tensors [N, *shape of a sample] of integers.

        Args:
            inputs: see `trace`.
            keys: keys of ops; None: the graph's outputs.
        """
        values = self.trace(inputs)
        wanted = self.graph.outputs if keys is None else [self.graph.node(key).result for key in keys]
        results, batched = [], self.graph.signature.batched
        for number in wanted:
            value = values[number] if number in values else self.numbers.constant(self.graph.constants[number])
            plain = self.numbers.plain(value)
            shape = plain.shape[2:] if batched and plain.shape[1:2] == (1,) else plain.shape[1:]
            results.append(tf.reshape(plain, [-1, *shape]))
        return results

    def run(self, inputs: Sequence[np.ndarray], keys: Sequence[str] | None = None) -> list[np.ndarray]:
        """Runs N samples.

        Args:
            inputs: one array [N, *shape of a sample] for each input.
            keys: see `integers`.

        Returns:
            One array [N, *shape of a sample] for each output, int64 with keys, else of the output's dtype.
        """
        wanted = None if keys is None else tuple(keys)
        if self._compiled is None or self._compiled[0] != wanted:
            shapes = [[None, *array.shape[1:]] for array in inputs]
            specs = [tf.TensorSpec(s, a.dtype) for s, a in zip(shapes, inputs, strict=True)]
            traced = tf.function(lambda *x: self.integers(x, wanted), input_signature=specs, autograph=False)
            self._compiled = (wanted, traced.get_concrete_function())
        results = [each.numpy() for each in self._compiled[1](*map(tf.constant, inputs))]
        if keys is not None:
            return [each.astype(np.int64) for each in results]
        # By way of int64: a float beyond the type has no defined conversion.
        return [e.astype(np.int64).astype(s.dtype) for e, s in zip(results, self.graph.signature.outputs, strict=True)]

    def retrace(self) -> None:
        """Chooses every layer's float type anew; functions traced before must be traced again."""
        for layer in self.layers.values():
            layer.renew()
        self._compiled = None


def emit(twin: Twin, bytecode: bytes) -> bytes:
    """The module with the twin's weights and biases, rounded; where none changed, the module as it was.

    Args:
        twin: of this module, trained.
        bytecode: the module.

    Raises:
        ModuleError: the twin is of another module.
    """
    module = Module.parse(bytecode, twin.graph.source)
    changed = False
    for op in [op for op in module.ops() if op.key in twin.layers]:
        for operand, value in enumerate(twin.layers[op.key].integers(), start=1):
            old = module.constant(op, operand)
            if old is None or not np.array_equal(old, value):
                module.set_constant(op, operand, value)
                changed = True
    return module.to_bytecode() if changed else bytecode
