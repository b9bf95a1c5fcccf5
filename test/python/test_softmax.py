# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Softmax of int16, whose differences LiteRT saturates and its converter to TOSA wraps around."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import tosa_rescale as tr
from tosa_rescale_runtime import Executable

pytest.importorskip("tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import networks
    import tensorflow as tf


@pytest.fixture(scope="module")
def wide_softmax(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, tr.Model]:
    """Of values that lie up to 80 apart: 10 is what the kernel's table holds."""
    data = networks.convert(lambda x: {"y": tf.nn.softmax(8 * x)}, {"x": (3, 6)}, "int16", "int16")
    path = tmp_path_factory.mktemp("softmax") / "model.tflite"
    path.write_bytes(data)
    return data, tr.load(path)


def test_values_far_below_the_largest_are_as_in_litert(wide_softmax: tuple[bytes, tr.Model]) -> None:
    data, model = wide_softmax
    scale = networks.unpack(data).subgraphs[0].tensors[0].quantization.scale[0]
    given = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, (50, 3, 6)).astype(np.int16)
    executable = Executable.build(model.bytecode)
    for each in given:
        (found,) = executable.run(each)
        assert np.array_equal(found, *networks.run_litert(data, [each]))
        powers = np.exp(8.0 * scale * (each - each.max(axis=1, keepdims=True).astype(np.float64)))
        assert np.abs(found - 32768 * powers / powers.sum(axis=1, keepdims=True)).max() < 16


def test_such_a_softmax_can_be_narrowed_and_written(wide_softmax: tuple[bytes, tr.Model]) -> None:
    _, model = wide_softmax
    made = model.compensate(1, scope="all", calibration="none")
    assert made.check(4).bit_exact
    given = model.random_inputs(1)[0][0]
    (found,) = Executable.build(made.bytecode).run(given)
    assert np.array_equal(found, *networks.run_litert(made.to_litert(), [given]))
