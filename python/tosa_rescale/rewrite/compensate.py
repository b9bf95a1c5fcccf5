# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compensation: k-bit multipliers whose error weights and biases absorb, without training.

The pass `tosa-rescale-compensate` does the arithmetic; this module gives it what the layers see (calibration), keeps the
result only where it is better, and searches the smallest width.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING

import numpy as np
from tosa_rescale_runtime import Executable, Module, compare_all

from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import Encoding, NarrowOptions, Scope, parse_bits, parse_enum
from tosa_rescale.core.passes import Diagnostic, PassResult, run_passes, run_passes_on
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.data.synthetic import synthetic_inputs
from tosa_rescale.formats.litert.write import fixed_scale_tensors
from tosa_rescale.rewrite.calibration import calibrate
from tosa_rescale.rewrite.clipping import measure_ranges

if TYPE_CHECKING:
    from tosa_rescale.api import Model

CALIBRATION_SAMPLES = 32
FIXED_FACTOR_ATTRIBUTE = "tosa_rescale.fixed_factor"


class Calibration(enum.StrEnum):
    """Where calibration samples come from when they are not given."""

    SYNTHETIC = "synthetic"  # seeded textures, see synthetic.py
    NONE = "none"  # no samples: fold and rounding alone


@dataclasses.dataclass(frozen=True)
class CompensateOptions:
    """What a compensation is asked to do.

    Attributes:
        bits: significant bits of the multipliers, 1..31.
        scope: accumulator compensates the MAC layers; all narrows the element-wise rescales as well.
        elementwise_bits: width for these, with scope all; None: as `bits`.
        encoding: how a multiplier stands in the op.
        promote: give legacy per-tensor layers one multiplier for each channel.
        align: with scope all, change activation scales so that the element-wise multipliers become narrow by themselves.
        clipping: part by which alignment may shrink a scale where no samples show what that costs, 0..0.5.
        strict: fail where scales contradict each other; else the multipliers that must stay wide are named in the remarks.

    Raises:
        OptionError: a value is out of range or contradicts another.
    """

    bits: int
    scope: Scope = Scope.ACCUMULATOR
    elementwise_bits: int | None = None
    encoding: Encoding = Encoding.ALIGNED
    promote: bool = True
    align: bool = True
    clipping: float = 0.1
    strict: bool = False

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "bits", parse_bits(self.bits))
        set_(self, "scope", parse_enum(Scope, self.scope, "scope"))
        set_(self, "encoding", parse_enum(Encoding, self.encoding, "encoding"))
        self.narrow_options()  # the same limits hold for both passes
        if not 0 <= self.clipping <= 0.5:
            raise OptionError(f"clipping: {self.clipping} is out of range; give 0 to 0.5")
        if self.strict and not self.aligns:
            raise OptionError("strict: contradicting scales come from alignment; use scope all, with align")

    def narrow_options(self) -> NarrowOptions:
        """The options for the rescales that have no weights to fold into."""
        return NarrowOptions(self.bits, scope=self.scope, elementwise_bits=self.elementwise_bits, encoding=self.encoding)

    @property
    def aligns(self) -> bool:
        """Whether activation scales change."""
        return self.align and self.scope is Scope.ALL

    def align_pass(self, litert: bool) -> str:
        """The pass that changes activation scales, with its options.

        Args:
            litert: only multipliers that LiteRT derives from scales.
        """
        bits, flags = self.elementwise_bits or self.bits, {"strict": self.strict, "litert": litert}
        spelled = " ".join(f"{name}={str(value).lower()}" for name, value in flags.items())
        return f"tosa-rescale-align=bits={bits} clipping={self.clipping} {spelled}"

    def passes(self) -> list[str]:
        """The passes to run after alignment, with their options."""
        own = f"bits={self.bits} encoding={self.encoding.value} promote={str(self.promote).lower()}"
        after = [f"tosa-rescale-narrow={self.narrow_options().pass_options()}"] if self.scope is Scope.ALL else []
        return [f"tosa-rescale-compensate={own}", *after]


@dataclasses.dataclass(frozen=True, eq=False)
class Compensated:
    """A compensated module.

    Attributes:
        bytecode: the module.
        remarks: what was left alone, and why.
        choice: what was kept: "calibrated" or "data-free".
        mean_lsb: mean absolute difference of the outputs from the original's on the calibration samples; None without.
    """

    bytecode: bytes
    remarks: tuple[Diagnostic, ...]
    choice: str
    mean_lsb: float | None


def calibration_inputs(
    model: Model, calibration: Dataset | Calibration | str | None, samples: int, seed: int
) -> list[np.ndarray] | None:
    """The samples to calibrate on: one array [N, *shape without batch] for each input; None for calibration none.

    Raises:
        OptionError: an unknown calibration, or a number of samples below 1.
        DataError: samples do not fit the input.
    """
    if samples < 1:
        raise OptionError(f"samples: {samples} is out of range; give at least 1")
    if isinstance(calibration, Dataset):
        chosen = calibration.take(min(samples, len(calibration)))
        return [np.concatenate(list(chosen.quantized(model.input_spec)))]
    kind = Calibration.NONE if calibration is None else parse_enum(Calibration, calibration, "calibration")
    if kind is Calibration.NONE:
        return None
    return [
        synthetic_inputs(tuple(int(n or 1) for n in spec.shape[1:]), spec.dtype, samples, seed + index)
        for index, spec in enumerate(model.signature.inputs)
    ]


