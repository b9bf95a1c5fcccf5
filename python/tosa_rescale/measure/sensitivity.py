# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What each rescale alone costs at k bits: one narrowed at a time, all others as they are.

Nothing is compiled but the model itself, once: the variants have its skeleton, and the words of one rescale are exchanged
among its parameters.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tosa_rescale.core.errors import ModelError
from tosa_rescale.core.options import NarrowOptions, RoundingMode, Scope
from tosa_rescale.core.parsing import parse_bits, parse_enum
from tosa_rescale.core.progress import Advance, Progress, Silent
from tosa_rescale.core.rescales import RescaleInfo, describe_rescales
from tosa_rescale.data.source import as_dataset
from tosa_rescale.measure.choice import plan_metrics
from tosa_rescale.measure.evaluate import Itself, OutputStore, score
from tosa_rescale.measure.evaluation import Evaluation, MetricFigure
from tosa_rescale.rewrite.narrow import narrow

if TYPE_CHECKING:
    from tosa_rescale_runtime import Executable

    from tosa_rescale.core.program import Program
    from tosa_rescale.data.dataset import Dataset


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """What one rescale costs where it alone has k bits.

    Attributes:
        key: of the rescale, such as `rescale12`.
        name: in the source model.
        op: the op that made its input.
        scope: accumulator or elementwise.
        before: significant bits of its widest multiplier as it is.
        bits: those that it was narrowed to.
        mean_lsb, max_lsb: mean and largest absolute difference of the model's outputs, in LSB.
        figure: the metric that decides, with the loss against the model as it is; None where nothing but the outputs is
            compared.
    """

    key: str
    name: str
    op: str
    scope: str
    before: int
    bits: int
    mean_lsb: float
    max_lsb: int
    figure: MetricFigure | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)

    def as_row(self) -> dict[str, Any]:
        """One level of plain values, for a table: the metric's name, value and loss in the place of the figure."""
        row = self.as_dict()
        del row["figure"]
        if self.figure is None:
            return {**row, "metric": None, "value": None, "loss": None}
        return {**row, "metric": self.figure.name, "value": self.figure.value, "loss": self.figure.loss}


COLUMNS = ("key", "name", "op", "scope", "before", "bits", "mean_lsb", "max_lsb", "metric", "value", "loss")
"""Those of `Sensitivity.as_row`, in order."""


def sensitivities(
    model: Program,
    data: Any,
    bits: int,
    *,
    metrics: Any = None,
    scope: Scope | str = Scope.ALL,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Sensitivity, ...]:
    """Narrows every rescale by itself, and measures what the model then gives against what it gives as it is.

    Multipliers are rounded to nearest; the rounding mode of a rescale stays.

    Args:
        model: the model.
        data: a Dataset, or what as_dataset makes one of.
        bits: 1..31, significant bits of the one multiplier.
        metrics: what is measured, see tosa_rescale.evaluate; where given, the loss of the first one ranks, else the outputs'
            mean difference does.
        scope: all rescales, or those of MAC layers.
        workers: processes that run samples; None: one for each core.
        progress: shows rate and remaining time.

    Returns:
        One entry for each rescale that has more than `bits` bits, the costliest first.

    Raises:
        OptionError: `bits` is out of range, or there is no such scope or metric.
        ModelError: the model has no rescale, or one whose multiplier is not constant.
        DataError: there are no samples, or they do not fit the input.
        CompileError: IREE cannot compile the model.
    """
    bits, scope, progress = parse_bits(bits, "bits"), parse_enum(Scope, scope, "scope"), progress or Silent()
    wide = [each for each in describe_rescales(model) if scope in (Scope.ALL, each.scope)]
    wide = [each for each in wide if each.above(bits)]
    _require_constant(model, wide)
    narrowed = narrow(model, NarrowOptions(bits, scope=Scope.ALL, rounding_mode=RoundingMode.KEEP))
    data, found = as_dataset(data), []
    with (
        tempfile.TemporaryDirectory(prefix="tosa-rescale-") as folder,
        progress.task(f"one rescale at k = {bits}", len(data) * (len(wide) + 1)) as advance,
    ):
        measure = _Measure(model, narrowed, data, metrics, workers, OutputStore(pathlib.Path(folder), len(data)))
        measure.base(advance)
        for each in wide:
            found.append(_result(each, bits, measure.one(each.key, advance)))
    if metrics is not None:
        found.sort(key=lambda each: (each.figure is None or each.figure.loss is None, -_loss(each), -each.mean_lsb))
    else:
        found.sort(key=lambda each: -each.mean_lsb)
    return tuple(found)


class _Measure:
    """Runs one executable with parameters of which one rescale's words differ."""

    def __init__(
        self, model: Program, narrowed: Program, data: Dataset, metrics: Any, workers: int | None, outputs: OutputStore
    ) -> None:
        from tosa_rescale_runtime import Executable, externalize

        self._data, self._specs, self._workers, self._outputs = data, model.input_specs, workers, outputs
        self._plan = plan_metrics(metrics, model, data, True)
        self._wide = externalize(model.bytecode, source=model.source)
        self._narrow = externalize(narrowed.bytecode, source=model.source)
        self._executable = Executable.from_skeleton(self._wide)

    def base(self, advance: Advance) -> None:
        """Keeps the outputs of the model as it is."""
        runner = _Runner(self._executable, self._workers)
        score(runner, self._specs, self._data, self._plan, Itself(), self._outputs, advance)

    def one(self, key: str, advance: Advance) -> Evaluation:
        """What the model gives with one rescale narrowed."""
        executable = self._executable.with_parameters(self._wide.with_words_of(self._narrow, key))
        runner = _Runner(executable, self._workers)
        return score(runner, self._specs, self._data, self._plan, self._outputs, None, advance).result(self._data)


@dataclasses.dataclass(frozen=True, eq=False)
class _Runner:
    """An executable as an engine."""

    executable: Executable
    workers: int | None

    def run_many(self, inputs: Sequence[np.ndarray], advance: Advance | None = None) -> list[np.ndarray]:
        return list(self.executable.run_many(*inputs, workers=self.workers, progress=advance))


def _result(info: RescaleInfo, bits: int, found: Evaluation) -> Sensitivity:
    assert info.bits is not None and found.mean_lsb is not None and found.max_lsb is not None
    own = (info.key, info.name, info.op, info.scope, info.bits, bits)
    return Sensitivity(*own, found.mean_lsb, found.max_lsb, found.primary)


def _loss(each: Sensitivity) -> float:
    return 0.0 if each.figure is None or each.figure.loss is None else each.figure.loss


def _require_constant(model: Program, rescales: Sequence[RescaleInfo]) -> None:
    model.require_rescales()
    for each in rescales:
        if each.bits is None:
            raise ModelError(f"{model.source}: {each.key} ({each.name}) has a multiplier that is not constant; leave it out")
