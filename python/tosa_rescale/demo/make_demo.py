# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes the demo's model and data: `python make_demo.py` rewrites digits_int8.tflite and digits.npz beside itself.

Needs tensorflow and scikit-learn, which the demo itself does not. The network has one of each kind of layer whose rescale
matters: a full convolution, a depthwise and a pointwise one, a residual add, a mean and a fully connected layer. It is kept
small on purpose: small enough to commit, and small enough for narrow multipliers to hurt.
"""

from __future__ import annotations

import pathlib

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

HERE = pathlib.Path(__file__).parent
SEED = 7
TEST_SAMPLES = 500
EPOCHS = 60
BATCH = 32


def load_data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Digits as uint8 images of 8 x 8 x 1 (grey values 0..16 stretched to 0..255), split into train and test."""
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    order = np.random.default_rng(SEED).permutation(len(images))
    images, labels = images[order], digits.target[order].astype(np.int32)
    return images[TEST_SAMPLES:], labels[TEST_SAMPLES:], images[:TEST_SAMPLES], labels[:TEST_SAMPLES]


def real(images: np.ndarray) -> np.ndarray:
    """The value range the network is trained on: 0..1."""
    return images.astype(np.float32) / 255


def build_network() -> tf.keras.Model:
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


def main() -> None:
    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    train_x, train_y, test_x, test_y = load_data()

    network = build_network()
    network.compile(
        tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * len(train_x) // BATCH)),
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    dataset = tf.data.Dataset.from_tensor_slices((real(train_x), train_y)).shuffle(2000, SEED).batch(BATCH, drop_remainder=True)
    network.fit(dataset, epochs=EPOCHS, verbose=0)

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 1), tf.float32, name="image")])
    def serve(image: tf.Tensor) -> tf.Tensor:
        return network(image, training=False)

    # Frozen first: the calibrator cannot read Keras' resource variables.
    frozen = convert_variables_to_constants_v2(serve.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in real(train_x[:300]))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (HERE / "digits_int8.tflite").write_bytes(converter.convert())
    np.savez_compressed(HERE / "digits.npz", x=test_x, y=test_y, train_x=train_x, train_y=train_y)


if __name__ == "__main__":
    main()
