# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The arithmetic of the metrics: from samples to a few numbers for each (rows), and from their sums to a figure."""

from __future__ import annotations

import numpy as np

from tosa_rescale.core.errors import DataError
from tosa_rescale.data.contents import MASK, SCORE
from tosa_rescale.data.kinds import Kind
from tosa_rescale.measure.given import Given, Outputs

IGNORED_CLASS = 255  # of a mask's pixels that belong to no class, as the segmentation benchmarks write it
NEAR = 0.05  # a keypoint counts as found within this part of the image's side
MAX_PSNR = 120.0  # dB; stands for equal values, whose ratio has no bound

# -- classes -----------------------------------------------------------------------------------------------------------


def ranks(given: Given) -> np.ndarray:
    """How many classes come before the label, int64 [n]; of equal values the one of lower index comes first, as in argmax.

    Raises:
        DataError: labels are no classes, or beyond the model's.
    """
    labels, source = given.data.classes, given.data.source
    if labels is None:
        raise DataError(f"{source}: has no labels that are classes; needs one whole number for each sample")
    scores = given.outputs.judged.reshape(len(labels), -1)
    if given.kind is Kind.INDICES:
        return np.where(scores[:, 0] == labels, 0, np.iinfo(np.int64).max)
    classes = scores.shape[1]
    if labels.min() < 0 or labels.max() >= classes:
        bad = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(f"{source}: label {bad} is outside the model's {classes} classes; check labels and `label_offset`")
    own = np.take_along_axis(scores, labels[:, None], 1)
    earlier = np.arange(classes) < labels[:, None]
    return ((scores > own) | ((scores == own) & earlier)).sum(1)


def top1(given: Given) -> np.ndarray:
    """Whether the label has the largest value."""
    return counted(ranks(given) < 1)


def top5(given: Given) -> np.ndarray:
    """Whether the label is among the five largest values."""
    return counted(ranks(given) < 5)


def decisions(outputs: Outputs, kind: Kind) -> np.ndarray:
    """What the judged output decides at each position: the class where there are values of classes, else the value itself."""
    first = outputs.judged
    if kind is Kind.CLASSES:
        return first.reshape(len(first), -1).argmax(1)
    return first.argmax(-1) if kind in (Kind.PIXELS, Kind.TOKENS) else first


def agreement(given: Given) -> np.ndarray:
    """Decisions that are the reference's, and all decisions, for each sample."""
    assert given.reference is not None  # MetricPlan requires it
    own, theirs = (decisions(each, given.kind) for each in (given.outputs, given.reference))
    same = (own == theirs).reshape(len(own), -1)
    return np.stack([same.sum(1), np.full(len(same), same.shape[1])], 1)


def share(sums: np.ndarray) -> np.ndarray:
    return 100 * sums[..., 0] / sums[..., 1]


def mean(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def counted(values: np.ndarray) -> np.ndarray:
    """Values [n] with a count of 1 beside each."""
    return np.stack([values, np.ones(len(values), np.int64)], 1)


def class_map(outputs: Outputs, kind: Kind) -> np.ndarray:
    """The class of every pixel, int64 [n, H, W]. Raises DataError where the judged output holds none."""
    shape = outputs.judged.shape
    found = decisions(outputs, kind).astype(np.int64)
    if found.ndim == 4 and 1 in (found.shape[3], found.shape[1]):
        found = found[..., 0] if found.shape[3] == 1 else found[:, 0]
    if kind not in (Kind.PIXELS, Kind.INDICES) or found.ndim != 3:
        raise DataError(
            f"miou: an output of shape {list(shape[1:])} holds no class for each pixel; needs [H, W, classes] or [H, W]"
        )
    return found


def intersections(given: Given) -> np.ndarray:
    """For each class and sample: pixels of it in both, in the output, and in the mask; [n, classes * 3]."""
    own = class_map(given.outputs, given.kind)
    if given.by_labels:
        wanted = given.data.masks((own.shape[1], own.shape[2]))
    else:
        assert given.reference is not None
        wanted = class_map(given.reference, given.kind)
    if given.kind is Kind.PIXELS:
        classes = given.outputs.judged.shape[-1]
    else:  # behind an argmax nobody says how many there are
        classes = int(max(own.max(initial=0), wanted[wanted != IGNORED_CLASS].max(initial=0))) + 1
    counts = (wanted >= 0) & (wanted != IGNORED_CLASS) if given.by_labels else np.ones(wanted.shape, bool)
    if (wanted[counts] >= classes).any():
        raise DataError(
            f"{given.data.source}: a mask has class {wanted[counts].max()}, the model's are 0 to {classes - 1};"
            f" {IGNORED_CLASS} stands for pixels without a class"
        )
    rows = np.zeros((len(own), classes, 3), np.int64)
    for row, mine, theirs, known in zip(rows, own, wanted, counts, strict=True):
        mine, theirs = mine[known].astype(np.int64), theirs[known].astype(np.int64)
        for column, values in enumerate((mine[mine == theirs], mine, theirs)):
            row[:, column] = np.bincount(values, minlength=classes)
    return rows.reshape(len(rows), -1)


def mean_iou(sums: np.ndarray) -> np.ndarray:
    """Mean over the classes that occur in an output or a mask."""
    both, own, wanted = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 3).astype(np.float64), -1, 0)
    union = own + wanted - both
    known = union > 0
    shares = np.divide(both, union, out=np.zeros_like(both), where=known)
    return 100 * shares.sum(-1) / np.maximum(known.sum(-1), 1)


