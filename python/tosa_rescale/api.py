# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The Model: a TOSA module with what is known of it. Every step takes a Model and gives a new one."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tosa_rescale.core.errors import FileKindError, ModelError
from tosa_rescale.core.files import FileKind, PathLike, kind_of, require_writable, write_bytes, write_text
from tosa_rescale.core.options import NarrowOptions
from tosa_rescale.core.passes import Diagnostic, run_passes, run_passes_on
from tosa_rescale.core.quantization import GraphQuantization
from tosa_rescale.core.recipe import Step, attach_state, read_state
from tosa_rescale.core.rescales import RescaleInfo, describe_rescales
from tosa_rescale.data.dataset import InputSpec
from tosa_rescale.formats.read import import_model, read_file

if TYPE_CHECKING:
    from tosa_rescale_runtime import Executable, Signature

    from tosa_rescale.core.progress import Progress
    from tosa_rescale.data.dataset import Dataset
    from tosa_rescale.measure.check import CheckResult
    from tosa_rescale.measure.evaluate import Evaluation
    from tosa_rescale.rewrite.compensate import CompensateOptions, Compensator


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """An integer model as a TOSA module.

    Attributes:
        bytecode: the module, MLIR bytecode.
        source: the file it came from, for messages.
        quantization: scale and zero point of the graph's inputs and outputs; None where unknown.
        flatbuffer: the LiteRT file it came from; None where it came from another kind.
        recipe: the steps that made it, in order.
        remarks: what the last step left alone, and why.
    """

    bytecode: bytes
    source: str = "model"
    quantization: GraphQuantization | None = None
    flatbuffer: bytes | None = None
    recipe: tuple[Step, ...] = ()
    remarks: tuple[Diagnostic, ...] = ()

    # -- steps -----------------------------------------------------------------------------------------------------

    def narrow(self, bits: int, **options: Any) -> Model:
        """Narrows the rescale multipliers to `bits` significant bits.

        Args:
            bits: 1..31.
            **options: the other fields of NarrowOptions.

        Returns:
            A new model; `remarks` names the rescales in scope that had to be left alone.

        Raises:
            OptionError: an option is out of range or contradicts another.
            ModelError: the model has no rescale (a float model).
            PassError: the pass refused the module.
        """
        asked = NarrowOptions(bits, **options)
        self.require_rescales()
        done = run_passes(self.bytecode, [f"tosa-rescale-narrow={asked.pass_options()}"], self.source)
        return self._after(done.bytecode, Step("narrow", asked.as_dict()), done.remarks)

    def with_bits(self, bits_of: dict[str, int]) -> Model:
        """Writes widths of single rescales, by key (`Op.key`), as attributes that override a pass's own width."""
        from tosa_rescale_runtime import Module

        from tosa_rescale.rewrite.compensate import with_bits

        marked = with_bits(Module.parse(self.bytecode, self.source), bits_of)
        return dataclasses.replace(self, bytecode=run_passes_on(marked, [], self.source).bytecode)

    def compensate(
        self,
        bits: int,
        *,
        calibration: Dataset | str | None = "synthetic",
        samples: int = 32,
        seed: int = 0,
        progress: Progress | None = None,
        **options: Any,
    ) -> Model:
        """Narrows the multipliers of the MAC layers and lets weights and biases absorb the error; no training.

        Args:
            bits: 1..31; 1 is a pure shift.
            calibration: a dataset (labels are not used), "synthetic" for seeded random textures, "none" or None.
            samples: how many samples to calibrate on, at most; spread evenly over a dataset.
            seed: of synthetic samples.
            progress: shows rate and remaining time.
            **options: the other fields of CompensateOptions.

        Returns:
            A new model; the recipe says whether the calibrated or the data-free result was nearer to the original.

        Raises:
            OptionError: an option is out of range or contradicts another.
            DataError: calibration samples do not fit the input.
            ModelError: the model has no rescale (a float model).
            PassError: the pass refused the module.
        """
        from tosa_rescale.rewrite.compensate import CompensateOptions, Compensator, calibration_inputs

        asked = CompensateOptions(bits, **options)
        self.require_rescales()
        inputs = calibration_inputs(self, calibration, samples, seed)
        return self.compensated_by(Compensator(self, inputs, progress), asked)

    def compensated_by(
        self, compensator: Compensator, options: CompensateOptions, bits_of: dict[str, int] | None = None
    ) -> Model:
        """The model that a compensator of this model makes; for several widths on one calibration.

        Args:
            compensator: of this model.
            options: what is asked.
            bits_of: widths of single rescales, by key, that override the option.
        """
        done = compensator.compensate(options, bits_of)
        recorded = {**dataclasses.asdict(options), "choice": done.choice, "mean_lsb": done.mean_lsb}
        if bits_of:
            recorded["bits_of"] = bits_of
        return self._after(done.bytecode, Step("compensate", recorded), done.remarks)

    def finetune(
        self,
        data: Dataset | PathLike | Any,
        bits: int | None = None,
        *,
        teacher: Model | str = "original",
        optimizer: Any = None,
        callbacks: Sequence[Any] = (),
        checkpoint: PathLike | None = None,
        resume: bool = False,
        force: bool = False,
        strategy: Any = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> Model:
        """Trains weights and biases through the exact integer arithmetic (extra `train`).

        Args:
            data: a dataset, a folder, an .npz or a tf.data.Dataset; labels are only used with `teacher="labels"`.
            bits: narrow to this width first, rounding multipliers up where a teacher's gains can be folded in, else to nearest;
                None: train this model as it is.
            teacher: "original" (this model before narrowing, or the .tflite it was loaded from), "labels", or a model.
            optimizer: any tf.keras optimizer, its rate in steps of the weight grid; None: SGD.
            callbacks: tf.keras callbacks.
            checkpoint: file for the state after every epoch.
            resume: go on from the checkpoint; the weights at the end are those of an uninterrupted run.
            force: overwrite a checkpoint that exists.
            strategy: a tf.distribute strategy, Mirrored or MultiWorkerMirrored; every worker returns the same model.
            progress: shows rate, remaining time, loss and agreement.
            **options: the fields of tosa_rescale.twin.finetune.FinetuneOptions (epochs, batch, learning_rate, validation,
                seed, reference, fold_gains).

        Returns:
            The best epoch on held-out samples, never worse there than the start; the recipe has the history.

        Raises:
            MissingToolError: TensorFlow is not installed.
            LoweringError: an op has no differentiable form.
            TrainingError: the loss is no number, or diverges; the message names the layer.
            OptionError, DataError, ModelError, OutputError: see the messages.
        """
        from tosa_rescale.twin.finetune import FinetuneOptions, finetune

        asked = FinetuneOptions(**options)
        start = self if bits is None else self.narrow(bits, multiplier_rounding=asked.multiplier_rounding(teacher))
        if bits is not None and teacher == "original":
            teacher = self
        return finetune(
            start,
            data,
            teacher=teacher,
            options=asked,
            optimizer=optimizer,
            callbacks=callbacks,
            checkpoint=checkpoint,
            resume=resume,
            force=force,
            strategy=strategy,
            progress=progress,
        ).model

    # -- questions -------------------------------------------------------------------------------------------------

    def info(self) -> list[RescaleInfo]:
        """Every rescale of the module: op, scope, channels, significant bits, shifts, violations of the specification."""
        return describe_rescales(run_passes(self.bytecode, ["tosa-rescale-annotate"], self.source).bytecode)

    def require_rescales(self) -> None:
        """Raises ModelError when the module has no rescale, as a float model."""
        if not self._has_rescales:
            raise ModelError(f"{self.source}: has no tosa.rescale (a float model?); give a full-integer one")

    @functools.cached_property
    def _has_rescales(self) -> bool:
        from tosa_rescale_runtime import Module

        return any(op.kind == "rescale" for op in Module.parse(self.bytecode, self.source).ops())

    @functools.cached_property
    def signature(self) -> Signature:
        """Names, shapes and dtypes of the graph's inputs and outputs."""
        from tosa_rescale_runtime import Module

        return Module.parse(self.bytecode, self.source).signature

    @property
    def input_spec(self) -> InputSpec:
        """What the graph's only input takes, without the batch dimension.

        Raises:
            ModelError: the graph has several inputs.
        """
        inputs = self.signature.inputs
        if len(inputs) != 1:
            raise ModelError(f"{self.source}: has {len(inputs)} inputs; data for one can be given")
        (only,) = inputs
        known = self.quantization.inputs[0] if self.quantization and self.quantization.inputs else None
        return InputSpec(tuple(int(n or 1) for n in only.shape[1:]), only.dtype, known)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the module."""
        return hashlib.sha256(self.bytecode).hexdigest()

    def evaluate(self, data: Dataset, **options: Any) -> Evaluation:
        """Accuracy, and difference from a reference model; see tosa_rescale.measure.evaluate.evaluate."""
        from tosa_rescale.measure.evaluate import evaluate

        return evaluate(self, data, **options)

    def check(self, inputs: Dataset | int = 8, **options: Any) -> CheckResult:
        """Whether all engines agree bit for bit; see tosa_rescale.measure.check.check."""
        from tosa_rescale.measure.check import check

        return check(self, inputs, **options)

    def random_inputs(self, count: int, seed: int = 0) -> list[np.ndarray]:
        """Uniform random integers over each input's full range: one array `[count, *shape of the input]` for each input."""
        rng = np.random.default_rng(seed)
        arrays = []
        for spec in self.signature.inputs:
            limits = np.iinfo(spec.dtype)
            shape = (count, *(int(n or 1) for n in spec.shape[1:]))
            arrays.append(rng.integers(limits.min, limits.max, shape, spec.dtype, endpoint=True))
        return arrays

    # -- ways out --------------------------------------------------------------------------------------------------

    def compile(self, flags: Sequence[str] | None = None) -> Executable:
        """Compiles the module with IREE, constants folded in.

        Args:
            flags: iree-compile's flags; None: for this machine's CPU.

        Raises:
            CompileError: iree-compile failed.
        """
        from tosa_rescale_runtime import DEFAULT_FLAGS, Executable

        return Executable.from_constants(
            self.bytecode, flags=DEFAULT_FLAGS if flags is None else tuple(flags), source=self.source
        )

    def save(self, path: PathLike, force: bool = False, **options: Any) -> pathlib.Path:
        """Writes the model; the kind goes by suffix (.mlirbc, .mlir, .tosa, .vmfb, .tflite).

        The recipe and the border's quantization go along as module attributes (.mlirbc, .mlir).

        Raises:
            OutputError: it exists and `force` is not given, or cannot be written.
            MissingToolError: a .tosa file, and tosa-opt is not installed.
        """
        path, kind = require_writable(path, force), kind_of(path)
        writer = _WRITERS.get(kind)
        if writer is None:
            known = ", ".join(each.value for each in _WRITERS)
            raise FileKindError(f"{path}: a model cannot be written as {kind.value}; use one of {known}")
        writer(self, path, **options)
        return path

    def to_litert(self, original: PathLike | None = None, allow_partial: bool = False) -> bytes:
        """The LiteRT flatbuffer with this model's weights, biases and scales, for any unmodified runtime.

        Args:
            original: the .tflite that the model came from; None: the one it was loaded from.
            allow_partial: leave element-wise multipliers, which scales cannot express, as they were.

        Raises:
            ModelError: there is no original, it does not belong to the model, or scales cannot express a multiplier.
        """
        from tosa_rescale.formats.litert.export import to_litert

        flatbuffer = self.flatbuffer if original is None else read_file(pathlib.Path(original))
        if flatbuffer is None:
            raise ModelError(f"{self.source}: came from no .tflite; name the one it was made from (--original)")
        return to_litert(self, flatbuffer, allow_partial)

    def with_state(self) -> bytes:
        """The bytecode with quantization and recipe as module attributes."""
        return attach_state(self.bytecode, self.quantization, self.recipe, self.source)

    def _after(self, bytecode: bytes, step: Step, remarks: Sequence[Diagnostic] = ()) -> Model:
        return dataclasses.replace(self, bytecode=bytecode, recipe=(*self.recipe, step), remarks=tuple(remarks))


def load(path: PathLike, batch: int = 1) -> Model:
    """Reads a model; the kind goes by suffix (.tflite, .mlirbc, .mlir, .tosa).

    Args:
        path: the file.
        batch: extent given to a dynamic batch dimension.

    Raises:
        FileKindError: the suffix is unknown, or names no model.
        ModelError: the file is missing, corrupt, or cannot be converted.
        MissingToolError: a .tosa file, and tosa-opt is not installed.
    """
    imported = import_model(path, batch)
    quantization, recipe = read_state(imported.bytecode, str(path))
    return Model(imported.bytecode, str(path), imported.quantization or quantization, imported.flatbuffer, recipe)


def _write_bytecode(model: Model, path: pathlib.Path) -> None:
    write_bytes(path, model.with_state())


def _write_text(model: Model, path: pathlib.Path) -> None:
    from tosa_rescale_runtime import Module

    write_text(path, Module.parse(model.with_state(), model.source).ir.operation.get_asm(print_generic_op_form=True))


def _write_litert(model: Model, path: pathlib.Path, original: PathLike | None = None, allow_partial: bool = False) -> None:
    write_bytes(path, model.to_litert(original, allow_partial))


def _write_tosa(model: Model, path: pathlib.Path) -> None:
    from tosa_rescale.formats.tosa import serialize

    write_bytes(path, serialize(model.bytecode, str(path)))


def _write_executable(model: Model, path: pathlib.Path, flags: Sequence[str] | None = None) -> None:
    from tosa_rescale_runtime import DEFAULT_FLAGS, compile_module

    write_bytes(path, compile_module(model.bytecode, DEFAULT_FLAGS if flags is None else tuple(flags)))


_WRITERS: dict[FileKind, Callable[..., None]] = {
    FileKind.BYTECODE: _write_bytecode,
    FileKind.TEXT: _write_text,
    FileKind.LITERT: _write_litert,
    FileKind.TOSA: _write_tosa,
    FileKind.EXECUTABLE: _write_executable,
}
