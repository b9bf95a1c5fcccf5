# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What an output of a model holds, as its shape, its type and the labels of the data tell."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence

import numpy as np

from tosa_rescale.core.quantization import TensorQuantization
from tosa_rescale.data.dataset import Dataset

Shape = tuple[int, ...]


class Kind(enum.StrEnum):
    """What the output of a model holds."""

    CLASSES = "classes"  # one value for each class, one decision a sample
    PIXELS = "pixels"  # the same for each pixel
    INDICES = "indices"  # the numbers of classes, behind an argmax
    SEQUENCE = "sequence"  # a vector for each step
    TOKENS = "tokens"  # the same, a value for each token that may come next
    VALUES = "values"  # real values: an image, a regression


def output_kind(
    shape: Shape, dtype: np.dtype, quantization: TensorQuantization | None, inputs: Sequence[Shape], data: Dataset
) -> Kind:
    """What an output holds.

    Args:
        shape: of one sample.
        dtype: of its integers.
        quantization: its meaning; None where it is not known.
        inputs: shapes of one sample of the model's inputs.
        data: whose labels may tell what the shape does not.
    """
    extents = [extent for extent in shape if extent != 1]
    unscaled = quantization is None or quantization.scale <= 0
    if dtype.kind in "iu" and dtype.itemsize >= 4 and unscaled:
        return Kind.INDICES
    if not shape or not extents or (shape[-1] == 1 and len(extents) > 1):
        return Kind.VALUES
    if len(extents) == 1:
        rebuilt = data.group > 1 or any(math.prod(each) == extents[0] for each in inputs)
        return Kind.CLASSES if data.classes is not None or not (rebuilt or shape[-1] == 1) else Kind.VALUES
    if len(shape) == 2:
        return Kind.TOKENS if has_tokens(data, shape) else Kind.SEQUENCE
    return Kind.VALUES if _is_picture(shape, inputs) and not has_masks(data) else Kind.PIXELS


def _is_picture(shape: Shape, inputs: Sequence[Shape]) -> bool:
    """An output [H, W, C] as large as an input with as many channels, or larger by whole factors."""
    return any(
        len(each) == 3
        and each[2] == shape[-1]
        and all(own % given == 0 for own, given in zip(shape[:2], each[:2], strict=True))
        for each in inputs
        if len(shape) == 3
    )


def has_masks(data: Dataset) -> bool:
    labels = data.labels
    if isinstance(labels, np.ndarray):
        return labels.ndim == 3 and labels.dtype.kind in "iub"
    return labels is not None


def has_keypoints(data: Dataset) -> bool:
    labels = data.labels
    return isinstance(labels, np.ndarray) and labels.ndim == 3 and labels.shape[2] in (2, 3) and labels.dtype.kind == "f"


def has_values(data: Dataset, shape: Shape) -> bool:
    """The labels are what the output shall be, value by value."""
    labels = data.labels
    if not isinstance(labels, np.ndarray) or math.prod(labels.shape[1:]) != math.prod(shape):
        return False
    return labels.dtype.kind == "f" or labels.ndim > 1


def has_tokens(data: Dataset, shape: Shape) -> bool:
    labels = data.labels
    return isinstance(labels, np.ndarray) and labels.dtype.kind in "iu" and labels.shape[1:] == shape[:1] and len(shape) == 2
