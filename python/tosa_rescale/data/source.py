# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where samples come from: a data set, synthetic ones, random integers, or nowhere."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

import numpy as np

from tosa_rescale.core.errors import DataError, OptionError
from tosa_rescale.core.options import CalibrationOptions, parse_enum
from tosa_rescale.core.program import InputSpec
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.data.synthetic import synthetic_inputs


class Source(enum.StrEnum):
    """Where calibration samples come from when they are not given."""

    SYNTHETIC = "synthetic"  # seeded textures, see synthetic.py
    NONE = "none"  # no samples: fold and rounding alone


@dataclasses.dataclass(frozen=True)
class CalibrationPlan(CalibrationOptions):
    """What a calibration takes its samples from, and how many.

    Attributes:
        source: a data set (labels are not used), "synthetic" for seeded random textures, "none" or None.

    Raises:
        OptionError: an unknown source, or an option out of range.
    """

    source: Dataset | Source | str | None = dataclasses.field(default=Source.SYNTHETIC, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.source, Dataset):
            kind = Source.NONE if self.source is None else parse_enum(Source, self.source, "calibration")
            object.__setattr__(self, "source", kind)

    def taken(self) -> Dataset | None:
        """The samples of a data set that the calibration takes; None where it takes none of a data set."""
        return self.source.take(min(self.samples, len(self.source))) if isinstance(self.source, Dataset) else None

    def inputs(self, specs: Sequence[InputSpec]) -> list[np.ndarray] | None:
        """The samples to calibrate on.

        Args:
            specs: what the graph's inputs take.

        Returns:
            One array [N, *shape without batch] for each input; None where there are no samples.

        Raises:
            DataError: samples do not fit the input.
        """
        if (taken := self.taken()) is not None:
            return input_arrays(taken, specs)
        if self.source is Source.NONE:
            return None
        return [synthetic_inputs(each.shape, each.dtype, self.samples, self.seed + i) for i, each in enumerate(specs)]

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


def input_arrays(data: Dataset, specs: Sequence[InputSpec]) -> list[np.ndarray]:
    """A whole data set as a graph's inputs: one array [N, *shape without batch] for each.

    Raises:
        DataError: samples do not fit the input.
    """
    if len(specs) != 1:
        raise DataError(f"{data.source}: holds samples of one input, the model has {len(specs)}")
    return [np.concatenate(list(data.quantized(specs[0])))]


def random_inputs(specs: Sequence[InputSpec], count: int, seed: int = 0) -> list[np.ndarray]:
    """Uniform random integers over each input's full range: one array [count, *shape without batch] for each input."""
    rng = np.random.default_rng(seed)
    limits = [np.iinfo(each.dtype) for each in specs]
    return [
        rng.integers(limit.min, limit.max, (count, *each.shape), each.dtype, endpoint=True)
        for each, limit in zip(specs, limits, strict=True)
    ]
