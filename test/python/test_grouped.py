# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Grouped convolutions: one convolution a group in TOSA, whose weights a converter slices out of a constant."""

from __future__ import annotations

import functools
import pathlib
import warnings

import numpy as np
import pytest
import tosa_rescale as tr
from tosa_rescale_runtime import Executable, Module

pytest.importorskip("tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import networks
    import tensorflow as tf
    from networks import schema

Op = schema.BuiltinOperator


def kernel(seed: int, *shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(0, 0.3, shape), tf.float32)


def grouped(x: tf.Tensor, per_group: int, stride: int = 1, dilation: int = 1) -> dict[str, tf.Tensor]:
    """A convolution of 8 channels into 16, each of which reads `per_group` of them, between two ordinary layers."""
    y = networks._conv(x, 0, 8)
    y = tf.nn.conv2d(y, kernel(5, 3, 3, per_group, 16), stride, "SAME", dilations=dilation)
    y = tf.nn.relu(y + np.arange(16) / 16)
    return {"y": networks._dense(tf.reduce_mean(y, [1, 2]), 1, 5)}


def kinds_of(data: bytes) -> list[int]:
    model = networks.unpack(data)
    return [model.operatorCodes[each.opcodeIndex].builtinCode for each in model.subgraphs[0].operators]


def written(call: functools.partial, folder: pathlib.Path, activations: str = "int8") -> tuple[bytes, tr.Model]:
    data = networks.convert(call, {"x": (1, 8, 8, 3)}, activations, activations)
    (folder / "model.tflite").write_bytes(data)
    return data, tr.load(folder / "model.tflite")


def draw(activations: str, count: int) -> np.ndarray:
    limits = np.iinfo(activations)
    return np.random.default_rng(0).integers(limits.min, limits.max + 1, (count, 1, 8, 8, 3)).astype(activations)


@pytest.mark.parametrize(
    ("options", "activations"), [({}, "int8"), ({"stride": 2}, "int8"), ({"dilation": 2}, "int8"), ({}, "int16")]
)
def test_a_group_for_each_channel_is_a_depthwise_convolution(options: dict[str, int], activations: str, tmp_path) -> None:
    original, model = written(functools.partial(grouped, per_group=1, **options), tmp_path, activations)
    (remark,) = model.remarks
    assert "depthwise convolution" in remark.text
    assert Op.DEPTHWISE_CONV_2D not in kinds_of(original) and kinds_of(model.to_litert()).count(Op.DEPTHWISE_CONV_2D) == 1
    assert [each.kind for each in model.module().ops()].count("depthwise_conv2d") == 1
    for x in draw(activations, 8):  # LiteRT's grouped kernel is the oracle
        (asked,), (got,) = networks.run_litert(original, [x]), networks.run_litert(model.to_litert(), [x])
        np.testing.assert_array_equal(got, asked)


@pytest.mark.parametrize("per_group", [2, 4])
def test_every_group_of_a_convolution_is_narrowed_and_written(per_group: int, tmp_path) -> None:
    original, model = written(functools.partial(grouped, per_group=per_group), tmp_path)
    assert not model.remarks and model.to_litert() == original
    operations = list(model.module().ops())
    assert [each.kind for each in operations].count("conv2d") == 8 // per_group + 2
    narrowed = model.compensate(1, scope="all", calibration="none")
    assert all(each.bits == 1 for each in narrowed.info())
    assert narrowed.check(4).bit_exact
    data = narrowed.to_litert()
    assert kinds_of(data) == kinds_of(original)
    (tmp_path / "back.tflite").write_bytes(data)
    again = tr.load(tmp_path / "back.tflite")
    assert [each.bits for each in again.narrow(1, scope="all").info()] == [1] * len(narrowed.info())
    inputs = draw("int8", 32)
    (ours,), (theirs,) = (Executable.build(each.bytecode).run_many(inputs[:, 0]) for each in (narrowed, again))
    assert np.abs(ours.astype(int) - theirs).max() <= 1  # a file rounds twice


def test_slices_of_constants_are_constants(tmp_path) -> None:
    text = """func.func @main(%x: tensor<2x3xi8>) -> tensor<2x3xi8> {
  %c = "tosa.const"() <{values = dense<[[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]> : tensor<3x4xi8>}> : () -> tensor<3x4xi8>
  %start = "tosa.const_shape"() <{values = dense<[1, 0]> : tensor<2xindex>}> : () -> !tosa.shape<2>
  %size = "tosa.const_shape"() <{values = dense<[2, 3]> : tensor<2xindex>}> : () -> !tosa.shape<2>
  %s = "tosa.slice"(%c, %start, %size) : (tensor<3x4xi8>, !tosa.shape<2>, !tosa.shape<2>) -> tensor<2x3xi8>
  %y = "tosa.minimum"(%x, %s) : (tensor<2x3xi8>, tensor<2x3xi8>) -> tensor<2x3xi8>
  return %y : tensor<2x3xi8>
}
"""
    (tmp_path / "slices.mlir").write_text(text)
    module: Module = tr.load(tmp_path / "slices.mlir").module()
    (op,) = module.ops()
    constant = module.constant(op, 1)
    assert op.kind == "minimum" and constant is not None
    np.testing.assert_array_equal(constant, [[5, 6, 7], [9, 10, 11]])
