# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where samples come from: a data set, synthetic ones, random integers, or nowhere."""

from __future__ import annotations

import dataclasses
import enum
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tosa_rescale.core.display import count
from tosa_rescale.core.errors import DataError, OptionError
from tosa_rescale.core.options import CalibrationOptions
from tosa_rescale.core.parsing import parse_enum
from tosa_rescale.core.program import InputSpec
from tosa_rescale.data.contents import LABELS, sort_arrays
from tosa_rescale.data.dataset import Dataset, Preprocessing, from_contents, load_data
from tosa_rescale.data.synthetic import synthetic_inputs


class Source(enum.StrEnum):
    """Where calibration samples come from when they are not given."""

    SYNTHETIC = "synthetic"  # seeded textures, see synthetic.py
    NONE = "none"  # no samples: fold and rounding alone


@dataclasses.dataclass(frozen=True)
class CalibrationPlan(CalibrationOptions):
    """What a calibration takes its samples from, and how many.

    Attributes:
        source: a data set or what as_dataset makes one of (labels are not used), "synthetic" for seeded random textures, "none"
            or None.

    Raises:
        OptionError: an unknown source, or an option out of range.
    """

    source: Any = dataclasses.field(default=Source.SYNTHETIC, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = Source.NONE if self.source is None else self.source
        if isinstance(given, str) and (given in tuple(Source) or not pathlib.Path(given).exists()):
            given = parse_enum(Source, given, "calibration")
        object.__setattr__(self, "source", given if isinstance(given, Source) else as_dataset(given, argument="calibration"))

    def taken(self) -> Dataset | None:
        """The samples of a data set that the calibration takes; None where it takes none of a data set."""
        return self.source.take(min(self.samples, len(self.source))) if isinstance(self.source, Dataset) else None

    def inputs(self, specs: Sequence[InputSpec]) -> list[np.ndarray] | None:
        """The samples to calibrate on.

        Args:
            specs: what the graph's inputs take.

        Returns:
            One array `[N, *shape]`, shapes without batch, for each input; None where there are no samples.

        Raises:
            DataError: samples do not fit the input.
        """
        if (taken := self.taken()) is not None:
            return input_arrays(taken, specs)
        if self.source is Source.NONE:
            return None
        return [synthetic_inputs(each, self.samples, self.seed + i) for i, each in enumerate(specs)]

    def leave_out(self, data: Dataset) -> Dataset:
        """A data set to score on: without what the calibration takes, wherever that comes from.

        Raises:
            OptionError: nothing is left.
        """
        if (taken := self.taken()) is None:
            return data
        left = data.without(taken)
        if not len(left):
            raise OptionError(f"samples: calibration takes {self.samples} of {len(data)} and leaves none to score; take fewer")
        return left


def as_dataset(data: Any, preprocessing: Preprocessing | None = None, argument: str = "data") -> Dataset:
    """A data set of what a caller has at hand.

    Args:
        data: a Dataset; the path of a folder or an .npz (see load_data); paths of images; an array [N, ...]; a pair (x, y) of
            arrays; a dictionary of arrays by name, as in an .npz; or batches of any of these, as a tf.data.Dataset or a torch
            DataLoader gives them, which are read once and kept in memory.
        preprocessing: how samples become the model's input; that of a Dataset stays.
        argument: what messages call it.

    Raises:
        DataError: it is empty, or of another kind.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, (str, os.PathLike)):
        return load_data(data, preprocessing)
    arrays = _named_arrays(data)
    if arrays is None:
        batches = data.as_numpy_iterator() if hasattr(data, "as_numpy_iterator") else data
        if isinstance(batches, (bytes, int, float)) or not isinstance(batches, Iterable):
            raise DataError(
                f"{argument}: {type(data).__name__} is no data set; give a Dataset, a path, an array, (x, y), a dictionary of"
                " arrays, or batches of these"
            )
        parts = list(batches)
        if parts and all(isinstance(each, (str, os.PathLike)) for each in parts):
            images = [pathlib.Path(each) for each in parts]
            if missing := [each for each in images if not each.is_file()]:
                raise DataError(f"{missing[0]}: is no image file; a list of texts names files of images")
            return Dataset(count(len(images), "image"), images, None, preprocessing or Preprocessing())
        arrays = _joined(parts)
    kind = "arrays" if isinstance(data, (np.ndarray, tuple, list, Mapping)) else type(data).__name__
    return from_contents(kind, sort_arrays(arrays, kind), preprocessing or Preprocessing())


def _named_arrays(data: Any) -> dict[str, np.ndarray] | None:
    """Arrays by name of one array, a pair or a dictionary; None where it is none of these."""
    if isinstance(data, Mapping):
        return {str(name): np.asarray(array) for name, array in data.items()}
    if _is_array(data):
        return {"x": np.asarray(data)}
    if isinstance(data, tuple) and len(data) == 2 and (_is_array(data[0]) or isinstance(data[0], Mapping)):
        samples, labels = data
        if labels is None or _is_array(labels):
            named = _named_arrays(samples) or {}
            return named if labels is None else {**named, LABELS: np.asarray(labels)}
    return None


def _is_array(data: Any) -> bool:
    return hasattr(data, "__array__") and hasattr(data, "shape")


def _joined(batches: Iterable[Any]) -> dict[str, np.ndarray]:
    """Batches of arrays, joined by name."""
    parts: list[dict[str, np.ndarray]] = []
    for batch in batches:
        named = _named_arrays(tuple(batch) if isinstance(batch, list) else batch)
        if named is None:
            raise DataError(f"data: a batch is {type(batch).__name__}; needs an array, (x, y) or a dictionary of arrays")
        if parts and named.keys() != parts[0].keys():
            raise DataError(f"data: batch {len(parts)} has {', '.join(named)}, the first one {', '.join(parts[0])}")
        parts.append(named)
    if not parts:
        raise DataError("data: holds no samples")
    return {name: _concatenated(name, [part[name] for part in parts]) for name in parts[0]}


def _concatenated(name: str, parts: Sequence[np.ndarray]) -> np.ndarray:
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1 or not all(part.ndim for part in parts):
        raise DataError(
            f"data: batches of `{name}` have samples of shapes {', '.join(map(str, sorted(shapes)))}; needs one shape"
        )
    return np.concatenate(parts)


def input_arrays(data: Dataset, specs: Sequence[InputSpec]) -> list[np.ndarray]:
    """A whole data set as a graph's inputs: one array `[N, *shape]`, shapes without batch, for each.

    Raises:
        DataError: samples do not fit the inputs.
    """
    chunks = list(data.batches(specs))
    if not chunks:
        return [np.empty((0, *spec.shape), spec.dtype) for spec in specs]
    return [np.concatenate(column) for column in zip(*chunks, strict=True)]


def random_inputs(specs: Sequence[InputSpec], count: int, seed: int = 0) -> list[np.ndarray]:
    """Uniform random integers over what each input may take: one array [count, *shape without batch] for each input."""
    rng = np.random.default_rng(seed)
    return [_random(rng, (count, *each.shape), each) for each in specs]


def _random(rng: np.random.Generator, shape: tuple[int, ...], spec: InputSpec) -> np.ndarray:
    drawn = np.dtype(np.uint8) if spec.dtype.kind == "b" else spec.dtype
    return rng.integers(*spec.range, shape, drawn, endpoint=True).astype(spec.dtype)
