# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""TOSA modules as differentiable TensorFlow functions that give the same integers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tosa_rescale_runtime import Module, Signature
from tosa_rescale_runtime.module import (
    attribute_to_python,
    constant_value,
    element_type,
    location_name,
    read_rescale,
    shape_value,
    static_shape,
)

from tosa_rescale.core.changes import TRAINABLE
from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.ops import LOWERINGS
from tosa_rescale.twin.values import Bounds, LoweringError, Node, Numbers, Value, type_limits

SLACK = 1.25
"""Training room of the proofs: accumulators may grow by this before a layer's float type is chosen anew."""


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """A module read once: nothing of MLIR is needed after this.

    Attributes:
        source: what to call it in messages.
        signature: its inputs and outputs.
        inputs: numbers of the function's arguments.
        nodes: every op in program order, constants left out.
        constants: value number to integers, int64.
        outputs: numbers of what it returns.
    """

    source: str
    signature: Signature
    inputs: tuple[int, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[int, np.ndarray]
    outputs: tuple[int, ...]

    def node(self, key: str) -> Node:
        """The op with this key."""
        return next(node for node in self.nodes if node.key == key)


def read_graph(module: Module) -> Graph:
    """Reads a module.

    Raises:
        LoweringError: an op has no lowering; the message names every such op.
        ModuleError: a shape is dynamic, or an element type is no integer.
    """
    numbers: dict[Any, int] = {}
    constants: dict[int, np.ndarray] = {}

    def number(value: Any) -> int:
        return numbers.setdefault(value, len(numbers))

    inputs = tuple(number(argument) for argument in module.block.arguments)
    ops = {op.operation: op for op in module.ops()}
    nodes: list[Node] = []
    unknown: list[str] = []
    for operation in (each.operation for each in module.block.operations):
        if operation.name == "func.return":
            break
        if operation.name == "tosa.const_shape":
            constants[number(operation.result)] = shape_value(operation.result)
            continue
        # A reshape of a constant is a constant: weights of depthwise layers come that way.
        if operation not in ops or (operation.name == "tosa.reshape" and constant_value(operation.result) is not None):
            value = constant_value(operation.result)
            assert value is not None
            constants[number(operation.result)] = value.astype(np.int64)
            continue
        op = ops[operation]
        if op.kind not in LOWERINGS:
            unknown.append(f"{op.key} (tosa.{op.kind} at {location_name(operation) or 'unknown location'})")
            continue
        bits, unsigned = element_type(operation.result.type)
        kinds = [element_type(operand.type) for operand in operation.operands]
        nodes.append(
            Node(
                op.key,
                op.kind,
                op.name,
                tuple(number(operand) for operand in operation.operands),
                number(operation.result),
                {name: attribute_to_python(operation.attributes[name]) for name in _names(operation)},
                static_shape(operation.result.type),
                bits,
                unsigned,
                tuple(bits for bits, _ in kinds),
                tuple(unsigned for _, unsigned in kinds),
                read_rescale(op) if op.kind == "rescale" else None,
            )
        )
    if unknown:
        raise LoweringError(f"{module.source}: the differentiable twin has no lowering for {', '.join(unknown)}")
    outputs = tuple(number(value) for value in list(module.block.operations)[-1].operation.operands)
    return Graph(module.source, module.signature, inputs, tuple(nodes), constants, outputs)


def _names(operation: Any) -> list[str]:
    names = [attribute.name if hasattr(attribute, "name") else attribute for attribute in operation.attributes]
    return [name for name in names if not name.startswith("tosa_rescale.")]


def _assign(variable: Any, function: Callable[[Any], Any]) -> Any:
    return variable.assign(function(variable))


class Layer:
    """Weights and bias of one MAC layer: trainable, quantized in the forward pass.

    Attributes:
        key: of the op.
        kernel_variable: float32, in the graph's layout, on the scale of the integers (1 is one step).
        bias_variable: float64 [C].
        kernel_limits, bias_limits: the grid that quantization clips to.
    """

    def __init__(self, node: Node, graph: Graph, slack: float) -> None:
        self.key, self.where = node.key, node.where
        weights, bias = (graph.constants[node.operands[i]] for i in (1, 2))
        self._zero_point = int(graph.constants[node.operands[4]].reshape(-1)[0]) if len(node.operands) > 4 else 0
        # -128 stays out, as kernels that negate want it, unless the model uses it already.
        low, high = type_limits(node.operand_bits[1], node.operand_unsigned[1])
        self.kernel_limits = (min(low + 1, int(weights.min())) if low < 0 else low, high)
        self.bias_limits = type_limits(node.operand_bits[2], False)
        # Output channels are the first axis, except in depthwise layers: [H, W, C, M].
        rank = weights.ndim
        self._axes = (0, 1) if node.kind == "depthwise_conv2d" else tuple(range(1, rank))
        self._slack = slack
        self._limits: tuple[int, int, Bounds] | None = None
        self.kernel_variable = tf.Variable(weights.astype(np.float32), name=f"{node.key}/kernel")
        self.bias_variable = tf.Variable(bias.astype(np.float64), name=f"{node.key}/bias")
        self._start = weights.astype(np.float32)
        self._measure(weights, bias)

    def _measure(self, weights: np.ndarray, bias: np.ndarray) -> None:
        w = weights.astype(np.int64) - self._zero_point
        self._positive = np.maximum(w, 0).sum(self._axes).reshape(-1)
        self._negative = np.maximum(-w, 0).sum(self._axes).reshape(-1)
        self._bias = np.broadcast_to(bias.reshape(-1), self._positive.shape)

    def kernel(self) -> Any:
        """Zero-point-free integer weights, float32; gradients pass the rounding and stop where it clips."""
        return _quantized(self.kernel_variable, *self.kernel_limits) - float(self._zero_point)

    def bias(self) -> Any:
        """Integer bias, float64."""
        return _quantized(self.bias_variable, *self.bias_limits)

    def beside_kernel(self, by_channel: np.ndarray) -> np.ndarray:
        """Numbers by output channel, [C] or [1], in a shape that broadcasts to the kernel's."""
        if by_channel.size == 1:
            return by_channel.reshape(())
        shape = [1 if axis in self._axes else extent for axis, extent in enumerate(self.kernel_variable.shape)]
        return by_channel.reshape(shape)

    def bounds(self, low: int, high: int) -> Bounds:
        """What sums and biases may be for inputs in low..high, low <= 0 <= high, with room for training.

        Whatever the order of addition, a partial sum lies between the sum of all negative products and that of all
        positive ones.
        """
        most = self._positive * high - self._negative * low
        least = self._positive * low - self._negative * high
        room = 0
        if self._slack > 1:
            room = int((self._slack - 1) * max(most.max(), -least.min())) + 1
        found = Bounds(least - room, most + room, self._bias - room, self._bias + room)
        self._limits = (low, high, found)
        return found

    def within_bounds(self) -> Any:
        """Whether the weights of now keep the bounds that were used: a boolean tensor. Not so where none were used yet."""
        if self._limits is None:
            return tf.constant(False)
        low, high = (tf.constant(float(limit), tf.float64) for limit in self._limits[:2])
        limits = self._limits[2]
        w = tf.cast(self.kernel(), tf.float64)
        positive = tf.reshape(tf.reduce_sum(tf.maximum(w, 0.0), self._axes), [-1])
        negative = tf.reshape(tf.reduce_sum(tf.maximum(-w, 0.0), self._axes), [-1])
        bias = self.bias()
        held = [
            positive * high - negative * low <= limits.high.astype(np.float64),
            positive * low - negative * high >= limits.low.astype(np.float64),
            bias <= limits.bias_high.astype(np.float64),
            bias >= limits.bias_low.astype(np.float64),
        ]
        return tf.reduce_all([tf.reduce_all(each) for each in held])

    def project(self, update: Callable[[Any, Callable[[Any], Any]], Any] = _assign) -> None:
        """Brings weights that left the grid back to its border; part of a training step.

        Args:
            update: applies a function to every copy of a variable, where replicas have their own.
        """
        for variable, (low, high) in ((self.kernel_variable, self.kernel_limits), (self.bias_variable, self.bias_limits)):
            limits = [tf.constant(limit, variable.dtype) for limit in (low, high)]
            update(variable, lambda copy, limits=limits: tf.clip_by_value(copy, *limits))

    def gain_gradient(self, kernel: Any, bias: Any) -> Any:
        """The gradient by ln(gain) of each output channel, where the gain scales its weights and its bias.

        Args:
            kernel, bias: the gradients by weights and bias.

        Returns:
            float64, of the kernel's rank, 1 in all dimensions but those of the output channels.
        """
        weights = tf.cast(self.kernel_variable, tf.float64) - float(self._zero_point)
        by_weights = tf.reduce_sum(tf.cast(kernel, tf.float64) * weights, self._axes, keepdims=True)
        by_bias = bias * tf.convert_to_tensor(self.bias_variable)
        if bias.shape[0] == 1:
            return by_weights + by_bias
        return by_weights + tf.reshape(by_bias, by_weights.shape)

    def spread_gain(self, gain: Any) -> tuple[Any, Any]:
        """What small changes of ln(gain), shaped as by `gain_gradient`, do to weights and bias."""
        weights = tf.convert_to_tensor(self.kernel_variable) - float(self._zero_point)
        bias = tf.convert_to_tensor(self.bias_variable)
        by_bias = tf.reduce_mean(gain) if bias.shape[0] == 1 else tf.reshape(gain, [-1])
        return tf.cast(gain, tf.float32) * weights, by_bias * bias

    def fold_gain(self, gain: np.ndarray) -> bool:
        """Multiplies weights and bias by a gain for each output channel, cut off at the grid's ends.

        Args:
            gain: float64 [C] or [1].

        Returns:
            False where one bias stands for all channels, which cannot follow: nothing was changed.
        """
        weights, bias = self.kernel_variable.numpy(), self.bias_variable.numpy()
        if gain.size > 1 and bias.size == 1:
            return False
        zero_point = np.float32(self._zero_point)
        scaled = (weights - zero_point) * self.beside_kernel(gain).astype(np.float32) + zero_point
        self.kernel_variable.assign(np.clip(scaled, *self.kernel_limits))
        self.bias_variable.assign(np.clip(bias * gain, *self.bias_limits))
        return True

    def dither(self, rng: np.random.Generator, size: float) -> None:
        """Moves each weight that is an integer within its rounding interval, which changes no integer.

        Args:
            rng: draws the moves, uniform.
            size: the largest move, below 0.5.
        """
        weights = self.kernel_variable.numpy()
        moves = rng.uniform(-size, size, weights.shape).astype(np.float32)
        self.kernel_variable.assign(np.where(weights == np.rint(weights), weights + moves, weights))

    def mean_move(self) -> float:
        """Mean distance of the weights from where they started, in steps."""
        return float(np.abs(self.kernel_variable.numpy() - self._start).mean())

    def integers(self, copy: Callable[[Any], Any] = lambda variable: variable) -> tuple[np.ndarray, np.ndarray]:
        """Quantized weights (with their zero point, as in the graph) and bias, int64.

        Args:
            copy: which copy of a variable to read, where replicas have their own.
        """
        kernel = np.clip(np.rint(copy(self.kernel_variable).numpy()), *self.kernel_limits)
        bias = np.clip(np.rint(copy(self.bias_variable).numpy()), *self.bias_limits)
        return kernel.astype(np.int64), bias.astype(np.int64)

    def renew(self) -> None:
        """Chooses the bounds anew, from the weights of now; with twice the room where they were not kept."""
        if self._limits is not None and not self.within_bounds():
            self._slack = 1 + 2 * (self._slack - 1)
        self._measure(*self.integers())


def _quantized(variable: Any, low: int, high: int) -> Any:
    """round and clip; the gradient passes where nothing is clipped."""
    limits = (tf.constant(low, variable.dtype), tf.constant(high, variable.dtype))

    @tf.custom_gradient
    def quantize(w: Any) -> Any:
        rounded = tf.round(w)
        inside = tf.logical_and(rounded >= limits[0], rounded <= limits[1])

        def gradient(upstream: Any) -> Any:
            return tf.where(inside, upstream, tf.zeros([], upstream.dtype))

        return tf.clip_by_value(rounded, *limits), gradient

    return quantize(tf.convert_to_tensor(variable))


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
            if node.kind in TRAINABLE and all(node.operands[i] in self.graph.constants for i in (1, 2)):
                self.layers[node.key] = Layer(node, self.graph, slack)
        self._compiled: Any = None

    def weights(self, node: Node) -> Layer | None:
        """The weights of a MAC op; None where they are not constants."""
        return self.layers.get(node.key)

    def trace(self, inputs: Sequence[Any], stop_at: str | None = None) -> dict[int, Value]:
        """Runs the graph, eagerly or within a tf.function.

        Args:
            inputs: for each input a tensor [N, *shape without batch] of integers of any numeric type.
            stop_at: key of the op after which to stop.

        Returns:
            Every value by its number.
        """
        graph = self.graph
        values: dict[int, Value] = {}
        for number, spec, tensor in zip(graph.inputs, graph.signature.inputs, inputs, strict=True):
            low, high = (0, 1) if spec.dtype == np.bool_ else (int(np.iinfo(spec.dtype).min), int(np.iinfo(spec.dtype).max))
            # The graph's own batch dimension of 1 stays, behind that of the samples.
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
        """The outputs, or the results of some ops, as float tensors [N, *shape without batch] of integers.

        Args:
            inputs: see `trace`.
            keys: keys of ops; None: the graph's outputs.
        """
        values = self.trace(inputs)
        wanted = self.graph.outputs if keys is None else [self.graph.node(key).result for key in keys]
        results = []
        for number in wanted:
            value = values[number] if number in values else self.numbers.constant(self.graph.constants[number])
            plain = self.numbers.plain(value)
            shape = plain.shape[2:] if plain.shape[1:2] == (1,) else plain.shape[1:]
            results.append(tf.reshape(plain, [-1, *shape]))
        return results

    def run(self, inputs: Sequence[np.ndarray], keys: Sequence[str] | None = None) -> list[np.ndarray]:
        """Runs N samples.

        Args:
            inputs: one array [N, *shape of the input without batch] for each input.
            keys: see `integers`.

        Returns:
            One array [N, *shape of the output without batch] for each output, int64 with keys, else of the output's dtype.
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
