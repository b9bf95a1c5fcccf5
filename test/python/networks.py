# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small LiteRT networks with random weights, as TensorFlow's converter makes them: what the tests of borders, of parts that
are no TOSA and of whole networks read.

Each function gives the bytes of a `.tflite` file; the same arguments give the same bytes within one run. `NETWORKS` names
one of each form. Needs TensorFlow (extra `train`): `tf = pytest.importorskip("tensorflow")` before the import of this file.
"""

from __future__ import annotations

import copy
import functools
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from ai_edge_litert import schema_py_generated

schema: Any = schema_py_generated  # its annotations are not those of the values that its own readers give
Spec = tf.TensorSpec


def convert(
    call: Callable[..., Any], specs: Mapping[str, Sequence[int | None]], border: str = "float32", activations: str = "int8"
) -> bytes:
    """A full-integer LiteRT model of a function.

    Args:
        call: float tensors, in the order of `specs`, to a dictionary of tensors.
        specs: shape of each input by name; None for a dynamic extent. The outputs are called `Identity`, `Identity_1` ..., in
            the order of the dictionary's sorted keys.
        border: type of inputs and outputs: float32 (QUANTIZE and DEQUANTIZE at the border), int8, uint8 or int16.
        activations: int8, or int16 (with int8 weights).
    """
    function = tf.function(call, input_signature=[Spec(shape, tf.float32, name) for name, shape in specs.items()])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    rng = np.random.default_rng(0)
    shapes = [[extent or 1 for extent in shape] for shape in specs.values()]
    samples = [[rng.normal(0, 1, shape).astype(np.float32) for shape in shapes] for _ in range(4)]
    converter.representative_dataset = lambda: iter(samples)
    ops = tf.lite.OpsSet
    wide = ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    converter.target_spec.supported_ops = [wide if activations == "int16" else ops.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = getattr(tf, border)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statistics come from the samples
        return bytes(converter.convert())


def _weights(seed: int, *shape: int) -> tf.Tensor:
    fan_in = int(np.prod(shape[:-1]))
    return tf.constant(np.random.default_rng(seed).normal(0, fan_in**-0.5, shape), tf.float32)


def _conv(x: tf.Tensor, seed: int, channels: int, size: int = 3, stride: int = 1, relu: bool = True) -> tf.Tensor:
    bias = tf.constant(np.random.default_rng(seed).normal(0, 0.1, channels), tf.float32)
    y = tf.nn.conv2d(x, _weights(seed, size, size, x.shape[-1], channels), stride, "SAME") + bias
    return tf.nn.relu6(y) if relu else y


def _depthwise(x: tf.Tensor, seed: int) -> tf.Tensor:
    return tf.nn.relu6(tf.nn.depthwise_conv2d(x, _weights(seed, 3, 3, x.shape[-1], 1) * 2, [1, 1, 1, 1], "SAME") + 0.1)


def _dense(x: tf.Tensor, seed: int, units: int) -> tf.Tensor:
    bias = tf.constant(np.random.default_rng(seed).normal(0, 0.1, units), tf.float32)
    return tf.linalg.matmul(x, _weights(seed, x.shape[-1], units)) + bias


@functools.cache
def classifier(border: str = "float32", activations: str = "int8", batch: int | None = 1) -> bytes:
    """Convolution, depthwise, residual add, mean, dense, softmax: input image [batch, 8, 8, 3], output scores [batch, 5]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _conv(image, 0, 8)
        x = x + _conv(_depthwise(x, 1), 2, 8, 1, relu=False)
        x = tf.reduce_mean(_conv(x, 3, 12, stride=2), [1, 2])
        return {"scores": tf.nn.softmax(_dense(x, 4, 5))}

    return convert(call, {"image": (batch, 8, 8, 3)}, border, activations)


@functools.cache
def two_inputs(border: str = "float32") -> bytes:
    """Two images of unlike shapes, one output: left [1, 8, 8, 3], right [1, 4, 4, 6], joined [1, 4, 4, 4]."""

    def call(left: tf.Tensor, right: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"joined": _conv(_conv(left, 0, 6, stride=2) + _conv(right * 3.0, 1, 6), 2, 4, 1, relu=False)}

    return convert(call, {"left": (1, 8, 8, 3), "right": (1, 4, 4, 6)}, border)


