# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sentences per second of an encoder: exact engines against int8 engines that are not, on one core.

python bench/encoder.py [MODEL.tosa] [--layers 6] [--width 384] [--heads 12] [--tokens 32] [--repeats 9] [--samples 4]

A network of MiniLM's shape with random weights is quantized to int8 by LiteRT's converter and, where `onnx` and `onnxruntime`
are installed, by onnxruntime (static, QDQ); what counts is its work. IREE and the twin run LiteRT's network bit for bit,
original and with every rescale at one bit. A MODEL.tosa of that shape, MiniLM itself with int16 activations, runs beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import tosa_rescale as tr
from common import interleaved, machine
from engines import LiteRt
from tosa_rescale.measure.engines import TwinEngine
from tosa_rescale_runtime import Executable

SAMPLES_FOR_RANGES = 4
EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class Shape:
    """Of an encoder: blocks of attention and of a perceptron four times as wide."""

    layers: int
    width: int
    heads: int
    tokens: int

    @property
    def head(self) -> int:
        return self.width // self.heads

    def weights(self) -> list[dict[str, np.ndarray]]:
        """Of each block, float32."""
        rng = np.random.default_rng(0)

        def matrix(rows: int, columns: int) -> np.ndarray:
            return rng.normal(0, rows**-0.5, (rows, columns)).astype(np.float32)

        w = self.width
        sizes = {"query": (w, w), "key": (w, w), "value": (w, w), "mix": (w, w), "up": (w, 4 * w), "down": (4 * w, w)}
        return [{name: matrix(*size) for name, size in sizes.items()} for _ in range(self.layers)]

    def samples(self, count: int) -> np.ndarray:
        """Embedded tokens, float32 [count, 1, tokens, width]."""
        return np.random.default_rng(1).normal(0, 1, (count, 1, self.tokens, self.width)).astype(np.float32)


