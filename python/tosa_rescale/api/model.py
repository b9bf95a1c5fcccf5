# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`load`, and `Model` with every step and question as a method.

Nothing is computed here. Each method hands over to the one function that does it; signatures repeat the options classes of
core/options.py, so that editors and notebooks show every option with its type and default, and a test holds them equal.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tosa_rescale.api.measure import check, evaluate, renamed, run
from tosa_rescale.core.display import Shown, Summary, count
from tosa_rescale.core.errors import ModelError, OptionError
from tosa_rescale.core.files import PathLike
from tosa_rescale.core.options import (
    CompensateOptions,
    Encoding,
    FinetuneOptions,
    Loss,
    LowerOptions,
    MultiplierRounding,
    NarrowOptions,
    Preset,
    RoundingMode,
    Scope,
    ShiftRounding,
    WeightRounding,
)
from tosa_rescale.core.program import Program
from tosa_rescale.core.progress import chosen
from tosa_rescale.core.rescales import RescaleInfo, describe_rescales, summarize
from tosa_rescale.formats.read import as_program, read
from tosa_rescale.formats.write import save, with_state
from tosa_rescale.rewrite.lower import lower
from tosa_rescale.rewrite.narrow import narrow, with_bits

if TYPE_CHECKING:
    from tosa_rescale_runtime import Executable

    from tosa_rescale.core.progress import Progress
    from tosa_rescale.measure.check import CheckResult
    from tosa_rescale.measure.evaluate import OutputStore
    from tosa_rescale.measure.evaluation import Evaluation
    from tosa_rescale.measure.sensitivity import Sensitivity


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Model(Program, Shown):
    """An integer model as a TOSA module. Every step takes a model and gives a new one; see Program for the attributes.

    Calling a model runs it. `progress` of every method is what shows its work: True or False; Bars() or Silent(); None: bars in
    a terminal and in a notebook, else nothing.
    """

    def summary(self) -> Summary:
        """What a notebook shows: inputs and outputs, rescales and their widths, the steps that made it."""
        return summarize(self)

    def __repr__(self) -> str:
        """Three lines: file and rescales, inputs and outputs, steps."""
        found = self.summary()
        (_, takes), (_, gives), _, (_, steps), *_ = found.rows
        left = f"; {count(len(self.remarks), 'remark')}" if self.remarks else ""
        return f"{found.title}\n  takes {takes}, gives {gives}\n  steps: {steps}{left}"

    # -- steps -----------------------------------------------------------------------------------------------------

    def narrow(
        self,
        bits: int,
        *,
        multiplier_rounding: MultiplierRounding | str | None = None,
        hidden_bit: bool = False,
        encoding: Encoding | str = "aligned",
        scope: Scope | str = "accumulator",
        elementwise_bits: int | None = None,
        rounding_mode: RoundingMode | str = "single",
        preset: Preset | str = "none",
    ) -> Model:
        """Narrows the rescale multipliers to `bits` significant bits; the options are those of NarrowOptions.

        Returns:
            A new model; `remarks` names the rescales in scope that had to be left alone.

        Raises:
            OptionError: an option is out of range or contradicts another.
            ModelError: the model has no rescale (a float model).
            PassError: the pass refused the module.
        """
        return narrow(self, _options(NarrowOptions, locals()))

    def with_bits(self, bits_of: Mapping[str, int]) -> Model:
        """Writes widths of single rescales, by key (`RescaleInfo.key`), as attributes that override a pass's own width.

        Raises:
            OptionError: a key names no rescale, or a width is out of range.
        """
        return with_bits(self, bits_of)

    def compensate(
        self,
        bits: int | str,
        *,
        data: Any = None,
        max_drop: float | None = None,
        metrics: Any = None,
        per_layer: bool = False,
        calibration: Any = "synthetic",
        samples: int = 32,
        seed: int = 0,
        bits_of: Mapping[str, int] | None = None,
        for_litert: bool = False,
        progress: Progress | bool | None = None,
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
    ) -> Model:
        """Narrows the multipliers of the MAC layers and lets weights and biases absorb the error; no training.

        Args:
            bits: 1..31; 1 is a pure shift; "auto": the smallest that keeps the accuracy on `data`.
            data: with bits="auto": what the accuracy is measured on; what calibration takes of it is left out.
            max_drop: with bits="auto": what may be lost, in the metric's unit; None: the metric's own tolerance.
            metrics: with bits="auto": what is measured, see tosa_rescale.evaluate.
            per_layer: with bits="auto": let single layers go one bit lower.
            calibration: a dataset or what is made one (labels are not used), "synthetic" for seeded random textures, "none" or
                None.
            samples: how many samples to calibrate on, at most; spread evenly over a dataset.
            seed: of synthetic samples.
            bits_of: widths of single rescales, by key (`RescaleInfo.key`), that override `bits`.
            for_litert: of several results, keep only those that a .tflite can hold whole; the command line does where it
                writes one.
            progress: see Model.
            scope, elementwise_bits, encoding, hidden_bit, rounding_mode: those of CompensateOptions.
            align, clipping, constants, saturation, table_error, weighted_means, carry, tabulate, strict: those of
                CompensateOptions.
            promote, clip, weight_rounding, shrinkage: those of CompensateOptions.

        Returns:
            A new model; the recipe says whether the calibrated or the data-free result was nearer to the original.

        Raises:
            OptionError: an option is out of range or contradicts another.
            DataError: calibration samples do not fit the input.
            ModelError: the model has no rescale (a float model).
            PassError: the pass refused the module.
        """
        given = locals()
        from tosa_rescale.data.source import CalibrationPlan
        from tosa_rescale.rewrite.compensate import compensate
        from tosa_rescale.sweeping.automatic import AUTO, SearchOptions, compensate_automatically, require_no_search

        plan, shown = CalibrationPlan(samples, seed, source=calibration), chosen(progress)
        search = SearchOptions(data, max_drop, metrics, per_layer)
        if bits == AUTO:
            asked = _options(CompensateOptions, given | {"bits": 1})
            if bits_of:
                raise OptionError("bits_of: has no effect with bits='auto', which sets every width; leave it out")
            return compensate_automatically(self, asked, plan, search, for_litert=for_litert, progress=shown).model
        require_no_search(search)
        asked = _options(CompensateOptions, given)
        return compensate(self, asked, plan, bits_of=bits_of, for_litert=for_litert, progress=shown)

    def finetune(
        self,
        data: Any,
        bits: int | None = None,
        *,
        teacher: Program | PathLike = "original",
        optimizer: Any = None,
        callbacks: Sequence[Any] = (),
        checkpoint: PathLike | None = None,
        resume: bool = False,
        force: bool = False,
        strategy: Any = None,
        progress: Progress | bool | None = None,
        multiplier_rounding: MultiplierRounding | str | None = None,
        epochs: int = 2,
        batch: int = 16,
        learning_rate: float = 0.5,
        validation: float = 0.1,
        seed: int = 0,
        reference: bool = False,
        fold_gains: bool = True,
        loss: Loss | str = Loss.AUTO,
    ) -> Model:
        """Trains weights and biases through the exact integer arithmetic (extra `train`).

        Args:
            data: a dataset or what is made one, also a tf.data.Dataset; labels are only used with `teacher="labels"`.
            bits: narrow to this width first (NarrowOptions.before_training); None: train this model as it is.
            teacher: "original" (this model before narrowing, or the .tflite it was loaded from), "labels", a model or its path.
            optimizer: any tf.keras optimizer, its rate in steps of the weight grid; None: SGD.
            callbacks: tf.keras callbacks.
            checkpoint: file for the state after every epoch.
            resume: go on from the checkpoint; the weights at the end are those of an uninterrupted run.
            force: overwrite a checkpoint that exists.
            strategy: a tf.distribute strategy, Mirrored or MultiWorkerMirrored; every worker returns the same model.
            progress: see Model; shows loss and agreement as well.
            multiplier_rounding: of the narrowing; None: up where a teacher's gains can be folded in, else to nearest.
            epochs, batch, learning_rate, validation, seed, reference, fold_gains, loss: those of FinetuneOptions.

        Returns:
            The best epoch on held-out samples, never worse there than the start; the recipe has the history.

        Raises:
            MissingToolError: TensorFlow is not installed.
            LoweringError: an op has no differentiable form.
            TrainingError: the loss is no number, or diverges; the message names the layer.
            OptionError, DataError, ModelError, OutputError: see the messages.
        """
        given = locals()
        from tosa_rescale.twin.finetune import TrainingRun, finetune, narrowed_for_training

        options = _options(FinetuneOptions, given)
        known = teacher if isinstance(teacher, str) and teacher in ("original", "labels") else as_program(teacher, "teacher")
        start, taught_by = narrowed_for_training(self, bits, options, known, multiplier_rounding=multiplier_rounding)
        training = _options(TrainingRun, given)
        return finetune(start, data, teacher=taught_by, options=options, run=training, progress=chosen(progress)).model

    def lower(
        self,
        *,
        scope: Scope | str = "all",
        rounding: ShiftRounding | str = "shift",
        wide_inputs: bool = False,
        strict: bool = False,
    ) -> Model:
        """Writes rescales as operations of 32 bits, where that is proven exact; the options are those of LowerOptions.

        One bit becomes a rounding shift, few bits a product and one: a compiler and a device need no 64-bit integers for them.

        Returns:
            A new model; `remarks` names the rescales in scope that stay, with the range that keeps them.

        Raises:
            OptionError: an option is none of its values.
            ModelError: the model has no rescale (a float model).
            PassError: with `strict`, a rescale cannot be lowered.
        """
        return lower(self, _options(LowerOptions, locals()))

    # -- questions -------------------------------------------------------------------------------------------------

    def info(self) -> list[RescaleInfo]:
        """Every rescale of the module: op, scope, channels, significant bits, shifts, violations of the specification."""
        return describe_rescales(self)

    def evaluate(
        self,
        data: Any,
        *,
        metrics: Any = None,
        engine: str = "iree",
        reference: Program | PathLike | OutputStore | None = None,
        workers: int | None = None,
        cluster: str | None = None,
        progress: Progress | bool | None = None,
        label: str = "evaluate",
    ) -> Evaluation:
        """Accuracy, and difference from a reference model; see tosa_rescale.evaluate."""
        return evaluate(**renamed(locals(), self="model"))

    def __call__(self, *data: Any, engine: str = "iree", workers: int | None = None) -> np.ndarray | tuple[np.ndarray, ...]:
        """Runs the model; see tosa_rescale.run."""
        return run(self, *data, engine=engine, workers=workers)

    def sensitivity(
        self,
        data: Any,
        bits: int,
        *,
        metrics: Any = None,
        scope: Scope | str = "all",
        workers: int | None = None,
        progress: Progress | bool | None = None,
    ) -> tuple[Sensitivity, ...]:
        """What each rescale alone costs at `bits` significant bits, the costliest first; see measure/sensitivity.py."""
        given = locals() | {"progress": chosen(progress)}
        from tosa_rescale.measure.sensitivity import sensitivities

        return sensitivities(**renamed(given, self="model"))

    def check(
        self,
        inputs: Any = 8,
        *,
        engines: str | Sequence[str] | None = None,
        seed: int = 0,
        workers: int | None = None,
        layers: bool | str = False,
        progress: Progress | bool | None = None,
    ) -> CheckResult:
        """Whether all engines agree bit for bit; see tosa_rescale.check."""
        return check(**renamed(locals(), self="model"))

    def random_inputs(self, count: int, seed: int = 0) -> list[np.ndarray]:
        """Uniform random integers over each input's full range: one array `[count, *shape of the input]` for each input."""
        from tosa_rescale.data.source import random_inputs

        return random_inputs(self.input_specs, count, seed)

    # -- ways out --------------------------------------------------------------------------------------------------

    def compile(self, flags: Sequence[str] | None = None) -> Executable:
        """Compiles the module with IREE, constants folded in.

        Args:
            flags: iree-compile's flags; None: for this machine's CPU.

        Raises:
            CompileError: iree-compile failed.
        """
        from tosa_rescale_runtime import DEFAULT_FLAGS, Executable

        flags = DEFAULT_FLAGS if flags is None else tuple(flags)
        return Executable.from_constants(self.bytecode, flags=flags, source=self.source)

    def save(
        self,
        path: PathLike,
        force: bool = False,
        *,
        original: PathLike | None = None,
        allow_partial: bool = False,
        flags: Sequence[str] | None = None,
    ) -> pathlib.Path:
        """Writes the model; the kind goes by suffix; see tosa_rescale.formats.write.save."""
        return save(**renamed(locals(), self="program"))

    def to_litert(self, original: PathLike | None = None, allow_partial: bool = False) -> bytes:
        """The LiteRT flatbuffer with this model's weights, biases and scales, for any unmodified runtime.

        Args:
            original: the .tflite that the model came from; None: the one it was loaded from.
            allow_partial: leave element-wise multipliers, which scales cannot express, as they were.

        Raises:
            ModelError: there is no original, it does not belong to the model, or scales cannot express a multiplier.
        """
        from tosa_rescale.formats.litert.export import to_litert

        return to_litert(self, original, allow_partial)

    def with_state(self) -> bytes:
        """The bytecode with quantization and recipe as module attributes."""
        return with_state(self)


