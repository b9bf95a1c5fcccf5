# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What can execute a model. An engine takes the model's integers and gives its integers; to add one, add a class and a row."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from tosa_rescale_runtime import CompileError

from tosa_rescale.core.errors import MissingToolError, OptionError
from tosa_rescale.core.hush import hushed
from tosa_rescale.core.progress import Advance

if TYPE_CHECKING:
    from tosa_rescale_runtime import Cache, Signature

    from tosa_rescale.core.program import Program


class Engine(Protocol):
    """Executes one model."""

    def run_many(self, inputs: Sequence[np.ndarray], advance: Advance | None = None) -> list[np.ndarray]:
        """Runs N samples.

        Args:
            inputs: one array [N, *shape of a sample] for each input, see Signature.sample_shape.
            advance: called with the number of samples done since the last call.

        Returns:
            One array [N, *shape of a sample] for each output.
        """
        ...


class IreeEngine:
    """IREE with multipliers, shifts, weights and biases as run-time parameters: one compile serves every width.

    A model whose accumulators are rescaled by shifts alone runs in 32 bits, which is faster, unless the form that serves every
    width is compiled already: within a sweep nothing is compiled twice.
    """

    def __init__(self, model: Program, workers: int | None = None, cache: Cache | bool = True) -> None:
        from tosa_rescale_runtime import DEFAULT_FLAGS, Executable, externalize, is_compiled

        skeleton = externalize(model.bytecode, source=model.source)
        if not is_compiled(skeleton.bytecode, DEFAULT_FLAGS, cache):
            skeleton = externalize(model.bytecode, source=model.source, shifts=True)
        self._executable = Executable.from_skeleton(skeleton, cache=cache)
        self._workers = workers

    def run_many(self, inputs: Sequence[np.ndarray], advance: Advance | None = None) -> list[np.ndarray]:
        return list(self._executable.run_many(*inputs, workers=self._workers, progress=advance))


class IreeConstantEngine:
    """IREE on the module as it is, everything constant: what iree-compile makes of it."""

    def __init__(self, model: Program, workers: int | None = None) -> None:
        from tosa_rescale_runtime import Executable

        self._executable = Executable.from_constants(model.bytecode, source=model.source)
        self._workers = workers

    def run_many(self, inputs: Sequence[np.ndarray], advance: Advance | None = None) -> list[np.ndarray]:
        return list(self._executable.run_many(*inputs, workers=self._workers, progress=advance))


class LitertEngine:
    """An unmodified LiteRT interpreter. Fast (XNNPACK); its kernels' rounding is not TOSA's, nor each other's."""

    def __init__(self, model: Program, workers: int | None = None) -> None:
        from ai_edge_litert.interpreter import Interpreter

        from tosa_rescale.formats.litert.export import litert_part

        self._signature = model.signature
        with hushed():  # it says which delegate it takes
            self._interpreter = Interpreter(model_content=litert_part(model), num_threads=workers or os.cpu_count())
            details = self._interpreter.get_input_details()
            for each, spec in zip(details, self._signature.inputs, strict=True):
                self._interpreter.resize_tensor_input(each["index"], [extent or 1 for extent in spec.shape])
            self._interpreter.allocate_tensors()
        self._inputs = [each["index"] for each in details]
        self._outputs = [each["index"] for each in self._interpreter.get_output_details()]

    def run_many(self, inputs: Sequence[np.ndarray], advance: Advance | None = None) -> list[np.ndarray]:
        rows: list[list[np.ndarray]] = []
        for sample in zip(*inputs, strict=True):
            for index, array in zip(self._inputs, _graphs(sample, self._signature), strict=True):
                self._interpreter.set_tensor(index, array)
            self._interpreter.invoke()
            rows.append(_samples([self._interpreter.get_tensor(index) for index in self._outputs], self._signature))
            if advance:
                advance(1)
        return [np.stack(column) for column in zip(*rows, strict=True)]


class ReferenceEngine:
    """The TOSA reference model: the specification's own word, and it says UNPREDICTABLE where others compute on."""

    def __init__(self, model: Program, workers: int | None = None) -> None:
        from tosa_rescale.formats.tosa import serialize

        del workers
        self._source = model.source
        self._tosa = serialize(model.bytecode, model.source)
        self._signature = model.signature

    def run_many(self, inputs: Sequence[np.ndarray], advance: Advance | None = None) -> list[np.ndarray]:
        from tosa_rescale.formats.tosa import run_reference_model

        rows: list[list[np.ndarray]] = []
        for sample in zip(*inputs, strict=True):
            given = [_signless(array) for array in _graphs(sample, self._signature)]
            results = run_reference_model(self._tosa, given, len(self._signature.outputs), self._source)
            # The format knows no unsigned types: the bits are the same.
            typed = [each.view(spec.dtype) for each, spec in zip(results, self._signature.outputs, strict=True)]
            rows.append(_samples(typed, self._signature))
            if advance:
                advance(1)
        return [np.stack(column) for column in zip(*rows, strict=True)]


