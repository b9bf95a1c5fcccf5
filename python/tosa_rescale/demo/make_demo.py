# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes the demo's models and data beside itself: `python make_demo.py [data] [convolutional] [transformer]`; all by default.

Needs tensorflow, and scikit-learn for the data, which the demo itself does not. Both networks are kept small on purpose: small
enough to commit, and small enough for narrow multipliers to hurt. The convolutional one has one of each kind of layer whose
rescale matters: a full convolution, a depthwise and a pointwise one, a residual add, a mean and a fully connected layer. The
other is a vision transformer: patches of 2 x 2 pixels are tokens, and two blocks of attention and of a perceptron follow.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

HERE = pathlib.Path(__file__).parent
SEED = 7
TEST_SAMPLES = 500
BATCH = 32

PATCH, WIDTH, HEADS, BLOCKS = 2, 32, 2, 2
DROPOUT, NOISE = 0.1, 0.05
EPSILON = 1e-3


def make_data() -> None:
    """Digits as uint8 images of 8 x 8 x 1 (grey values 0..16 stretched to 0..255), split into train and test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    order = np.random.default_rng(SEED).permutation(len(images))
    images, labels = images[order], digits.target[order].astype(np.int32)
    x, train_x = np.split(images, [TEST_SAMPLES])
    y, train_y = np.split(labels, [TEST_SAMPLES])
    np.savez_compressed(HERE / "digits.npz", x=x, y=y, train_x=train_x, train_y=train_y)


def training_data() -> tuple[np.ndarray, np.ndarray]:
    """Images in the range that the networks are trained on, 0..1, and labels."""
    with np.load(HERE / "digits.npz") as file:
        return file["train_x"].astype(np.float32) / 255, file["train_y"]


# -- the convolutional network -----------------------------------------------------------------------------------------


def convolutional() -> tf.keras.Model:
    def block(x: tf.Tensor, layer: tf.keras.layers.Layer, activation: bool = True) -> tf.Tensor:
        x = tf.keras.layers.BatchNormalization()(layer(x))
        return tf.keras.layers.ReLU(6.0)(x) if activation else x

    layers = tf.keras.layers
    inputs = layers.Input((8, 8, 1), name="image")
    x = block(inputs, layers.Conv2D(16, 3, padding="same", use_bias=False))
    for expand, stride in ((32, 1), (48, 2), (48, 1)):
        channels = x.shape[-1]
        y = block(x, layers.Conv2D(expand, 1, use_bias=False))
        y = block(y, layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False))
        y = block(y, layers.Conv2D(16, 1, use_bias=False), activation=False)
        x = layers.Add()([x, y]) if stride == 1 and y.shape[-1] == channels else y
    x = layers.GlobalAveragePooling2D()(x)
    return tf.keras.Model(inputs, layers.Dense(10)(x))


# -- the transformer ---------------------------------------------------------------------------------------------------


class LayerNorm(tf.keras.layers.Layer):
    """Layer normalization from the operations that a quantizer keeps apart: squares, mean, reciprocal root, two products."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.gain = self.add_weight(shape=(shape[-1],), initializer="ones", name="gain")
        self.offset = self.add_weight(shape=(shape[-1],), initializer="zeros", name="offset")

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        centred = tokens - tf.reduce_mean(tokens, -1, keepdims=True)
        variance = tf.reduce_mean(centred * centred, -1, keepdims=True)
        return centred * tf.math.rsqrt(variance + EPSILON) * self.gain + self.offset


class Positions(tf.keras.layers.Layer):
    """Adds what was learned for each position."""

    def build(self, shape: tuple[int, ...]) -> None:
        spread = tf.keras.initializers.RandomNormal(stddev=0.02)
        self.table = self.add_weight(shape=(1, *shape[1:]), initializer=spread, name="table")

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        return tokens + self.table


class Head(tf.keras.layers.Layer):
    """One head of attention; the queries' weights hold the factor 1/sqrt(size) from the start."""

    def build(self, shape: tuple[int, ...]) -> None:
        size = WIDTH // HEADS
        smaller = tf.keras.initializers.VarianceScaling(1 / size, "fan_avg", "uniform")
        self.query = tf.keras.layers.Dense(size, kernel_initializer=smaller)
        self.key, self.value = tf.keras.layers.Dense(size), tf.keras.layers.Dense(size)

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        scores = tf.matmul(self.query(tokens), self.key(tokens), transpose_b=True)
        return tf.matmul(tf.nn.softmax(scores), self.value(tokens))


def transformer() -> tf.keras.Model:
    layers = tf.keras.layers
    inputs = layers.Input((8, 8, 1), name="image")
    x = layers.Conv2D(WIDTH, PATCH, strides=PATCH)(inputs)
    x = Positions()(layers.Reshape(((8 // PATCH) ** 2, WIDTH))(x))
    for _ in range(BLOCKS):
        normal = LayerNorm()(x)
        mixed = layers.Dense(WIDTH)(layers.Concatenate()([Head()(normal) for _ in range(HEADS)]))
        x = layers.Add()([x, layers.Dropout(DROPOUT)(mixed)])
        hidden = layers.Dense(2 * WIDTH, activation="gelu")(LayerNorm()(x))
        x = layers.Add()([x, layers.Dropout(DROPOUT)(layers.Dense(WIDTH)(hidden))])
    x = layers.GlobalAveragePooling1D()(LayerNorm()(x))
    return tf.keras.Model(inputs, layers.Dense(10)(x))


def varied(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Moved by up to a pixel, with noise: a transformer learns from 1,297 digits by heart otherwise."""
    moved = tf.image.random_crop(tf.pad(image, [[1, 1], [1, 1], [0, 0]]), tf.shape(image))
    return moved + tf.random.normal(tf.shape(image), stddev=NOISE), label


# -- both --------------------------------------------------------------------------------------------------------------


def train(build: Callable[[], tf.keras.Model], epochs: int, rate: float, vary: bool) -> tf.keras.Model:
    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    images, labels = training_data()
    network = build()
    schedule = tf.keras.optimizers.schedules.CosineDecay(rate, epochs * len(images) // BATCH)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(tf.keras.optimizers.Adam(schedule), loss)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(2000, SEED)
    dataset = dataset.map(varied) if vary else dataset
    network.fit(dataset.batch(BATCH, drop_remainder=True), epochs=epochs, verbose=0)
    return network


def quantize(network: tf.keras.Model) -> bytes:
    """The network in int8, borders as well, as LiteRT's converter makes it."""
    images, _ = training_data()

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 1), tf.float32, name="image")])
    def serve(image: tf.Tensor) -> tf.Tensor:
        return network(image, training=False)

    # Frozen first: the calibrator cannot read Keras' resource variables.
    frozen = convert_variables_to_constants_v2(serve.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images[:300])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def main(*asked: str) -> None:
    if "data" in asked or not asked:
        make_data()
    if "convolutional" in asked or not asked:
        network = train(convolutional, epochs=60, rate=3e-3, vary=False)
        (HERE / "digits_int8.tflite").write_bytes(quantize(network))
    if "transformer" in asked or not asked:
        network = train(transformer, epochs=200, rate=2e-3, vary=True)
        (HERE / "digits_transformer_int8.tflite").write_bytes(quantize(network))


if __name__ == "__main__":
    main(*sys.argv[1:])
