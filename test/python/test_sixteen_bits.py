# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operators on 16-bit integers that LiteRT's converter to TOSA gets wrong, or leaves, against LiteRT's own kernels."""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import tosa_rescale as tr
from tosa_rescale.formats.tosa import reference_model_available
from tosa_rescale_runtime import Executable

pytest.importorskip("tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import networks
    import tensorflow as tf

FUNCTIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "exp": lambda x: tf.exp(0.5 * x),
    "log": lambda x: tf.math.log(tf.nn.relu(x) + 0.5),
    "abs": tf.abs,
}


def loaded(folder: pathlib.Path, function: Callable[[tf.Tensor], tf.Tensor]) -> tuple[bytes, tr.Model]:
    data = networks.convert(lambda x: {"y": function(x)}, {"x": (4, 64)}, "int16", "int16")
    (folder / "model.tflite").write_bytes(data)
    return data, tr.load(folder / "model.tflite")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_16_bits_is_that_of_litert(tmp_path: pathlib.Path, name: str) -> None:
    data, model = loaded(tmp_path, FUNCTIONS[name])
    assert not model.remarks and all(not each.violations for each in model.info())
    given = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, (8, 4, 64)).astype(np.int16)
    given[0, 0, :2] = -(1 << 15), (1 << 15) - 1  # the least one has no opposite
    executable = Executable.build(model.bytecode)
    for each in given:
        assert np.array_equal(executable.run(each)[0], networks.run_litert(data, [each])[0])
    engines = ("iree", "tf", "reference") if reference_model_available() else ("iree", "tf")
    assert model.check([given], engines=engines).bit_exact


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_can_be_narrowed_and_written(tmp_path: pathlib.Path, name: str) -> None:
    _, model = loaded(tmp_path, FUNCTIONS[name])
    made = model.compensate(1, scope="all", calibration="none")
    assert made.check(4, engines=("iree", "tf")).bit_exact
    again = tr.load(made.save(tmp_path / "one.tflite", allow_partial=True))
    given = model.random_inputs(1)[0][0]
    assert again.flatbuffer is not None
    (wanted,) = networks.run_litert(again.flatbuffer, [given])
    assert np.array_equal(Executable.build(again.bytecode).run(given)[0], wanted)


def test_what_the_converter_leaves_stays_in_the_file(tmp_path: pathlib.Path) -> None:
    def network(x: tf.Tensor) -> tf.Tensor:
        return tf.math.squared_difference(x, tf.reduce_mean(x, -1, keepdims=True))

    data, model = loaded(tmp_path, network)
    (remark,) = model.remarks
    assert "SQUARED_DIFFERENCE" in remark.text and remark.text.startswith("stays as it is")
    assert [op.kind for op in model.module().ops() if op.kind.startswith("reduce")] == ["reduce_sum"]
    assert model.to_litert() == data


def test_products_with_constant_matrices_are_written_back(tmp_path: pathlib.Path) -> None:
    def network(x: tf.Tensor) -> tf.Tensor:
        weights = networks._weights(0, 4, 8, 8)
        first = tf.matmul(tf.reshape(x, (4, 8, 8)), weights)
        return tf.matmul(tf.reshape(first, (2, 4, 4, 8)), weights)  # the converter repeats these by an operation

    _, model = loaded(tmp_path, network)
    assert sum(op.kind == "matmul" for op in model.module().ops()) == 2
    made = model.compensate(1, scope="all", calibration="none")
    again = tr.load(made.save(tmp_path / "one.tflite"))
    given = model.random_inputs(1)[0][0]
    assert [each.bits for each in again.info()] == [each.bits for each in made.info()]
    assert again.flatbuffer is not None
    (wanted,) = networks.run_litert(again.flatbuffer, [given])
    assert np.array_equal(Executable.build(again.bytecode).run(given)[0], wanted)
