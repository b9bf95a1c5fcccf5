# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Networks as they lie in the model zoos of microcontrollers, small and with random weights: one function a family.

Each gives the bytes of a `.tflite` file; `ZOO` names them. What they add to `networks.NETWORKS` is the ops that these
families use and the way in which exporters write them. Needs TensorFlow (extra `train`).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from networks import _conv, _dense, _depthwise, _weights, convert, floating, operator_code, pack, schema, unpack


def _hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu6(x + 3.0) * (1 / 6)


def _hard_swish(x: tf.Tensor) -> tf.Tensor:
    return x * _hard_sigmoid(x)


def _leaky(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.leaky_relu(x, 0.1)


def _prelu(x: tf.Tensor, seed: int) -> tf.Tensor:
    slope = tf.constant(np.random.default_rng(seed).uniform(0.1, 0.4, (1, 1, x.shape[-1])), tf.float32)
    return tf.nn.relu(x) + -slope * tf.nn.relu(-x)  # as Keras writes it


def _norm(x: tf.Tensor) -> tf.Tensor:
    """Layer normalization over the last dimension, as exporters write it out."""
    middle = x - tf.reduce_mean(x, -1, keepdims=True)
    return middle * tf.math.rsqrt(tf.reduce_mean(tf.square(middle), -1, keepdims=True) + 1e-3)


# -- images ------------------------------------------------------------------------------------------------------------


@functools.cache
def mobilenet_v3(border: str = "float32") -> bytes:
    """Hard-swish, squeeze-and-excite with a hard sigmoid, a 5x5 depthwise convolution: image [1, 16, 16, 3], scores [1, 5]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _hard_swish(_conv(image, 0, 8, stride=2, relu=False))
        y = _hard_swish(tf.nn.depthwise_conv2d(x, _weights(1, 5, 5, 8, 1) * 2, [1, 1, 1, 1], "SAME"))
        gate = _conv(tf.reduce_mean(y, [1, 2], keepdims=True), 2, 4, 1)
        x = x + _conv(y * _hard_sigmoid(_conv(gate, 3, 8, 1, relu=False)), 4, 8, 1, relu=False)
        x = _hard_swish(_conv(tf.reduce_mean(x, [1, 2], keepdims=True), 5, 12, 1, relu=False))
        return {"scores": tf.nn.softmax(tf.reshape(_conv(x, 6, 5, 1, relu=False), (1, 5)))}

    return convert(call, {"image": (1, 16, 16, 3)}, border)


@functools.cache
def mobilenet_v2(border: str = "int8", activations: str = "int8") -> bytes:
    """Inverted residuals behind a zero padding of one side: image [1, 16, 16, 3], scores [1, 4]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.nn.relu6(tf.nn.conv2d(tf.pad(image, [[0, 0], [0, 1], [0, 1], [0, 0]]), _weights(0, 3, 3, 3, 4), 2, "VALID"))
        y = _conv(x, 1, 12, 1)
        y = tf.nn.relu6(tf.nn.depthwise_conv2d(y, _weights(2, 3, 3, 12, 1) * 2, [1, 1, 1, 1], "SAME") + 0.1)
        x = x + _conv(y, 3, 4, 1, relu=False)
        return {"scores": _dense(tf.reduce_mean(_conv(x, 4, 8, 1), [1, 2]), 5, 4)}

    return convert(call, {"image": (1, 16, 16, 3)}, border, activations)


@functools.cache
def person(border: str = "int8") -> bytes:
    """A grey image into a depthwise convolution of multiplier 8, average pooling, two classes: image [1, 16, 16, 1]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.nn.relu6(tf.nn.depthwise_conv2d(image, _weights(0, 3, 3, 1, 8), [1, 2, 2, 1], "SAME") + 0.1)
        x = tf.nn.avg_pool2d(_conv(_depthwise(x, 1), 2, 8, 1), 8, 8, "VALID")
        return {"scores": tf.nn.softmax(tf.reshape(_conv(x, 3, 2, 1, relu=False), (1, 2)))}

    return convert(call, {"image": (1, 16, 16, 1)}, border)


@functools.cache
def digits(border: str = "float32") -> bytes:
    """LeNet: VALID convolutions, max pooling, a reshape, dense layers; image [1, 12, 12, 1], scores [1, 10]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(image, _weights(0, 3, 3, 1, 4), 1, "VALID")), 2, 2, "VALID")
        x = tf.nn.relu(_dense(tf.reshape(x, (1, 100)), 1, 12))
        return {"scores": tf.nn.softmax(_dense(x, 2, 10))}

    return convert(call, {"image": (1, 12, 12, 1)}, border)


