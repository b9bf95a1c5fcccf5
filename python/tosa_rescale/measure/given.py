# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a metric is given: outputs of a model, those of a reference, and the samples with their labels."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

import numpy as np

from tosa_rescale.core.quantization import TensorQuantization
from tosa_rescale.data.dataset import Dataset


class Kind(enum.StrEnum):
    """What a model's first output holds."""

    CLASSES = "classes"  # one value for each class, one decision a sample
    PIXELS = "pixels"  # the same for each pixel
    INDICES = "indices"  # the numbers of classes, behind an argmax
    SEQUENCE = "sequence"  # a vector for each step
    TOKENS = "tokens"  # the same, a value for each token that may come next
    VALUES = "values"  # real values: an image, a regression


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What a model gave for some samples.

    Attributes:
        arrays: for each output an array [n, ...].
        quantization: of each output; None where it is not known.
    """

    arrays: Sequence[np.ndarray]
    quantization: Sequence[TensorQuantization | None]

    def real(self, index: int = 0) -> np.ndarray:
        """An output in real units, float64; in LSB where its scale is not known."""
        values, meaning = self.arrays[index].astype(np.float64), self.quantization[index]
        return values if meaning is None or meaning.scale <= 0 else (values - meaning.zero_point) * meaning.scale


@dataclasses.dataclass(frozen=True)
class Given:
    """What a metric's function is given.

    Attributes:
        outputs: of the model that is measured.
        reference: of the reference model; None without.
        data: the same samples, with their labels.
        kind: what the first output holds.
        by_labels: compare with the labels, not with the reference.
    """

    outputs: Outputs
    reference: Outputs | None
    data: Dataset
    kind: Kind
    by_labels: bool
