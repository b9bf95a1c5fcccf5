# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The smallest width that is proven to keep accuracy: for the whole model, then layer by layer.

A width is taken only where the upper bound of its loss is within what may be lost, as in the verdict of a sweep (verdict.py).
Widths are tested from wide to narrow, in an order that the results do not change, and the first that is not proven ends the
test, so that testing many needs no correction.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Generic

from tosa_rescale.core.display import count
from tosa_rescale.core.errors import DataError, OptionError
from tosa_rescale.core.options import CompensateOptions
from tosa_rescale.core.program import P
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.core.statistics import ERROR
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.measure.evaluate import OutputStore, evaluate
from tosa_rescale.measure.metrics import Metric, find_metrics
from tosa_rescale.rewrite.compensate import Compensator
from tosa_rescale.sweeping.verdict import Loss, Standing, bounded_loss, doubts_of, samples_missing, standing_of

WIDTHS = (12, 8, 6, 5, 4, 3, 2, 1)
"""What is tested, in this order. Every encoding can hold them."""


@dataclasses.dataclass(frozen=True)
class Tried:
    """One step of a search.

    Attributes:
        label: what was tried.
        loss: of the metric that decides, in its unit, with bounds.
        standing: what the samples say of it.
        missing: about how many more samples would decide it; None where it is decided, or no feasible number would.
    """

    label: str
    loss: Loss
    standing: Standing
    missing: int | None = None

    @property
    def says(self) -> str:
        """What the samples say of it, in words."""
        more = "" if self.missing is None else f", about {count(self.missing, 'more sample')} would decide"
        return f"{self.standing.value}{more}"


@dataclasses.dataclass(frozen=True, eq=False)
class SearchResult(Generic[P]):
    """The narrowest model that is proven to keep the accuracy.

    Attributes:
        model: the model.
        bits: width of every rescale not named in `narrower`.
        narrower: key of a rescale to its smaller width.
        drop: its loss of the metric that decides, in the metric's unit: points of per cent for top-1 and agreement.
        at_most: the upper bound of that loss.
        tried: every step, in order.
        metric: the metric that decides.
    """

    model: P
    bits: int
    narrower: dict[str, int]
    drop: float
    at_most: float
    tried: tuple[Tried, ...]
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
    """Finds the smallest width whose compensated model is proven to lose at most `max_drop` of the metric that decides.

    With `per_layer`, layers then go one bit lower, those first that disturb the outputs least when they go alone, as many
    as are proven to keep to the allowance (found by bisection). The two parts then share the error, and so do the steps of the
    second.

    Args:
        model: the original.
        data: what the loss is measured on.
        folder: for the original's outputs while the search runs.
        compensator: of `model`.
        max_drop: what may be lost, in the metric's unit; None: the metric's own tolerance.
        metrics: what is measured, the metric that decides first; None: what outputs and labels suggest.
        per_layer: go on layer by layer.
        options: of the compensation; its `bits` is not used.
        progress: shows rate and remaining time.

    Raises:
        OptionError: `max_drop` is negative, or the widest width loses more.
        DataError: the labels do not fit the model, or there are too few samples to prove any width.
    """
    if max_drop is not None and max_drop < 0:
        raise OptionError(f"max-drop: {max_drop} is out of range; give 0 or more points")
    search = _Search(model, data, folder, find_metrics(metrics), compensator, options or CompensateOptions(1), progress)
    search.allowed = search.tolerance if max_drop is None else max_drop
    error = ERROR / 2 if per_layer else ERROR
    best: tuple[P, int, dict[str, int], Loss] | None = None
    for bits in WIDTHS:
        candidate, tried = search.measure(f"k={bits}", bits, {}, error)
        if tried.standing is not Standing.KEPT:
            break
        best = candidate, bits, {}, tried.loss
    if best is None:
        raise search.unproven()
    if per_layer and best[1] > 1:
        best = _by_layer(search, best, ERROR - error)
    found, bits, narrower, loss = best
    return SearchResult(found, bits, narrower, loss.value, loss.high, tuple(search.tried), search.metric)


def _by_layer(
    search: _Search[P], best: tuple[P, int, dict[str, int], Loss], error: float
) -> tuple[P, int, dict[str, int], Loss]:
    """The most layers that may go one bit lower, by bisection; see find_bits for what is returned and given."""
    bits = best[1]
    order = search.layers_by_damage(bits - 1, bits)
    low, high = 0, len(order)
    each = error / max(1, math.ceil(math.log2(len(order) + 1)))
    while low < high:
        middle = (low + high + 1) // 2
        narrower = dict.fromkeys(order[:middle], bits - 1)
        candidate, tried = search.measure(f"k={bits}, {count(middle, 'layer')} at {bits - 1}", bits, narrower, each)
        if tried.standing is Standing.KEPT:
            low, best = middle, (candidate, bits, narrower, tried.loss)
        else:
            high = middle - 1
    return best


class _Search(Generic[P]):
    """Measures candidates against the original.

    Attributes:
        metric: the metric that decides.
        tolerance: its own.
        allowed: what may be lost, in the metric's unit.
        tried: every step so far.
    """

    def __init__(
        self,
        model: P,
        data: Dataset,
        folder: pathlib.Path,
        metrics: Sequence[Metric],
        compensator: Compensator[P],
        options: CompensateOptions,
        progress: Progress | None,
    ) -> None:
        self._model, self._data, self._metrics, self._outputs = model, data, metrics, OutputStore(folder, len(data))
        self._compensator, self._options, self._progress = compensator, options, progress or Silent()
        base = evaluate(
            model, data, metrics=metrics, reference=model, keep=self._outputs, progress=progress, label="original model"
        )
        assert base.primary is not None  # with a reference there is always something to measure
        if doubts := doubts_of(base, base.primary):
            raise DataError(f"{data.source}: no width can be judged: {'; '.join(doubts)}")
        self.metric, self.tolerance = base.primary.name, base.primary.tolerance
        self.allowed = self.tolerance
        self.tried: list[Tried] = []

    def measure(self, label: str, bits: int, narrower: dict[str, int], error: float) -> tuple[P, Tried]:
        """The model at these widths, and what it loses of the metric that decides; `error` is that of each bound."""
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
        figure = found.metrics[self.metric]
        same = found.max_lsb == 0 and figure.unit != "%"  # no value differs; an average has no spread to bound it by
        loss = Loss(0.0, 0.0, 0.0) if same else bounded_loss(found, figure, error)
        assert loss is not None  # there is a reference
        standing = standing_of(loss, self.allowed)
        undecided = standing is Standing.UNDECIDED
        missing = samples_missing(found, figure, loss, self.allowed, error) if undecided else None
        self.tried.append(Tried(label, loss, standing, missing))
        return candidate, self.tried[-1]

    def unproven(self) -> OptionError | DataError:
        """Why not even the widest width is taken."""
        tried = self.tried[-1]
        if tried.standing is Standing.FALLEN:
            return OptionError(
                f"max-drop: {tried.label} loses {tried.loss.value:.4g} of {self.metric}, proven to be more than"
                f" {self.allowed:g}; allow more"
            )
        more = "" if tried.missing is None else f"about {count(tried.missing, 'more sample')} would decide; give them, or "
        return DataError(
            f"{self._data.source}: with {count(len(self._data), 'sample')} {tried.label} is proven to lose at most"
            f" {tried.loss.high:.4g} of {self.metric}, and {self.allowed:g} is allowed: no width is proven; {more}allow more"
            " (max-drop)"
        )

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