class Compensator:
    """Compensates one model at several widths: samples are run through the original, and each aligned one, once.

    Args:
        model: the original.
        inputs: calibration samples, one array [N, *shape without batch] for each input; None for none.
        progress: shows rate and remaining time.
        workers: processes that run samples; None: one for each core.
    """

    def __init__(
        self,
        model: Model,
        inputs: list[np.ndarray] | None,
        progress: Progress | None = None,
        workers: int | None = None,
    ) -> None:
        self._model, self._inputs, self._workers = model, inputs, workers
        self._progress = progress or Silent()
        self._calibrated: dict[bytes, bytes] = {}  # by the module that the statistics were measured in
        self._outputs: tuple[np.ndarray, ...] | None = None
        self._startable: list[bytes] | None = None
        if inputs is not None:
            self._outputs = self._run(model.bytecode)

    def compensate(self, options: CompensateOptions, bits_of: dict[str, int] | None = None) -> Compensated:
        """Compensates at one width.

        With samples, results with and without statistics, and with and without measured ranges of activations, are run on
        them and the nearest one to the original is kept: few samples can mislead, and then no statistics are better.

        Args:
            options: what is asked.
            bits_of: widths of single rescales, by key (`Op.key`), that override the option.

        Raises:
            PassError: the pass refused the module.
        """
        if not options.aligns:
            found = self._candidates(self._model.bytecode, (), options, bits_of)
        else:
            # Which scales are best shows in the outputs, as ranges of few samples can mislead too.
            found = [
                candidate
                for start in self._alignable()
                for aligned in [run_passes(start, [options.align_pass(self._litert)], self._model.source)]
                for candidate in self._candidates(aligned.bytecode, aligned.remarks, options, bits_of)
            ]
        return min(found, key=lambda each: each.mean_lsb or 0.0)

    @property
    def _litert(self) -> bool:
        return self._model.flatbuffer is not None

    def _alignable(self) -> list[bytes]:
        """The original, and with samples also one that knows the ranges of its tensors."""
        if self._startable is None:
            self._startable = [run_passes_on(self._with_fixed_scales(), [], self._model.source).bytecode]
            if self._inputs is not None:
                marked = dataclasses.replace(self._model, bytecode=self._startable[0])
                measured = measure_ranges(marked, self._inputs, self._progress)
                self._startable.append(run_passes_on(measured, [], self._model.source).bytecode)
        return self._startable

    def _with_fixed_scales(self) -> Module:
        """The original, with a mark on what LiteRT's kernels make at one scale only."""
        module = Module.parse(self._model.bytecode, self._model.source)
        if self._model.flatbuffer is not None:
            fixed = fixed_scale_tensors(self._model.flatbuffer, self._model.source)
            for op in module.ops():
                if op.kind == "table" and module.tensor_name(op) in fixed:
                    module.set_attribute(op, FIXED_FACTOR_ATTRIBUTE, 1.0)
        return module

    def _candidates(
        self, start: bytes, remarks: tuple[Diagnostic, ...], options: CompensateOptions, bits_of: dict[str, int] | None
    ) -> list[Compensated]:
        """The calibrated result and the data-free one, or the latter alone."""

        def made(choice: str, bytecode: bytes) -> Compensated:
            done = self._run_passes(bytecode, options, bits_of)
            distance = None if self._inputs is None else self._distance(done.bytecode)
            return Compensated(done.bytecode, (*remarks, *done.remarks), choice, distance)

        calibrated = [] if self._inputs is None else [made("calibrated", self._calibrate(start))]
        return [*calibrated, made("data-free", start)]

    def calibrate(self) -> None:
        """Measures the original now, not when it is first needed."""
        if self._inputs is not None:
            self._calibrate(self._model.bytecode)

    def _calibrate(self, bytecode: bytes) -> bytes:
        """The module with statistics of what its own layers see: an aligned one has other integers than the original."""
        assert self._inputs is not None
        if bytecode not in self._calibrated:
            measured = calibrate(dataclasses.replace(self._model, bytecode=bytecode), self._inputs, self._progress)
            self._calibrated[bytecode] = run_passes_on(measured, [], self._model.source).bytecode
        return self._calibrated[bytecode]

    def _run_passes(self, bytecode: bytes, options: CompensateOptions, bits_of: dict[str, int] | None) -> PassResult:
        if bits_of:
            marked = with_bits(Module.parse(bytecode, self._model.source), bits_of)
            return run_passes_on(marked, options.passes(), self._model.source)
        return run_passes(bytecode, options.passes(), self._model.source)

    def _distance(self, bytecode: bytes) -> float:
        assert self._outputs is not None
        return compare_all(self._run(bytecode), self._outputs).mean_lsb

    def _run(self, bytecode: bytes) -> tuple[np.ndarray, ...]:
        assert self._inputs is not None
        return Executable.build(bytecode, source=self._model.source).run_many(*self._inputs, workers=self._workers)


def with_bits(module: Module, bits_of: dict[str, int]) -> Module:
    """Writes widths of single rescales, by key (`Op.key`), on a module; gives it back."""
    for op in module.ops():
        if op.key in bits_of:
            module.set_attribute(op, "tosa_rescale.bits", bits_of[op.key])
    return module
