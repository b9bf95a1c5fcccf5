# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Metrics against hand-counted figures and plain formulas, which metrics outputs and labels suggest, bounds of losses."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from typing import Any

import numpy as np
import pytest
import tosa_rescale as tr
from PIL import Image
from tosa_rescale.core.errors import DataError, MetricError, OptionError
from tosa_rescale.core.program import InputSpec
from tosa_rescale.core.quantization import GraphQuantization, TensorQuantization
from tosa_rescale.core.statistics import paired_loss_bounds, proportion_upper
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.data.source import as_dataset
from tosa_rescale.measure.choice import MetricPlan, plan_metrics
from tosa_rescale.measure.evaluate import Score
from tosa_rescale.measure.evaluation import Evaluation
from tosa_rescale.measure.metrics import find_metrics
from tosa_rescale.measure.rows import spearman
from tosa_rescale_runtime import TensorSpec


@dataclasses.dataclass(frozen=True)
class Signature:
    """The part of a model's signature that choosing metrics reads."""

    outputs: tuple[TensorSpec, ...]

    def sample_shape(self, spec: TensorSpec) -> tuple[int | None, ...]:
        return spec.shape[1:]


class Model:
    """A model that is known by the shapes of its inputs and outputs alone."""

    def __init__(self, *outputs: np.ndarray, inputs: tuple[tuple[int, ...], ...] = ((4,),), scale: float = 1.0) -> None:
        specs = tuple(TensorSpec(f"output{i}", (1, *o.shape[1:]), o.dtype) for i, o in enumerate(outputs))
        self.signature = Signature(specs)
        self.input_specs = tuple(InputSpec(shape, np.dtype(np.int8), None) for shape in inputs)
        self.quantization = GraphQuantization((), tuple(TensorQuantization("y", scale, 0) for _ in outputs))


def judged(
    outputs: np.ndarray,
    reference: np.ndarray | None,
    data: Dataset,
    metrics: Any = None,
    chunk: int = 2,
    **about: Any,
) -> Evaluation:
    """What an evaluation of these outputs gives, chunks added from the last to the first by two processes."""
    model: Any = Model(outputs, **about)
    plan = plan_metrics(metrics, model, data, reference is not None)
    parts = [Score(plan), Score(plan)]
    for number, start in enumerate(reversed(range(0, len(data), chunk))):
        rows = slice(start, start + chunk)
        theirs = None if reference is None else [reference[rows]]
        parts[number % 2].add(start, data[rows], [outputs[rows]], theirs, 0.25)
    parts[0].merge(parts[1])
    return parts[0].result(data)


def unlabelled(count: int, **arrays: np.ndarray) -> Dataset:
    return as_dataset({"x": np.zeros((count, 4), np.int8), **arrays})


def value(found: Evaluation, name: str) -> float:
    return found.metrics[name].value


# -- several outputs ---------------------------------------------------------------------------------------------------


def judged_all(outputs: list[np.ndarray], reference: list[np.ndarray] | None, data: Dataset, metrics: Any = None) -> Evaluation:
    """What an evaluation of a model with several outputs gives."""
    model: Any = Model(*outputs, inputs=((8, 8, 3),))
    plan = plan_metrics(metrics, model, data, reference is not None)
    score = Score(plan)
    score.add(0, data, outputs, reference, 0.0)
    return score.result(data)