@functools.cache
def squeezenet(border: str = "float32") -> bytes:
    """Fire modules: two convolutions of one tensor, joined; image [1, 16, 16, 3], scores [1, 4]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.nn.max_pool2d(_conv(image, 0, 6, stride=2), 3, 2, "SAME")
        x = _conv(x, 1, 4, 1)
        x = tf.concat([_conv(x, 2, 6, 1), _conv(x, 3, 6)], -1)
        return {"scores": tf.nn.softmax(tf.reduce_mean(_conv(x, 4, 4, 1), [1, 2]))}

    return convert(call, {"image": (1, 16, 16, 3)}, border)


@functools.cache
def shufflenet(border: str = "float32") -> bytes:
    """Channels split, one half convolved, joined and shuffled by reshapes and a transpose: image [1, 8, 8, 4]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _conv(image, 0, 8)
        left, right = tf.split(x, 2, -1)
        right = _conv(_depthwise(_conv(right, 1, 4, 1), 2), 3, 4, 1)
        x = tf.transpose(tf.reshape(tf.concat([left, right], -1), (1, 8, 8, 2, 4)), (0, 1, 2, 4, 3))
        return {"scores": _dense(tf.reduce_mean(tf.reshape(x, (1, 8, 8, 8)), [1, 2]), 4, 3)}

    return convert(call, {"image": (1, 8, 8, 4)}, border)


@functools.cache
def embedding(border: str = "float32") -> bytes:
    """A face's vector of length one: image [1, 8, 8, 3], vector [1, 8]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _prelu(_conv(image, 0, 8, stride=2, relu=False), 1)
        return {"vector": tf.math.l2_normalize(_dense(tf.reshape(x, (1, 128)), 2, 8), -1)}

    return convert(call, {"image": (1, 8, 8, 3)}, border)


@functools.cache
def vision_transformer(border: str = "float32") -> bytes:
    """Patches, a class token, layer normalization, two heads, GELU: image [1, 8, 8, 3], scores [1, 3]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        patches = tf.nn.conv2d(image, _weights(0, 4, 4, 3, 8), 4, "VALID")
        x = tf.concat([tf.reshape(_weights(1, 1, 1, 8), (1, 1, 8)), tf.reshape(patches, (1, 4, 8))], 1)
        x = x + _weights(2, 1, 5, 8)
        y = _norm(x)
        heads = [tf.transpose(tf.reshape(_dense(y, seed, 8), (1, 5, 2, 4)), (0, 2, 1, 3)) for seed in (3, 4, 5)]
        mix = tf.nn.softmax(tf.linalg.matmul(heads[0], heads[1], transpose_b=True) * 0.5)
        y = tf.reshape(tf.transpose(tf.linalg.matmul(mix, heads[2]), (0, 2, 1, 3)), (1, 5, 8))
        x = x + _dense(y, 6, 8)
        x = x + _dense(tf.nn.gelu(_dense(_norm(x), 7, 16), approximate=True), 8, 8)
        return {"scores": _dense(_norm(x)[:, 0], 9, 3)}

    return convert(call, {"image": (1, 8, 8, 3)}, border)


# -- boxes, points and masks -------------------------------------------------------------------------------------------


