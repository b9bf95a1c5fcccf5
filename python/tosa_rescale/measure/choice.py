# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which metrics judge a model, and which output they look at: what is asked for, else what outputs and labels suggest."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tosa_rescale.core.errors import DataError
from tosa_rescale.core.quantization import TensorQuantization
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.data.kinds import Kind, Shape, has_keypoints, has_masks, has_tokens, has_values, output_kind
from tosa_rescale.measure.metrics import METRICS, Metric, Needs, find_metrics

if TYPE_CHECKING:
    from tosa_rescale.core.program import Program


@dataclasses.dataclass(frozen=True)
class MetricPlan:
    """What an evaluation measures.

    Attributes:
        chosen: the metrics whose figures it gives; the first one decides.
        shape: of one sample of the output that is judged.
        kind: what that output holds.
        by_labels: names of those metrics that compare with labels.
        quantization: of the model's outputs; None where it is not known.
        reference_quantization: of the reference's.
        says: why these metrics; empty where they were asked for.
        output: position of the output that is judged, by those metrics that look at one.
        which: a sentence on that; empty where the model has one output.
    """

    chosen: tuple[Metric, ...]
    shape: Shape
    kind: Kind
    by_labels: frozenset[str]
    quantization: tuple[TensorQuantization | None, ...]
    reference_quantization: tuple[TensorQuantization | None, ...]
    says: str = ""
    output: int = 0
    which: str = ""

    @property
    def suggested(self) -> bool:
        """The metrics were not asked for."""
        return bool(self.says)


def plan_metrics(
    asked: str | Callable[..., Any] | Metric | Sequence[Any] | None,
    model: Program,
    data: Dataset,
    reference: Program | bool,
) -> MetricPlan:
    """Chooses the metrics of an evaluation.

    Args:
        asked: see find_metrics; None or empty: by the outputs and labels.
        model: whose outputs are measured.
        data: samples and labels.
        reference: the model to compare with; True: its outputs alone are known; False: there is none.

    Raises:
        OptionError: there is no such metric.
        DataError: a metric needs labels, scores of pairs or a reference, and there are none.
    """
    quantization = output_quantization(model)
    inputs = [spec.shape for spec in model.input_specs]
    found = _seen_outputs(model, quantization, inputs, data)
    output = _judged(found, data)
    name, shape, kind = found[output]
    chosen, says = find_metrics(asked), ""
    if kind is Kind.SEQUENCE and {"agreement", "perplexity"} & {metric.name for metric in chosen}:
        kind = Kind.TOKENS
    if not chosen:
        chosen = default_metrics(kind, shape, data, bool(reference), len(found) > 1)
        names = ", ".join(metric.name for metric in chosen)
        says = f"{_described(kind, shape)}{_labels_of(data)}: {names}" if chosen else ""
    fitting = frozenset(metric.name for metric in chosen if _by_labels(metric, shape, data))
    for metric in chosen:
        require_what_it_needs(metric, data, bool(reference), metric.name in fitting)
    theirs = quantization if isinstance(reference, bool) else output_quantization(reference)
    which = ""
    if len(found) > 1 and any(metric.name not in SEES_ALL and not metric.identity for metric in chosen):
        which = f"of {len(found)} outputs, {name} {list(shape)} is judged; a metric of your own is given all"
    return MetricPlan(chosen, shape, kind, fitting, quantization, theirs, says, output, which)


def output_quantization(model: Program) -> tuple[TensorQuantization | None, ...]:
    """Of each output; None where it is not known."""
    known = model.quantization.outputs if model.quantization else ()
    return tuple(known[i] if i < len(known) else None for i in range(len(model.signature.outputs)))


# -- which output is judged ----------------------------------------------------------------------------------------------

Seen = tuple[str, Shape, Kind]
"""An output: its name, the shape of one sample, and what it holds."""

TELLING = ("score", "class", "prob", "logit", "heat", "mask", "label")
"""What is in the names of outputs that a model is judged by."""


def _seen_outputs(
    model: Program, quantization: Sequence[TensorQuantization | None], inputs: Sequence[Shape], data: Dataset
) -> list[Seen]:
    found = []
    for spec, meaning in zip(model.signature.outputs, quantization, strict=True):
        shape = tuple(int(extent or 1) for extent in model.signature.sample_shape(spec))
        name = spec.name if meaning is None or not meaning.name else meaning.name
        found.append((name, shape, output_kind(shape, spec.dtype, meaning, inputs, data)))
    return found


def _judged(found: Sequence[Seen], data: Dataset) -> int:
    """Position of the output that is judged: one that the labels fit, else one of a telling name, else the first."""

    def order(index: int) -> tuple[bool, bool, int]:
        name, shape, kind = found[index]
        telling = any(word in name.lower() for word in TELLING)
        return not _labels_fit_output(shape, kind, data), not telling, index

    return min(range(len(found)), key=order)