def test_labels_find_the_output_that_they_are_of() -> None:
    rng = np.random.default_rng(5)
    boxes, classes, maps = (rng.integers(-128, 128, shape, np.int8) for shape in ((6, 10, 4), (6, 11), (6, 4, 4, 3)))
    labels = rng.integers(0, 11, 6)
    found = judged_all([boxes, maps, classes], None, unlabelled(6, y=labels))
    assert value(found, "top1") == found.top1 == pytest.approx(100 * (classes.argmax(1) == labels).mean())
    assert found.notes == ("of 3 outputs, y [11] is judged; a metric of your own is given all",)
    masks = rng.integers(0, 3, (6, 4, 4))
    found = judged_all([boxes, classes, maps], [boxes, classes, maps], unlabelled(6, y=masks), "pixel-agreement,miou")
    assert value(found, "pixel-agreement") == 100 and 0 < value(found, "miou") < 100
    points = rng.random((6, 3, 2)).astype(np.float32)
    found = judged_all([boxes, classes, maps], None, unlabelled(6, y=points))
    alone = judged(maps, None, unlabelled(6, y=points), inputs=((8, 8, 3),))
    assert value(found, "keypoints") == value(alone, "keypoints")
    wanted = rng.random((6, 10, 4)).astype(np.float32)
    found = judged_all([classes, maps, boxes], None, unlabelled(6, y=wanted), "mse,psnr")
    assert value(found, "mse") == pytest.approx(np.square(boxes - wanted.astype(np.float64)).mean())


