# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operators that LiteRT's converter writes in a form that TOSA forbids stay in the file; what is in front is narrowed."""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import tosa_rescale as tr

pytest.importorskip("tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import networks
    import tensorflow as tf
    from networks import _conv, _weights

NETWORKS: dict[str, tuple[str, str, Callable[[tf.Tensor], tf.Tensor]]] = {
    "slope": ("int8", "LEAKY_RELU", lambda x: tf.nn.leaky_relu(x, -0.3)),
    "groups": ("int16", "CONV_2D", lambda x: tf.nn.conv2d(x, _weights(1, 3, 3, 2, 6), 1, "SAME")),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_it_stays_and_the_rest_goes_all_the_way(tmp_path: pathlib.Path, name: str) -> None:
    activations, kind, function = NETWORKS[name]
    data = networks.convert(
        lambda image: {"y": function(_conv(image, 0, 4, relu=False))}, {"image": (1, 6, 6, 3)}, "float32", activations
    )
    (tmp_path / "model.tflite").write_bytes(data)
    model = tr.load(tmp_path / "model.tflite")
    (remark,) = model.remarks
    assert remark.text.startswith("stays as it is") and kind in remark.text
    assert not any(each.violations for each in model.info())
    made = model.compensate(1, scope="all", calibration="none")
    assert made.check(2, engines=("iree", "tf")).bit_exact
    image = np.random.default_rng(0).normal(0, 1, (1, 6, 6, 3)).astype(np.float32)
    (before,), (after,) = (networks.run_litert(each, [image]) for each in (data, made.to_litert()))
    assert np.abs(before - after).max() < 0.1 * np.abs(before).max()  # the whole file runs, with what stayed


def test_an_ordinary_slope_is_narrowed_too(tmp_path: pathlib.Path) -> None:
    (tmp_path / "model.tflite").write_bytes(networks.convert(lambda x: {"y": tf.nn.leaky_relu(x, 0.3)}, {"x": (2, 8)}, "int8"))
    model = tr.load(tmp_path / "model.tflite")
    assert not model.remarks and len(model.info()) == 3