@functools.cache
def pose(border: str = "float32") -> bytes:
    """Two heads on one trunk: image [1, 16, 16, 3]; heatmaps [1, 8, 8, 5] through a sigmoid, offsets [1, 8, 8, 10]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _depthwise(_conv(image, 0, 8, stride=2), 1)
        return {
            "heatmaps": tf.sigmoid(_conv(x, 2, 5, 1, relu=False)),
            "offsets": _conv(x, 3, 10, 1, relu=False),
        }

    return convert(call, {"image": (1, 16, 16, 3)}, border)


@functools.cache
def segmentation(border: str = "float32", argmax: bool = True) -> bytes:
    """Encoder, bilinear resize, argmax over classes: image [1, 16, 16, 3]; mask [1, 16, 16] of integers, or scores."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _conv(_conv(image, 0, 8, stride=2), 1, 4, relu=False)
        x = tf.image.resize(x, (16, 16))
        return {"mask": tf.argmax(x, -1, tf.int32)} if argmax else {"scores": x}

    return convert(call, {"image": (1, 16, 16, 3)}, border)


@functools.cache
def inner_output(border: str = "float32") -> bytes:
    """An output that is read inside as well: image [1, 8, 8, 3]; features [1, 8, 8, 4], scores [1, 3]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        features = _conv(image, 0, 4)
        return {"features": features, "scores": _dense(tf.reduce_mean(features, [1, 2]), 1, 3)}

    return convert(call, {"image": (1, 8, 8, 3)}, border)


@functools.cache
def squeeze_excite(border: str = "float32") -> bytes:
    """Channel gates through mean, dense, sigmoid and mul: image [1, 8, 8, 3], output [1, 8, 8, 4]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _conv(image, 0, 8)
        gate = tf.sigmoid(_conv(_conv(tf.reduce_mean(x, [1, 2], keepdims=True), 1, 4, 1), 2, 8, 1, relu=False))
        return {"gated": _conv(x * gate, 3, 4, 1, relu=False)}

    return convert(call, {"image": (1, 8, 8, 3)}, border)


@functools.cache
def super_resolution(border: str = "float32") -> bytes:
    """depth_to_space: image [1, 8, 8, 3], larger [1, 16, 16, 3]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"larger": tf.nn.depth_to_space(_conv(_conv(image, 0, 8), 1, 12, relu=False), 2)}

    model = unpack(convert(call, {"image": (1, 8, 8, 3)}, border))
    for code in model.operatorCodes:
        if code.builtinCode == schema.BuiltinOperator.DEPTH_TO_SPACE:
            code.version = 1  # version 2 allows int16; LiteRT's reference kernels know it as version 1 alone
    return pack(model)


@functools.cache
def audio(border: str = "float32") -> bytes:
    """1-D convolutions: wave [1, 32, 4], scores [1, 3]."""

    def call(wave: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.nn.relu(tf.nn.conv1d(wave, _weights(0, 5, 4, 8), 2, "SAME") + 0.1)
        x = tf.nn.relu(tf.nn.conv1d(x, _weights(1, 3, 8, 8), 2, "SAME") - 0.1)
        return {"scores": _dense(tf.reshape(x, (1, 64)), 2, 3)}

    return convert(call, {"wave": (1, 32, 4)}, border)


@functools.cache
def attention(border: str = "float32", activations: str = "int8", length: int | None = 6) -> bytes:
    """One head of self-attention: tokens [1, length, 8], output of the same shape."""

    def call(tokens: tf.Tensor) -> dict[str, tf.Tensor]:
        query, key, value = (_dense(tokens, seed, 8) for seed in range(3))
        mix = tf.nn.softmax(tf.linalg.matmul(query, key, transpose_b=True) * 8**-0.5)
        return {"mixed": tokens + _dense(tf.linalg.matmul(mix, value), 3, 8)}

    return convert(call, {"tokens": (1, length, 8)}, border, activations)


@functools.cache
def linear(border: str = "float32", activations: str = "int8") -> bytes:
    """A dense layer over a fixed first dimension that is no batch: x [2, 16], y [2, 8]."""
    return convert(lambda x: {"y": _dense(x, 0, 8)}, {"x": (2, 16)}, border, activations)


@functools.cache
def gru(border: str = "float32") -> bytes:
    """A GRU of four steps, unrolled: sequence [1, 4, 6], state [1, 5]."""

    def call(sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        state = tf.zeros((1, 5))
        for step in range(4):
            both = tf.concat([sequence[:, step], state], 1)
            update, reset = tf.sigmoid(_dense(both, 0, 5)), tf.sigmoid(_dense(both, 1, 5))
            candidate = tf.tanh(_dense(tf.concat([sequence[:, step], reset * state], 1), 2, 5))
            state = update * state + (1.0 - update) * candidate
        return {"state": state}

    return convert(call, {"sequence": (1, 4, 6)}, border)


@functools.cache
def lstm() -> bytes:
    """A 1-D convolution and a float LSTM behind it: sequence [1, 4, 6], states [1, 4, 5], both float32.

    The LSTM is put in by hand: the converter of today keeps a quantized one as VAR_HANDLE and WHILE, and cannot calibrate it.
    """

    def call(sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"features": tf.nn.relu(tf.nn.conv1d(sequence, _weights(0, 3, 6, 6), 1, "SAME"))}

    model = unpack(convert(call, {"sequence": (1, 4, 6)}))
    graph, units = model.subgraphs[0], 5

    def tensor(name: str, shape: Sequence[int], value: np.ndarray | None = None, variable: bool = False) -> int:
        made = schema.TensorT()
        made.name, made.type, made.shape = name.encode(), schema.TensorType.FLOAT32, np.array(shape, np.int32)
        made.isVariable = variable
        if value is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(value.astype("<f4").tobytes(), np.uint8)
            model.buffers.append(buffer)
            made.buffer = len(model.buffers) - 1
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    rng = np.random.default_rng(0)
    to_gates = [tensor(f"input_to_{gate}", (units, 6), rng.normal(0, 0.4, (units, 6))) for gate in "ifco"]
    recurrent = [tensor(f"recurrent_to_{gate}", (units, units), rng.normal(0, 0.4, (units, units))) for gate in "ifco"]
    biases = [tensor(f"{gate}_bias", (units,), rng.normal(0, 0.1, units)) for gate in "ifco"]
    state = [tensor(name, (1, units), variable=True) for name in ("output_state", "cell_state")]
    model.operatorCodes.append(operator_code(schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM))
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs = [int(graph.outputs[0]), *to_gates, *recurrent, -1, -1, -1, *biases, -1, -1, *state, -1, -1, -1, -1]
    operator.outputs = [tensor("states", (1, 4, units))]
    operator.builtinOptionsType = schema.BuiltinOptions.UnidirectionalSequenceLSTMOptions
    operator.builtinOptions = schema.UnidirectionalSequenceLSTMOptionsT()
    operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.TANH
    graph.operators.append(operator)
    graph.outputs = list(operator.outputs)
    return pack(model)


@functools.cache
def detection(border: str = "float32") -> bytes:
    """Boxes [1, 16, 4] and scores [1, 16, 3] of a single-shot detector, as they leave the network."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _conv(_conv(image, 0, 8, stride=2), 1, 8, stride=2)
        boxes = tf.reshape(_conv(x, 2, 4, 1, relu=False), (1, 16, 4))
        return {"boxes": boxes, "scores": tf.sigmoid(tf.reshape(_conv(x, 3, 3, 1, relu=False), (1, 16, 3)))}

    return convert(call, {"image": (1, 16, 16, 3)}, border)