class TwinEngine:
    """The differentiable twin in TensorFlow: integers held in floats, float32 wherever that is proven exact."""

    REFERENCE = False
    BATCH = 16

    def __init__(self, model: Program, workers: int | None = None) -> None:
        from tosa_rescale_runtime import Module

        from tosa_rescale.twin import Twin

        del workers  # TensorFlow has one pool of threads for the whole process
        self._twin = Twin(Module.parse(model.bytecode, model.source), reference=self.REFERENCE)

    def run_many(self, inputs: Sequence[np.ndarray], advance: Advance | None = None) -> list[np.ndarray]:
        chunks: list[list[np.ndarray]] = []
        for start in range(0, len(inputs[0]), self.BATCH):
            chunk = [array[start : start + self.BATCH] for array in inputs]
            chunks.append(self._twin.run(chunk))
            if advance:
                advance(len(chunk[0]))
        return [np.concatenate(column) for column in zip(*chunks, strict=True)]


class ReferenceTwinEngine(TwinEngine):
    """The twin in float64 throughout."""

    REFERENCE = True


def _graphs(sample: Sequence[np.ndarray], signature: Signature) -> list[np.ndarray]:
    """One sample of each input in the shape that the graph takes."""
    return [
        np.ascontiguousarray(array).reshape([extent or 1 for extent in spec.shape])
        for array, spec in zip(sample, signature.inputs, strict=True)
    ]


def _samples(results: Sequence[np.ndarray], signature: Signature) -> list[np.ndarray]:
    """What the graph gave, each output in the shape of one sample."""
    shapes = ([extent or 1 for extent in signature.sample_shape(spec)] for spec in signature.outputs)
    return [result.reshape(shape) for result, shape in zip(results, shapes, strict=True)]


def _signless(array: np.ndarray) -> np.ndarray:
    return array.view(array.dtype.str.replace("u", "i")) if array.dtype.kind == "u" else array


ENGINES: dict[str, Callable[..., Engine]] = {
    "iree": IreeEngine,
    "iree-constant": IreeConstantEngine,
    "litert": LitertEngine,
    "reference": ReferenceEngine,
    "tf": TwinEngine,
    "tf64": ReferenceTwinEngine,
}


def make_engine(name: str, model: Program, workers: int | None = None) -> Engine:
    """Builds the engine for a model.

    Args:
        name: a key of ENGINES.
        model: what it shall execute.
        workers: threads; None: one for each core.

    Raises:
        OptionError: there is no such engine.
        ModelError: the engine cannot execute this model.
        MissingToolError: the engine is not installed.
    """
    if name not in ENGINES:
        raise OptionError(f"engine: {name!r} is not one of {', '.join(ENGINES)}")
    try:
        return ENGINES[name](model, workers=workers)
    except ImportError as error:
        raise MissingToolError(f"engine {name}: {error.name} is not installed; pip install {error.name}") from error


def engine_or_twin(name: str, model: Program, workers: int | None = None) -> tuple[Engine, str]:
    """The engine for a model; where IREE cannot compile the model, the twin in its place, which gives the same integers.

    Returns:
        The engine, and a sentence that says so; empty where it is the one that was asked for.

    Raises:
        OptionError, ModelError, MissingToolError: see make_engine.
        CompileError: the engine cannot compile the model, and TensorFlow is not installed.
    """
    try:
        return make_engine(name, model, workers), ""
    except CompileError as error:
        other, said = twin_instead(name, model, error)
        return make_engine(other, model, workers), said


def twin_instead(name: str, model: Program, error: CompileError) -> tuple[str, str]:
    """The engine that runs a model which IREE cannot compile.

    Args:
        name: of the engine that was asked for.
        model: what it shall execute.
        error: what IREE said.

    Returns:
        The twin's name, and a sentence that says so.

    Raises:
        CompileError: the error itself, where flags, disk or memory are at fault, the engine is not IREE, or TensorFlow is not
            installed.
    """
    if not name.startswith("iree") or not error.unsupported or not importlib.util.find_spec("tensorflow"):
        raise error
    return "tf", f"{model.source}: IREE cannot compile it; the twin runs it, with the same integers ({error})"


def exact_engines() -> list[str]:
    """The engines at hand that must agree bit for bit."""
    from tosa_rescale.formats.tosa import reference_model_available

    twin = ["tf"] if importlib.util.find_spec("tensorflow") else []
    return ["iree", "iree-constant", *twin, *(["reference"] if reference_model_available() else [])]