def _labels_fit_output(shape: Shape, kind: Kind, data: Dataset) -> bool:
    """Whether the labels may be those of an output."""
    labels = data.labels
    if data.classes is not None:
        return kind is Kind.CLASSES and math.prod(shape) > data.classes.max(initial=0)
    if has_keypoints(data):
        assert isinstance(labels, np.ndarray)
        points = labels.shape[1]
        maps = len(shape) == 3 and min(shape[:2]) > 1
        return shape[-1] == points if maps else math.prod(shape) in (2 * points, 3 * points)
    if has_masks(data):
        return kind in (Kind.PIXELS, Kind.INDICES)
    return labels is not None and (has_tokens(data, shape) or has_values(data, shape))


# -- outputs and labels in words -----------------------------------------------------------------------------------------

_WORDS = {
    Kind.CLASSES: "holds classes",
    Kind.PIXELS: "holds classes of pixels",
    Kind.INDICES: "holds numbers of classes",
    Kind.SEQUENCE: "holds a vector for each step",
    Kind.TOKENS: "holds a value for each token that may come next",
    Kind.VALUES: "holds real values",
}


def _described(kind: Kind, shape: Shape) -> str:
    return f"the output {list(shape)} {_WORDS[kind]}"


def _labels_of(data: Dataset) -> str:
    if data.group > 1:
        return ", the data scores of pairs"
    labels = data.labels
    if labels is None:
        return ", the data no labels"
    if data.classes is not None:
        return ", the data a class for each sample"
    if has_keypoints(data):
        return ", the data keypoints"
    if has_masks(data) or not isinstance(labels, np.ndarray):
        return ", the data masks"
    return f", the data labels of shape {list(labels.shape[1:])}"


# -- which metrics follow -------------------------------------------------------------------------------------------------


SEES_ALL = ("mse", "psnr", "cosine")
"""Metrics that compare all outputs with those of a reference."""


def default_metrics(kind: Kind, shape: Shape, data: Dataset, reference: bool, several: bool = False) -> tuple[Metric, ...]:
    """The metrics that outputs and labels suggest, the one that decides first; empty where nothing can be measured.

    Args:
        kind, shape: of the output that is judged.
        data: the labels.
        reference: there is one.
        several: there are more outputs.
    """
    names = _suggested(kind, shape, data)
    if several and data.labels is None and data.group < 2 and not set(names) & set(SEES_ALL):
        names = (*names, "cosine")
    found = [METRICS[name] for name in names]
    return tuple(
        metric for metric in found if reference or (metric.needs is not Needs.REFERENCE and _labels_fit(metric, shape, data))
    )


def _suggested(kind: Kind, shape: Shape, data: Dataset) -> tuple[str, ...]:
    picture = sum(extent > 1 for extent in shape) >= 2
    if data.group > 1:
        return "spearman", "cosine"
    if has_keypoints(data):
        return "keypoints", "pck"
    if kind is Kind.CLASSES:
        if data.classes is None:
            return "agreement", "cosine"
        return ("top1", "top5", "agreement") if math.prod(shape) > 5 else ("top1", "agreement")
    if kind in (Kind.PIXELS, Kind.INDICES) and (picture or kind is Kind.PIXELS):
        return ("miou", "pixel-agreement") if has_masks(data) else ("pixel-agreement",)
    if kind is Kind.INDICES:
        return ("top1", "agreement") if data.classes is not None and math.prod(shape) == 1 else ("agreement",)
    if kind is Kind.TOKENS:
        return "perplexity", "agreement"
    if kind is Kind.SEQUENCE:
        return ("cosine",)
    return ("mse", "psnr") if picture else ("mse",)


def _by_labels(metric: Metric, shape: Shape, data: Dataset) -> bool:
    """Whether a metric compares with labels."""
    return metric.needs is Needs.LABELS or (
        metric.needs is Needs.EITHER and not metric.identity and _labels_fit(metric, shape, data)
    )


def _labels_fit(metric: Metric, shape: Shape, data: Dataset) -> bool:
    """Whether the labels have the form that a metric compares with."""
    if metric.needs is Needs.PAIRS:
        return data.group > 1
    if metric.name in ("top1", "top5"):
        return data.classes is not None
    if metric.name == "miou":
        return has_masks(data)
    if metric.name in ("keypoints", "pck"):
        return has_keypoints(data)
    return has_tokens(data, shape) if metric.name == "perplexity" else has_values(data, shape)


def require_what_it_needs(metric: Metric, data: Dataset, reference: bool, by_labels: bool) -> None:
    """Raises DataError where a metric has nothing to compare with."""
    if metric.identity:
        return  # the user's function says itself what it lacks
    if metric.needs is Needs.PAIRS and data.group < 2:
        raise DataError(
            f"metric {metric.name}: {data.source} has no `score` for pairs of rows; it needs one for the rows 2i and 2i+1"
        )
    if metric.needs is Needs.LABELS and data.labels is None:
        raise DataError(f"metric {metric.name}: {data.source} has no labels; add them, or choose a metric that needs none")
    if metric.needs in (Needs.REFERENCE, Needs.EITHER) and not reference and not by_labels:
        what = "" if metric.needs is Needs.REFERENCE else f"{data.source} has no labels that fit it, and "
        raise DataError(f"metric {metric.name}: {what}it compares with a reference model; pass `reference`")
