# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A metric of the user's own: a function called chunk by chunk, or with all samples at once where it gives one number."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tosa_rescale.core.errors import MetricError
from tosa_rescale.measure.given import Given
from tosa_rescale.measure.rows import counted


@dataclasses.dataclass(frozen=True)
class OwnRows:
    """Rows of a user's function; where it gives one number for all samples, what it was called with, for a call with all."""

    function: Callable[..., Any]
    name: str

    def __call__(self, given: Given) -> Any:
        labels: Any = given.data.labels
        if labels is not None and not isinstance(labels, np.ndarray):
            first = given.outputs.judged
            labels = given.data.masks((first.shape[1], first.shape[2]))
        own, theirs = (
            None if each is None else [each.real(i) for i in range(len(each.arrays))]
            for each in (given.outputs, given.reference)
        )
        found = self.numbers(own, labels, theirs)
        return counted(found) if found.ndim else Whole((own or [], labels, theirs))

    def numbers(self, outputs: Any, labels: Any, reference: Any) -> np.ndarray:
        """What the function gives: float64 [n], or a single number."""
        try:
            found = self.function(outputs, labels, reference)
        except Exception as error:  # a user's function may raise anything
            raise MetricError(f"metric {self.name}: raised {type(error).__name__}: {error}") from error
        try:
            numbers = np.asarray(found, np.float64)
        except (TypeError, ValueError):
            numbers = np.full((0, 0), np.nan)
        if numbers.shape not in ((), (len(outputs[0]),)) or not np.isfinite(numbers).all():
            raise MetricError(
                f"metric {self.name}: returned {type(found).__name__} {str(found)[:40]!r}; needs a number, or one for each"
                f" of the {len(outputs[0])} samples"
            )
        return numbers


@dataclasses.dataclass(frozen=True, eq=False)
class Whole:
    """What a function was called with that wants all samples at once: outputs, labels and reference."""

    parts: tuple[Any, Any, Any]

    @staticmethod
    def joined(parts: Sequence[Whole]) -> tuple[Any, Any, Any]:
        """All samples, in this order."""
        outputs, labels, reference = zip(*(part.parts for part in parts), strict=True)

        def columns(chunks: Any) -> Any:
            return None if chunks[0] is None else [np.concatenate(column) for column in zip(*chunks, strict=True)]

        return columns(outputs), None if labels[0] is None else np.concatenate(labels), columns(reference)