# -- real values -------------------------------------------------------------------------------------------------------


def _pairs_of_values(given: Given) -> list[tuple[np.ndarray, np.ndarray]]:
    """Real outputs, and what they shall be: of labels the judged output's, of a reference all."""
    if given.by_labels:
        own, labels = given.outputs.real(), np.asarray(given.data.labels)
        if labels[0].size != own[0].size:
            raise DataError(
                f"{given.data.source}: `y` has samples of shape {list(labels.shape[1:])},"
                f" the model's output is {list(own.shape[1:])}"
            )
        return [(own.reshape(len(own), -1), labels.astype(np.float64).reshape(len(own), -1))]
    assert given.reference is not None
    count = len(given.outputs.judged)
    found = ((given.outputs.real(i), given.reference.real(i)) for i in range(len(given.outputs.arrays)))
    return [(own.reshape(count, -1), theirs.reshape(count, -1)) for own, theirs in found]


def squares(given: Given) -> np.ndarray:
    """For each sample: squared errors, their number, and sum and sum of squares of what the values shall be."""
    return sum(
        np.stack([np.square(a - b).sum(1), np.full(len(a), b.shape[1]), b.sum(1), np.square(b).sum(1)], 1)
        for a, b in _pairs_of_values(given)
    )  # type: ignore[return-value]  # a model has an output


def variance(sums: np.ndarray) -> np.ndarray:
    """Of what the values shall be."""
    return np.maximum(sums[..., 3] / sums[..., 1] - np.square(sums[..., 2] / sums[..., 1]), 0)


def peaks(given: Given) -> np.ndarray:
    """For each sample: squared errors, their number, and the square of what the output's integers span, as often."""
    rows = []
    places = [given.outputs.chosen] if given.by_labels else range(len(given.outputs.arrays))
    for index, (own, wanted) in zip(places, _pairs_of_values(given), strict=True):
        limits, meaning = np.iinfo(given.outputs.arrays[index].dtype), given.outputs.quantization[index]
        peak = (int(limits.max) - int(limits.min)) * (1.0 if meaning is None or meaning.scale <= 0 else meaning.scale)
        count = np.full(len(own), wanted.shape[1])
        rows.append(np.stack([np.square(own - wanted).sum(1), count, count * peak**2], 1))
    return sum(rows)  # type: ignore[return-value]  # a model has an output


def decibels(sums: np.ndarray) -> np.ndarray:
    ratio = np.divide(sums[..., 2], sums[..., 0], out=np.full(sums.shape[:-1], np.inf), where=sums[..., 0] > 0)
    return np.minimum(10 * np.log10(ratio), MAX_PSNR)


