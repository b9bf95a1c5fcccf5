# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""All that a report is made from, as a sweep stored it: points, details, verdict, and the metric that decides."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from typing import Any

from tosa_rescale.core.errors import OutputError
from tosa_rescale.core.files import PathLike
from tosa_rescale.core.parsing import parse_loss
from tosa_rescale.reporting.area import areas
from tosa_rescale.reporting.blocks import number, signed
from tosa_rescale.sweeping.results import BASE, BASE_BITS, DetailStore, SweepPoint, SweepResult, read_sweep, with_metrics
from tosa_rescale.sweeping.verdict import Standing, Verdict, judge

TYPICAL_MACS = 4  # of the three sizes the one where the rescaler's share is largest
_NAMES = {"top1": "top-1", "top5": "top-5"}


@dataclasses.dataclass(frozen=True)
class Measure:
    """The metric that decides, for people.

    Attributes:
        name: of the metric.
        unit: of its values; losses are in points where that is "%".
        more_is_better: a larger value is the better one.
        tolerance: the loss that is allowed.
        base: the original model's value; None where it was not measured.
    """

    name: str
    unit: str
    more_is_better: bool
    tolerance: float
    base: float | None

    @property
    def label(self) -> str:
        """As it stands in a sentence."""
        return _NAMES.get(self.name, self.name)

    @property
    def title(self) -> str:
        """As it stands over a chart."""
        return {"top1": "Top-1 accuracy", "agreement": "Agreement with the original"}.get(self.name, self.label)

    @property
    def axis(self) -> str:
        """As it stands on an axis, and over a column."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    @property
    def limit(self) -> str:
        """The tolerance."""
        return f"{self.tolerance:g} {self.loss_unit}".rstrip()

    @property
    def loss_unit(self) -> str:
        """Of a loss."""
        return "points" if self.unit == "%" else self.unit

    def level(self, value: float | None) -> str:
        """A value with its unit."""
        return number(value, self.digits) if value is None or not self.unit else f"{number(value, self.digits)} {self.unit}"

    def difference(self, loss: float | None) -> str:
        """What a point has more or less than the original: a loss, signed as the metric counts."""
        return signed(None if loss is None else -loss if self.more_is_better else loss, self.digits)

    @property
    def digits(self) -> int:
        """Decimals that are worth showing: two of per cent, else enough for a tenth of the tolerance."""
        return 2 if self.unit == "%" else max(2, len(f"{self.tolerance / 10:.10f}".rstrip("0").partition(".")[2]))


@dataclasses.dataclass(frozen=True)
class Stored:
    """All that a report is made from.

    Attributes:
        result: the sweep.
        details: of its points by method and width, see tosa_rescale.sweeping.details; points without are missing.
        finetuned: name and content of files that `tosa-rescale finetune --json` wrote.
        errors: name and content of files that `tosa-rescale errors --json` wrote.
    """

    result: SweepResult
    details: dict[tuple[str, int], dict[str, Any]]
    finetuned: dict[str, dict[str, Any]]
    errors: dict[str, list[dict[str, Any]]]

    def allowing(self, max_drop: float | None) -> Stored:
        """The same, judged by another loss that is allowed; None: the sweep's own. Raises OptionError."""
        if max_drop is None:
            return self
        return dataclasses.replace(self, result=dataclasses.replace(self.result, max_drop=parse_loss(max_drop)))

    @functools.cached_property
    def verdict(self) -> Verdict:
        """What the samples prove; of equals the one with the smaller engine is preferred."""
        return judge(self.result, self._cost)

    def _cost(self, point: SweepPoint) -> float:
        found = areas(TYPICAL_MACS)(self.significant(point))
        return float(self.significant(point)) if found is None else found.area

    @functools.cached_property
    def measure(self) -> Measure:
        """The metric that decides: the first of those measured; agreement where none was."""
        figure = self.result.figure(self.result.base)
        if figure is None:
            return Measure("agreement", "%", True, self.verdict.tolerance, self.result.base.evaluation.agreement)
        return Measure(figure.name, figure.unit, figure.more_is_better, figure.tolerance, figure.value)

    def value(self, point: SweepPoint) -> float | None:
        """What a point has of the metric that decides."""
        figure = self.result.figure(point)
        return (point.evaluation.agreement if self.measure.name == "agreement" else None) if figure is None else figure.value

    def loss(self, point: SweepPoint) -> float | None:
        """What a point was measured to lose; None where it was not."""
        if point.method == BASE:
            return 0.0
        found = self.verdict.of(point).loss
        return None if found is None else found.value

    def beyond(self, point: SweepPoint) -> bool:
        """The measured loss is more than what is tolerated, whether that is proven or not."""
        return (self.loss(point) or 0.0) > self.verdict.tolerance

    @property
    def widths(self) -> list[int]:
        """All widths, the original's first."""
        return sorted({point.bits for point in self.result.points}, reverse=True)

    def shown(self, method: str) -> SweepPoint:
        """The point of a method that its tile and charts of single points show.

        The narrowest that keeps the accuracy; where none does, the narrowest that may; where none may, the widest.
        """
        findings = self.verdict.of_method(method)
        for wanted in (Standing.KEPT, Standing.UNDECIDED):
            found = [each.point for each in findings if each.standing is wanted]
            if found:
                return found[-1]
        return findings[0].point

    def all_shown(self) -> dict[int, SweepPoint]:
        """The point of each method that charts show, by the method's place: a method has one colour on the whole page."""
        return {i: self.shown(method) for i, method in enumerate(self.result.methods)}

    def significant(self, point: SweepPoint) -> int:
        """Significant bits that hardware multiplies with behind the accumulators.

        Those of the point's widest multiplier, where its details are stored; else what its options ask for.
        """
        if point.method == BASE:
            return BASE_BITS
        found = self._widest(point, "accumulator")
        return point.bits + bool(self.result.options.get("hidden_bit")) if found is None else found

    def left_wide(self, point: SweepPoint) -> int | None:
        """Significant bits of multipliers outside of MAC layers, where they are wider than those behind them."""
        found = self._widest(point, "elementwise")
        return found if found is not None and found > self.significant(point) else None

    def _widest(self, point: SweepPoint, scope: str) -> int | None:
        census = self.details.get((point.method, point.bits), {}).get("multipliers", {}).get(scope, {})
        return max(map(int, census["bits"])) if census.get("bits") else None


