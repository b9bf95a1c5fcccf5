# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Constants and tables of a .tflite at other scales: what they hold, in the module and in the file that is written."""

from __future__ import annotations

import numpy as np
import pytest
import tosa_rescale as tr
from tosa_rescale.core.errors import ModelError
from tosa_rescale.core.options import CompensateOptions
from tosa_rescale.core.passes import run_passes_on
from tosa_rescale.core.recipe import Step
from tosa_rescale.demo import TRANSFORMER
from tosa_rescale.formats.litert.constants import moved_constants
from tosa_rescale.formats.litert.read import convert_part
from tosa_rescale.formats.litert.scales import tensor_scales
from tosa_rescale.formats.litert.schema import op_name, tensor_at, unpack
from tosa_rescale.rewrite.compensate import align_pass, with_kernel_limits
from tosa_rescale_runtime import Module

OPTIONS = CompensateOptions(bits=1, scope="all")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model() -> tr.Model:
    return tr.load(TRANSFORMER)


@pytest.fixture(scope="module")
def aligned(model: tr.Model) -> tr.Model:
    return model.compensate(1, scope="all", calibration="none")


def constants_of(data: bytes) -> dict[int, tuple[str, int, np.ndarray, float]]:
    """Kind, tensor, real values and scale of the constant of each ADD and MUL, by position of the operator."""
    unpacked, found = unpack(data, "model"), {}
    for position, operator in enumerate(unpacked.subgraphs[0].operators):
        kind = op_name(unpacked, operator)
        for index in operator.inputs if kind in ("ADD", "MUL") else ():
            tensor = tensor_at(unpacked, int(index))
            if tensor.value is not None:
                steps = tensor.value.astype(np.float64) - tensor.zero_point[0]
                found[position] = (kind, tensor.index, steps * tensor.scale[0], float(tensor.scale[0]))
    return found


def test_constants_of_the_file_keep_their_values(model: tr.Model, aligned: tr.Model) -> None:
    assert model.flatbuffer is not None
    before, after = constants_of(model.flatbuffer), constants_of(aligned.to_litert())
    assert before.keys() == after.keys()
    moved = [each for each in before if before[each][3] != after[each][3]]
    assert len(moved) >= 5
    for each in before:
        kind, _, was, _ = before[each]
        _, _, now, scale = after[each]
        # A sum's constant is rounded once more. The gain of a product changes with the scales on both sides of it.
        if kind == "ADD":
            assert np.abs(now - was).max() <= scale / 2 * (1 + 1e-5)
        else:
            assert np.corrcoef(now.ravel(), was.ravel())[0, 1] > 0.999
    # Five sums read one epsilon; those with another scale have one of their own.
    shared = [each for each in before if [b[1] for b in before.values()].count(before[each][1]) > 1]
    assert len(shared) == 5
    tensors: dict[int, set[float]] = {}
    for each in shared:
        tensors.setdefault(after[each][1], set()).add(after[each][3])
    assert len(tensors) > 1 and all(len(scales) == 1 for scales in tensors.values())


def test_tables_of_the_module_are_the_functions(aligned: tr.Model) -> None:
    unpacked, module = unpack(aligned.to_litert(), "model"), aligned.module()
    scales = tensor_scales(unpacked)
    tables = {module.tensor_name(op): module.constant(op, 1) for op in module.ops() if op.kind == "table"}
    checked = 0
    for operator in unpacked.subgraphs[0].operators:
        if op_name(unpacked, operator) != "RSQRT":
            continue
        read, made = (tensor_at(unpacked, int(i)) for i in (operator.inputs[0], operator.outputs[0]))
        values = (np.arange(-128, 128) - read.zero_point[0]) * scales[read.name]
        with np.errstate(divide="ignore"):
            wanted = np.clip(np.round(1 / np.sqrt(values) / scales[made.name]) + made.zero_point[0], -128, 127)
        table = tables[made.name]
        assert table is not None and np.abs(table.reshape(-1) - wanted).max() <= 1  # the converter computes in float32
        checked += 1
    assert checked == 5


def test_module_and_file_have_the_same_tables(aligned: tr.Model) -> None:
    assert aligned.flatbuffer is not None
    back = Module.parse(convert_part(aligned.to_litert(), "model").bytecode)
    ours = [aligned.module().constant(op, 1) for op in aligned.module().ops() if op.kind == "table"]
    theirs = [back.constant(op, 1) for op in back.ops() if op.kind == "table"]
    assert len(ours) == len(theirs) > 0
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_an_interpolated_table_is_no_table_of_the_file(model: tr.Model) -> None:
    done = run_passes_on(with_kernel_limits(model), [align_pass(OPTIONS, litert=True)], model.source)
    by_hand = model.after(done.bytecode, Step("align", {}), done.remarks)
    with pytest.raises(
        ModelError, match=r"the table of '.*Rsqrt' is not the one that LiteRT computes from its scales"
    ) as caught:
        by_hand.to_litert(allow_partial=True)
    assert "\n" not in str(caught.value)


def test_a_constant_that_the_file_has_not_is_named(model: tr.Model) -> None:
    assert model.flatbuffer is not None
    text = """
    func.func @main(%arg0: tensor<1x2xi8>) -> tensor<1x2xi8> {
      %c = "tosa.const"() <{values = dense<1> : tensor<1x2xi8>}> {tosa_rescale.scale_factor = 2.0 : f64} : () -> tensor<1x2xi8>
      %y = tosa.maximum %arg0, %c : (tensor<1x2xi8>, tensor<1x2xi8>) -> tensor<1x2xi8>
      return %y : tensor<1x2xi8>
    }
    """
    conversion = convert_part(model.flatbuffer, "model")
    with pytest.raises(
        ModelError, match=r"model: no operator of the flatbuffer has the constant of 'maximum0', which has a new"
    ):
        moved_constants(Module.parse(text), conversion, {}, "model")
