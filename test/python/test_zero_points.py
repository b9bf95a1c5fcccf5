# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Zero points of inputs, taken into biases where that is exact: sums written out in NumPy are the oracle."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from runtime_modules import constant, function, tensor
from tosa_rescale_runtime import Cache, Executable, Tap, externalize

ZERO, WEIGHT_ZERO = -128, 3
LARGEST = 2**31 - 1


def layer(kind: str, pad: int, bias: np.ndarray, weight: np.ndarray, image: tuple[int, ...], out: tuple[int, ...]) -> str:
    body = constant("w", weight, "i8") + constant("b", bias, "i32")
    body += constant("xz", [ZERO], "i8") + constant("wz", [WEIGHT_ZERO], "i8")
    body += (
        f'    %a = "tosa.{kind}"(%x, %w, %b, %xz, %wz) <{{acc_type = i32, dilation = array<i64: 1, 1>, '
        f"pad = array<i64: {pad}, {pad}, {pad}, {pad}>, stride = array<i64: 2, 1>}}> : "
        f"({tensor(image, 'i8')}, {tensor(weight.shape, 'i8')}, {tensor(bias.shape, 'i32')}, tensor<1xi8>, tensor<1xi8>) "
        f"-> {tensor(out, 'i32')}\n"
    )
    return function([("x", tensor(image, "i8"))], body, [("a", tensor(out, "i32"))])


def sums(kind: str, pad: int, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The accumulators, int64 [1, OH, OW, C], of strides 2 and 1."""
    x = np.pad(x.astype(np.int64) - ZERO, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    weight = weight.astype(np.int64) - WEIGHT_ZERO
    size = weight.shape[0] if kind == "depthwise_conv2d" else weight.shape[1]
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::2]  # [1, OH, OW, IC, K, K]
    if kind == "depthwise_conv2d":
        found = np.einsum("nhwcij,ijcm->nhwcm", windows, weight)
        return found.reshape(*found.shape[:3], -1) + bias
    return np.einsum("nhwcij,oijc->nhwo", windows, weight) + bias


@pytest.mark.parametrize(
    ("kind", "shape", "pad", "folds"),
    [
        ("conv2d", (6, 1, 1, 4), 0, True),
        ("conv2d", (6, 3, 3, 4), 0, True),
        ("conv2d", (6, 3, 3, 4), 1, False),  # padding stands for the zero point
        ("depthwise_conv2d", (3, 3, 4, 2), 0, True),
        ("depthwise_conv2d", (3, 3, 4, 2), 1, False),
    ],
)
def test_accumulators_are_the_same(kind: str, shape: tuple[int, ...], pad: int, folds: bool, tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(5)
    weight = rng.integers(0, 128, shape)
    x = rng.integers(-128, 128, (1, 7, 5, 4), dtype=np.int8)
    x[0, :3, :3] = -128  # differs by nothing from the zero point: what is left is the bias
    channels = shape[0] if kind == "conv2d" else 8
    bias = rng.integers(-1000, 1000, channels)
    bias[0] = LARGEST - (1 << 22)  # the folded bias does not fit 32 bits, and wraps; the sums fit
    expected = sums(kind, pad, x, weight, bias)
    assert np.abs(expected).max() <= LARGEST
    text = layer(kind, pad, bias, weight, x.shape, expected.shape)
    skeleton = externalize(text)
    assert np.array_equal(skeleton.parameters[f"{kind}0.bias"], bias) != folds
    executable = Executable.from_skeleton(skeleton, cache=Cache(tmp_path))
    np.testing.assert_array_equal(executable.run(x)[0], expected)


def test_a_tap_of_the_input_still_has_its_zero_point() -> None:
    weight, bias = np.ones((1, 1, 1, 4), int), np.zeros(1, int)
    skeleton = externalize(layer("conv2d", 0, bias, weight, (1, 3, 3, 4), (1, 2, 3, 1)), [Tap("conv2d0", 0)])
    assert skeleton.tap_specs[0].dtype == np.int8
    assert skeleton.parameters["conv2d0.bias"].tolist() == [-ZERO * 4 * (1 - WEIGHT_ZERO)]
