# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Training steps: the exact fast twin against the twin in float64 and against plain Keras float32 of the same architecture.

    python bench/training.py MODEL.tflite [--bits K] [--batch N] [--repeats R] [--skip-float64] [--skip-memory]

Prints images/s of one step (forward, backward, SGD) and ratios, measured in turn in one run, in wall-clock and in processor
time (which other work on the machine disturbs less); then the peak memory of each, in a process of its own. The Keras model
has the graph's convolutions, each with batch normalization, its ReLU6, additions and pooling, and no arithmetic of integers.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import interleaved, load
from tosa_rescale.core.passes import run_passes
from tosa_rescale.twin import Twin, read_graph
from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.graph import Graph
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


def build(name: str, path: Path, bits: int, batch: int) -> Callable[[], object]:
    """The step of one contender, on random images."""
    narrowed = run_passes(load(path), [f"tosa-rescale-narrow=bits={bits}"]).bytecode
    graph = read_graph(Module.parse(narrowed))
    spec = graph.signature.inputs[0]
    limits = np.iinfo(spec.dtype)
    shape = (batch, *(int(n or 1) for n in spec.shape[1:]))
    x = np.random.default_rng(0).integers(limits.min, limits.max, shape, spec.dtype, endpoint=True)
    return keras_step(graph, x) if name == KERAS else twin_step(graph, name == FLOAT64, x)


def peak_memory(name: str, options: argparse.Namespace) -> float:
    """MiB that a process needs which trains by one contender alone; what it needs before its first step is taken off."""
    argv = [sys.executable, __file__, str(options.model), "--only", name, "--bits", str(options.bits)]
    done = subprocess.run([*argv, "--batch", str(options.batch)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def train_alone(name: str, options: argparse.Namespace) -> None:
    """Prints by how much the peak memory of this process grows in three steps."""
    step = build(name, options.model, options.bits, options.batch)
    before = peak_of_this_process()
    for _ in range(3):
        step()
    print(peak_of_this_process() - before)


def peak_of_this_process() -> float:
    """MiB. Not getrusage's ru_maxrss, which begins with what the process that started this one had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


FAST, KERAS, FLOAT64 = "exact fast twin", "plain Keras float32", "twin in float64"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--skip-float64", action="store_true")
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--only", choices=(FAST, KERAS, FLOAT64), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        train_alone(options.only, options)
        return
    names = [FAST, KERAS, *([] if options.skip_float64 else [FLOAT64])]
    runs = {name: build(name, options.model, options.bits, options.batch) for name in names}
    spent: dict[str, list[float]] = {name: [] for name in names}

    def timed(name: str) -> None:
        start = time.process_time()
        runs[name]()
        spent[name].append(time.process_time() - start)

    wall = interleaved({name: functools.partial(timed, name) for name in names}, options.repeats)
    processor = {name: statistics.median(spent[name][1:]) for name in names}
    for name in names:
        print(
            f"{name:20s} {options.batch / wall[name]:7.2f} images/s   fast twin runs at {wall[name] / wall[FAST]:5.2f}x of it,"
            f" {processor[name] / processor[FAST]:5.2f}x in processor time",
            flush=True,
        )
    if not options.skip_memory:
        needed = {name: peak_memory(name, options) for name in names}
        for name in names:
            print(f"{name:20s} {needed[name]:7.0f} MiB for three steps, {needed[name] / needed[KERAS]:5.2f}x of Keras")


if __name__ == "__main__":
    main()
