# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compensation: k-bit multipliers whose error weights and biases absorb, without training.

The pass `tosa-rescale-compensate` does the arithmetic; this module gives it what the layers see (calibration), keeps the
result only where it is better, and searches the smallest width.
"""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic

import numpy as np
from tosa_rescale_runtime import Module, usable_cores

from tosa_rescale.core.attributes import FIXED_FACTOR, FUNCTION, REACH
from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import ALIGN, CARRY, COMPENSATE, NARROW, POOLS, TABULATE, CompensateOptions, Scope
from tosa_rescale.core.passes import Diagnostic, PassResult, run_passes, run_passes_on, to_bytecode
from tosa_rescale.core.program import P, Program
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.core.recipe import Step
from tosa_rescale.core.rescales import raised
from tosa_rescale.data.source import CalibrationPlan, Source
from tosa_rescale.formats.litert.export import unexpressed
from tosa_rescale.formats.litert.scales import clamp_reaches, fixed_scale_tensors
from tosa_rescale.formats.litert.schema import unpack
from tosa_rescale.formats.litert.tables import compute_tables
from tosa_rescale.rewrite.calibration import InputStatistics
from tosa_rescale.rewrite.clipping import Ranges
from tosa_rescale.rewrite.expected import moving_error, narrowing_error
from tosa_rescale.rewrite.narrow import mark_bits
from tosa_rescale.rewrite.nearest import Nearest
from tosa_rescale.rewrite.observe import compile_beside, observe, run


def compensate(
    program: P,
    options: CompensateOptions,
    calibration: CalibrationPlan | None = None,
    *,
    bits_of: Mapping[str, int] | None = None,
    for_litert: bool = False,
    progress: Progress | None = None,
) -> P:
    """Narrows the multipliers of the MAC layers and lets weights and biases absorb the error; no training.

    Args:
        program: a module with rescales.
        options: what is asked.
        calibration: where samples come from; None: synthetic ones.
        bits_of: widths of single rescales, by key, that override the option.
        for_litert: of several results, keep only those that a .tflite can hold whole.
        progress: shows rate and remaining time.

    Returns:
        A new program; the recipe says whether the calibrated or the data-free result was nearer to the original.

    Raises:
        OptionError: `bits_of` names no rescale.
        DataError: calibration samples do not fit the input.
        ModelError: the module has no rescale (a float model).
        PassError: the pass refused the module.
    """
    program.require_rescales()
    if not options.carry and (calibration is None or calibration.source is not Source.NONE):
        compile_beside(raised(program))  # while samples are read
    inputs = (calibration or CalibrationPlan()).inputs(program.input_specs)
    return Compensator(program, inputs, progress, for_litert=for_litert).compensate(options, bits_of)


@dataclasses.dataclass(frozen=True, eq=False)
class _Candidate:
    """One compensated module of those to choose from.

    Attributes:
        bytecode: the module.
        remarks: what was left alone, and why.
        choice: what was kept: "calibrated" or "data-free".
        aligned: scales of activations were changed.
    """

    bytecode: bytes
    remarks: tuple[Diagnostic, ...]
    choice: str
    aligned: bool = False


class Compensator(Generic[P]):
    """Compensates one program at several widths: what its layers see of the samples is measured once, in the original.

    Several threads may use it at once.

    Args:
        program: the original.
        inputs: calibration samples, one array [N, *shape of a sample] for each input; None for none.
        progress: shows rate and remaining time.
        workers: processes that run samples; None: one for each core.
        passed: the pass that changed the program's operations.
        for_litert: of several results, keep only those that a .tflite can hold whole: a multiplier between activations follows
            from their scales there, and so needs other scales.
    """

    def __init__(
        self,
        program: P,
        inputs: list[np.ndarray] | None,
        progress: Progress | None = None,
        workers: int | None = None,
        *,
        passed: str | None = None,
        for_litert: bool = False,
    ) -> None:
        self._program, self._inputs, self._workers = raised(program), inputs, workers
        self._passed_by, self._for_litert = passed, for_litert
        self._progress = progress or Silent()
        self._statistics: InputStatistics | None = None
        self._ranges: Ranges | None = None
        self._outputs: tuple[np.ndarray, ...] | None = None
        self._starts: dict[bool, list[bytes]] = {}  # by whether they are to be aligned
        self._changed: dict[str, Compensator[P]] = {}  # by the pass that changed the original
        self._lock = threading.RLock()  # of what is measured once

    def __getstate__(self) -> dict[str, object]:
        """All but the lock: a cluster carries calibrated ones to its workers."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._lock = threading.RLock()

    def compensate(self, options: CompensateOptions, bits_of: Mapping[str, int] | None = None) -> P:
        """Compensates at one width.

        With samples, results with and without statistics, and with and without measured ranges of activations, are run on
        them and the nearest one to the original is kept: few samples can mislead, and then no statistics are better. One
        whose scales stay as they are is among them; without samples `rewrite/expected.py` says whether that is nearer.

        Args:
            options: what is asked.
            bits_of: widths of single rescales, by key (`Op.key`), that override the option.

        Returns:
            A new program; the recipe says what was kept: "calibrated" or "data-free".

        Raises:
            OptionError: `bits_of` names no rescale, or `carry` cannot be.
            PassError: the pass refused the module.
        """
        if options.carry:
            self._require_carriable(bits_of)
            return self._of_changed(CARRY, options, bits_of)
        if options.weighted_means and self._passed_by != POOLS:
            return self._of_changed(POOLS, options, bits_of)
        found = self._candidates(options, bits_of)
        if self._for_litert and options.aligns:
            found = [each for each in found if each.aligned or self._expresses(each)]
        best, distance = self._choose(found)
        recorded = {**options.as_dict(), "choice": best.choice, "mean_lsb": distance}
        if options.aligns:
            recorded["aligned"] = best.aligned
        if bits_of:
            recorded["bits_of"] = dict(bits_of)
        return self._program.after(best.bytecode, Step("compensate", recorded), best.remarks)

    def _of_changed(self, pass_name: str, options: CompensateOptions, bits_of: Mapping[str, int] | None) -> P:
        """The same of a module with other operations.

        Pools with weights are measured against the original all the same. What is carried is nearer to the float model than the
        original is, and so is not.
        """
        changed = self._changed_by(pass_name)
        made = changed.compensate(dataclasses.replace(options, carry=False), bits_of)
        step = made.recipe[-1]
        recorded = Step(step.name, {**step.options, "carry": options.carry})
        remarks = (*changed._program.remarks, *made.remarks)
        return dataclasses.replace(made, recipe=(*made.recipe[:-1], recorded), remarks=remarks)

    def _changed_by(self, pass_name: str) -> Compensator[P]:
        with self._lock:
            if pass_name not in self._changed:
                done = run_passes(self._program.bytecode, [pass_name], self._program.source)
                program = dataclasses.replace(self._program, bytecode=done.bytecode, remarks=done.remarks)
                changed = Compensator(
                    program,
                    self._inputs,
                    self._progress,
                    self._workers,
                    passed=pass_name,
                    for_litert=self._for_litert,
                )
                self._changed[pass_name] = changed
                if self._inputs is not None and pass_name == POOLS:
                    changed._outputs = self._outputs or self._run(self._program.bytecode)
            return self._changed[pass_name]

    def _require_carriable(self, bits_of: Mapping[str, int] | None) -> None:
        """Raises OptionError where tensors cannot be kept in 32 bits, or widths would go to other rescales than meant."""
        if self._litert:
            raise OptionError(
                f"carry: {self._program.source} came from a .tflite, whose kernels hold tensors in 8 or 16 bits; leave it out"
            )
        if bits_of:
            raise OptionError(
                f"bits_of: names rescales that `carry` takes away or renumbers; run {CARRY} first, and load what it makes"
            )

    def _expresses(self, candidate: _Candidate) -> bool:
        """Whether a .tflite with the scales that activations have can hold a candidate."""
        return not unexpressed(Module.parse(candidate.bytecode, self._program.source), self._program.module())

    def _expected_error(self, candidate: _Candidate) -> float:
        made = Module.parse(candidate.bytecode, self._program.source)
        return moving_error(made) if candidate.aligned else narrowing_error(self._program.module(), made)

    @property
    def _litert(self) -> bool:
        return self._program.flatbuffer is not None

    def _start(self, aligns: bool) -> list[bytes]:
        """The original with statistics of what its layers see; to be aligned, also one that knows the ranges of its tensors."""
        with self._lock:
            if aligns not in self._starts:
                self._measure(aligns)
                module = with_kernel_limits(self._program) if aligns else self._program.module()
                made = []
                for measured in (self._statistics, self._ranges if aligns else None):
                    if measured is not None:
                        measured.write(module)
                    if measured is not None or not made:
                        made.append(to_bytecode(module, self._program.source))
                self._starts[aligns] = made
            return self._starts[aligns]

    def _measure(self, aligns: bool) -> None:
        """Runs the samples if there is anything that they have not been asked for."""
        if self._inputs is None:
            return
        module = self._program.module()
        statistics = self._statistics or InputStatistics(module, self._workers)
        ranges = self._ranges or (Ranges(module) if aligns else None)
        wanted = [each for each in (statistics, ranges) if each not in (None, self._statistics, self._ranges)]
        if wanted:
            outputs = observe(self._program, wanted, self._inputs, self._progress, self._workers)
            self._outputs = self._outputs or outputs
        self._statistics, self._ranges = statistics, ranges  # last: a run that failed has measured nothing

    def _align(self, start: bytes, options: CompensateOptions, bits_of: Mapping[str, int] | None) -> PassResult:
        """Widths of single rescales are marked first: alignment may fold rescales, and keys count them."""
        passes = [align_pass(options, self._litert)]
        done = with_tables(self._program, self._passed(start, passes, bits_of))
        if not options.tabulate:
            return done
        made = run_passes(done.bytecode, [_tabulate_pass(options)], self._program.source)
        return PassResult(made.bytecode, (*done.diagnostics, *made.diagnostics))

    def _candidates(self, options: CompensateOptions, bits_of: Mapping[str, int] | None) -> list[_Candidate]:
        """The calibrated result and the data-free one, or the latter alone; of each alignment, and of the scales as they are.

        Which scales are best shows in the outputs, as ranges of few samples can mislead too.
        """
        choices = ["data-free"] if self._inputs is None else ["calibrated", "data-free"]
        starts = [(each, True) for each in self._start(aligns=True)] if options.aligns else []
        starts.append((self._start(aligns=False)[0], False))  # last: of those that are as near an aligned one is taken

        def prepared(start: bytes, aligns: bool) -> tuple[PassResult, bool]:
            return (self._align(start, options, bits_of) if aligns else PassResult(start, ())), aligns

        def made(ready: tuple[PassResult, bool], choice: str) -> _Candidate:
            # Widths of single rescales are marked once: alignment may fold rescales, and keys count them.
            start, aligned = ready
            done = self._run_passes(start.bytecode, options, None if aligned else bits_of, choice == "calibrated")
            return _Candidate(done.bytecode, (*start.remarks, *done.remarks), choice, aligned)

        # The passes are processes, for which these threads wait.
        with ThreadPoolExecutor(self._workers or usable_cores()) as pool:
            ready = list(pool.map(lambda each: prepared(*each), starts))
            return list(pool.map(lambda each: made(*each), itertools.product(ready, choices)))

    def _choose(self, found: Sequence[_Candidate]) -> tuple[_Candidate, float | None]:
        """The candidate that is nearest to the original, and its mean distance in LSB where samples have measured it."""
        if self._inputs is None:
            return min(found, key=self._expected_error), None
        assert self._outputs is not None  # the start of candidates has measured them
        nearest = Nearest(self._program, self._inputs, self._outputs, self._workers)
        position, distance = nearest.choose([each.bytecode for each in found])
        return found[position], distance

    def calibrate(self, aligns: bool = True) -> None:
        """Runs the samples now, not when they are first needed; once for all that is asked of them if anything will align."""
        with self._lock:
            self._measure(aligns)

    def _run_passes(
        self, bytecode: bytes, options: CompensateOptions, bits_of: Mapping[str, int] | None, use_statistics: bool
    ) -> PassResult:
        return self._passed(bytecode, _passes(options, use_statistics), bits_of)

    def _passed(self, bytecode: bytes, passes: list[str], bits_of: Mapping[str, int] | None) -> PassResult:
        """A module after passes that read widths of single rescales from attributes."""
        if bits_of:
            marked = mark_bits(self._program, Module.parse(bytecode, self._program.source), bits_of)
            return run_passes_on(marked, passes, self._program.source)
        return run_passes(bytecode, passes, self._program.source)

    def _run(self, bytecode: bytes) -> tuple[np.ndarray, ...]:
        assert self._inputs is not None
        return run(dataclasses.replace(self._program, bytecode=bytecode), self._inputs, self._workers)


