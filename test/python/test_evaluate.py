# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Metrics against plain formulas, engines against each other, sweeps that are cut off."""

from __future__ import annotations

import csv
import dataclasses
import json
import pathlib
import threading
from typing import Any

import numpy as np
import pytest
import tosa_rescale as tr
from conftest import Cli
from tosa_rescale.core.errors import DataError, ModelError, OptionError, OutputError
from tosa_rescale.measure import evaluate as evaluation
from tosa_rescale.measure.engines import ENGINES, make_engine
from tosa_rescale.measure.evaluate import OutputStore
from tosa_rescale.reporting import write_report
from tosa_rescale.rewrite.compensate import Compensator
from tosa_rescale.sweeping.results import STATE_FILE, SweepPoint, read_sweep
from tosa_rescale.sweeping.search import WIDTHS, find_bits
from tosa_rescale_runtime import CompileError, Module


class FixedEngine:
    """Gives outputs written in the test."""

    def __init__(self, outputs: np.ndarray) -> None:
        self.outputs, self.done = outputs, 0

    def run_many(self, inputs: list[np.ndarray], advance: Any = None) -> list[np.ndarray]:
        count = len(inputs[0])
        self.done += count
        return [self.outputs[self.done - count : self.done]]


def test_metrics_match_hand_counted_figures(demo: tr.Model, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.zeros((4, 10), np.int8)
    scores[0, 3] = 9  # label 3: first
    scores[1, [0, 1]] = 9  # label 1: ties with class 0, which argmax prefers: second
    scores[2, :6] = [9, 8, 7, 6, 5, 4]  # label 5: sixth
    scores[3, 2] = -1  # label 2: last
    reference = scores.copy()
    reference[0, 3] = 6  # 3 LSB lower, same decision
    reference[2, 9] = 127  # 127 LSB, another decision
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 8, 8, 1), np.int8), y=np.array([3, 1, 5, 2]))
    data = tr.load_data(tmp_path / "x.npz")
    store = OutputStore(tmp_path / "reference", 4)
    store.append([reference])
    monkeypatch.setattr(evaluation, "engine_or_twin", lambda *_: (FixedEngine(scores), ""))

    found = tr.evaluate(demo, data, reference=store)
    assert (found.samples, found.top1, found.top5) == (4, 25.0, 50.0)
    assert found.agreement == 75.0
    assert found.max_lsb == 127 and found.mean_lsb == pytest.approx((3 + 127) / 40)
    assert found.histogram == {-127: 1, 0: 38, 3: 1}


def test_labels_beyond_the_classes_are_an_error(demo: tr.Model, demo_data: pathlib.Path) -> None:
    data = tr.load_data(demo_data, tr.Preprocessing(label_offset=1)).take(50)
    with pytest.raises(DataError, match=r"label 10 is outside the model's 10 classes; .*`label_offset`"):
        demo.evaluate(data)


def test_data_without_labels_needs_a_reference(demo: tr.Model, tmp_path: pathlib.Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 8, 8, 1), np.uint8))
    data = tr.load_data(tmp_path / "x.npz")
    with pytest.raises(DataError, match=r"has no labels, .* pass `reference`"):
        demo.evaluate(data)
    found = demo.evaluate(data, reference=demo)
    assert (found.top1, found.top5, found.agreement) == (None, None, 100.0)


def test_the_original_is_as_accurate_on_litert_and_on_iree(demo: tr.Model, digits: tr.Dataset) -> None:
    # Kernels round differently, so values may differ; 5 of 500 digits is more than that can do.
    iree, litert = (demo.evaluate(digits, engine=engine).top1 for engine in ("iree", "litert"))
    assert iree is not None and litert is not None
    assert iree > 97 and abs(iree - litert) <= 1.0


def test_litert_needs_the_file_that_a_module_came_from(demo: tr.Model) -> None:
    with pytest.raises(ModelError, match=r"came from no \.tflite"):
        make_engine("litert", dataclasses.replace(demo, flatbuffer=None))


def test_unknown_engines_are_named(demo: tr.Model) -> None:
    with pytest.raises(OptionError, match="'gpu' is not one of iree, "):
        make_engine("gpu", demo)