@functools.cache
def fomo(border: str = "int8") -> bytes:
    """A softmax for each cell: image [1, 16, 16, 1], cells [1, 4, 4, 3]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _depthwise(_conv(image, 0, 8, stride=2), 1)
        return {"cells": tf.nn.softmax(_conv(_conv(x, 2, 8, stride=2), 3, 3, 1, relu=False))}

    return convert(call, {"image": (1, 16, 16, 1)}, border)


@functools.cache
def blazeface(border: str = "float32") -> bytes:
    """Residuals whose channels are padded, two scales, each with boxes and scores joined: image [1, 16, 16, 3]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.nn.relu(_conv(image, 0, 6, 5, stride=2, relu=False))
        y = _conv(tf.nn.depthwise_conv2d(x, _weights(1, 3, 3, 6, 1), [1, 2, 2, 1], "SAME"), 2, 10, 1, relu=False)
        near = tf.nn.relu(y + tf.pad(tf.nn.max_pool2d(x, 2, 2, "SAME"), [[0, 0], [0, 0], [0, 0], [0, 4]]))
        far = _conv(near, 3, 10, stride=2)
        boxes = [tf.reshape(_conv(each, 4, 8, 1, relu=False), (1, -1, 4)) for each in (near, far)]
        scores = [tf.reshape(_conv(each, 5, 2, 1, relu=False), (1, -1, 1)) for each in (near, far)]
        return {"boxes": tf.concat(boxes, 1), "scores": tf.concat(scores, 1)}

    return convert(call, {"image": (1, 16, 16, 3)}, border)


@functools.cache
def palm(border: str = "float32") -> bytes:
    """PReLU, bilinear upsampling in a feature pyramid: image [1, 16, 16, 3], points [1, 64, 6], scores [1, 64, 1]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        near = _prelu(_conv(image, 0, 8, stride=2, relu=False), 1)
        far = _prelu(_conv(near, 2, 8, stride=2, relu=False), 3)
        x = near + _conv(tf.image.resize(far, (8, 8)), 4, 8, 1)
        points, scores = _conv(x, 5, 6, 1, relu=False), _conv(x, 6, 1, 1, relu=False)
        return {"points": tf.reshape(points, (1, 64, 6)), "scores": tf.sigmoid(tf.reshape(scores, (1, 64, 1)))}

    return convert(call, {"image": (1, 16, 16, 3)}, border)


@functools.cache
def ssd(border: str = "float32") -> bytes:
    """Scores, boxes and constant anchors in one output, as some zoos write them: image [1, 16, 16, 3], [1, 16, 11]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _depthwise(_conv(_conv(image, 0, 8, stride=2), 1, 8, stride=2), 2)
        scores = tf.nn.softmax(tf.reshape(_conv(x, 3, 3, 1, relu=False), (1, 16, 3)))
        boxes = tf.reshape(_conv(x, 4, 4, 1, relu=False), (1, 16, 4))
        return {"found": tf.concat([scores, boxes, tf.reshape(_weights(5, 16, 4), (1, 16, 4))], -1)}

    return convert(call, {"image": (1, 16, 16, 3)}, border)


@functools.cache
def efficientdet(border: str = "float32") -> bytes:
    """Swish, a two-way pyramid with weighted sums, nearest upsampling, heads at three scales: six outputs."""

    def swish(x: tf.Tensor) -> tf.Tensor:
        return x * tf.sigmoid(x)

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        one = swish(_conv(image, 0, 6, stride=2, relu=False))
        two = swish(_conv(one, 1, 6, stride=2, relu=False))
        three = tf.nn.max_pool2d(two, 3, 2, "SAME")
        up = swish(two * 0.6 + tf.image.resize(three, (4, 4), "nearest") * 0.4)
        top = swish(one * 0.5 + tf.image.resize(up, (8, 8), "nearest") * 0.5)
        middle = swish(two * 0.3 + up * 0.3 + tf.nn.max_pool2d(top, 3, 2, "SAME") * 0.4)
        low = swish(three * 0.5 + tf.nn.max_pool2d(middle, 3, 2, "SAME") * 0.5)
        found = {}
        for level, each in enumerate((top, middle, low)):
            x = _conv(_depthwise(each, 2), 3, 6, 1, relu=False)
            found[f"box{level}"], found[f"class{level}"] = _conv(x, 4, 4, 1, relu=False), _conv(x, 5, 3, 1, relu=False)
        return found

    return convert(call, {"image": (1, 16, 16, 3)}, border)


