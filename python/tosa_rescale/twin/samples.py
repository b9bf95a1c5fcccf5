# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a training reads: samples as the model's integers, and what is wanted of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tosa_rescale.core.display import count
from tosa_rescale.core.errors import DataError
from tosa_rescale.core.program import Program
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.twin.backend import tf

IN_MEMORY = 1 << 30
"""Bytes of samples that are kept; larger data sets are read again for every epoch."""

Batch = tuple[tuple[Any, ...], Any, Any, Any]
"""Tensors [n, ...]: one for each input, targets, weights; and how many samples the batch of all replicas has."""


def split(data: Dataset, validation: float) -> tuple[Dataset, Dataset]:
    """Samples to train on, and those held out, spread evenly.

    Raises:
        DataError: there are too few.
    """
    held = max(1, round(validation * len(data)))
    if len(data) < 2 or held >= len(data):
        raise DataError(
            f"{data.source}: {count(len(data), 'sample')} cannot be split into training and validation; give at least 2"
        )
    return data.drop(held), data.take(held)


def weights_of(data: Dataset, positions: tuple[int, ...]) -> np.ndarray:
    """What each step of each sample counts: nothing where a mask says that it is none, else alike; 1 in the mean.

    Args:
        data: may have a mask [N, steps].
        positions: shape of the positions of a sample.

    Returns:
        float32 [N, steps] where the mask's steps are the first of the positions, else ones [N].

    Raises:
        DataError: the mask leaves nothing.
    """
    mask = data.extras.get("mask")
    if mask is None or mask.shape[1:] != positions[:1]:
        return np.ones(len(data), np.float32)
    real = (mask > 0).astype(np.float32)
    if not real.any():
        raise DataError(f"{data.source}: `mask` leaves no step to learn from; it is 1 where a step is real")
    return real / real.mean()


class Samples:
    """Samples as the integers of a model's inputs: kept where they fit in memory, else read again."""

    def __init__(self, model: Program, data: Dataset) -> None:
        self._specs, self._data = model.input_specs, data
        size = len(data) * sum(math.prod(spec.shape) * spec.dtype.itemsize for spec in self._specs)
        self._kept = self._read(data) if size <= IN_MEMORY else None

    def __len__(self) -> int:
        return len(self._data)

    def at(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """For each input the samples [n, *shape] at these positions."""
        if self._kept is not None:
            return tuple(array[rows] for array in self._kept)
        if not len(rows):
            return tuple(np.empty((0, *spec.shape), spec.dtype) for spec in self._specs)
        return self._read(self._data.select(rows))

    def _read(self, data: Dataset) -> tuple[np.ndarray, ...]:
        columns = zip(*data.batches(self._specs), strict=True)
        return tuple(np.concatenate(column) for column in columns)


@dataclasses.dataclass(frozen=True, eq=False)
class Lesson:
    """Samples and what is wanted of them.

    Attributes:
        samples: the inputs.
        targets: labels [N, ...], or the teacher's integers [N, ...].
        weights: float32 [N] or [N, steps], 1 in the mean; see `weights_of`.
    """

    samples: Samples
    targets: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.samples)

    def counted(self, positions: tuple[int, ...]) -> int:
        """How many positions count.

        Args:
            positions: their shape in one sample.
        """
        beside = math.prod(positions[self.weights.ndim - 1 :])
        return int(np.count_nonzero(self.weights)) * beside

    def spread(self) -> float:
        """The standard deviation of the targets that count."""
        return float(np.std(self.targets[self.weights > 0]))

    def batches(self, order: np.ndarray, size: int, share: Callable[[np.ndarray], np.ndarray]) -> Iterator[Batch]:
        """Batches in this order.

        Args:
            order: positions of samples.
            size: of a batch over all replicas.
            share: the part of a batch that this process computes.
        """
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            own = share(rows)
            inputs = tuple(map(tf.constant, self.samples.at(own)))
            yield inputs, tf.constant(self.targets[own]), tf.constant(self.weights[own]), tf.constant(len(rows))