@pytest.mark.parametrize(
    "options", [{"bits": 31, "rounding_mode": "keep"}, {"bits": 8}, {"bits": 3}, {"bits": 1, "scope": "all"}]
)
def test_engines_agree_bit_for_bit(demo: tr.Model, options: dict[str, Any]) -> None:
    result = demo.narrow(**options).check(4, engines=["iree", "iree-constant"])
    assert result.as_dict()["values"] == 4 * 10
    assert result.bit_exact


def test_a_difference_is_seen(demo: tr.Model, digits: tr.Dataset) -> None:
    assert demo.narrow(1).evaluate(digits.take(20), reference=demo).agreement != 100.0


def test_check_needs_two_engines(demo: tr.Model) -> None:
    with pytest.raises(OptionError, match="iree cannot be compared; give at least two"):
        demo.check(1, engines=["iree"])


def test_every_op_of_the_twin_is_compared_on_request(demo: tr.Model, digits: tr.Dataset) -> None:
    at_rescales, after_ops = (demo.narrow(3).check(digits.take(5), engines=["iree", "tf"], layers=x) for x in (True, "ops"))
    keys = [op.key for op in demo.module().ops() if op.kind == "rescale"]
    assert list(at_rescales.layers) == keys
    assert set(keys) < set(after_ops.layers) and {"conv2d0", "add0", "reduce_sum0", "clamp0"} < set(after_ops.layers)
    assert at_rescales.bit_exact and after_ops.bit_exact
    assert after_ops.layers["conv2d0"].values == 5 * 8 * 8 * 16
    with pytest.raises(OptionError, match="layers: 'some' is not one of none, rescales, ops"):
        demo.check(1, engines=["iree", "tf"], layers="some")


def test_the_command_compares_after_every_op(cli: Cli, demo_model: pathlib.Path) -> None:
    done = cli("check", demo_model, "--engines", "iree,tf", "--inputs", 1, "--layers", "ops", "--quiet")
    assert done.returncode == 0, done.stderr
    assert " ops, twin = iree: " in done.stdout and "no mismatch" in done.stdout


def test_check_takes_arrays(demo: tr.Model) -> None:
    result = demo.check(np.zeros((3, 8, 8, 1), np.int8), engines=["iree", "iree-constant"])
    assert result.samples == 3 and result.bit_exact