def embeddings(outputs: Outputs, mask: np.ndarray | None) -> np.ndarray:
    """One vector for each sample, real: the mean over the steps of a sequence that the mask counts, else the output as it is.

    Args:
        outputs: the judged one is [n, T, D] or [n, ...].
        mask: [n, T], 1 where a step is real.

    Returns:
        float64 [n, D].

    Raises:
        DataError: the mask has another number of steps than the output.
    """
    values = outputs.real()
    if mask is None or values.ndim == 2:
        return values.reshape(len(values), -1)
    steps = values.reshape(len(values), -1, values.shape[-1])
    if mask.shape != steps.shape[:2]:
        raise DataError(f"mask: has {list(mask.shape[1:])} steps, the output {list(steps.shape[1:2])}")
    weights = mask.astype(np.float64)[:, :, None]
    return (steps * weights).sum(1) / np.maximum(weights.sum(1), 1)


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Cosine of rows, float64 [n]; two vectors of zeros are alike."""
    lengths = np.sqrt(np.square(one).sum(1) * np.square(other).sum(1))
    found = np.divide((one * other).sum(1), lengths, out=np.zeros(len(one)), where=lengths > 0)
    found[(one == other).all(1)] = 1.0
    return np.clip(found, -1, 1)


def cosine(given: Given) -> np.ndarray:
    mask = given.data.extras.get(MASK)
    if given.by_labels or len(given.outputs.arrays) > 1:
        parts = [_cosines(own, wanted) for own, wanted in _pairs_of_values(given)]
        return counted(np.mean(parts, 0))
    assert given.reference is not None
    return counted(_cosines(embeddings(given.outputs, mask), embeddings(given.reference, mask)))


def pair_cosines(given: Given) -> np.ndarray:
    """For each pair of rows 2i and 2i+1: the cosine of their embeddings, and its score."""
    found = embeddings(given.outputs, given.data.extras.get(MASK))
    return np.stack([_cosines(found[::2], found[1::2]), given.data.extras[SCORE].astype(np.float64)], 1)


def spearman(rows: np.ndarray) -> float:
    """Correlation of the ranks of two columns; equal values share the mean of their ranks; 0 where a column is constant.

    Args:
        rows: [n, 2].
    """
    one, other = (_ranked(column) - (len(rows) - 1) / 2 for column in rows.T)
    scale = np.sqrt(np.square(one).sum() * np.square(other).sum())
    return float((one * other).sum() / scale) if scale > 0 else 0.0


def _ranked(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[place]


def likelihoods(given: Given) -> np.ndarray:
    """For each sample: minus the logarithm of the likelihood of its tokens, and their number."""
    logits, labels = given.outputs.real(), given.data.labels
    logits = logits.reshape(len(logits), -1, logits.shape[-1])
    if not isinstance(labels, np.ndarray) or labels.shape != logits.shape[:2] or labels.dtype.kind not in "iu":
        raise DataError(
            f"{given.data.source}: perplexity needs a token for each step, integers [N, {logits.shape[1]}] as `y`; of negative"
            " ones, and where the mask is 0, none is counted"
        )
    if labels.max(initial=0) >= logits.shape[2]:
        raise DataError(f"{given.data.source}: token {labels.max()} is outside the model's {logits.shape[2]}")
    mask = given.data.extras.get(MASK)
    counted = (labels >= 0) & (True if mask is None else mask > 0)
    largest = logits.max(-1, keepdims=True)
    total = np.log(np.exp(logits - largest).sum(-1)) + largest[..., 0]
    own = np.take_along_axis(logits, np.maximum(labels, 0)[..., None], -1)[..., 0]
    return np.stack([np.where(counted, total - own, 0).sum(1), counted.sum(1)], 1)


def perplexity(sums: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.exp(sums[..., 0] / np.maximum(sums[..., 1], 1))


def keypoints(outputs: Outputs, count: int | None) -> np.ndarray:
    """Where an output places each keypoint.

    Args:
        outputs: the judged one holds heat maps [n, H, W, K], or coordinates [n, ..., K, 2 or 3], of which the third is a score.
        count: K, where it is known.

    Returns:
        float64 [n, K, 2]: of heat maps x and y as parts of width and height, at the middle of the largest cell; else the
        output's own coordinates.

    Raises:
        DataError: the output holds no keypoints.
    """
    values = outputs.real()
    if values.ndim == 4 and min(values.shape[1:3]) > 1:
        samples, height, width, points = values.shape
        if count not in (None, points):
            raise DataError(
                f"keypoints: the labels have {count}, the model's heat maps [{height}, {width}, {points}] are of {points}"
            )
        place = outputs.judged.reshape(samples, -1, points).argmax(1)
        return np.stack([(place % width + 0.5) / width, (place // width + 0.5) / height], -1)
    size = values[0].size
    points = count or size // (values.shape[-1] if values.shape[-1] in (2, 3) else 2)
    if size not in (2 * points, 3 * points):
        raise DataError(f"keypoints: an output of shape {list(values.shape[1:])} holds no coordinates of {points} points")
    return values.reshape(len(values), points, size // points)[..., :2]


def _distances(given: Given) -> tuple[np.ndarray, np.ndarray]:
    """Of each keypoint its distance from where it shall be, and whether it counts; [n, K]."""
    if not given.by_labels:
        assert given.reference is not None
        own, wanted = (keypoints(each, None) for each in (given.outputs, given.reference))
        visible = np.ones(own.shape[:2], bool)
    else:
        labels = np.asarray(given.data.labels, np.float64)
        if labels.ndim != 3 or labels.shape[2] not in (2, 3):
            raise DataError(
                f"{given.data.source}: `y` has samples of shape {list(labels.shape[1:])}; keypoints are [N, K, 2], or [N, K, 3]"
                " with 0 as the third where a point is not visible"
            )
        own, wanted = keypoints(given.outputs, labels.shape[1]), labels[..., :2]
        visible = labels[..., 2] > 0 if labels.shape[2] == 3 else np.ones(labels.shape[:2], bool)
        maps = given.outputs.judged.ndim == 4 and min(given.outputs.judged.shape[1:3]) > 1
        if maps and np.abs(wanted[visible]).max(initial=0) > 2:
            raise DataError(
                f"{given.data.source}: keypoints reach {np.abs(wanted[visible]).max():g}; give x and y as parts of the image's"
                " width and height, 0 to 1"
            )
    return np.sqrt(np.square(own - wanted).sum(-1)), visible


def keypoint_errors(given: Given) -> np.ndarray:
    distances, visible = _distances(given)
    return np.stack([np.where(visible, distances, 0).sum(1), visible.sum(1)], 1)


def found_keypoints(given: Given) -> np.ndarray:
    distances, visible = _distances(given)
    return np.stack([(visible & (distances <= NEAR)).sum(1), visible.sum(1)], 1)
