# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Alignment: the whole network without a multiplier, on the demo's model and on modules of the lit tests."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tosa_rescale as tr
from conftest import ROOT, Cli
from tosa_rescale.core.errors import OptionError, PassError
from tosa_rescale.core.options import CompensateOptions
from tosa_rescale.core.passes import run_passes, run_passes_on
from tosa_rescale.core.recipe import Step
from tosa_rescale.demo import DATA, MODEL
from tosa_rescale_runtime import Module, Op


@pytest.fixture(scope="module")
def demo() -> tr.Model:
    return tr.load(MODEL)


@pytest.fixture(scope="module")
def digits() -> tr.Dataset:
    return tr.load_data(DATA)


@pytest.fixture(scope="module")
def aligned(demo: tr.Model) -> tr.Model:
    return demo.compensate(1, scope="all", samples=8)


def contradicting() -> tr.Model:
    """The first module of the lit test: an addition between two outputs of the graph."""
    text = (ROOT / "test/passes/tosa-rescale-align-invalid.mlir").read_text().split("// -----")[0]
    return tr.Model(run_passes(text.encode(), ["tosa-rescale-annotate"]).bytecode)


def widths(model: tr.Model) -> list[int]:
    return [rescale.bits or 0 for rescale in model.info()]


def evaluate_in_reals(module: Module, x: np.ndarray) -> np.ndarray:
    """What the ops of the demo mean without rounding and without saturation, in float64."""
    values: dict[Any, np.ndarray] = {module.block.arguments[0]: x.astype(np.float64)}
    result = x

    def constant(op: Op, operand: int) -> np.ndarray:
        value = module.constant(op, operand)
        assert value is not None
        return value.astype(np.float64)

    for op in module.ops():
        operands = list(op.operation.operands)
        if operands[0] not in values:
            continue  # weights in another shape
        first = values[operands[0]]
        if op.kind in ("conv2d", "depthwise_conv2d"):
            top, bottom, left, right = module.attribute(op, "pad")
            rows, columns = module.attribute(op, "stride")
            padded = np.pad(first - constant(op, 3).item(), ((0, 0), (top, bottom), (left, right), (0, 0)))
            weights = constant(op, 1) - constant(op, 4).item()
            depthwise = op.kind == "depthwise_conv2d"
            size = weights.shape[:2] if depthwise else weights.shape[1:3]
            windows = np.lib.stride_tricks.sliding_window_view(padded, size, (1, 2))[:, ::rows, ::columns]  # n y x c h w
            rule = "nyxchw,hwcm->nyxcm" if depthwise else "nyxchw,ohwc->nyxo"
            sums = np.einsum(rule, windows, weights)
            result = sums.reshape(*sums.shape[:3], -1) + constant(op, 2)
        elif op.kind == "rescale":
            scale = constant(op, 1) * 2.0 ** -constant(op, 2)
            result = (first - constant(op, 3).item()) * scale + constant(op, 4).item()
        elif op.kind == "clamp":
            result = np.clip(first, module.attribute(op, "min_val"), module.attribute(op, "max_val"))
        elif op.kind == "add":
            result = first + values[operands[1]]
        elif op.kind == "reduce_sum":
            result = first.sum(module.attribute(op, "axis"), keepdims=True)
        elif op.kind == "reshape":
            result = first.reshape([n or 1 for n in module.result_shape(op)])
        else:
            raise AssertionError(op.kind)
        values[op.operation.results[0]] = result
    return result


def test_alignment_alone_is_an_equivalence_in_real_arithmetic(demo: tr.Model) -> None:
    # Catches a factor that is multiplied where it must divide, and a producer or consumer that is forgotten: either is an
    # error of many units. Without clipping no bound moves below its tensor's values; what is left is the rounding of biases and
    # bounds.
    done = run_passes(demo.bytecode, ["tosa-rescale-align=bits=1 clipping=0"])
    changed = Module.parse(done.bytecode)
    assert any(rescale.scale_factor > 1.05 for rescale in changed.rescales())
    (inputs,) = demo.random_inputs(4)
    original = Module.parse(demo.bytecode)
    before, after = (np.concatenate([evaluate_in_reals(m, x[None]) for x in inputs]) for m in (original, changed))
    assert np.ptp(before) > 20 and np.abs(after - before).max() < 0.5


@pytest.mark.parametrize(("bits", "clipping"), [(1, 0.1), (1, 0.0), (2, 0.1), (3, 0.1)])
def test_every_multiplier_of_the_network_has_at_most_k_bits(demo: tr.Model, bits: int, clipping: float) -> None:
    done = demo.compensate(bits, scope="all", clipping=clipping, calibration="none")
    assert not done.remarks
    run_passes(done.bytecode, [f"tosa-rescale-verify=bits={bits} scope=all"])
    assert max(widths(done)) <= bits


