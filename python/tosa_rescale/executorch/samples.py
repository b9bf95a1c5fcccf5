# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calibration samples as PyTorch users have them, brought into the form of a delegated graph's inputs."""

from __future__ import annotations

import copy
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tosa_rescale.api import Model
from tosa_rescale.core.program import InputSpec
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.data.source import as_dataset
from tosa_rescale.executorch.errors import ExecutorchError
from tosa_rescale.executorch.lowering import lowered_from


def for_partition(samples: Any, name: str, number: int) -> Any:
    """What of the samples is meant for one partition.

    Args:
        samples: of the only partition, or by the name of partitions.
        name: of the partition, such as "tag0".
        number: how many partitions came before it. ExecuTorch does not lower them in the order of the program.

    Raises:
        ExecutorchError: there are several partitions, and no samples by its name.
    """
    if _is_no_data(samples):
        return samples
    by_name = isinstance(samples, Mapping) and all(str(key).startswith("tag") for key in samples)
    if by_name and name in samples:
        return samples[name]
    if by_name or number:
        raise ExecutorchError(
            "has no calibration samples of its own, and the program is delegated in several parts; give"
            f" {{'{name}': samples, ...}} for every partition, or calibration='synthetic' or 'none'"
        )
    return samples


def as_inputs(samples: Any, model: Model) -> Any:
    """Samples as a data set in the layout of a model's inputs; "synthetic", "none" and None stay."""
    return samples if _is_no_data(samples) else dataset(samples, model)


def dataset(data: Any, model: Model) -> Dataset:
    """A data set for a model of tosa_rescale.executorch.load, in PyTorch's order of dimensions.

    TOSA has the dimensions of an input in the order in which they lie in memory. For an example in channels_last that is not
    PyTorch's order, and samples are transposed; others are left as they are.

    Args:
        data: a tensor or array [N, ...], a torch DataLoader, a list of examples, a dictionary of arrays by input; or whatever
            else tosa_rescale.evaluate takes.
        model: what it is for.

    Raises:
        DataError: it is empty, or of another kind.
    """
    data, origin = as_dataset(_without_torch(data)), lowered_from(model)
    if origin is None:
        return data
    known = {spec.name: (spec, tuple(order)) for spec, order in zip(model.input_specs, origin["orders"], strict=True)}
    if isinstance(data.samples, np.ndarray) and len(known) == 1:
        return _with_samples(data, _in_order(data.samples, *next(iter(known.values()))))
    if isinstance(data.samples, Mapping):
        return _with_samples(data, {n: _in_order(x, *known[n]) if n in known else x for n, x in data.samples.items()})
    return data


def _is_no_data(samples: Any) -> bool:
    """None, or a word such as "synthetic" that is not the path of a data set."""
    return samples is None or (isinstance(samples, str) and not pathlib.Path(samples).exists())


def _without_torch(samples: Any) -> Any:
    """Tensors as arrays, wherever they lie and whether or not they need gradients; an example of one tensor as this tensor."""
    if hasattr(samples, "detach"):
        return samples.detach().cpu().numpy()
    if isinstance(samples, (str, pathlib.Path, Dataset, np.ndarray)) or hasattr(samples, "as_numpy_iterator"):
        return samples
    if isinstance(samples, Mapping):
        return {name: _without_torch(each) for name, each in samples.items()}
    if isinstance(samples, tuple) and len(samples) > 0 and hasattr(samples[0], "shape"):
        return tuple(_without_torch(each) for each in samples) if len(samples) > 1 else _without_torch(samples[0])
    return _batches(samples) if isinstance(samples, Iterable) else samples


def _batches(batches: Iterable[Any]) -> Iterator[Any]:
    for batch in batches:
        yield _without_torch(tuple(batch) if isinstance(batch, list) else batch)


def _in_order(array: np.ndarray, spec: InputSpec, order: tuple[int, ...]) -> np.ndarray:
    if array.shape[1:] == spec.shape or array.ndim != len(order):
        return array
    moved = array.transpose(order)
    return moved if moved.shape[1:] == spec.shape else array


def _with_samples(data: Dataset, samples: Any) -> Dataset:
    changed = copy.copy(data)
    changed.samples = samples
    return changed