def with_kernel_limits(program: Program) -> Module:
    """A program's module, with marks on what LiteRT's kernels make at one scale only, and on how far they clamp."""
    module = program.module()
    if program.flatbuffer is not None:
        flatbuffer = unpack(program.flatbuffer, program.source)
        fixed, reaches = fixed_scale_tensors(flatbuffer), clamp_reaches(flatbuffer)
        for op in module.ops():
            name = module.tensor_name(op)
            if op.kind == "table":
                module.set_attribute(op, FUNCTION, 1)
                if name in fixed:
                    module.set_attribute(op, FIXED_FACTOR, 1.0)
            if op.kind == "clamp" and name is not None and name in reaches:
                module.set_attribute(op, REACH, reaches[name])
    return module


def with_tables(program: Program, aligned: PassResult) -> PassResult:
    """Gives an aligned module of a .tflite the tables that LiteRT computes from its scales, and says which they are."""
    if program.flatbuffer is None:
        return aligned
    module = Module.parse(aligned.bytecode, program.source)
    changed, moved = compute_tables(program, module)
    remarks = [
        Diagnostic(each.name, "remark", f"is computed anew from {each.kind} for an input at {each.factor:.3f} times its scale")
        for each in moved
    ]
    bytecode = to_bytecode(module, program.source) if changed else aligned.bytecode
    return PassResult(bytecode, (*aligned.diagnostics, *remarks))


def align_pass(options: CompensateOptions, litert: bool) -> str:
    """The pass that changes activation scales, with its options.

    Args:
        options: what is asked of the compensation.
        litert: only multipliers that LiteRT derives from scales.
    """
    return options.pass_options(ALIGN, {"bits": options.elementwise_bits or options.bits, "litert": litert})


def _tabulate_pass(options: CompensateOptions) -> str:
    return options.pass_options(TABULATE, {"bits": options.elementwise_bits or options.bits, "hidden_bit": options.hidden_bit})


def _passes(options: CompensateOptions, use_statistics: bool) -> list[str]:
    """The passes to run after alignment, with their options."""
    after = [options.narrow_options().pass_options(NARROW)] if options.scope is Scope.ALL else []
    return [options.pass_options(COMPENSATE, {"use_statistics": use_statistics}), *after]