@functools.cache
def floating() -> bytes:
    """A float32 network: image [1, 8, 8, 3], features [1, 8, 8, 4]."""
    function = tf.function(lambda x: {"y": _conv(x, 0, 4)}, input_signature=[Spec((1, 8, 8, 3), tf.float32, "image")])
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()]).convert())


@functools.cache
def computed_shape() -> bytes:
    """A reshape to a shape that is computed from the input's: image [batch, 4, 4, 3], rows [batch, 16, 3]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _conv(image, 0, 4)
        return {"rows": _dense(tf.reshape(x, (tf.shape(x)[0], -1, 4)), 1, 3)}

    return convert(call, {"image": (None, 4, 4, 3)})


@functools.cache
def recurrent(activations: str = "int8", bias: bool = True) -> bytes:
    """Two unrolled steps of a recurrent layer; the first state has the input's batch: [batch, 2, 4] to [batch, 5].

    bias: the state's product has one, as in GRUs of Keras; LSTMs have none there.
    """

    def call(sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        state = tf.zeros((tf.shape(sequence)[0], 5))
        for step in range(2):
            product = _dense(state, 1, 5) if bias else tf.linalg.matmul(state, _weights(1, 5, 5))
            state = tf.tanh(_dense(sequence[:, step], 0, 5) + product)
        return {"state": state}

    return convert(call, {"sequence": (None, 2, 4)}, activations=activations)


@functools.cache
def odd(name: str) -> tuple[bytes, str, list[str]]:
    """A network with something that is no TOSA, what of it stays behind, and the names of the outputs that are left.

    name: `unique` (the converter leaves the operator), `nothing known` (an int8 operator that it leaves), `float behind` (an
    operator that has no int8 form), `float in front` (a float32 RESHAPE before the QUANTIZE).
    """

    def unique(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.unique(tf.reshape(tf.argmax(_conv(image, 0, 4), -1, tf.int32), (-1,)))[0]}

    def nothing_known(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.nn.log_softmax(_conv(image, 0, 4))}

    def float_behind(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.cumsum(_conv(image, 0, 4), 1)}

    shape = {"image": (1, 8, 8, 3)}
    if name == "unique":
        return convert(unique, shape), "operator 4 (UNIQUE 'Identity') behind", ["Reshape"]
    if name == "nothing known":
        return convert(nothing_known, shape), "(LOG_SOFTMAX 'Identity1')", ["Relu6;add;Conv2D;Const1"]
    if name == "float behind":
        return convert(float_behind, shape), "operator 3 (CUMSUM 'Identity') behind", ["Relu6;add;Conv2D;Const1"]
    model = unpack(classifier())
    graph = model.subgraphs[0]
    flat, constant = schema.TensorT(), schema.TensorT()
    flat.name, flat.type, flat.shape = b"flat", schema.TensorType.FLOAT32, np.array([1, 192], np.int32)
    constant.name, constant.type, constant.shape = b"extents", schema.TensorType.INT32, np.array([4], np.int32)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.array([1, 8, 8, 3], "<i4").tobytes(), np.uint8)
    model.buffers.append(buffer)
    constant.buffer = len(model.buffers) - 1
    graph.tensors += [flat, constant]
    model.operatorCodes.append(operator_code(schema.BuiltinOperator.RESHAPE))
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = [len(graph.tensors) - 2, len(graph.tensors) - 1], list(graph.inputs)
    graph.operators = [operator, *graph.operators]
    graph.inputs = [len(graph.tensors) - 2]
    return pack(model), "operator 0 (RESHAPE 'image') in front", ["Identity"]


def with_custom_op(data: bytes, code: str = "TFLite_Detection_PostProcess", outputs: int = 4) -> bytes:
    """The network with a custom op behind it that takes all its outputs and makes float32 results `result0` ..."""
    model = unpack(data)
    graph = model.subgraphs[0]
    model.operatorCodes.append(operator_code(schema.BuiltinOperator.CUSTOM, code))
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs = list(graph.outputs)
    operator.outputs = []
    for number in range(outputs):
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.shape = f"result{number}".encode(), schema.TensorType.FLOAT32, np.array([1, 10])
        graph.tensors.append(tensor)
        operator.outputs.append(len(graph.tensors) - 1)
    graph.operators.append(operator)
    graph.outputs = list(operator.outputs)
    model.signatureDefs = None
    return pack(model)


def quantize_alone(length: int, scale: float, zero_point: int) -> bytes:
    """A QUANTIZE of float32 [length] to int8, and nothing else."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [graph]
    model.operatorCodes = [operator_code(schema.BuiltinOperator.QUANTIZE)]
    graph.tensors, operator = [], schema.OperatorT()
    for name, kind in ((b"real", schema.TensorType.FLOAT32), (b"integer", schema.TensorType.INT8)):
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.shape = name, kind, np.array([length], np.int32)
        graph.tensors.append(tensor)
    quantization = graph.tensors[1].quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = np.float32([scale]), np.int64([zero_point])
    operator.inputs, operator.outputs = [0], [1]
    graph.operators, graph.inputs, graph.outputs = [operator], [0], [1]
    return pack(model)