@functools.cache
def yolo(border: str = "float32") -> bytes:
    """Leaky ReLU, pooling of stride 1 joined, upsampling, boxes decoded in the graph: image [1, 16, 16, 3], [1, 80, 7]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        near = _leaky(_conv(image, 0, 8, stride=2, relu=False))
        x = _leaky(_conv(near, 1, 8, stride=2, relu=False))
        pooled = tf.nn.max_pool2d(x, 5, 1, "SAME")
        far = _leaky(_conv(tf.concat([x, pooled, tf.nn.max_pool2d(pooled, 5, 1, "SAME")], -1), 2, 8, 1, relu=False))
        near = tf.concat([near, tf.image.resize(far, (8, 8), "nearest")], -1)
        found = []
        for size, seed, each in ((8, 3, near), (4, 4, far)):
            y = tf.sigmoid(tf.reshape(_conv(each, seed, 7, 1, relu=False), (1, size * size, 7)))
            grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).reshape(1, -1, 2).astype(np.float32)
            centre, extent, rest = y[..., :2] * 2.0 - 0.5 + grid, tf.square(y[..., 2:4] * 2.0) * 0.3, y[..., 4:]
            found.append(tf.concat([centre * (1 / size), extent, rest], -1))
        return {"found": tf.concat(found, 1)}

    return convert(call, {"image": (1, 16, 16, 3)}, border)


@functools.cache
def yolo_heads(border: str = "int8") -> bytes:
    """Three raw heads of unlike sizes: image [1, 16, 16, 3], [1, 8, 8, 7], [1, 4, 4, 7], [1, 2, 2, 7]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        found = {}
        x = image
        for level in range(3):
            x = _leaky(_conv(x, level, 8, stride=2, relu=False))
            found[f"head{level}"] = _conv(x, 10 + level, 7, 1, relu=False)
        return found

    return convert(call, {"image": (1, 16, 16, 3)}, border)


@functools.cache
def movenet(border: str = "float32") -> bytes:
    """The cell of the largest value, and what other heads say there: image [1, 16, 16, 3], points [1, 3]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _depthwise(_conv(image, 0, 8, stride=2), 1)
        centres = tf.sigmoid(_conv(x, 2, 1, 1, relu=False))
        place = tf.argmax(tf.reshape(centres, (1, 64)), -1, tf.int32)
        offsets = tf.reshape(_conv(x, 3, 2, 1, relu=False), (64, 2))
        at = tf.gather(offsets, place, axis=0)
        return {"points": at, "place": place}

    return convert(call, {"image": (1, 16, 16, 3)}, border)


@functools.cache
def movenet_decoder(border: str = "float32") -> bytes:
    """As MoveNet decodes: rows and columns of an argmax by integer division, gather_nd, distances in float."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _depthwise(_conv(image, 0, 8, stride=2), 1)
        centres = tf.sigmoid(_conv(x, 2, 1, 1, relu=False))
        place = tf.argmax(tf.reshape(centres, (1, 64)), -1, tf.int32)
        row = tf.math.floordiv(place, 8)
        column = place - row * 8
        index = tf.stack([tf.zeros_like(row), row, column], -1)
        at = tf.gather_nd(_conv(x, 3, 6, 1, relu=False), index)
        spot = tf.stack([tf.cast(row, tf.float32), tf.cast(column, tf.float32)], -1)
        return {"points": tf.reshape(at, (1, 3, 2)) + spot[:, None], "score": tf.reduce_max(centres, [1, 2])}

    return convert(call, {"image": (1, 16, 16, 3)}, border)


