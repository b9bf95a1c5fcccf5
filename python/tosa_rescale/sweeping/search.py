# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The smallest width that keeps accuracy: for the whole model, then layer by layer."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Generic

from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import MAX_BITS, CompensateOptions
from tosa_rescale.core.program import P
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.measure.evaluate import OutputStore, evaluate
from tosa_rescale.measure.metrics import Metric, find_metrics
from tosa_rescale.rewrite.compensate import Compensator


@dataclasses.dataclass(frozen=True, eq=False)
class SearchResult(Generic[P]):
    """The narrowest model found.

    Attributes:
        model: the model.
        bits: width of every rescale not named in `narrower`.
        narrower: key of a rescale to its smaller width.
        drop: loss of the metric that decides, in its unit: points of per cent for top-1 and agreement.
        tried: every step: what was tried and what it lost.
        metric: the metric that decides.
    """

    model: P
    bits: int
    narrower: dict[str, int]
    drop: float
    tried: tuple[tuple[str, float], ...]
    metric: str = ""


def find_bits(
    model: P,
    data: Dataset,
    folder: pathlib.Path,
    compensator: Compensator[P],
    *,
    max_drop: float | None = 0.5,
    metrics: str | Callable[..., Any] | Metric | Sequence[Any] | None = None,
    per_layer: bool = False,
    options: CompensateOptions | None = None,
    progress: Progress | None = None,
) -> SearchResult[P]:
    """Finds the smallest width whose compensated model loses at most `max_drop` of the metric that decides.

    With `per_layer`, layers then go one bit lower, those first that disturb the outputs least when they go alone, as many
    as the allowance bears (found by bisection).

    Args:
        model: the original.
        data: what the drop is measured on.
        folder: for the original's outputs while the search runs.
        compensator: of `model`.
        max_drop: what may be lost, in the metric's unit; None: the metric's own tolerance.
        metrics: what is measured, the metric that decides first; None: what outputs and labels suggest.
        per_layer: go on layer by layer.
        options: of the compensation; its `bits` is not used.
        progress: shows rate and remaining time.

    Raises:
        OptionError: `max_drop` is negative, or no width up to 31 bits keeps to it.
    """
    if max_drop is not None and max_drop < 0:
        raise OptionError(f"max-drop: {max_drop} is out of range; give 0 or more points")
    chosen = find_metrics(metrics)
    search = _Search(model, data, folder, chosen, compensator, options or CompensateOptions(1), progress or Silent())
    max_drop = search.tolerance if max_drop is None else max_drop
    for bits in range(1, MAX_BITS + 1):
        candidate, drop = search.measure(f"k={bits}", bits, {})
        if drop <= max_drop:
            break
    else:
        raise OptionError(f"max-drop: no width up to {MAX_BITS} bits loses at most {max_drop} of {search.metric}; allow more")
    if not per_layer or bits == 1:
        return SearchResult(candidate, bits, {}, drop, tuple(search.tried), search.metric)

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
    return SearchResult(best[0], bits, best[1], best[2], tuple(search.tried), search.metric)


class _Search(Generic[P]):
    def __init__(
        self,
        model: P,
        data: Dataset,
        folder: pathlib.Path,
        metrics: Sequence[Metric],
        compensator: Compensator[P],
        options: CompensateOptions,
        progress: Progress,
    ) -> None:
        self._model, self._data, self._metrics, self._outputs = model, data, metrics, OutputStore(folder, len(data))
        self._compensator, self._options, self._progress = compensator, options, progress
        base = evaluate(
            model, data, metrics=metrics, reference=model, keep=self._outputs, progress=progress, label="original model"
        )
        assert base.primary is not None  # with a reference there is always something to measure
        self.metric, self.tolerance = base.primary.name, base.primary.tolerance
        self.tried: list[tuple[str, float]] = []

    def measure(self, label: str, bits: int, narrower: dict[str, int]) -> tuple[P, float]:
        """The model at these widths, and what it loses of the metric that decides."""
        asked = dataclasses.replace(self._options, bits=bits)
        candidate = self._compensator.compensate(asked, narrower)
        found = evaluate(
            candidate,
            self._data,
            metrics=self._metrics,
            reference=self._outputs,
            progress=self._progress,
            label=label,
        )
        drop = found.metrics[self.metric].loss or 0.0
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