def test_a_wider_budget_changes_scales_less(demo: tr.Model) -> None:
    def change(bits: int) -> float:
        done = run_passes(demo.bytecode, [f"tosa-rescale-align=bits={bits} clipping=0"])
        return sum(rescale.scale_factor**2 - 1 for rescale in Module.parse(done.bytecode).rescales())

    changes = [change(bits) for bits in (1, 3, 9)]
    assert changes[0] > changes[1] > changes[2] == 0


def test_an_aligned_network_keeps_its_accuracy(demo: tr.Model, aligned: tr.Model, digits: tr.Dataset) -> None:
    base, found = demo.evaluate(digits), aligned.evaluate(digits, reference=demo)
    assert (found.top1 or 0) >= (base.top1 or 0) - 1.0 and (found.agreement or 0) >= 97.0
    without = demo.compensate(1, scope="all", align=False, samples=8).evaluate(digits, reference=demo)
    assert (found.mean_lsb or 0) < (without.mean_lsb or 0)


def test_engines_agree_on_an_aligned_network(aligned: tr.Model) -> None:
    assert aligned.check(4).bit_exact


def test_a_stock_litert_runs_the_aligned_network(aligned: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path) -> None:
    path = aligned.save(tmp_path / "aligned.tflite")
    back = tr.load(path)
    # What LiteRT derives from the scales: powers of two in every addition, exactly.
    assert {r.bits for r in back.info() if r.op in ("add", "rescale", "clamp")} == {1}
    again = back.narrow(1, scope="all", multiplier_rounding="up")
    assert max(widths(again)) == 1
    found = back.evaluate(digits, engine="litert", reference=aligned)
    assert (found.agreement or 0) >= 98.0 and (found.mean_lsb or 9) < 1.0


def test_info_shows_the_factors(aligned: tr.Model, cli: Cli, tmp_path: pathlib.Path) -> None:
    aligned.save(tmp_path / "x.mlirbc")
    done = cli("info", "x.mlirbc", "--json", "info.json")
    assert done.returncode == 0 and "; 7 results at a new scale" in done.stdout
    rows = json.loads((tmp_path / "info.json").read_text())
    assert any(row["scale_factor"] != 1 for row in rows) and all(row["bits"] == 1 for row in rows)


def test_a_contradiction_is_named_and_kept_wide() -> None:
    done = contradicting().compensate(1, scope="all", calibration="none")
    assert any("contradict each other; 2 tensors keep their scale: an output of the graph" in r.text for r in done.remarks)
    assert [bits for bits in widths(done) if bits > 1] == [2]  # the 0.75 of the addition, on one multiplier
    run_passes(done.bytecode, ["tosa-rescale-verify=bits=1 scope=all"])


def test_strict_makes_a_contradiction_an_error() -> None:
    with pytest.raises(PassError, match="requires a multiplier of at most 1 significant bit: the scales that meet here"):
        contradicting().compensate(1, scope="all", calibration="none", strict=True)


def test_bad_options_are_named() -> None:
    with pytest.raises(OptionError, match=r"clipping: 0.7 is out of range; give a number from 0 to 0.5"):
        CompensateOptions(1, clipping=0.7)
    with pytest.raises(OptionError, match="strict: contradicting scales come from alignment; use scope all, with align"):
        CompensateOptions(1, strict=True)


