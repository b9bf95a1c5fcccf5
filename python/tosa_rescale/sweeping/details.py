# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a point of a sweep is made of, beside its accuracy: multipliers and shifts, changed weights, errors of single layers."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tosa_rescale.core.changes import weight_changes
from tosa_rescale.core.errors import ModelError
from tosa_rescale.core.rescales import annotated, bit_lengths, significant_bits

if TYPE_CHECKING:
    from tosa_rescale.core.program import Program
    from tosa_rescale.core.progress import Progress
    from tosa_rescale.data.dataset import Dataset

MANTISSA_BINS = 32

Describe = Callable[[str, "Program"], dict[str, Any]]
"""From a method's name and its model to what is kept of that; plain values, for JSON."""


def census(multipliers: np.ndarray, shifts: np.ndarray) -> dict[str, Any]:
    """Counts the multipliers of a set of rescales in a form that does not depend on how they are encoded.

    A positive multiplier is `f * 2^-e` with `1 <= f < 2`: `e` is the shift of the hardware that multiplies with `f`, and of a
    pure shift if `f` is 1.

    Args:
        multipliers, shifts: int64 [N], as they stand in the IR.

    Returns:
        `count`; `zeros`; `bits`, `shifts`: significant bits and `e` to number of multipliers; `mantissas`: number of `f` in
        each of 32 equal parts of [1, 2); `distinct`: number of different `f`; `pairs`: of different `(f, e)`.
    """
    positive = multipliers > 0
    values, given = multipliers[positive].astype(np.int64), shifts[positive].astype(np.int64)
    leading = bit_lengths(values) - 1
    # f as an integer of 32 bits: exact, where a quotient of floats would have to be argued about.
    fraction = values << (31 - leading)
    exponents = given - leading
    bins = ((fraction - (1 << 31)) * MANTISSA_BINS) >> 31
    pairs = set(zip(fraction.tolist(), exponents.tolist(), strict=True))
    return {
        "count": len(multipliers),
        "zeros": int((~positive).sum()),
        "bits": _counted(significant_bits(values)),
        "shifts": _counted(exponents),
        "mantissas": np.bincount(bins, minlength=MANTISSA_BINS).tolist(),
        "distinct": len({f for f, _ in pairs}),
        "pairs": len(pairs),
    }


def multiplier_census(model: Program) -> dict[str, dict[str, Any]]:
    """The census of a model's multipliers, for the scopes `accumulator` and `elementwise`."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"accumulator": [], "elementwise": []}
    for rescale in annotated(model).rescales():
        scope = found.get(rescale.info.get("scope", ""))
        if scope is not None and rescale.multiplier is not None and rescale.shift is not None:
            scope.append((rescale.multiplier, rescale.shift))
    none = np.zeros(0, np.int64)
    return {
        scope: census(np.concatenate([none, *(m for m, _ in parts)]), np.concatenate([none, *(s for _, s in parts)]))
        for scope, parts in found.items()
    }


def describe_point(model: Program, original: Program) -> dict[str, Any]:
    """What is known of a narrowed model without running it.

    Args:
        model: the narrowed model.
        original: what it was made from.

    Returns:
        `recipe`, `remarks`, `multipliers` (see multiplier_census), `weights` (see WeightChanges.as_dict; None where the graphs
        differ).
    """
    try:
        weights = weight_changes(original.bytecode, model.bytecode).as_dict()
    except ModelError:
        weights = None
    return {
        "recipe": [dataclasses.asdict(step) for step in model.recipe],
        "remarks": [f"{remark.where}: {remark.text}" for remark in model.remarks],
        "multipliers": multiplier_census(model),
        "weights": weights,
    }


def measure_errors(model: Program, original: Program, data: Dataset, progress: Progress) -> list[dict[str, Any]]:
    """The error of every rescale of a narrowed model, see tosa_rescale.measure.rescale_error; plain values, for JSON."""
    from tosa_rescale.measure.rescale_error import rescale_errors

    return [each.as_dict() for each in rescale_errors(model, original, data, progress=progress)]


def _counted(values: np.ndarray) -> dict[str, int]:
    """Value to count; the keys are text, as they are in JSON."""
    return {str(value): count for value, count in sorted(Counter(values.tolist()).items())}
