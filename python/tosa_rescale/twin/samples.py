# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a training reads: samples as the model's integers, and what is wanted of them."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tosa_rescale.core.errors import DataError
from tosa_rescale.core.program import Program
from tosa_rescale.data.dataset import Dataset, Preprocessing, load_data
from tosa_rescale.twin.backend import tf

IN_MEMORY = 1 << 30
"""Bytes of samples that are kept; larger data sets are read again for every epoch."""

Batch = tuple[tuple[Any, ...], Any, Any]
"""One tensor [n, ...] for each input, the targets [n, ...], and how many samples the batch of all replicas has."""


def as_dataset(data: Any) -> Dataset:
    """A Dataset from one, from a folder or .npz, or from a tf.data.Dataset of batches x or (x, y).

    Raises:
        DataError: it is empty, or of another kind.
    """
    if isinstance(data, Dataset):
        found = data
    elif isinstance(data, (str, pathlib.Path)):
        found = load_data(data)
    elif isinstance(data, tf.data.Dataset):
        parts = [part if isinstance(part, tuple) else (part, None) for part in data.as_numpy_iterator()]
        if not parts:
            raise DataError("tf.data: holds no samples; give at least 2")
        labels = None if parts[0][1] is None else np.concatenate([np.asarray(y) for _, y in parts])
        found = Dataset("tf.data", np.concatenate([x for x, _ in parts]), labels, Preprocessing())
    else:
        raise DataError(f"data: {type(data).__name__} is not a Dataset, a path or a tf.data.Dataset")
    if not len(found):
        raise DataError(f"{found.source}: holds no samples; give at least 2")
    return found


def split(data: Dataset, validation: float) -> tuple[Dataset, Dataset]:
    """Samples to train on, and those held out, spread evenly.

    Raises:
        DataError: there are too few.
    """
    count = max(1, round(validation * len(data)))
    if len(data) < 2 or count >= len(data):
        raise DataError(f"{data.source}: {len(data)} samples cannot be split into training and validation; give at least 2")
    return data.drop(count), data.take(count)


class Samples:
    """Samples as the model's integers: kept where they fit in memory, else read again."""

    def __init__(self, model: Program, data: Dataset) -> None:
        self._spec, self._data = model.input_spec, data
        size = len(data) * int(np.prod(self._spec.shape)) * self._spec.dtype.itemsize
        self._kept = np.concatenate(list(data.quantized(self._spec))) if size <= IN_MEMORY else None

    def __len__(self) -> int:
        return len(self._data)

    def at(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """For each input the samples [n, *shape] at these positions."""
        if self._kept is not None:
            return (self._kept[rows],)
        if not len(rows):
            return (np.empty((0, *self._spec.shape), self._spec.dtype),)
        return (np.concatenate(list(self._data.select(rows).quantized(self._spec, len(rows)))),)


@dataclasses.dataclass(frozen=True, eq=False)
class Lesson:
    """Samples and what is wanted of them.

    Attributes:
        samples: the inputs.
        targets: labels [N], or the teacher's logits [N, ...].
    """

    samples: Samples
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.samples)

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
            yield inputs, tf.constant(self.targets[own]), tf.constant(len(rows))
