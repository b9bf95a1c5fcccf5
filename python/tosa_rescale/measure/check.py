# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whether engines agree bit for bit on a model."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tosa_rescale_runtime import Comparison, compare_all

from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.data.source import input_arrays, random_inputs
from tosa_rescale.measure.engines import exact_engines, make_engine

LAYER_BATCH = 4  # samples whose every rescale is held at a time

if TYPE_CHECKING:
    from tosa_rescale.core.program import Program


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """Every pair of engines compared.

    Attributes:
        samples: number of samples run.
        pairs: the comparison of every pair of engines.
        layers: the comparison of the twin with IREE at every rescale, by key, in program order; empty unless asked for.
    """

    samples: int
    pairs: dict[tuple[str, str], Comparison]
    layers: dict[str, Comparison] = dataclasses.field(default_factory=dict)

    @property
    def first_difference(self) -> tuple[str, Comparison] | None:
        """The first rescale, in program order, whose results differ."""
        return next(((key, compared) for key, compared in self.layers.items() if not compared.exact), None)

    @property
    def bit_exact(self) -> bool:
        """No value differs between any two engines."""
        return all(comparison.exact for comparison in (*self.pairs.values(), *self.layers.values()))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: values, mismatches, and the pairs."""
        return {
            "samples": self.samples,
            "values": sum(c.values for c in self.pairs.values()),
            "mismatches": sum(c.mismatches for c in self.pairs.values()),
            "pairs": [
                {"engines": list(engines), "values": c.values, "mismatches": c.mismatches, "max_lsb": c.max_lsb}
                for engines, c in self.pairs.items()
            ],
            "layers": [
                {"op": key, "values": c.values, "mismatches": c.mismatches, "max_lsb": c.max_lsb}
                for key, c in self.layers.items()
            ],
        }


def check(
    model: Program,
    inputs: Dataset | int = 8,
    *,
    engines: Sequence[str] | None = None,
    seed: int = 0,
    workers: int | None = None,
    layers: bool = False,
    progress: Progress | None = None,
) -> CheckResult:
    """Runs a model on several engines and compares every output value.

    Args:
        model: the model.
        inputs: a dataset, or a number of uniform random samples.
        engines: at least two; None: all that are at hand and must agree.
        seed: of the random samples.
        workers: threads; None: one for each core.
        layers: compare the differentiable twin with IREE at every rescale as well.
        progress: shows rate and remaining time.

    Raises:
        OptionError: fewer than two engines.
        DataError: samples do not fit the input.
        MissingToolError: `layers`, and TensorFlow is not installed.
    """
    names = list(exact_engines() if engines is None else engines)
    if len(set(names)) < 2:
        raise OptionError(f"engines: {', '.join(names) or 'none'} cannot be compared; give at least two, by comma")
    if isinstance(inputs, int):
        if inputs < 1:
            raise OptionError(f"inputs: {inputs} is out of range; give at least 1")
        arrays = random_inputs(model.input_specs, inputs, seed)
    else:
        arrays = input_arrays(inputs, model.input_specs)
    outputs = {}
    for name in names:
        with (progress or Silent()).task(f"run on {name}", len(arrays[0])) as advance:
            outputs[name] = make_engine(name, model, workers).run_many(arrays, advance)
    pairs = {(a, b): compare_all(outputs[a], outputs[b]) for a, b in itertools.combinations(names, 2)}
    return CheckResult(len(arrays[0]), pairs, compare_layers(model, arrays, workers) if layers else {})


def compare_layers(model: Program, arrays: list[np.ndarray], workers: int | None) -> dict[str, Comparison]:
    """Every rescale of the twin against IREE's, a few samples at a time: all of them are in memory at once."""
    from tosa_rescale_runtime import Executable, Module

    from tosa_rescale.twin import Twin

    module = Module.parse(model.bytecode, model.source)
    keys = [each.key for each in module.rescales()]
    twin = Twin(module)
    executable = Executable.build(model.bytecode, taps=keys, source=model.source)
    plain = len(executable.outputs) - len(keys)
    found: dict[str, Comparison] = {}
    for start in range(0, len(arrays[0]), LAYER_BATCH):
        chunk = [array[start : start + LAYER_BATCH] for array in arrays]
        theirs = executable.run_many(*chunk, workers=workers)[plain:]
        for key, one, other in zip(keys, twin.run(chunk, keys), theirs, strict=True):
            compared = compare_all([one.reshape(other.shape)], [other])
            found[key] = found[key] + compared if key in found else compared
    return found