def test_without_labels_names_tell_and_all_outputs_count() -> None:
    rng = np.random.default_rng(6)
    model: Any = Model(np.zeros((1, 10, 4), np.int8), np.zeros((1, 7), np.int8))
    model.quantization = GraphQuantization((), (TensorQuantization("boxes", 1.0, 0), TensorQuantization("raw_scores", 1.0, 0)))
    plan = plan_metrics(None, model, unlabelled(2), True)
    assert plan.output == 1 and [metric.name for metric in plan.chosen] == ["agreement", "cosine"]
    base = [rng.integers(-128, 128, shape, np.int8) for shape in ((4, 10, 4), (4, 7))]
    moved = [base[0] // 2, base[1]]  # the output that is not judged
    found = judged_all(moved, base, unlabelled(4), ("agreement", "cosine", "mse"))
    assert found.agreement is not None and value(found, "cosine") < 1 and value(found, "mse") > 0
    (note,) = judged_all(base, base, unlabelled(4), "agreement").notes
    assert note.startswith("of 2 outputs, y [") and judged_all(base, base, unlabelled(4), "mse").notes == ()


def test_a_function_of_ones_own_is_given_all_outputs() -> None:
    base = [np.full((3, 5, 4), 2, np.int8), np.full((3, 7), 3, np.int8)]

    def total(outputs: Any, labels: Any, reference: Any) -> Any:
        return [
            each[i].sum() for i, _ in enumerate(outputs[0]) for each in [np.concatenate([o.reshape(3, -1) for o in outputs], 1)]
        ]

    assert value(judged_all(base, base, unlabelled(3), total), find_metrics(total)[0].name) == 5 * 4 * 2 + 7 * 3


# -- figures -----------------------------------------------------------------------------------------------------------


def test_classes_are_counted_and_paired() -> None:
    rng = np.random.default_rng(0)
    labels, base = rng.integers(0, 7, 9), rng.integers(-9, 9, (9, 7), np.int8)
    own = base.copy()
    own[:4] = rng.integers(-9, 9, (4, 7), np.int8)
    found = judged(own, base, unlabelled(9, y=labels))
    hits, base_hits = own.argmax(1) == labels, base.argmax(1) == labels
    assert list(found.metrics) == ["top1", "top5", "agreement"]
    assert found.top1 == value(found, "top1") == pytest.approx(100 * hits.mean())
    assert found.metrics["top1"].reference_value == pytest.approx(100 * base_hits.mean())
    assert found.metrics["top1"].loss == pytest.approx(100 * (base_hits.mean() - hits.mean()))
    assert found.paired == ((base_hits & ~hits).sum(), (hits & ~base_hits).sum())
    low, high = paired_loss_bounds(*found.paired, 9, 0.025)
    assert (found.metrics["top1"].loss_low, found.metrics["top1"].loss_high) == (100 * low, 100 * high)
    differing = int((own.argmax(1) != base.argmax(1)).sum())
    assert found.metrics["agreement"].loss_high == 100 * proportion_upper(differing, 9, 0.025)
    assert found.agreement == pytest.approx(100 * (own.argmax(1) == base.argmax(1)).mean())
    assert found.says == "the output [7] holds classes, the data a class for each sample: top1, top5, agreement"
    assert (found.samples, found.seconds, found.metrics["top1"].samples) == (9, 5 * 0.25, 9)


def test_parts_may_be_measured_in_any_way() -> None:
    rng = np.random.default_rng(1)
    base, own = (rng.integers(-128, 128, (12, 5, 6), np.int8) for _ in range(2))
    data = unlabelled(12, mask=rng.integers(0, 2, (12, 5)), score=rng.random(6))
    asked = ("cosine", "mse", "psnr", "spearman", "agreement")
    found = [judged(own, base, data, asked, chunk=chunk, scale=0.1) for chunk in (2, 4, 12)]
    assert found[0].metrics == found[1].metrics == found[2].metrics  # exactly, bounds included
    assert found[0].metrics["cosine"].samples == 12 and found[0].metrics["spearman"].samples == 6


def test_a_segmentation_is_judged_pixel_by_pixel() -> None:
    # Two classes on 2 x 2 pixels; the mask's fourth pixel of the second sample belongs to no class.
    masks = np.array([[[0, 0], [1, 1]], [[1, 1], [1, 255]]])
    decided = np.array([[[0, 1], [1, 1]], [[1, 1], [0, 0]]])
    base = np.array([[[0, 0], [1, 1]], [[1, 1], [0, 0]]])
    scores, base_scores = (np.stack([each == 0, each == 1], -1).astype(np.int8) for each in (decided, base))
    found = judged(scores, base_scores, unlabelled(2, y=masks))
    # Class 0: 1 of {1 + 1 + 1} pixels, class 1: 4 of {1 + 4 + 1}.
    assert value(found, "miou") == pytest.approx(100 * (1 / 3 + 4 / 6) / 2)
    assert value(found, "pixel-agreement") == found.agreement == 100 * 7 / 8
    assert found.top1 is None and found.says.startswith("the output [2, 2, 2] holds classes of pixels, the data masks")
    # The same behind an argmax, where the classes are not known.
    indices = judged(decided.astype(np.int32), base.astype(np.int32), unlabelled(2, y=masks), scale=0.0)
    assert {name: figure.value for name, figure in indices.metrics.items()} == {
        name: figure.value for name, figure in found.metrics.items()
    }
    without = judged(decided.astype(np.int32), base.astype(np.int32), unlabelled(2), "miou", scale=0.0)
    # Against the reference: class 0 3 of 4, class 1 4 of 5.
    assert value(without, "miou") == pytest.approx(100 * (3 / 4 + 4 / 5) / 2)
    with pytest.raises(DataError, match="a mask has class 7, the model's are 0 to 1; 255 stands for"):
        judged(scores, None, unlabelled(2, y=np.full((2, 2, 2), 7)), "miou")


def test_masks_in_files_are_fitted_to_the_output(tmp_path: pathlib.Path) -> None:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.array([[0, 0, 1, 1]] * 4, np.uint8)).save(tmp_path / "masks" / "a.png")
    (tmp_path / "labels.csv").write_text("file,mask\na.png,masks/a.png\n")
    data = tr.load_data(tmp_path, tr.Preprocessing(crop_fraction=1))
    scores = np.zeros((1, 2, 2, 2), np.int8)
    scores[0, :, 0, 0] = scores[0, :, 1, 1] = 1
    assert value(judged(scores, None, data), "miou") == 100


