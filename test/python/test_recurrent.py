# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""First states of recurrent layers: zeros, to which the converter of LiteRT gives no usable scale beside int16 activations."""

from __future__ import annotations

import pathlib
import warnings

import numpy as np
import pytest
import tosa_rescale as tr
from tosa_rescale.core.errors import ModelError
from tosa_rescale.formats.litert.multipliers import is_normal, weight_scales
from tosa_rescale.formats.litert.schema import as_array, layers_of, op_name, unpack
from tosa_rescale.formats.litert.zeros import scale_zeros
from tosa_rescale_runtime import Executable

pytest.importorskip("tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import networks


def read(data: bytes, folder: pathlib.Path) -> tr.Model:
    (folder / "recurrent.tflite").write_bytes(data)
    return tr.load(folder / "recurrent.tflite")


def scales(data: bytes) -> list[np.ndarray]:
    given = [each.quantization for each in unpack(data, "a file").subgraphs[0].tensors]
    return [as_array(None if each is None else each.scale, np.float32) for each in given]


def test_a_state_of_zeros_is_written_at_a_scale_that_is_one(tmp_path: pathlib.Path) -> None:
    given = networks.recurrent("int16", bias=False)
    assert min(float(each.min(initial=1)) for each in scales(given)) == 0  # what the converter makes of it
    model = read(given, tmp_path)
    (remark,) = [each for each in model.remarks if "makes zeros" in each.text]
    assert "FILL" in remark.text and "FULLY_CONNECTED" in remark.text and "TANH" not in remark.text
    for each in np.random.default_rng(0).normal(0, 1, (16, 1, 2, 4)).astype(np.float32):
        asked, same = (networks.run_litert(data, [each]) for data in (given, model.to_litert()))
        assert all(map(np.array_equal, asked, same))
    for narrowed in (model.narrow(4), model.compensate(1, scope="all", calibration="none")):
        written = narrowed.to_litert()
        assert all(map(is_normal, scales(written)))
        back = read(written, tmp_path)
        assert not back.remarks
        assert [each.bits for each in back.info()] == [each.bits for each in narrowed.info()]
        draw = np.random.default_rng(1).integers(-32768, 32768, (1, 2, 4), np.int16)
        results = [Executable.build(each.bytecode, cache=False).run(draw) for each in (narrowed, back)]
        assert all(map(np.array_equal, *results))


def test_weights_that_the_converter_lost_are_refused(tmp_path: pathlib.Path) -> None:
    """A state of zeros that meets a bias: the scale of the weights becomes infinite, and every weight 0."""
    with pytest.raises(ModelError, match=r"its weights have the scale inf, .* convert with a fixed batch$"):
        read(networks.recurrent("int16"), tmp_path)


def test_only_tensors_that_are_known_to_be_zero_get_another_scale() -> None:
    model = unpack(networks.recurrent("int16", bias=False), "a file")
    graph = model.subgraphs[0]
    fill = next(each for each in graph.operators if op_name(model, each) == "FILL")
    value = graph.tensors[int(fill.inputs[1])]
    model.buffers[value.buffer].data = np.array([1, 0], np.uint8)  # 1 in place of 0
    assert scale_zeros(model) == []
    assert value.quantization.scale[0] == 0


def test_a_bias_of_zeros_gets_the_scale_of_the_products() -> None:
    model = unpack(networks.recurrent("int16"), "a file")
    (layer,) = [each for each in layers_of(model, "a file") if op_name_of_input(model, each.input.index) == "FILL"]
    graph = model.subgraphs[0]
    assert layer.bias is not None and not np.any(layer.bias.value)
    graph.tensors[layer.weights.index].quantization.scale = np.full(5, 0.5, np.float32)
    graph.tensors[layer.bias.index].quantization.scale = np.full(5, np.nan, np.float32)
    assert scale_zeros(model)
    np.testing.assert_array_equal(graph.tensors[layer.bias.index].quantization.scale, np.full(5, 2.0**-16))


def op_name_of_input(model: object, index: int) -> str:
    operators = model.subgraphs[0].operators  # type: ignore[attr-defined]
    return next((op_name(model, each) for each in operators if index in each.outputs), "")


@pytest.mark.parametrize(("input_scale", "output_scale", "side"), [(0.0, 0.1, "input"), (0.1, 1e-44, "output")])
def test_a_layer_at_no_scale_is_refused_with_what_to_do(input_scale: float, output_scale: float, side: str) -> None:
    with pytest.raises(
        ModelError, match=rf"its {side} has the scale .*: calibrate the original with samples that are not all 0"
    ):
        weight_scales(np.array([3]), np.array([0 if side == "input" else 9]), input_scale, output_scale)