@functools.cache
def unet(border: str = "float32", activations: str = "int8") -> bytes:
    """Transposed convolutions and skips: image [1, 16, 16, 3], scores [1, 16, 16, 2]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        first = _conv(image, 0, 4)
        x = _conv(tf.nn.max_pool2d(first, 2, 2, "VALID"), 1, 8)
        x = tf.nn.relu(tf.nn.conv2d_transpose(x, _weights(2, 3, 3, 4, 8), (1, 16, 16, 4), 2, "SAME"))
        return {"scores": tf.nn.softmax(_conv(tf.concat([x, first], -1), 3, 2, 1, relu=False))}

    return convert(call, {"image": (1, 16, 16, 3)}, border, activations)


@functools.cache
def deeplab(border: str = "float32") -> bytes:
    """Dilated convolutions, a pooled branch stretched back, bilinear resize by no whole factor: mask [1, 15, 15, 3]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _conv(image, 0, 8, stride=2)
        near = tf.nn.relu(tf.nn.conv2d(x, _weights(1, 3, 3, 8, 6), 1, "SAME", dilations=2))
        whole = tf.image.resize(_conv(tf.reduce_mean(x, [1, 2], keepdims=True), 2, 6, 1), (8, 8))
        x = _conv(tf.concat([near, whole], -1), 3, 3, 1, relu=False)
        return {"scores": tf.compat.v1.image.resize_bilinear(x, (15, 15), align_corners=True)}

    return convert(call, {"image": (1, 15, 15, 3)}, border)


# -- sound and signals -------------------------------------------------------------------------------------------------