def test_errors_of_values_are_in_real_units() -> None:
    own, base = np.array([[3, 0], [0, 9]], np.int8), np.array([[1, 0], [0, 5]], np.int8)
    found = judged(own, base, unlabelled(2), ("mse", "psnr"), scale=0.5)
    assert value(found, "mse") == pytest.approx((1**2 + 2**2) / 4)  # 2 and 4 LSB
    assert value(found, "psnr") == pytest.approx(10 * math.log10((255 * 0.5) ** 2 / 1.25))
    assert (found.metrics["mse"].reference_value, found.metrics["psnr"].reference_value) == (0.0, 120.0)
    assert found.metrics["mse"].tolerance == pytest.approx(0.005 * np.var([0.5, 0, 0, 2.5]))
    assert found.metrics["mse"].degraded and not judged(base, base, unlabelled(2), "mse").metrics["mse"].degraded
    labels = np.array([[1.5, 0.0], [0.0, 1.0]])
    against = judged(own, base, unlabelled(2, y=labels), scale=0.5)  # 4 values in, 2 out: a regression with labels
    figure = judged(own, base, unlabelled(2, y=labels), "mse", scale=0.5).metrics["mse"]
    assert figure.value == pytest.approx((3.5**2) / 4) and figure.reference_value == pytest.approx((1 + 1.5**2) / 4)
    assert figure.loss == pytest.approx(figure.value - (1 + 1.5**2) / 4) and not figure.more_is_better
    assert "agreement" in against.metrics  # without labels of classes a row of values is taken for classes all the same


def test_pairs_are_ranked() -> None:
    rng = np.random.default_rng(2)
    steps, mask = rng.integers(-128, 128, (8, 3, 5), np.int8), np.array([[1, 1, 0]] * 8)
    scores = np.array([0.3, 0.1, 0.9, 0.5])
    found = judged(steps, steps, unlabelled(8, mask=mask, score=scores))
    sentences = steps[:, :2].astype(float).mean(1)
    cosines = np.array([a @ b / np.sqrt(a @ a * (b @ b)) for a, b in zip(sentences[::2], sentences[1::2], strict=True)])
    places = [np.argsort(np.argsort(each)) for each in (cosines, scores)]
    assert value(found, "spearman") == pytest.approx(1 - 6 * ((places[0] - places[1]) ** 2).sum() / (4 * 15))
    assert value(found, "cosine") == 1.0 and found.metrics["spearman"].loss == 0.0
    assert list(found.metrics) == ["spearman", "cosine"]
    # Equal values share a rank: 1, 2.5, 2.5, 4 against 1, 2, 3, 4 has covariance 4.5 and variances 4.5 and 5.
    tied = np.array([[0, 0], [1, 1], [1, 2], [2, 3]])
    assert spearman(tied) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert spearman(np.zeros((3, 2))) == 0.0


def test_tokens_are_likely_or_not() -> None:
    logits = np.array([[[2, 0, 0], [0, 1, 0]], [[0, 0, 3], [1, 1, 1]]], np.int8)
    tokens = np.array([[0, 1], [2, -1]])
    found = judged(logits, logits, unlabelled(2, y=tokens))
    shares = [math.exp(2) / (math.exp(2) + 2), math.exp(1) / (math.exp(1) + 2), math.exp(3) / (math.exp(3) + 2)]
    assert value(found, "perplexity") == pytest.approx(math.prod(shares) ** (-1 / 3))
    assert list(found.metrics) == ["perplexity", "agreement"] and found.agreement == 100
    assert found.metrics["perplexity"].tolerance == pytest.approx(0.005 * value(found, "perplexity"))
    masked = judged(logits, None, unlabelled(2, y=tokens, mask=np.array([[1, 0], [0, 1]])))
    assert value(masked, "perplexity") == pytest.approx(1 / shares[0])
    with pytest.raises(DataError, match="token 7 is outside the model's 3"):
        judged(logits, None, unlabelled(2, y=tokens + 5), "perplexity")
    with pytest.raises(DataError, match=r"needs a token for each step, integers \[N, 2\] as `y`"):
        judged(logits, None, unlabelled(2, y=np.zeros(2, int)), "perplexity")