def litert_encoder(shape: Shape) -> bytes:
    """The network as LiteRT's converter quantizes it: int8 borders."""

    def normal(x: tf.Tensor) -> tf.Tensor:
        centred = x - tf.reduce_mean(x, -1, keepdims=True)
        return centred * tf.math.rsqrt(tf.reduce_mean(centred * centred, -1, keepdims=True) + EPSILON)

    def split(x: tf.Tensor) -> tf.Tensor:
        return tf.transpose(tf.reshape(x, [1, shape.tokens, shape.heads, shape.head]), [0, 2, 1, 3])

    def dense(x: tf.Tensor, weights: np.ndarray) -> tf.Tensor:
        return tf.matmul(tf.reshape(x, [shape.tokens, -1]), weights)[None]

    def encoder(x: tf.Tensor) -> tf.Tensor:
        for block in shape.weights():
            query, key, value = (split(dense(x, block[name])) for name in ("query", "key", "value"))
            scores = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) * shape.head**-0.5)
            mixed = tf.reshape(tf.transpose(tf.matmul(scores, value), [0, 2, 1, 3]), [1, shape.tokens, shape.width])
            x = normal(x + dense(mixed, block["mix"]))
            x = normal(x + dense(tf.nn.gelu(dense(x, block["up"]), approximate=False), block["down"]))
        return x

    spec = tf.TensorSpec((1, shape.tokens, shape.width), tf.float32, "tokens")
    converter = tf.lite.TFLiteConverter.from_concrete_functions([tf.function(encoder, [spec]).get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([each] for each in shape.samples(SAMPLES_FOR_RANGES))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def onnx_encoder(shape: Shape, folder: Path) -> Path:
    """The network as onnxruntime quantizes it statically, QDQ with int8 weights."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    nodes: list[Any] = []
    constants: dict[str, np.ndarray] = {"one": np.ones(shape.width, np.float32), "root": np.float32(shape.head**-0.5)}
    constants["apart"] = np.array([1, shape.tokens, shape.heads, shape.head], np.int64)
    constants["together"] = np.array([1, shape.tokens, shape.width], np.int64)

    def add(kind: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"node{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def split(x: str, order: list[int]) -> str:
        return add("Transpose", add("Reshape", x, "apart"), perm=order)

    x = "tokens"
    for number, block in enumerate(shape.weights()):
        constants.update({f"{name}{number}": value for name, value in block.items()})
        query, key, value = (add("MatMul", x, f"{name}{number}") for name in ("query", "key", "value"))
        scores = add("Mul", add("MatMul", split(query, [0, 2, 1, 3]), split(key, [0, 2, 3, 1])), "root")
        mixed = add("MatMul", add("Softmax", scores, axis=-1), split(value, [0, 2, 1, 3]))
        mixed = add("MatMul", add("Reshape", add("Transpose", mixed, perm=[0, 2, 1, 3]), "together"), f"mix{number}")
        x = add("LayerNormalization", add("Add", x, mixed), "one", epsilon=EPSILON)
        up = add("Gelu", add("MatMul", x, f"up{number}"))
        x = add("LayerNormalization", add("Add", x, add("MatMul", up, f"down{number}")), "one", epsilon=EPSILON)

    extents = [1, shape.tokens, shape.width]
    border = [helper.make_tensor_value_info(name, TensorProto.FLOAT, extents) for name in ("tokens", x)]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "encoder", border[:1], border[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / "float.onnx")

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._samples = iter(shape.samples(SAMPLES_FOR_RANGES))

        def get_next(self) -> dict[str, np.ndarray] | None:
            found = next(self._samples, None)
            return None if found is None else {"tokens": found}

    quantize_static(
        folder / "float.onnx", folder / "int8.onnx", Reader(), activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8
    )
    return folder / "int8.onnx"


def onnx_engine(path: Path, shape: Shape, count: int) -> Callable[[], object]:
    """Runs as many samples one by one on one core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    samples = shape.samples(count)
    return lambda: [session.run(None, {"tokens": each}) for each in samples]


def exact_engines(model: tr.Model, name: str, count: int) -> dict[str, Callable[[], object]]:
    """IREE and the twin on one core, original and at one bit, after they have agreed."""
    inputs = model.random_inputs(count)
    found: dict[str, Callable[[], object]] = {}
    for form, made in (("", model), (", k = 1", model.compensate(1, scope="all", calibration="none"))):
        executable, twin = Executable.build(made.bytecode, source=made.source), TwinEngine(made)
        ours, theirs = executable.run_many(*inputs, workers=1), twin.run_many(inputs)
        for one, other in zip(ours, theirs, strict=True):
            assert (one == other).all(), f"{name}{form}: the twin differs from IREE"
        found[f"IREE, {name}{form}"] = lambda executable=executable: executable.run_many(*inputs, workers=1)
        if not form:
            found[f"twin, {name}"] = lambda twin=twin: twin.run_many(inputs)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    for name, default in (("layers", 6), ("width", 384), ("heads", 12), ("tokens", 32), ("repeats", 9), ("samples", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    shape, count = Shape(asked.layers, asked.width, asked.heads, asked.tokens), asked.samples
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "encoder.tflite"
        path.write_bytes(litert_encoder(shape))
        model = tr.load(path)
        litert, (inputs,) = LiteRt(path, 1, 1), model.random_inputs(count)
        runs: dict[str, Callable[[], object]] = {"LiteRT, int8": lambda: litert.run_many(inputs)}
        if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
            runs["onnxruntime, int8"] = onnx_engine(onnx_encoder(shape, folder), shape, count)
        runs |= exact_engines(model, "int8", count)
        if asked.model is not None:
            runs |= exact_engines(tr.load(asked.model), asked.model.stem, count)
        times = interleaved(runs, asked.repeats)
    print(f"{machine()}, one core\n\n| engine | sentences/s | against LiteRT |\n|---|---|---|")
    for engine, seconds in times.items():
        print(f"| {engine} | {count / seconds:.1f} | {times['LiteRT, int8'] / seconds:.2f}x |")


if __name__ == "__main__":
    main()