def load(
    path: PathLike, batch: int = 1, *, until: str | None = None, shapes: Mapping[str, Sequence[int]] | None = None
) -> Model:
    """Reads a model; the kind goes by suffix (.tflite, .mlirbc, .mlir, .tosa).

    Of a .tflite, the part that TOSA can express in integers is read; `remarks` says what of the file stays as it is. Its
    float32 inputs and outputs are read as the integers that the file quantizes them to, and written back as they came.

    Args:
        path: the file.
        batch: extent given to a first dimension that the file leaves open.
        until: .tflite: the tensor that the part ends with; None: as far as TOSA goes.
        shapes: .tflite: whole shapes of inputs, by name; needed where other dimensions than the first are open.

    Raises:
        FileKindError: the suffix is unknown, names no model, or is not that of the content.
        ModelError: the file is missing, corrupt, or cannot be converted; `until` or `shapes` do not fit it.
        MissingToolError: a .tosa file, and tosa-opt is not installed.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ModelError(f"path: {type(path).__name__} is no path of a model")
    program = read(path, batch, until=until, shapes=shapes)
    return Model(**{field.name: getattr(program, field.name) for field in dataclasses.fields(Program)})


def _options(kind: Any, given: Mapping[str, Any]) -> Any:
    """An options class from the arguments of a method, by name."""
    return kind(**{field.name: given[field.name] for field in dataclasses.fields(kind)})
