# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Contexts that put our passes between ExecuTorch's TOSA and what compiles it: TOSABackend, EthosUBackend, VgfBackend.

What each context does to a graph is a function from a model to a model; what all of them do with its result is `_Rescaler`:
hold it against the original, write it as .tosa, and keep both.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tosa_rescale.api import Model, load
from tosa_rescale.core.display import count
from tosa_rescale.core.errors import TosaRescaleError
from tosa_rescale.core.files import PathLike
from tosa_rescale.core.options import CompensateOptions, Encoding, RoundingMode, Scope, WeightRounding, describe
from tosa_rescale.core.progress import Progress
from tosa_rescale.core.rescales import describe_rescales
from tosa_rescale.data.source import CalibrationPlan
from tosa_rescale.executorch.errors import ExecutorchError
from tosa_rescale.executorch.lowering import STEP, Partition, intercepted, lowered_from
from tosa_rescale.executorch.samples import as_inputs, for_partition
from tosa_rescale.formats.tosa import serialize
from tosa_rescale.rewrite.compensate import compensate

_Step = Callable[[Model, Partition], Model]


@dataclasses.dataclass(frozen=True)
class RescaledPartition:
    """One delegated graph, before and after.

    Attributes:
        partition: ExecuTorch's tag for it, such as "tag0".
        original: as ExecuTorch made it.
        model: what was handed on to the backend.
        seconds: that took, what the backend needs for itself not counted.
    """

    partition: str
    original: Model
    model: Model
    seconds: float

    def __repr__(self) -> str:
        before, after = (describe_rescales(each) for each in (self.original, self.model))
        widest = [max((each.bits or 0 for each in rescales), default=0) for rescales in (before, after)]
        shifts = sum(bool(each.power_of_two) for each in after)
        steps = ", ".join(step.name for step in self.model.recipe if step.name != STEP) or "as it was"
        return (
            f"{self.partition}: {shifts} of {count(len(after), 'rescale')} are shifts, the widest multiplier has"
            f" {count(widest[1], 'significant bit')} (before: {widest[0]}); {steps}, {self.seconds:.1f} s"
        )


@dataclasses.dataclass
class Rescaled:
    """What a context handed on.

    Attributes:
        models: one entry for each delegated graph, in the order in which ExecuTorch lowered them.
    """

    models: list[RescaledPartition] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def rescaling(
    bits: int,
    *,
    calibration: Any = "synthetic",
    samples: int = 32,
    seed: int = 0,
    bits_of: Mapping[str, int] | None = None,
    progress: Progress | None = None,
    scope: Scope | str = "accumulator",
    elementwise_bits: int | None = None,
    encoding: Encoding | str = "aligned",
    hidden_bit: bool = False,
    rounding_mode: RoundingMode | str = "single",
    align: bool = True,
    clipping: float = 0.1,
    constants: bool = True,
    saturation: bool = True,
    table_error: float = 1.0,
    weighted_means: bool = False,
    carry: bool = False,
    tabulate: bool = False,
    strict: bool = False,
    promote: bool = True,
    clip: bool = True,
    weight_rounding: WeightRounding | str = "auto",
    shrinkage: float = 0.3,
) -> Iterator[Rescaled]:
    """While entered, every graph that ExecuTorch's Arm backends delegate is compensated before it is compiled::

        with tosa_rescale.executorch.rescaling(bits=1, scope="all", calibration=samples) as rescaled:
            program = to_edge_transform_and_lower(exported, partitioner=[EthosUPartitioner(spec)])

    Args:
        bits: 1..31; 1 is a pure shift.
        calibration: inputs of the program: a tensor or array [N, ...], a torch DataLoader, a list of examples, a data set; a
            dictionary of these by partition ("tag0", "tag1") for programs in several parts; "synthetic", "none" or None.
        samples: how many samples to calibrate on, at most; spread evenly over a data set.
        seed: of synthetic samples.
        bits_of: widths of single rescales, by key, that override `bits`; for programs in one part.
        progress: shows rate and remaining time.

    The other arguments are the fields of CompensateOptions, as in Model.compensate.

    Yields:
        What was handed on; filled while the context is entered.

    Raises:
        OptionError: an option is out of range or contradicts another.
        MissingToolError: torch, executorch or tosa-opt is not installed.
        ExecutorchError: another release of executorch, a context that is entered already; and out of what lowers the program,
            with the partition's name: calibration samples that do not fit, a graph of floats, a result that is not valid.
    """
    given = locals()
    options = CompensateOptions(**{name: given[name] for name in describe(CompensateOptions)})

    def step(model: Model, partition: Partition) -> Model:
        own = for_partition(calibration, partition.name, len(rescaled.models))
        source = as_inputs(own, model)
        plan = CalibrationPlan(samples, seed, source=source)
        return compensate(model, options, plan, bits_of=bits_of, progress=progress)

    rescaled = Rescaled()
    with intercepted(_Rescaler(step, rescaled)):
        yield rescaled


