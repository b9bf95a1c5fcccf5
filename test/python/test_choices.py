# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""MAXIMUM and MINIMUM of LiteRT, whose operands and results have one scale, where alignment changes scales."""

from __future__ import annotations

import pathlib
import warnings

import numpy as np
import pytest
import tosa_rescale as tr
from tosa_rescale.core.attributes import SCALE_FACTOR
from tosa_rescale.core.errors import ModelError
from tosa_rescale.core.passes import to_bytecode

pytest.importorskip("tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import networks
    import tensorflow as tf


def choices(x: tf.Tensor) -> dict[str, tf.Tensor]:
    """A maximum of an output and another tensor, which meet in a minimum as well: some multiplier must stay wide."""
    a, b = networks._conv(x, 0, 4, relu=False), networks._conv(x, 1, 4, relu=False) * 2.5
    return {"a": a, "larger": tf.maximum(a, b), "smaller": networks._conv(tf.minimum(a, b), 2, 4, relu=False)}


@pytest.fixture(scope="module", params=["int8", "int16"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tr.Model:
    path = tmp_path_factory.mktemp("choices") / "network.tflite"
    path.write_bytes(networks.convert(choices, {"x": (1, 8, 8, 3)}, request.param, request.param))
    return tr.load(path)


def test_a_written_file_reads_back_with_all_outputs(model: tr.Model, tmp_path: pathlib.Path) -> None:
    made = model.compensate(1, scope="all", calibration="none", rounding_mode="keep", for_litert=True)
    back = tr.load(made.save(tmp_path / "out.tflite"))
    assert made.recipe[-1].options["aligned"]
    assert [each.name for each in back.signature.outputs] == [each.name for each in model.signature.outputs]
    inputs = made.random_inputs(8)
    for ours, theirs in zip(made(*inputs), back(*inputs), strict=True):
        # Of int8 layers a written file exceeds a power of two by less than 2^-22, which decides ties.
        assert (ours == theirs).all() if ours.dtype == np.int16 else np.abs(ours.astype(int) - theirs).max() <= 1


def test_other_scales_are_refused(model: tr.Model) -> None:
    """One operand of the maximum at another scale than the result, as no alignment for LiteRT gives it."""
    module = model.module()
    by_operation = {op.operation: op for op in module.ops()}
    (larger,) = (op for op in module.ops() if op.kind == "maximum")
    widened = larger.operation.operands[0].owner
    module.set_attribute(by_operation[widened.operands[0].owner], SCALE_FACTOR, 1.5)
    made = tr.Model(to_bytecode(module, "x.tflite"), "x.tflite", model.quantization, model.flatbuffer)
    with pytest.raises(
        ModelError, match=r"x.tflite: output '.*' comes from an operator whose operands and result have one scale"
    ):
        made.to_litert()