def test_keypoints_are_where_the_heat_is() -> None:
    maps = np.zeros((1, 4, 8, 2), np.int8)
    maps[0, 1, 6, 0] = maps[0, 3, 0, 1] = 5  # x 6.5/8, y 1.5/4; x 0.5/8, y 3.5/4
    points = np.array([[[0.8125, 0.375, 1], [0.0625, 0.575, 1]]], np.float32)
    found = judged(maps, None, unlabelled(1, y=points))
    assert value(found, "keypoints") == pytest.approx((0 + 0.3) / 2)
    assert value(found, "pck") == 50 and not found.metrics["keypoints"].more_is_better
    points[0, 1, 2] = 0  # not visible
    assert value(judged(maps, None, unlabelled(1, y=points)), "keypoints") == pytest.approx(0, abs=1e-6)
    with pytest.raises(DataError, match="keypoints reach 192; give x and y as parts of the image's width and height"):
        judged(maps, None, unlabelled(1, y=points * np.float32([192 / 0.8125, 1, 1])))
    with pytest.raises(DataError, match=r"the labels have 3, the model's heat maps \[4, 8, 2\] are of 2"):
        judged(maps, None, unlabelled(1, y=np.zeros((1, 3, 2), np.float32)))
    coordinates = np.array([[[[10, 20, 99], [30, 40, 99]]]], np.int8)  # [1, 1, 2, 3]: two coordinates and a score
    asked = unlabelled(1, y=np.array([[[1.0, 2.0], [3.0, 4.3]]]))
    assert value(judged(coordinates, None, asked, scale=0.1), "keypoints") == pytest.approx(0.3 / 2)
    moved = coordinates + np.int8([3, 4, 0])
    assert value(judged(moved, coordinates, unlabelled(1), "keypoints", scale=0.1), "keypoints") == pytest.approx(0.5)


def test_vectors_are_compared_by_their_angle() -> None:
    own, base = np.array([[3, 4], [0, 0], [1, 0]], np.int8), np.array([[4, 3], [0, 0], [0, 0]], np.int8)
    figure = judged(own, base, unlabelled(3), "cosine").metrics["cosine"]
    assert figure.value == pytest.approx((24 / 25 + 1 + 0) / 3)
    assert figure.loss_low is not None and figure.loss_high is not None and figure.loss is not None
    assert figure.loss_low <= figure.loss <= figure.loss_high


# -- what is measured --------------------------------------------------------------------------------------------------

IMAGE = (8, 8, 3)


@pytest.mark.parametrize(
    ("shape", "dtype", "inputs", "arrays", "expected"),
    [
        ((10,), np.int8, (IMAGE,), {"y": np.array([1, 2])}, "top1, top5, agreement"),
        ((1, 1, 10), np.int8, (IMAGE,), {"y": np.array([[1], [2]])}, "top1, top5, agreement"),
        ((2,), np.int8, (IMAGE,), {"y": np.array([1, 0])}, "top1, agreement"),
        ((10,), np.int8, (IMAGE,), {}, "agreement, cosine"),
        ((640,), np.int8, ((640,),), {}, "mse"),
        ((1,), np.int8, (IMAGE,), {"y": np.zeros((2, 1), np.float32)}, "mse"),
        ((8, 8, 21), np.int8, (IMAGE,), {}, "pixel-agreement"),
        ((1, 513, 513), np.int32, (IMAGE,), {}, "pixel-agreement"),
        ((8, 8), np.int32, (IMAGE,), {"y": np.zeros((2, 8, 8), int)}, "miou, pixel-agreement"),
        ((8, 8, 3), np.int8, (IMAGE,), {"y": np.zeros((2, 8, 8), int)}, "miou, pixel-agreement"),
        ((16, 16, 3), np.int8, (IMAGE,), {}, "mse, psnr"),
        ((8, 8, 1), np.int8, (IMAGE,), {}, "mse, psnr"),
        ((32, 384), np.int16, (IMAGE,), {}, "cosine"),
        ((32, 384), np.int16, (IMAGE,), {"score": np.zeros(1)}, "spearman, cosine"),
        ((32, 512), np.int8, ((32,),), {"y": np.zeros((2, 32), int)}, "perplexity, agreement"),
        ((12, 12, 17), np.int8, (IMAGE,), {"y": np.zeros((2, 17, 3))}, "keypoints, pck"),
        ((), np.int32, (IMAGE,), {"y": np.array([1, 0])}, "top1, agreement"),
    ],
)
def test_metrics_follow_from_outputs_and_labels(
    shape: tuple[int, ...], dtype: Any, inputs: Any, arrays: dict[str, np.ndarray], expected: str
) -> None:
    model: Any = Model(np.zeros((2, *shape), dtype), inputs=inputs, scale=0.0 if dtype is np.int32 else 1.0)
    plan: MetricPlan = plan_metrics(None, model, unlabelled(2, **arrays), True)
    assert ", ".join(metric.name for metric in plan.chosen) == expected
    assert plan.says.endswith(expected) and f"the output {list(shape)} holds" in plan.says


