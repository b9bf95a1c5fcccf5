# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a metric is given: outputs of a model, those of a reference, and the samples with their labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tosa_rescale.core.quantization import TensorQuantization
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.data.kinds import Kind


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What a model gave for some samples.

    Attributes:
        arrays: for each output an array [n, ...].
        quantization: of each output; None where it is not known.
        chosen: position of the output that metrics of one output judge.
    """

    arrays: Sequence[np.ndarray]
    quantization: Sequence[TensorQuantization | None]
    chosen: int = 0

    @property
    def judged(self) -> np.ndarray:
        """The integers of the output that is judged."""
        return self.arrays[self.chosen]

    def real(self, index: int | None = None) -> np.ndarray:
        """An output, the judged one by default, in real units, float64; in LSB where its scale is not known."""
        index = self.chosen if index is None else index
        values, meaning = self.arrays[index].astype(np.float64), self.quantization[index]
        return values if meaning is None or meaning.scale <= 0 else (values - meaning.zero_point) * meaning.scale


@dataclasses.dataclass(frozen=True)
class Given:
    """What a metric's function is given.

    Attributes:
        outputs: of the model that is measured.
        reference: of the reference model; None without.
        data: the same samples, with their labels.
        kind: what the judged output holds.
        by_labels: compare with the labels, not with the reference.
    """

    outputs: Outputs
    reference: Outputs | None
    data: Dataset
    kind: Kind
    by_labels: bool