class _Failing:
    """An engine whose compiler gives up."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise CompileError("iree-compile: linalg.generic is not distributed", unsupported=True)


def test_a_full_disk_is_no_reason_for_the_twin(demo: tr.Model, digits: tr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise CompileError("iree-compile: No space left on device")

    monkeypatch.setitem(ENGINES, "iree", full)
    with pytest.raises(CompileError, match="No space left"):
        demo.evaluate(digits.take(4))


def test_where_iree_cannot_compile_the_twin_runs(demo: tr.Model, digits: tr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    data = digits.take(20)
    usual = demo.evaluate(data)
    monkeypatch.setitem(ENGINES, "iree", _Failing)
    found = demo.evaluate(data)
    assert found.metrics == usual.metrics and usual.notes == ()
    (note,) = found.notes
    assert "IREE cannot compile it; the twin runs it, with the same integers (iree-compile: linalg.generic" in note
    monkeypatch.setattr("tosa_rescale.measure.check.exact_engines", lambda: ["iree", "iree-constant", "tf"])
    result = demo.check(2)
    assert list(result.pairs) == [("iree-constant", "tf")] and result.bit_exact
    assert result.left_out == {"iree": "iree-compile: linalg.generic is not distributed"}
    with pytest.raises(CompileError, match="is not distributed"):
        demo.check(2, engines=["iree", "tf"])
    monkeypatch.setitem(ENGINES, "tf", _Failing)
    with pytest.raises(CompileError, match="is not distributed"):
        demo.check(2)


def test_data_at_hand_is_evaluated(demo: tr.Model, digits: tr.Dataset) -> None:
    data = digits.take(30)
    x, y = np.asarray(data.samples), np.asarray(data.labels)
    usual = demo.evaluate(data)
    assert usual.metrics == demo.evaluate((x, y)).metrics
    assert usual.metrics == demo.evaluate((x[i : i + 7], y[i : i + 7]) for i in range(0, 30, 7)).metrics
    assert list(usual.metrics) == ["top1", "top5"] and usual.warnings == ()


def test_a_first_dimension_that_is_no_batch_belongs_to_the_sample() -> None:
    from runtime_modules import RescaleCase, apply_rescale, function, rescale

    case = RescaleCase("i8", "i8", (1 << 30,), (31,), input_zp=3)
    text = function([("x", "tensor<2x16xi8>")], rescale("y", "x", (2, 16), case), [("y", "tensor<2x16xi8>")])
    model = tr.Model(Module.parse(text).to_bytecode(), "linear")
    assert model.input_spec.shape == (2, 16)
    x = np.random.default_rng(0).integers(-128, 128, (5, 2, 16), np.int8)
    result = model.check(x)
    assert result.bit_exact and all(each.values == 5 * 32 for each in result.pairs.values())
    for engine in {name for pair in result.pairs for name in pair}:
        (found,) = make_engine(engine, model).run_many([x])
        np.testing.assert_array_equal(found, apply_rescale(x.astype(int), case))


def test_a_model_of_several_inputs_and_outputs_is_measured(tmp_path: pathlib.Path) -> None:
    from runtime_modules import RescaleCase, apply_rescale, rescale_module

    cases = [RescaleCase("i8", "i8", (1518500249,), (shift,), output_zp=3) for shift in (30, 31)]
    model = tr.Model(Module.parse(rescale_module(cases, (1, 5, 6))).to_bytecode(), "two")
    rng = np.random.default_rng(0)
    arrays = {spec.name: rng.integers(-128, 128, (20, 5, 6), np.int8) for spec in model.input_specs}
    assert len(arrays) == 2
    np.savez(tmp_path / "two.npz", **arrays)  # type: ignore[arg-type]
    narrowed = model.narrow(1, scope="all")
    found = narrowed.evaluate(tmp_path / "two.npz", reference=model)
    wide = [apply_rescale(x.astype(int), case) for x, case in zip(arrays.values(), cases, strict=True)]
    thin = [
        apply_rescale(x.astype(int), dataclasses.replace(case, multiplier=(1 << 30,)))
        for x, case in zip(arrays.values(), cases, strict=True)
    ]
    cosines = []
    for a, b in zip(thin, wide, strict=True):
        one, other = (each.reshape(20, -1).astype(float) for each in (a, b))
        cosines.append((one * other).sum(1) / np.sqrt((one**2).sum(1) * (other**2).sum(1)))
    assert list(found.metrics) == ["cosine"]
    assert found.metrics["cosine"].value == pytest.approx(np.mean(cosines))
    assert found.max_lsb == max(abs(a.astype(int) - b).max() for a, b in zip(thin, wide, strict=True))
    assert narrowed.check(arrays).bit_exact
    swept = tr.sweep(model, arrays, tmp_path / "sweep", bits=(1,), options=tr.NarrowOptions(1, scope="all"))
    assert swept.metric == "cosine" and swept.points[1].evaluation.metrics == found.metrics
    arrays["more"] = arrays["x0"] if "x0" in arrays else next(iter(arrays.values()))
    with pytest.raises(DataError, match="has arrays that are no input: more"):
        narrowed.evaluate(arrays, reference=model)


# -- sweep -------------------------------------------------------------------------------------------------------------


def test_a_sweep_goes_from_the_original_down(demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path) -> None:
    result = tr.sweep(demo, digits.take(100), tmp_path, bits=(1, 8, 32))
    assert [(p.method, p.bits) for p in result.points] == [("base", 32), ("narrow", 8), ("narrow", 1)]
    assert result.base.evaluation.agreement == 100.0
    assert result.degradation_point("narrow") == 1
    written = write_report(tmp_path, result)
    assert {p.name for p in written} == {"results.csv", "results.json", "accuracy.svg", "report.html"}
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert [row["bits"] for row in rows] == ["32", "8", "1"]
    assert float(rows[0]["top1"]) == result.base.evaluation.top1
    assert json.loads((tmp_path / "results.json").read_text())["degradation_points"] == {"narrow": 1}


def test_a_sweep_follows_the_metric_that_was_asked_for(demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path) -> None:
    data = digits.take(40)
    result = tr.sweep(demo, data, tmp_path, bits=(31, 1), metrics=("mse", "agreement"))
    assert result.metric == "mse" and list(result.base.evaluation.metrics) == ["mse", "agreement"]
    figures = [result.figure(point) for point in result.points]
    assert all(figure is not None for figure in figures)
    losses = [figure.loss for figure in figures if figure is not None]
    assert losses[0] == 0.0 and losses[2] is not None and losses[2] > 0  # more is worse
    assert result.degradation_point("narrow") == 1
    assert read_sweep(tmp_path).metric == "mse" and read_sweep(tmp_path).points == result.points
    with pytest.raises(OutputError, match=r"holds a sweep of metrics mse, agreement; .*`force=True`"):
        tr.sweep(demo, data, tmp_path, bits=(31, 1), metrics="agreement")


@pytest.mark.parametrize(
    "given", [("--metric", "mse", "--metric", "agreement"), ("--metrics", "mse,agreement"), ("--metric", "mse,agreement")]
)
def test_metrics_may_be_given_one_by_one(
    demo_model: pathlib.Path, digits: tr.Dataset, given: tuple[str, ...], tmp_path: pathlib.Path
) -> None:
    from tosa_rescale.cli import main

    np.savez(tmp_path / "x.npz", x=np.asarray(digits.take(4).samples))
    asked = ("evaluate", demo_model, "--data", tmp_path / "x.npz", "--reference", demo_model, "--json", tmp_path / "f.json")
    assert main([*map(str, asked), "-q", *given]) == 0
    assert list(json.loads((tmp_path / "f.json").read_text())["metrics"]) == ["mse", "agreement"]


def test_the_search_follows_the_metric_that_was_asked_for(demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path) -> None:
    data, compensator = digits.take(40), Compensator(demo, None)
    tolerant = find_bits(demo, data, tmp_path / "a", compensator, metrics="mse", max_drop=1e9)
    assert (tolerant.bits, tolerant.metric) == (1, "mse")
    usual = find_bits(demo, data, tmp_path / "b", compensator, metrics="mse", max_drop=None)
    base = demo.evaluate(data, reference=demo, metrics="mse").metrics["mse"]
    assert usual.drop <= usual.at_most <= base.tolerance
    assert [each.label for each in usual.tried] == [f"k={k}" for k in WIDTHS][: len(usual.tried)]
    assert usual.bits == 1 or usual.tried[-1].loss.high > base.tolerance


def test_a_cut_off_sweep_goes_on_where_it_stopped(
    demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tosa_rescale.sweeping import local as module

    data, ran = digits.take(20), []
    real = module.evaluate

    def counted(model: tr.Model, *arguments: Any, **options: Any) -> Any:
        ran.append(options["label"])
        if len(ran) == 3:
            raise KeyboardInterrupt
        return real(model, *arguments, **options)

    monkeypatch.setattr(module, "evaluate", counted)
    with pytest.raises(KeyboardInterrupt):
        tr.sweep(demo, data, tmp_path, bits=(8, 4, 2))
    whole = tr.sweep(demo, data, tmp_path, bits=(8, 4, 2))
    assert ran == ["original model", "narrow k=8", "narrow k=4", "original model", "narrow k=4", "narrow k=2"]

    fresh = tr.sweep(demo, data, tmp_path / "fresh", bits=(8, 4, 2))
    figures = [[(p.bits, p.evaluation.top1, p.evaluation.histogram) for p in r.points] for r in (whole, fresh)]
    assert figures[0] == figures[1]


def test_models_are_made_while_others_are_executed(
    demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tosa_rescale.sweeping import local as module

    begun, makes, evaluates = threading.Event(), module.make, module.evaluate

    def make(method: str, *rest: Any) -> Any:
        if method == "narrow":
            begun.set()
        return makes(method, *rest)

    def evaluate(*arguments: Any, **options: Any) -> Any:
        assert begun.wait(60)  # the original is not done before the next model is begun
        return evaluates(*arguments, **options)

    monkeypatch.setattr(module, "make", make)
    monkeypatch.setattr(module, "evaluate", evaluate)
    assert len(tr.sweep(demo, digits.take(4), tmp_path, bits=(4,)).points) == 2


def test_models_that_need_no_samples_are_made_while_samples_are_run(
    demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tosa_rescale.rewrite import compensate as compensation
    from tosa_rescale.sweeping import local as module

    begun, runs, makes, observes = threading.Event(), [], module.make, compensation.observe

    def make(method: str, *rest: Any) -> Any:
        if method == "narrow":
            begun.set()
        return makes(method, *rest)

    def observe(*arguments: Any) -> Any:
        assert begun.wait(60)
        runs.append(arguments)
        return observes(*arguments)

    monkeypatch.setattr(module, "usable_cores", lambda: 2)
    monkeypatch.setattr(module, "make", make)
    monkeypatch.setattr(compensation, "observe", observe)
    plan = {"bits": (4, 2, 1), "methods": "narrow,compensate,align", "samples": 4}
    swept = tr.sweep(demo, digits.take(4), tmp_path, **plan)
    assert [(each.method, each.bits) for each in swept.points[1::3]] == [("narrow", 4), ("compensate", 4), ("align", 4)]
    assert len(runs) == 1  # once for all models, whichever thread asks first


def test_points_before_a_model_that_cannot_be_made_are_kept(
    demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tosa_rescale.sweeping import local as module

    real = module.make

    def make(method: str, context: Any, options: Any) -> Any:
        if options.bits == 2:
            raise ModelError("cannot be made")
        return real(method, context, options)

    monkeypatch.setattr(module, "make", make)
    with pytest.raises(ModelError, match="cannot be made"):
        tr.sweep(demo, digits.take(4), tmp_path, bits=(8, 4, 2, 1))
    kept = json.loads((tmp_path / STATE_FILE).read_text())["points"]
    assert [each["bits"] for each in kept] == [32, 8, 4]


def test_a_finished_sweep_runs_nothing(
    demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tr.sweep(demo, digits.take(10), tmp_path, bits=(4,))
    monkeypatch.setattr("tosa_rescale.sweeping.local.evaluate", lambda *_, **__: pytest.fail("evaluated again"))
    assert tr.sweep(demo, digits.take(10), tmp_path, bits=(4,)).points == first.points
    # Another loss that is allowed is another verdict on the same points, and is kept.
    assert tr.sweep(demo, digits.take(10), tmp_path, bits=(4,), max_drop=3).points == first.points
    kept = read_sweep(tmp_path)
    assert kept.max_drop == 3 and [figure.tolerance for p in kept.points if (figure := kept.figure(p))] == [3.0, 3.0]


def test_a_folder_with_another_sweep_needs_force(demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path) -> None:
    tr.sweep(demo, digits.take(10), tmp_path, bits=(4,))
    with pytest.raises(OutputError, match=r"holds a sweep of other data \(.*digits\.npz\); .*`force=True`"):
        tr.sweep(demo, digits.take(11), tmp_path, bits=(4,))
    tr.sweep(demo, digits.take(11), tmp_path, bits=(4,), force=True)
    (tmp_path / STATE_FILE).write_text("{ half")
    with pytest.raises(OutputError, match="is not a sweep's state; pass `force=True`"):
        tr.sweep(demo, digits.take(11), tmp_path, bits=(4,))


def test_points_survive_json() -> None:
    found = evaluation.Evaluation(10, 90.0, None, 99.0, 3, 0.5, {-1: 2, 0: 8}, 1.5)
    point = SweepPoint("narrow", 4, found, 2.0)
    assert SweepPoint.from_dict(json.loads(json.dumps(point.as_dict()))) == point


def test_unknown_methods_are_named(demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path) -> None:
    with pytest.raises(OptionError, match="'magic' is not one of narrow"):
        tr.sweep(demo, digits, tmp_path, methods=("magic",))