def operator_code(builtin: int, custom: str | None = None, version: int = 1) -> Any:
    """An OperatorCodeT."""
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
    code.customCode = None if custom is None else custom.encode()
    return code


def unpack(data: bytes) -> Any:
    """A flatbuffer as the object API's ModelT, free to change."""
    return copy.deepcopy(schema.ModelT.InitFromPackedBuf(data, 0))


def pack(model: Any) -> bytes:
    """The flatbuffer of a ModelT."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run_litert(data: bytes, inputs: Mapping[str, np.ndarray] | Sequence[np.ndarray]) -> list[np.ndarray]:
    """LiteRT's interpreter on a file, with its reference kernels: the outputs in the order of the graph."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    details = interpreter.get_input_details()
    arrays = [inputs[each["name"]] for each in details] if isinstance(inputs, Mapping) else list(inputs)
    for each, array in zip(details, arrays, strict=True):
        interpreter.resize_tensor_input(each["index"], array.shape)
    interpreter.allocate_tensors()
    for each, array in zip(details, arrays, strict=True):
        interpreter.set_tensor(each["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]


NETWORKS: dict[str, Callable[[], bytes]] = {
    "classifier": classifier,
    "classifier_int8": lambda: classifier("int8"),
    "classifier_uint8": lambda: classifier("uint8"),
    "classifier_int16x8": lambda: classifier("float32", "int16"),
    "classifier_batch": lambda: classifier("float32", "int8", None),
    "two_inputs": two_inputs,
    "pose": pose,
    "segmentation": segmentation,
    "inner_output": inner_output,
    "squeeze_excite": squeeze_excite,
    "super_resolution": super_resolution,
    "audio": audio,
    "attention": attention,
    "attention_int16x8": lambda: attention("float32", "int16"),
    "linear": linear,
    "gru": gru,
    "lstm": lstm,
    "detection": detection,
    "detection_custom": lambda: with_custom_op(detection()),
}
"""One network of each form, by name. `lstm` and `detection_custom` have parts that TOSA cannot express."""