def test_the_command_aligns(cli: Cli, demo_model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    options = ("--bits", 1, "--scope", "all", "--calibration", "none")
    assert cli("compensate", demo_model, "-o", "x.tflite", *options).returncode == 0
    refused = cli("compensate", demo_model, "-o", "y.tflite", *options, "--no-align")
    assert refused.returncode == 2 and "cannot be expressed by scales" in refused.stderr


def test_a_sweep_takes_the_method(demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path) -> None:
    result = tr.sweep(demo, digits.take(200), tmp_path, bits=(1,), methods=("narrow", "align"))
    narrowed, found = (result.of_method(m)[0].evaluation.mean_lsb or 0 for m in ("narrow", "align"))
    assert found < narrowed / 3


def test_a_tensor_missing_in_the_flatbuffer_is_named(aligned: tr.Model) -> None:
    from tosa_rescale.core.errors import ModelError
    from tosa_rescale.formats.litert.export import new_scales

    with pytest.raises(ModelError, match="the flatbuffer lacks 1 tensor with a new scale: 'nowhere'; compensate with"):
        new_scales(aligned.flatbuffer or b"", {"nowhere": 2.0}, "model")


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_litert_derives_the_multipliers_of_every_width(demo: tr.Model, tmp_path: pathlib.Path, bits: int) -> None:
    # With more than one bit LiteRT's own rule for the operands of an addition must be kept, or the export refuses.
    path = demo.compensate(bits, scope="all", calibration="none").save(tmp_path / "x.tflite")
    module = Module.parse(tr.load(path).bytecode)
    accumulators = {layer.rescale.key for layer in module.mac_layers() if layer.rescale}
    for each in module.rescales():
        if each.key not in accumulators and each.multiplier is not None:
            mantissa = each.multiplier / 2.0 ** np.floor(np.log2(each.multiplier)) * 2 ** (bits - 1)
            assert np.abs(mantissa - np.round(mantissa)).max() < 2.0**-20  # scales are float32


def test_ranges_say_what_cutting_off_costs() -> None:
    from tosa_rescale.rewrite.clipping import clipping_errors

    values = [100] * 5 + [1] * 5
    histogram = np.bincount(np.array(values) + 128, minlength=256)
    found = clipping_errors(histogram, -128, 127)
    for index, error in enumerate(found):
        high = 127 * 2 ** (-index / 8)
        assert error == pytest.approx(sum(max(v - high, 0) ** 2 for v in values) / len(values), rel=1e-6)
    assert found[0] == 0 and len(found) == 9


def test_measured_ranges_are_written_and_consumed(demo: tr.Model, digits: tr.Dataset) -> None:
    from tosa_rescale.rewrite.clipping import CLIPPING_ERRORS, Ranges
    from tosa_rescale.rewrite.observe import observe

    module = demo.module()
    observer = Ranges(module)
    observe(demo, [observer], [np.concatenate(list(digits.take(8).quantized(demo.input_spec)))])
    observer.write(module)
    marked = [op for op in module.ops() if module.attribute(op, CLIPPING_ERRORS) is not None]
    assert len(marked) == sum(each.output_bits == 8 for each in module.rescales())
    aligned = Module.parse(run_passes_on(module, ["tosa-rescale-align=bits=1"]).bytecode)
    assert not any(aligned.attribute(op, CLIPPING_ERRORS) is not None for op in aligned.ops())
    # Digits leave much of the range unused: unlike without samples, some scale shrinks below the clipping allowance.
    assert min(each.scale_factor for each in aligned.rescales()) < 0.9


def test_what_a_kernel_makes_at_one_scale_only_keeps_it(shared_models: pathlib.Path) -> None:
    from tosa_rescale.formats.litert.scales import fixed_scale_tensors
    from tosa_rescale.formats.litert.schema import unpack

    model = tr.load(shared_models / "keyword_spotting_int8.tflite")  # ends with a softmax
    assert model.flatbuffer is not None and model.quantization is not None
    assert fixed_scale_tensors(unpack(model.flatbuffer, model.source)) == {model.quantization.outputs[0].name}


def test_statistics_move_with_the_scales(demo: tr.Model, digits: tr.Dataset) -> None:
    # Measured in the original and moved, against measured in the aligned network: rounding alone tells them apart.
    from tosa_rescale.rewrite.calibration import InputStatistics
    from tosa_rescale.rewrite.observe import observe

    inputs = [np.concatenate(list(digits.take(16).quantized(demo.input_spec)))]

    def measured(model: tr.Model) -> Module:
        module = model.module()
        observer = InputStatistics(module)
        observe(model, [observer], inputs)
        observer.write(module)
        return module

    def read(module: Module, name: str) -> list[np.ndarray]:
        return [np.asarray(module.attribute(layer.op, f"tosa_rescale.input_{name}")) for layer in module.mac_layers()]

    original, align = measured(demo), ["tosa-rescale-align=bits=1"]
    moved = Module.parse(run_passes_on(original, align).bytecode)
    aligned = demo.after(run_passes_on(demo.module(), align).bytecode, Step("align", {}), ())
    for name, power in (("mean", 1), ("square", 2)):
        for found, expected in zip(read(moved, name), read(measured(aligned), name), strict=True):
            roots = np.abs(np.abs(found) ** (1 / power) - np.abs(expected) ** (1 / power))
            assert roots.max() < 1  # step of the layer's input
    ratios = [found.sum() / before.sum() for found, before in zip(read(moved, "mean"), read(original, "mean"), strict=True)]
    assert max(abs(ratio - 1) for ratio in ratios) > 0.05  # something did move