def name_of(point: SweepPoint) -> str:
    """A point for people."""
    return "original" if point.method == BASE else f"{point.method}, k = {point.bits}"


def missing(what: str) -> str:
    """What a section says that finds nothing, because an older version wrote the results."""
    return (
        f"These results do not hold {what}: an older version wrote them. `tosa-rescale sweep` with the same options and the "
        "same folder adds what is missing."
    )


def read_stored(path: PathLike) -> Stored:
    """Reads all that a report is made from.

    Args:
        path: a sweep's folder, or its `sweep.json`.

    Raises:
        OutputError: it holds no sweep, or a file beside it is no JSON.
    """
    path = pathlib.Path(path)
    return stored_beside(path if path.is_dir() else path.parent, read_sweep(path))


def stored_beside(folder: pathlib.Path, result: SweepResult) -> Stored:
    """A sweep's result with what its folder holds beside it. Raises OutputError where a file is no JSON."""
    store = DetailStore(folder, result.identity)
    result = dataclasses.replace(result, points=tuple(with_metrics(result.points)))
    details = {(p.method, p.bits): found for p in result.points if (found := store.read(p.method, p.bits))}
    return Stored(result, details, _beside(folder, "finetune", dict), _beside(folder, "errors", list))


def _beside(folder: pathlib.Path, kind: str, form: type[Any]) -> dict[str, Any]:
    found = {}
    for path in sorted(folder.glob(f"{kind}*.json")):
        try:
            values = json.loads(path.read_text())
        except (OSError, ValueError):
            values = None
        if not isinstance(values, form):
            raise OutputError(f"{path}: is not what `tosa-rescale {kind} --json` writes; mend or remove it")
        found[path.stem] = values
    return found
