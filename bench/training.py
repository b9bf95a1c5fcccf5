# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Training steps: the exact fast twin against the twin in float64 and against plain Keras float32 of the same architecture.

    python bench/training.py MODEL.tflite [--bits K] [--batch N] [--repeats R] [--skip-float64]

Prints images/s of one step (forward, backward, SGD) and ratios, measured in turn in one run. The Keras model has the graph's
convolutions, each with batch normalization, its ReLU6, additions and pooling, and no arithmetic of integers.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import interleaved, load
from tosa_rescale.passes import run_passes
from tosa_rescale.twin import Twin, read_graph
from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.lowering import Graph
from tosa_rescale_runtime import Module


def twin_step(graph: Graph, reference: bool, x: np.ndarray) -> Callable[[], object]:
    """One training step of the twin."""
    twin = Twin(graph, reference=reference, trainable=True)
    variables = [v for layer in twin.layers.values() for v in (layer.kernel_variable, layer.bias_variable)]
    optimizer = tf.keras.optimizers.SGD(1e-6)
    optimizer.build(variables)

    def step(images: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.cast(twin.integers([images])[0], tf.float32) ** 2)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables, unconnected_gradients="zero"), variables, strict=True))
        for layer in twin.layers.values():
            layer.project()
        return loss

    compiled = tf.function(step, autograph=False).get_concrete_function(tf.TensorSpec(x.shape, x.dtype))
    images = tf.constant(x)
    return lambda: compiled(images).numpy()


def keras_step(graph: Graph, x: np.ndarray) -> Callable[[], object]:
    """One training step of the same architecture in plain Keras."""
    layers = tf.keras.layers
    inputs = tf.keras.Input(x.shape[1:])
    values: dict[int, Any] = {graph.inputs[0]: inputs}
    for node in graph.nodes:
        value = values[node.operands[0]]
        pad = node.attributes.get("pad")
        same = {"strides": tuple(node.attributes["stride"]), "padding": "same" if any(pad) else "valid"} if pad else {}
        if node.kind == "conv2d":
            shape = graph.constants[node.operands[1]].shape
            value = layers.Conv2D(shape[0], tuple(shape[1:3]), use_bias=False, **same)(value)
            value = layers.BatchNormalization()(value)
        elif node.kind == "depthwise_conv2d":
            shape = graph.constants[node.operands[1]].shape
            value = layers.DepthwiseConv2D(tuple(shape[:2]), use_bias=False, **same)(value)
            value = layers.BatchNormalization()(value)
        elif node.kind == "clamp":
            value = layers.ReLU(6.0)(value)
        elif node.kind == "add":
            value = layers.Add()([value, values[node.operands[1]]])
        elif node.kind == "reduce_sum":
            value = _Mean(node)(value)
        elif node.kind == "reshape":
            value = layers.Reshape(node.shape[1:])(value)
        elif node.kind != "rescale":
            raise SystemExit(f"the Keras model has no {node.kind}; choose another model")
        values[node.result] = value
    model = tf.keras.Model(inputs, values[graph.outputs[0]])
    optimizer = tf.keras.optimizers.SGD(1e-6)
    optimizer.build(model.trainable_variables)

    def step(images: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(images, training=True) ** 2)
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True))
        return loss

    compiled = tf.function(step, autograph=False).get_concrete_function(tf.TensorSpec(x.shape, tf.float32))
    images = tf.constant(x, tf.float32)
    return lambda: compiled(images).numpy()


class _Mean(tf.keras.layers.Layer):
    """Mean over one axis, which stays."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self._axis = int(node.attributes["axis"])

    def call(self, value: Any) -> Any:
        return tf.reduce_mean(value, self._axis, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--skip-float64", action="store_true")
    options = parser.parse_args()
    narrowed = run_passes(load(options.model), [f"tosa-rescale-narrow=bits={options.bits}"]).bytecode
    graph = read_graph(Module.parse(narrowed))
    spec = graph.signature.inputs[0]
    limits = np.iinfo(spec.dtype)
    shape = (options.batch, *(int(n or 1) for n in spec.shape[1:]))
    x = np.random.default_rng(0).integers(limits.min, limits.max, shape, spec.dtype, endpoint=True)
    runs: dict[str, Callable[[], object]] = {
        "exact fast twin": twin_step(graph, False, x),
        "plain Keras float32": keras_step(graph, x),
    }
    if not options.skip_float64:
        runs["twin in float64"] = twin_step(graph, True, x)
    medians = interleaved(runs, options.repeats)
    base = medians["exact fast twin"]
    for name, seconds in medians.items():
        print(f"{name:22s} {options.batch / seconds:7.2f} images/s   fast twin runs at {seconds / base:5.2f}x of it")
    print(f"peak memory of the process, all models: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