@functools.cache
def ds_cnn(border: str = "int8", activations: str = "int8") -> bytes:
    """Keyword spotting: a 10x4 convolution of stride 2, depthwise blocks, average pooling: features [1, 49, 10, 1]."""

    def call(features: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.nn.relu(tf.nn.conv2d(features, _weights(0, 10, 4, 1, 8), 2, "SAME") + 0.1)
        x = _conv(_depthwise(x, 1), 2, 8, 1)
        x = tf.reshape(tf.nn.avg_pool2d(x, (25, 5), (25, 5), "VALID"), (1, 8))
        return {"scores": tf.nn.softmax(_dense(x, 3, 6))}

    return convert(call, {"features": (1, 49, 10, 1)}, border, activations)


@functools.cache
def autoencoder(border: str = "int8") -> bytes:
    """Dense layers down and up again: window [1, 64], the same [1, 64]."""

    def call(window: tf.Tensor) -> dict[str, tf.Tensor]:
        x = window
        for seed, units in enumerate((16, 16, 4, 16, 16)):
            x = tf.nn.relu(_dense(x, seed, units))
        return {"window": _dense(x, 9, 64)}

    return convert(call, {"window": (1, 64)}, border)


@functools.cache
def wav2letter(border: str = "int8") -> bytes:
    """Long 1-D convolutions written as 2-D ones, leaky ReLU, a softmax for each step: features [1, 32, 13]."""

    def call(features: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.reshape(features, (1, 1, 32, 13))
        x = tf.nn.leaky_relu(tf.nn.conv2d(x, _weights(0, 1, 24, 13, 8), (1, 2), "SAME") + 0.1, 0.2)
        x = tf.nn.leaky_relu(tf.nn.conv2d(x, _weights(1, 1, 7, 8, 8), 1, "SAME"), 0.2)
        return {"letters": tf.nn.softmax(_conv(x, 2, 7, 1, relu=False))}

    return convert(call, {"features": (1, 32, 13)}, border)


@functools.cache
def audio_resnet(border: str = "int8") -> bytes:
    """A residual network on a spectrogram with a pooled residual: features [1, 64, 50, 1], scores [1, 4]."""

    def call(features: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _conv(features, 0, 8, 7, stride=2)
        x = tf.nn.max_pool2d(x, 3, 2, "SAME")
        y = _conv(_conv(x, 1, 8), 2, 8, relu=False)
        x = tf.nn.relu(x + y)
        y = _conv(_conv(x, 3, 12, stride=2), 4, 12, relu=False)
        x = tf.nn.relu(_conv(x, 5, 12, 1, stride=2, relu=False) + y)
        return {"scores": tf.nn.softmax(_dense(tf.reduce_mean(x, [1, 2]), 6, 4))}

    return convert(call, {"features": (1, 64, 50, 1)}, border)


@functools.cache
def tcn(border: str = "float32", activations: str = "int8") -> bytes:
    """Dilated causal 1-D convolutions with residuals: signal [1, 32, 4], steps [1, 32, 3]."""

    def call(signal: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.nn.relu(tf.nn.conv1d(signal, _weights(0, 1, 4, 8), 1, "VALID"))
        for seed, dilation in ((1, 1), (2, 2), (3, 4)):
            padded = tf.pad(x, [[0, 0], [2 * dilation, 0], [0, 0]])
            x = x + tf.nn.relu(tf.nn.conv1d(padded, _weights(seed, 3, 8, 8), 1, "VALID", dilations=dilation))
        return {"steps": _dense(x, 4, 3)}

    return convert(call, {"signal": (1, 32, 4)}, border, activations)


@functools.cache
def lstm_unrolled(border: str = "float32", activations: str = "int8") -> bytes:
    """An LSTM of four steps, unrolled: sequence [1, 4, 6], scores [1, 3]."""

    def call(sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        state, cell = tf.zeros((1, 5)), tf.zeros((1, 5))
        for step in tf.unstack(sequence, axis=1):
            gates = _dense(tf.concat([step, state], 1), 0, 20)
            read, forget, new, write = tf.split(gates, 4, 1)
            cell = tf.sigmoid(forget) * cell + tf.sigmoid(read) * tf.tanh(new)
            state = tf.sigmoid(write) * tf.tanh(cell)
        return {"scores": tf.nn.softmax(_dense(state, 1, 3))}

    return convert(call, {"sequence": (1, 4, 6)}, border, activations)


@functools.cache
def lstm_int8(border: str = "float32") -> bytes:
    """An int8 LSTM that the converter of LiteRT fused, behind a 1-D convolution: sequence [1, 4, 6], scores [1, 3]."""

    def call(sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.nn.relu(tf.nn.conv1d(sequence, _weights(0, 3, 6, 6), 1, "SAME"))
        return {"scores": _dense(tf.reshape(tf.tanh(x), (1, 24)), 1, 3)}

    # The operator in the middle becomes the LSTM; the tensors on both sides are int8 already.
    model = unpack(convert(call, {"sequence": (1, 4, 6)}, border))
    graph = model.subgraphs[0]
    codes = [model.operatorCodes[each.opcodeIndex].builtinCode for each in graph.operators]
    middle = graph.operators[codes.index(schema.BuiltinOperator.TANH)]
    model.operatorCodes.append(operator_code(schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM))
    middle.opcodeIndex = len(model.operatorCodes) - 1
    middle.inputs = [int(middle.inputs[0]), *([-1] * 23)]
    middle.builtinOptionsType = schema.BuiltinOptions.UnidirectionalSequenceLSTMOptions
    middle.builtinOptions = schema.UnidirectionalSequenceLSTMOptionsT()
    return pack(model)


# -- text, and whatever else ops do ------------------------------------------------------------------------------------


@functools.cache
def tokens(offset: int = 0) -> bytes:
    """An embedding table of 12 rows read by int32 tokens, a dense layer: tokens int32 [1, 6], scores [1, 3].

    The converter's border is int8 here; the input is int32 whatever the border is. `offset` is added to tokens first.
    """
    table = _weights(0, 12, 8)
    call = tf.function(
        lambda tokens: {"scores": _dense(tf.reshape(tf.gather(table, tokens + offset if offset else tokens), (1, 48)), 1, 3)},
        input_signature=[tf.TensorSpec((1, 6), tf.int32, "tokens")],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    rng = np.random.default_rng(0)
    samples = [[rng.integers(0, 12, (1, 6), np.int32) - offset] for _ in range(8)]
    converter.representative_dataset = lambda: iter(samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statistics come from the samples
        return bytes(converter.convert())


@functools.cache
def shapes(border: str = "float32") -> bytes:
    """Ops that move data: pack, unpack, tile, strided slices (backwards too), mirror padding, space to depth, squeeze."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _conv(image, 0, 4)
        rows = tf.stack(tf.unstack(x, axis=1)[::-1], 1)
        wide = tf.concat([tf.tile(x[:, ::2, 1::2], [1, 1, 1, 2]), tf.nn.space_to_depth(x, 2)[..., :8]], -1)
        edge = tf.pad(x, [[0, 0], [1, 1], [2, 1], [0, 0]], "REFLECT")
        return {
            "rows": _conv(rows, 1, 3, 1),
            "turned": tf.reverse(x, [2]),
            "wide": tf.squeeze(_conv(wide[:, :1], 2, 3, 1, relu=False), 1),
            "edge": tf.expand_dims(_conv(edge, 3, 2, relu=False), 1),
        }

    return convert(call, {"image": (1, 8, 8, 3)}, border)


@functools.cache
def activations(border: str = "float32") -> bytes:
    """Element-wise functions and reductions that LiteRT knows in int8: image [1, 8, 8, 3], scores [1, 3]."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        x = _conv(image, 0, 6, relu=False)
        x = tf.maximum(tf.tanh(x), tf.minimum(tf.nn.elu(x) * 0.5, tf.abs(x) - 0.2))
        x = x * tf.exp(-tf.square(x)) + tf.math.squared_difference(x, tf.nn.relu6(x))
        x = tf.where(x > 0.1, x, x * 0.5)
        x = tf.concat([tf.reduce_max(x, [1, 2]), tf.reduce_sum(x, [1, 2]) * 0.1, tf.reduce_min(x, [1, 2])], -1)
        return {"scores": _dense(x, 1, 3)}

    return convert(call, {"image": (1, 8, 8, 3)}, border)


@functools.cache
def hybrid() -> bytes:
    """Weights alone are int8, activations float32: what the converter makes without samples."""
    function = tf.function(
        lambda image: {"y": _dense(tf.reshape(_conv(image, 0, 4), (1, 256)), 1, 64)},
        input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32, "image")],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return bytes(converter.convert())


ZOO: dict[str, Callable[[], bytes]] = {
    "mobilenet_v3": mobilenet_v3,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v2_int16x8": lambda: mobilenet_v2("float32", "int16"),
    "person": person,
    "digits": digits,
    "squeezenet": squeezenet,
    "shufflenet": shufflenet,
    "embedding": embedding,
    "vision_transformer": vision_transformer,
    "fomo": fomo,
    "blazeface": blazeface,
    "palm": palm,
    "ssd": ssd,
    "efficientdet": efficientdet,
    "yolo": yolo,
    "yolo_heads": yolo_heads,
    "movenet": movenet,
    "movenet_decoder": movenet_decoder,
    "unet": unet,
    "unet_int16x8": lambda: unet("float32", "int16"),
    "deeplab": deeplab,
    "ds_cnn": ds_cnn,
    "ds_cnn_int16x8": lambda: ds_cnn("int16", "int16"),
    "autoencoder": autoencoder,
    "wav2letter": wav2letter,
    "audio_resnet": audio_resnet,
    "tcn": tcn,
    "tcn_int16x8": lambda: tcn("float32", "int16"),
    "lstm_unrolled": lstm_unrolled,
    "lstm_unrolled_int16x8": lambda: lstm_unrolled("float32", "int16"),
    "lstm_int8": lstm_int8,
    "tokens": tokens,
    "shapes": shapes,
    "activations": activations,
    "hybrid": hybrid,
    "floating": floating,
}
"""One network of each family, by name. Those of `REFUSED` are no integer models."""

REFUSED = ("hybrid", "floating")
"""Networks that are answered by one line."""
