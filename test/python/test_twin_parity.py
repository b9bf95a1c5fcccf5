# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The twin against IREE: equality at the outputs and at every rescale, and the way back to the module."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest
from tosa_rescale_runtime import Module

pytest.importorskip("tensorflow")

import tosa_rescale as tr
from tosa_rescale.data.dataset import load_data
from tosa_rescale.formats.tosa import reference_model_available
from tosa_rescale.measure.engines import exact_engines, make_engine
from tosa_rescale.twin import Twin, emit
from tosa_rescale.twin.scaling import Scale

MODELS = (
    "efficientnet_lite0_int8",
    "mobilenet_v1_0.25_128_uint8",
    "resnet8_cifar10_int8",
    "keyword_spotting_int8",
)
WIDTHS = (31, 8, 4, 3, 1)


def variants(model: tr.Model, widths: tuple[int, ...]) -> list[tr.Model]:
    narrowed = [model.narrow(k, scope=scope) for k in widths if k < 31 for scope in ("accumulator", "all")]
    compensated = [model.compensate(k, calibration="none", scope=s) for k in widths if k < 31 for s in ("accumulator", "all")]
    return [model, *narrowed, *compensated]


def test_the_demo_is_bit_exact_at_every_width_and_rescale(demo_model: pathlib.Path, demo_data: pathlib.Path) -> None:
    model = tr.load(demo_model)
    for variant in (model, *(model.narrow(k, scope="all") for k in WIDTHS[1:]), model.compensate(1, calibration="none")):
        found = variant.check(load_data(demo_data).take(32), engines=["iree", "tf"], layers=True)
        assert found.bit_exact, (variant.recipe, found.first_difference)
        assert len(found.layers) == len(model.info())


@pytest.mark.parametrize("name", MODELS[2:])
def test_random_inputs_are_bit_exact_at_a_few_widths(shared_models: pathlib.Path, name: str) -> None:
    model = tr.load(shared_models / f"{name}.tflite")
    for variant in (model, model.narrow(4, scope="all"), model.compensate(1, calibration="none")):
        found = variant.check(4, engines=["iree", "tf"], layers=True)
        assert found.bit_exact, (variant.recipe, found.first_difference)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["demo", *MODELS])
def test_every_model_width_and_method_is_bit_exact(
    shared_models: pathlib.Path, demo_model: pathlib.Path, demo_data: pathlib.Path, name: str
) -> None:
    model = tr.load(demo_model if name == "demo" else shared_models / f"{name}.tflite")
    real = demo_data if name == "demo" else shared_models.parent / "images" / "imagenet500"
    samples = [2, load_data(real).take(2)] if real.exists() else [2]
    engines = ["iree", "tf", "tf64", *(["reference"] if reference_model_available() else [])]
    for variant in variants(model, WIDTHS):
        for inputs in samples:
            found = variant.check(inputs, engines=engines, layers=True)
            assert found.bit_exact, (variant.recipe, found.first_difference, found.as_dict()["pairs"])


def test_a_wrong_weight_is_found_at_the_first_rescale_behind_it(
    demo_model: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tr.load(demo_model)
    layers = Module.parse(model.bytecode).mac_layers()
    spoiled = layers[1]
    assert spoiled.rescale is not None
    original = Twin.__init__

    def spoil(self: Twin, *arguments: object, **options: object) -> None:
        original(self, *arguments, **options)  # type: ignore[arg-type]
        bias = self.layers[spoiled.op.key].bias_variable
        bias.assign(bias + 50000.0)

    monkeypatch.setattr(Twin, "__init__", spoil)
    found = model.check(2, engines=["iree", "tf"], layers=True)
    assert not found.bit_exact
    assert found.first_difference is not None
    assert found.first_difference[0] == spoiled.rescale.key


def test_check_layers_on_the_command_line(cli, demo_model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = cli("check", demo_model, "--engines", "iree,tf", "--inputs", 2, "--layers", "--quiet", "--json", tmp_path / "c.json")
    assert done.returncode == 0, done.stderr
    assert "rescales, twin = iree" in done.stdout
    assert "no mismatch" in done.stdout
    assert all(layer["mismatches"] == 0 for layer in json.loads((tmp_path / "c.json").read_text())["layers"])


def test_the_twin_is_among_the_engines_that_must_agree() -> None:
    assert "tf" in exact_engines()


def test_emitting_an_untrained_twin_gives_the_same_bytes(demo_model: pathlib.Path) -> None:
    model = tr.load(demo_model)
    for variant in (model, model.narrow(2), model.compensate(1, calibration="none")):
        assert emit(Twin(Module.parse(variant.bytecode)), variant.bytecode) == variant.bytecode


def test_emitted_weights_are_those_of_the_twin(demo_model: pathlib.Path) -> None:
    # Trained weights are no integers and may leave the grid: they are rounded, and clipped to -127..127 and int32.
    model = tr.load(demo_model).narrow(3)
    twin = Twin(Module.parse(model.bytecode))
    rng = np.random.default_rng(0)
    for layer in twin.layers.values():
        layer.kernel_variable.assign_add(rng.normal(0, 3, layer.kernel_variable.shape).astype(np.float32))
        layer.bias_variable.assign_add(rng.normal(0, 30, layer.bias_variable.shape))
    twin.retrace()
    x = model.random_inputs(8)
    moved = tr.Model(emit(twin, model.bytecode), "moved")
    assert moved.bytecode != model.bytecode
    np.testing.assert_array_equal(make_engine("iree", moved).run_many(x)[0], twin.run(x)[0])


def test_the_way_a_rescale_is_computed_follows_from_its_range() -> None:
    one_bit, full = np.array([1 << 30]), np.array([(1 << 31) - 1])
    assert Scale(one_bit, np.array([38])).way(1 << 20, False) == "float32"
    assert Scale(one_bit, np.array([38])).way(1 << 20, True) == "float64"
    assert Scale(full, np.array([40])).way(1 << 20, False) == "float64"
    # 31 bits times 24 bits exceed the 53 of a float64.
    assert Scale(full, np.array([40])).way(1 << 24, False) == "split"
    assert Scale(full, np.array([60])).way(1 << 31, False) == "integer"


@pytest.mark.parametrize("double", [False, True])
def test_a_product_may_round_only_where_the_result_saturates(double: bool) -> None:
    scale = Scale(np.array([168 << 23, (1 << 31) - 1, 1 << 30, 0]), np.array([40, 41, 33, 38]), double)
    limit = 1 << 31
    for bottom, top in ((-128, 127), (0, 255), (-255, 0)):
        low, high = scale.saturating(bottom, top, limit)
        for index in range(4):
            one = Scale(scale.multiplier[index : index + 1], scale.shift[index : index + 1], double)
            if not one.multiplier[0]:
                assert (low[index], high[index]) == (-limit, limit)
                continue
            # There a result is outside; a little nearer to 0 it is inside.
            assert one.apply(int(low[index]))[0] < bottom
            assert one.apply(int(high[index]))[0] > top
            spare = (1 << 32) // int(one.multiplier[0]) + 2  # DOUBLE_ROUND: half a unit of the first rounding
            assert one.apply(int(low[index]) + spare)[0] >= bottom
            assert one.apply(int(high[index]) - spare)[0] <= top
    # Four bits and 2^22 do not fit 24 bits; results of 8 bits do.
    four = Scale(np.array([11 << 27]), np.array([41]))
    assert four.way(1 << 22, False) == "float64"
    low, high = four.saturating(-128, 127, 1 << 22)
    assert four.way(np.maximum(-low, high), False) == "float32"
