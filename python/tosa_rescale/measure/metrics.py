# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a model is judged by. A metric is a row of METRICS; to add one, add a function and a row.

A metric's function gives a few numbers for each sample of a chunk, and the figure follows from their sums, or from all rows
where it is no function of sums. So parts of a data set can be measured in any order and in other processes, and the bounds of a
loss follow from the differences of single samples.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.functions import find_function, function_identity, function_name
from tosa_rescale.measure import rows
from tosa_rescale.measure.given import Given
from tosa_rescale.measure.own_metric import OwnRows


class Needs(enum.StrEnum):
    """What a metric compares the outputs with."""

    LABELS = "labels"
    REFERENCE = "reference"  # the outputs of a reference model
    EITHER = "either"  # labels where they have the form, else the reference
    PAIRS = "pairs"  # the scores of pairs of samples


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: what the command line and the results call it.
        rows: from n samples to float64 or integers [n, k]; of pairs [n / 2, k].
        of_sums: from sums of rows [..., k] to figures [...]; None where `of_rows` is given.
        unit: "%" (a loss is then in points), "dB", or empty.
        more_is_better: a larger figure is the better one.
        needs: what it compares with.
        says: one line for people.
        tolerance: a loss above this counts as degradation; in the metric's unit.
        scale_of_sums: what the tolerance is a part of, where that is not an absolute number.
        of_rows: from all rows [n, k] to one figure, where that is no function of sums.
        identity: what figures of a user's function depend on; empty for others.
    """

    name: str
    rows: Callable[[Given], Any]
    of_sums: Callable[[np.ndarray], np.ndarray] | None
    unit: str
    more_is_better: bool
    needs: Needs
    says: str
    tolerance: float = 0.5
    scale_of_sums: Callable[[np.ndarray], np.ndarray] | None = None
    of_rows: Callable[[Any], float] | None = None
    identity: str = ""


METRICS: dict[str, Metric] = {
    each.name: each
    for each in (
        Metric("top1", rows.top1, rows.share, "%", True, Needs.LABELS, "the label has the largest value"),
        Metric("top5", rows.top5, rows.share, "%", True, Needs.LABELS, "the label is among the five largest values"),
        Metric("agreement", rows.agreement, rows.share, "%", True, Needs.REFERENCE, "decisions that are the reference's"),
        Metric(
            "pixel-agreement", rows.agreement, rows.share, "%", True, Needs.REFERENCE, "pixels whose class is the reference's"
        ),
        Metric(
            "miou",
            rows.intersections,
            rows.mean_iou,
            "%",
            True,
            Needs.EITHER,
            "intersection over union of each class with the masks (else with the reference), mean over classes",
        ),
        Metric(
            "keypoints",
            rows.keypoint_errors,
            rows.mean,
            "",
            False,
            Needs.EITHER,
            "mean distance of keypoints; of heat maps as part of the image's side",
            tolerance=0.005,
        ),
        Metric(
            "pck",
            rows.found_keypoints,
            rows.share,
            "%",
            True,
            Needs.EITHER,
            f"keypoints that are within {rows.NEAR} of their place",
        ),
        Metric(
            "mse",
            rows.squares,
            rows.mean,
            "",
            False,
            Needs.EITHER,
            "mean square error, in real units where the output's scale is known; tolerated: 0.5 % of the values' variance",
            tolerance=0.005,
            scale_of_sums=rows.variance,
        ),
        Metric(
            "psnr",
            rows.peaks,
            rows.decibels,
            "dB",
            True,
            Needs.EITHER,
            f"the range of the output's integers over the root mean square error; {rows.MAX_PSNR:g} dB where all is equal",
        ),
        Metric(
            "cosine",
            rows.cosine,
            rows.mean,
            "",
            True,
            Needs.EITHER,
            "cosine of outputs; of sequences with a mask, of their means over it",
            tolerance=0.005,
        ),
        Metric(
            "spearman",
            rows.pair_cosines,
            None,
            "",
            True,
            Needs.PAIRS,
            "rank correlation of the cosine of pairs (rows 2i and 2i+1) with `score`",
            tolerance=0.005,
            of_rows=rows.spearman,
        ),
        Metric(
            "perplexity",
            rows.likelihoods,
            rows.perplexity,
            "",
            False,
            Needs.LABELS,
            "exponential of the mean of minus the logarithm of a token's likelihood; tolerated: 0.5 % of it",
            tolerance=0.005,
            scale_of_sums=rows.perplexity,
        ),
    )
}
"""All metrics by name."""


def find_metrics(asked: str | Callable[..., Any] | Metric | Sequence[Any] | None) -> tuple[Metric, ...]:
    """The metrics that are asked for.

    Args:
        asked: names (by comma in one text), `module:function`, functions or metrics; None or empty: none is asked for.

    Raises:
        OptionError: there is no such metric, or it is named twice.
    """
    if asked is None:
        return ()
    parts: list[Any] = [asked] if callable(asked) or isinstance(asked, (str, Metric)) else list(asked)
    names = [name.strip() for part in parts for name in (part.split(",") if isinstance(part, str) else ()) if name.strip()]
    found = [_find_metric(each) for each in [*names, *(part for part in parts if not isinstance(part, str))]]
    twice = [each.name for i, each in enumerate(found) if each.name in {other.name for other in found[:i]}]
    if twice:
        raise OptionError(f"metric: {twice[0]} is named twice")
    return tuple(found)


def _find_metric(asked: Any) -> Metric:
    if isinstance(asked, Metric):
        return asked
    if isinstance(asked, str) and ":" not in asked:
        if asked not in METRICS:
            raise OptionError(
                f"metric: {asked!r} is not one of {', '.join(METRICS)}; a function of your own is module:function"
            )
        return METRICS[asked]
    return own_metric(asked)


def own_metric(given: Callable[..., Any] | str) -> Metric:
    """A metric of a function of the user's own.

    It is called as `function(outputs, labels, reference)`: real outputs, a list of float64 [n, ...]; the labels of these
    samples, None without (of masks int64 [n, H, W], of the judged output's size); the reference's outputs, None without. It
    returns n numbers, one for each sample, whose mean is the figure; or one number for all samples, which are then given at
    once and kept in memory. Its attributes `more_is_better` (True), `unit` ("") and `tolerance` (0.5 for "%", else 0.005) are
    heeded.

    Args:
        given: the function, or `module:function`.

    Raises:
        OptionError: there is no such function.
    """
    function, name = find_function(given, "metric"), function_name(given)
    unit = str(getattr(function, "unit", ""))
    return Metric(
        name,
        OwnRows(function, name),
        rows.mean,
        unit,
        bool(getattr(function, "more_is_better", True)),
        Needs.EITHER,
        next(iter((getattr(function, "__doc__", None) or "a function of the user's own").strip().splitlines()), name),
        tolerance=float(getattr(function, "tolerance", 0.5 if unit == "%" else 0.005)),
        identity=function_identity(function, "metric"),
    )
