# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`bits="auto"`: a compensation that finds its width by what the accuracy bears."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from typing import Any

from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import CompensateOptions
from tosa_rescale.core.program import P
from tosa_rescale.core.progress import Progress
from tosa_rescale.data.source import CalibrationPlan, as_dataset
from tosa_rescale.rewrite.compensate import Compensator
from tosa_rescale.sweeping.search import SearchResult, find_bits

AUTO = "auto"
"""Stands for a width that is to be found."""


@dataclasses.dataclass(frozen=True)
class SearchOptions:
    """What a search needs beside the options of the compensation.

    Attributes:
        data: a data set, or what as_dataset makes one of; the accuracy is measured on it.
        max_drop: what may be lost, in the unit of the metric that decides; None: the metric's own tolerance.
        metrics: what is measured, the metric that decides first; None: what outputs and labels suggest.
        per_layer: let single layers go one bit lower.
    """

    data: Any = None
    max_drop: float | None = None
    metrics: Any = None
    per_layer: bool = False


def require_no_search(search: SearchOptions) -> None:
    """Raises OptionError where an option of a search is given although the width is known."""
    for name, value in dataclasses.asdict(dataclasses.replace(search, data=search.data is not None)).items():
        if value not in (None, False):
            raise OptionError(f"{name.replace('_', '-')}: has no effect unless bits is {AUTO}; give that, or leave it out")


def compensate_automatically(
    program: P,
    options: CompensateOptions,
    calibration: CalibrationPlan,
    search: SearchOptions,
    *,
    for_litert: bool = False,
    progress: Progress | None = None,
) -> SearchResult[P]:
    """Finds the smallest width that keeps the accuracy, and compensates at it; see find_bits.

    Args:
        program: the original.
        options: of the compensation; its `bits` is not used.
        calibration: where calibration samples come from; what it takes of the data is not scored.
        search: what is measured, and what may be lost.
        for_litert: see compensate.
        progress: shows rate and remaining time.

    Raises:
        OptionError: there is no data, or no width keeps to what may be lost.
        DataError, ModelError, PassError: see find_bits and compensate.
    """
    program.require_rescales()
    if search.data is None:
        raise OptionError(f"bits: {AUTO} measures accuracy and needs data; give some (data)")
    scored = calibration.leave_out(as_dataset(search.data))
    compensator = Compensator(program, calibration.inputs(program.input_specs), progress, for_litert=for_litert)
    with tempfile.TemporaryDirectory(prefix="tosa-rescale-") as folder:
        return find_bits(
            program,
            scored,
            pathlib.Path(folder),
            compensator,
            max_drop=search.max_drop,
            metrics=search.metrics,
            per_layer=search.per_layer,
            options=options,
            progress=progress,
        )