@contextlib.contextmanager
def applying(step: Callable[[Model], Model]) -> Iterator[Rescaled]:
    """While entered, `step` is applied to every graph that ExecuTorch's Arm backends delegate, before it is compiled::

        with tosa_rescale.executorch.applying(lambda model: model.narrow(8)) as rescaled: ...

    Args:
        step: gives the model that takes the place of the one given; see Model for the steps there are.

    Raises:
        MissingToolError, ExecutorchError: see rescaling.
    """
    rescaled = Rescaled()
    with intercepted(_Rescaler(lambda model, partition: step(model), rescaled)):
        yield rescaled


@contextlib.contextmanager
def inserting(model: Model | PathLike) -> Iterator[Rescaled]:
    """While entered, a finished model takes the place of the graph that it was made of: one fine-tuned elsewhere, for example.

    Args:
        model: made of what tosa_rescale.executorch.load gave for the same program and specification; or a file of it
            (.mlirbc, .mlir), which keeps its recipe.

    Raises:
        ExecutorchError: no model of tosa_rescale.executorch.load; and out of what lowers the program: it was made of another
            graph than the one that is delegated.
        MissingToolError: see rescaling.
    """
    finished = model if isinstance(model, Model) else load(model)
    origin = lowered_from(finished)
    if origin is None:
        raise ExecutorchError(
            f"{finished.source}: its recipe does not begin with tosa_rescale.executorch.load; load the program with"
            " that, save it as .mlirbc, and go on from there"
        )

    def step(lowered: Model, partition: Partition) -> Model:
        wanted = lowered_from(lowered)
        assert wanted is not None  # of every partition
        if wanted["graph"] != origin["graph"]:
            raise ExecutorchError(
                f"{finished.source}: was made of another graph than this one: {_said(origin)}, here {_said(wanted)}; load"
                " the same quantized program with the same spec"
            )
        return finished

    rescaled = Rescaled()
    with intercepted(_Rescaler(step, rescaled)):
        yield rescaled


def _said(origin: Mapping[str, Any]) -> str:
    return f"{origin['spec']}, executorch {origin['version']}, SHA-256 {origin['graph'][:8]}"


@dataclasses.dataclass(frozen=True)
class _Rescaler:
    """Applies a step to a partition, and gives the .tosa to hand on."""

    step: _Step
    rescaled: Rescaled

    def __call__(self, partition: Partition) -> bytes:
        start = time.perf_counter()
        try:
            original = partition.model()
            _require_integers(original)
            if not original.has_rescales:  # a pooling or a reshape that stands alone
                self._keep(partition, original, original, start)
                return partition.tosa
            model = self.step(original, partition)
            _require_same_border(original, model)
            _require_no_new_violations(original, model)
            tosa = serialize(model.bytecode, model.source)
        except TosaRescaleError as error:
            raise ExecutorchError(f"partition {partition.name}: {error}") from error
        self._keep(partition, original, model, start)
        return tosa

    def _keep(self, partition: Partition, original: Model, model: Model, start: float) -> None:
        self.rescaled.models.append(RescaledPartition(partition.name, original, model, time.perf_counter() - start))


def _require_integers(model: Model) -> None:
    floats = [each.name for each in (*model.signature.inputs, *model.signature.outputs) if each.dtype.kind == "f"]
    if floats:
        raise ExecutorchError(
            f"{', '.join(floats)} of {model.source} are floats: the program is not quantized, or the compile spec has FP;"
            " quantize it, and lower it with a spec of integers alone, such as TOSA-1.0+INT"
        )


def _require_same_border(original: Model, model: Model) -> None:
    """What stays in PyTorch, the conversions around the delegate, knows the original's shapes, types and scales only."""
    before, after = (
        [[(each.shape, each.dtype) for each in role] for role in (m.signature.inputs, m.signature.outputs)]
        for m in (original, model)
    )
    if before != after:
        raise ExecutorchError(
            f"{model.source}: takes {after[0]} and gives {after[1]}, the delegated graph {before[0]} and {before[1]}"
        )
    scales = [
        None if m.quantization is None else [(q.scale, q.zero_point) for q in (*m.quantization.inputs, *m.quantization.outputs)]
        for m in (original, model)
    ]
    if scales[0] != scales[1]:
        raise ExecutorchError(
            f"{model.source}: has scales and zero points {scales[1]} at its border, the delegated graph {scales[0]}; a step"
            " may not change these"
        )


def _require_no_new_violations(original: Model, model: Model) -> None:
    """What the original cannot be proved to keep to, the result need not either; no more than that."""
    before, after = ([each for each in m.info() if each.violations] for m in (original, model))
    if len(after) > len(before):
        first = after[0]
        raise ExecutorchError(
            f"{model.source}: no longer valid TOSA: {count(len(after), 'rescale')}, {len(before)} before;"
            f" {first.key} ({first.name}): {first.violations[0]}"
        )
