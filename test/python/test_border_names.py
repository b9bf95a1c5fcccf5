# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Outputs that a file gives as float32: a module calls their integers by the float32 tensor's name, the file does not."""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import tosa_rescale as tr

tf = pytest.importorskip("tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import networks


def _summed(image: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"sum": networks._conv(image, 0, 8) + tf.reshape(networks._weights(5, 8, 8), (1, 8, 8, 1))}


def _pooled(image: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"pool": tf.nn.avg_pool2d(networks._conv(image, 1, 8), 3, 1, "VALID")}


@pytest.mark.parametrize(("call", "weighted_means"), [(_summed, False), (_pooled, True)])
def test_operators_that_make_outputs_are_found_in_the_file(
    call: Callable[[tf.Tensor], dict[str, tf.Tensor]], weighted_means: bool, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "given.tflite").write_bytes(networks.convert(call, {"image": (1, 8, 8, 3)}))
    model = tr.load(tmp_path / "given.tflite")
    made = model.compensate(1, scope="all", calibration="none", weighted_means=weighted_means)
    back = tr.load(made.save(tmp_path / "back.tflite"))
    assert not any(each.above(1) for each in (*made.info(), *back.info()))
    x = model.random_inputs(16)
    # The reader rounds twice, which differs by one at ties of negative values.
    assert np.abs(back(*x).astype(int) - made(*x)).max() <= 1