@pytest.mark.parametrize(
    ("metric", "arrays", "reference", "message"),
    [
        ("top1", {}, True, "metric top1: arrays has no labels; add them, or choose a metric that needs none"),
        ("top1", {"y": np.zeros((2, 3))}, True, "has no labels that are classes; needs one whole number for each sample"),
        ("agreement", {"y": np.zeros(2, int)}, False, "metric agreement: it compares with a reference model; pass `reference`"),
        ("mse", {}, False, "metric mse: arrays has no labels that fit it, and it compares with a reference model"),
        ("spearman", {}, True, "metric spearman: arrays has no `score` for pairs of rows"),
        ("perplexity", {}, True, "metric perplexity: arrays has no labels"),
        (
            "miou",
            {},
            True,
            r"miou: an output of shape \[6\] holds no class for each pixel; needs \[H, W, classes\] or \[H, W\]",
        ),
        ("keypoints", {"y": np.zeros((2, 4, 2))}, True, r"an output of shape \[6\] holds no coordinates of 4 points"),
    ],
)
def test_a_metric_that_lacks_something_says_what(metric: str, arrays: Any, reference: bool, message: str) -> None:
    outputs = np.zeros((2, 6), np.int8)
    with pytest.raises(DataError, match=message):
        judged(outputs, outputs if reference else None, unlabelled(2, **arrays), metric)


def test_unknown_metrics_are_named() -> None:
    with pytest.raises(OptionError, match=r"'top2' is not one of top1, top5, .*module:function"):
        find_metrics("top1,top2")
    with pytest.raises(OptionError, match="top1 is named twice"):
        find_metrics(["top1", "agreement,top1"])
    assert [metric.name for metric in find_metrics(" miou, agreement")] == ["miou", "agreement"]
    assert find_metrics(None) == find_metrics(()) == ()


# -- functions of the user's own ---------------------------------------------------------------------------------------


def mean_output(outputs: Any, labels: Any, reference: Any) -> Any:
    """One number a sample."""
    return outputs[0].mean(1) + (0 if labels is None else labels)


def largest_output(outputs: Any, labels: Any, reference: Any) -> float:
    """One number for all samples, which is no mean of parts."""
    return float(outputs[0].max() - reference[0].max())


largest_output.more_is_better = False  # type: ignore[attr-defined]
largest_output.unit = "LSB"  # type: ignore[attr-defined]


