# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The smallest width that keeps accuracy: for the whole model, then layer by layer."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Generic

from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import MAX_BITS, CompensateOptions
from tosa_rescale.core.program import P
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.measure.evaluate import OutputStore, evaluate
from tosa_rescale.measure.evaluation import Evaluation
from tosa_rescale.rewrite.compensate import Compensator


@dataclasses.dataclass(frozen=True, eq=False)
class SearchResult(Generic[P]):
    """The narrowest model found.

    Attributes:
        model: the model.
        bits: width of every rescale not named in `narrower`.
        narrower: key of a rescale to its smaller width.
        drop: points lost, of top-1 with labels, else of agreement.
        tried: every step: what was tried and what it lost.
    """

    model: P
    bits: int
    narrower: dict[str, int]
    drop: float
    tried: tuple[tuple[str, float], ...]


def find_bits(
    model: P,
    data: Dataset,
    folder: pathlib.Path,
    compensator: Compensator[P],
    *,
    max_drop: float = 0.5,
    per_layer: bool = False,
    options: CompensateOptions | None = None,
    progress: Progress | None = None,
) -> SearchResult[P]:
    """Finds the smallest width whose compensated model loses at most `max_drop` points.

    With `per_layer`, layers then go one bit lower, those first that disturb the outputs least when they go alone, as many
    as the allowance bears (found by bisection).

    Args:
        model: the original.
        data: what the drop is measured on; top-1 where it has labels, else agreement with the original.
        folder: for the original's outputs while the search runs.
        compensator: of `model`.
        max_drop: points that may be lost.
        per_layer: go on layer by layer.
        options: of the compensation; its `bits` is not used.
        progress: shows rate and remaining time.

    Raises:
        OptionError: `max_drop` is negative, or no width up to 31 bits keeps to it.
    """
    if max_drop < 0:
        raise OptionError(f"max-drop: {max_drop} is out of range; give 0 or more points")
    search = _Search(
        model, data, OutputStore(folder, len(data)), compensator, options or CompensateOptions(1), progress or Silent()
    )
    for bits in range(1, MAX_BITS + 1):
        candidate, drop = search.measure(f"k={bits}", bits, {})
        if drop <= max_drop:
            break
    else:
        raise OptionError(f"max-drop: no width up to {MAX_BITS} bits loses at most {max_drop} points; allow more")
    if not per_layer or bits == 1:
        return SearchResult(candidate, bits, {}, drop, tuple(search.tried))

    order = search.layers_by_damage(bits - 1, bits)
    low, high, best = 0, len(order), (candidate, {}, drop)
    while low < high:  # the most layers that may go
        middle = (low + high + 1) // 2
        narrower = dict.fromkeys(order[:middle], bits - 1)
        candidate, drop = search.measure(f"k={bits}, {middle} layers at {bits - 1}", bits, narrower)
        if drop <= max_drop:
            low, best = middle, (candidate, narrower, drop)
        else:
            high = middle - 1
    return SearchResult(best[0], bits, best[1], best[2], tuple(search.tried))


class _Search(Generic[P]):
    def __init__(
        self,
        model: P,
        data: Dataset,
        outputs: OutputStore,
        compensator: Compensator[P],
        options: CompensateOptions,
        progress: Progress,
    ) -> None:
        self._model, self._data, self._outputs = model, data, outputs
        self._compensator, self._options, self._progress = compensator, options, progress
        self._base = evaluate(model, data, keep=outputs, progress=progress, label="original model")
        self.tried: list[tuple[str, float]] = []

    def measure(self, label: str, bits: int, narrower: dict[str, int]) -> tuple[P, float]:
        """The model at these widths, and the points it loses."""
        asked = dataclasses.replace(self._options, bits=bits)
        candidate = self._compensator.compensate(asked, narrower)
        found = evaluate(candidate, self._data, reference=self._outputs, progress=self._progress, label=label)
        drop = self._drop(found)
        self.tried.append((label, drop))
        return candidate, drop

    def layers_by_damage(self, bits: int, others: int) -> list[str]:
        """Keys of the rescales of MAC layers, the one first that changes the outputs least when it alone has `bits` bits."""
        layers = self._model.module().mac_layers()
        keys = [layer.rescale.key for layer in layers if layer.rescale is not None]
        sample = self._data.take(min(16, len(self._data)))
        asked = dataclasses.replace(self._options, bits=others)
        damage: dict[str, float] = {}
        with self._progress.task("layers one by one", len(keys)) as advance:
            for key in keys:
                alone = self._compensator.compensate(asked, {key: bits})
                found = evaluate(alone, sample, reference=self._model)
                damage[key] = found.mean_lsb or 0.0
                advance(1)
        return sorted(keys, key=lambda key: damage[key])

    def _drop(self, found: Evaluation) -> float:
        if found.top1 is not None and self._base.top1 is not None:
            return self._base.top1 - found.top1
        return 100.0 - (found.agreement or 0.0)