def test_a_function_may_judge() -> None:
    own, base = np.arange(10, dtype=np.int8).reshape(5, 2), np.zeros((5, 2), np.int8)
    found = judged(own, base, unlabelled(5, y=np.array([1, 0, 0, 0, 0])), ["top1", mean_output, largest_output])
    mean, largest = (found.metrics[f"test_metrics:{name}"] for name in ("mean_output", "largest_output"))
    assert (mean.value, mean.reference_value) == pytest.approx((4.5 + 1 / 5, 1 / 5))
    assert (mean.loss, mean.tolerance, mean.more_is_better) == (pytest.approx(-4.5), 0.005, True)
    assert (largest.value, largest.loss, largest.unit, largest.loss_low, largest.samples) == (9, 9, "LSB", None, 5)
    assert [metric.name for metric in find_metrics("test_metrics:mean_output")] == ["test_metrics:mean_output"]
    assert found.primary is found.metrics["top1"]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda *_: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda *_: "good", "returned str 'good'; needs a number, or one for each of the 2 samples"),
        (lambda *_: None, "returned NoneType 'None'; needs a number"),
        (lambda *_: float("nan"), "returned float 'nan'; needs a number"),
        (lambda *_: np.zeros(7), "returned ndarray .*; needs a number, or one for each of the 2 samples"),
    ],
)
def test_a_function_that_fails_is_named(function: Any, message: str) -> None:
    outputs = np.zeros((4, 3), np.int8)
    with pytest.raises(MetricError, match=f"metric .*<lambda>: {message}"):
        judged(outputs, outputs, unlabelled(4), [function])


def test_a_function_that_fails_in_a_sweep_leaves_what_is_measured(
    demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path
) -> None:
    def fragile(outputs: Any, labels: Any, reference: Any) -> Any:
        if (outputs[0] != reference[0]).mean() > 0.9:
            raise ValueError("too far off")
        return np.ones(len(labels))

    with pytest.raises(MetricError, match="fragile: raised ValueError: too far off"):
        tr.sweep(demo, digits.take(40), tmp_path, bits=(31, 1), metrics=fragile)
    kept = json.loads((tmp_path / "sweep.json").read_text())["points"]
    assert [point["bits"] for point in kept] == [32, 31]


# -- labels that do not fit --------------------------------------------------------------------------------------------


def test_labels_that_fit_better_by_one_are_said() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 19, 60)
    scores = np.eye(20, dtype=np.int8)[classes + 1]
    scores[:3] = scores[3:6]
    found = judged(scores, None, unlabelled(60, y=classes))
    (warning,) = found.warnings
    right = 100 * (scores.argmax(1) == classes + 1).mean()
    own = 100 * (scores.argmax(1) == classes).mean()
    assert warning == (
        f"top-1 is {own:.2f} %, and chance is 5.00 %; with labels one higher it is {right:.2f} %: try `label_offset=1`"
    )
    assert judged(scores, None, unlabelled(60, y=classes + 1)).warnings == ()
    random = judged(rng.permutation(scores), None, unlabelled(60, y=classes)).warnings
    assert len(random) == 1 and random[0].endswith("check labels and preprocessing, or pass `ignore_labels=True`")
    assert "and chance is 5.00 %" in random[0]


def test_what_a_table_leaves_out_is_said(demo: tr.Model, tmp_path: pathlib.Path) -> None:
    for name in "ab":
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "labels.csv").write_text("file,label\na.png,0\n")
    assert "labels.csv lists 1 of 2 images; 1 left out: b.png" in demo.evaluate(tmp_path).notes


def test_an_evaluation_survives_json() -> None:
    own, base = np.arange(10, dtype=np.int8).reshape(5, 2), np.zeros((5, 2), np.int8)
    found = judged(own, base, unlabelled(5, y=np.array([1, 0, 0, 0, 0])))
    assert Evaluation.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    older = {
        name: value for name, value in found.as_dict().items() if name not in ("metrics", "paired", "says", "warnings", "notes")
    }
    assert Evaluation.from_dict(json.loads(json.dumps(older))).top1 == found.top1
