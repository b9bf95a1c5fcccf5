# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whether engines agree bit for bit on a model."""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tosa_rescale_runtime import Comparison, CompileError, compare_all

from tosa_rescale.core.display import Shown, Summary, count
from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.parsing import parse_count, parse_enum
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.data.source import as_dataset, input_arrays, random_inputs
from tosa_rescale.measure.engines import exact_engines, make_engine

LAYER_BATCH = 4  # samples whose every layer is held at a time
WIDEST_TAP = 32  # bits; wider accumulators do not leave IREE

if TYPE_CHECKING:
    from tosa_rescale.core.program import Program


class Layers(enum.StrEnum):
    """Where the twin is compared with IREE inside the graph."""

    NONE = "none"
    RESCALES = "rescales"  # after every rescale
    OPS = "ops"  # after every op


@dataclasses.dataclass(frozen=True, repr=False)
class CheckResult(Shown):
    """Every pair of engines compared. As a truth value it is its answer: `bit_exact`.

    Attributes:
        samples: number of samples run.
        pairs: the comparison of every pair of engines.
        layers: the comparison of the twin with IREE after every rescale or op, by key, in program order; empty unless asked
            for.
        left_out: engines that cannot run the model, with their words, where none was asked for by name.
    """

    samples: int
    pairs: dict[tuple[str, str], Comparison]
    layers: dict[str, Comparison] = dataclasses.field(default_factory=dict)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def first_difference(self) -> tuple[str, Comparison] | None:
        """The first of `layers`, in program order, whose results differ."""
        return next(((key, compared) for key, compared in self.layers.items() if not compared.exact), None)

    @property
    def bit_exact(self) -> bool:
        """No value differs between any two engines."""
        return all(comparison.exact for comparison in (*self.pairs.values(), *self.layers.values()))

    def __bool__(self) -> bool:
        return self.bit_exact

    def summary(self) -> Summary:
        """One row a pair of engines; which engines are left out, and where the first difference inside the graph is."""
        rows = [
            (" = ".join(engines), str(compared.values), str(compared.mismatches), str(compared.max_lsb))
            for engines, compared in self.pairs.items()
        ]
        notes = [f"{engine} is left out: {error}" for engine, error in self.left_out.items()]
        if self.layers:
            notes.append(self.layers_in_words())
        verdict = f"{'bit-exact' if self else 'NOT bit-exact'} on {count(self.samples, 'sample')}"
        return Summary(verdict, rows, ("engines", "values", "mismatches", "max LSB"), notes)

    def layers_in_words(self) -> str:
        """What the comparison inside the graph found."""
        values, first = sum(compared.values for compared in self.layers.values()), self.first_difference
        what = "rescale" if all(key.startswith("rescale") for key in self.layers) else "op"
        found = (
            "no mismatch"
            if first is None
            else f"first differing: {first[0]}, {first[1].mismatches} of {first[1].values}, by up to {first[1].max_lsb}"
        )
        return f"{count(len(self.layers), what)}, twin = iree: {values} values, {found}"

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
            "left_out": self.left_out,
        }


def check(
    model: Program,
    inputs: Any = 8,
    *,
    engines: Sequence[str] | None = None,
    seed: int = 0,
    workers: int | None = None,
    layers: Layers | str | bool = Layers.NONE,
    progress: Progress | None = None,
) -> CheckResult:
    """Runs a model on several engines and compares every output value.

    Args:
        model: the model.
        inputs: a number of uniform random samples; a Dataset, or what as_dataset makes one of.
        engines: at least two; None: all that are at hand, must agree and can run the model.
        seed: of the random samples.
        workers: threads; None: one for each core.
        layers: compare the differentiable twin with IREE inside the graph as well, after every rescale (True) or op.
        progress: shows rate and remaining time.

    Raises:
        OptionError: fewer than two engines, or `layers` is none of them.
        CompileError: an engine that was asked for cannot compile the model, or fewer than two can run it.
        DataError: samples do not fit the input.
        MissingToolError: `layers`, and TensorFlow is not installed.
    """
    where = parse_enum(Layers, _spelled(layers), "layers")
    names = list(exact_engines() if engines is None else engines)
    if len(set(names)) < 2:
        raise OptionError(f"engines: {', '.join(names) or 'none'} cannot be compared; give at least two, by comma")
    if isinstance(inputs, (int, float)):  # a bool and a float are refused there
        arrays = random_inputs(model.input_specs, parse_count(inputs, "inputs"), seed)
    else:
        arrays = input_arrays(as_dataset(inputs), model.input_specs)
    outputs: dict[str, list[np.ndarray]] = {}
    failed: dict[str, CompileError] = {}
    for name in names:
        with (progress or Silent()).task(f"run on {name}", len(arrays[0])) as advance:
            try:
                outputs[name] = make_engine(name, model, workers).run_many(arrays, advance)
            except CompileError as error:
                if engines is not None:
                    raise
                failed[name] = error
    if failed and len(outputs) < 2:
        raise next(iter(failed.values()))
    pairs = {(a, b): compare_all(outputs[a], outputs[b]) for a, b in itertools.combinations(outputs, 2)}
    inside = {} if where is Layers.NONE else compare_layers(model, arrays, where, workers)
    return CheckResult(len(arrays[0]), pairs, inside, {name: str(error) for name, error in failed.items()})


def _spelled(layers: Layers | str | bool) -> str:
    if isinstance(layers, bool):
        return Layers.RESCALES if layers else Layers.NONE
    return layers


def compare_layers(model: Program, arrays: list[np.ndarray], which: Layers, workers: int | None) -> dict[str, Comparison]:
    """The twin's value of every rescale or op against IREE's, a few samples at a time: all of them are in memory at once.

    Args:
        model: the model.
        arrays: one array [N, *shape of a sample] for each input.
        which: after which ops.
        workers: see `check`.

    Returns:
        Key of the op to its comparison, in program order. An op that the twin computes together with another, a reshape between
        two convolutions for instance, and a result that is wider than 32 bits have none.
    """
    from tosa_rescale_runtime import Executable, Module, Tap

    from tosa_rescale.twin import Twin

    module = Module.parse(model.bytecode, model.source)
    twin = Twin(module)
    known = {node.key for node in twin.graph.nodes}
    ops = [op for op in module.ops() if op.key in known and (op.kind == "rescale" or which is Layers.OPS)]
    keys = [op.key for op in ops if (module.result_bits(op) or WIDEST_TAP + 1) <= WIDEST_TAP]
    executable = Executable.build(model.bytecode, taps=keys, source=model.source)
    found: dict[str, Comparison] = {}
    for number, run in enumerate(executable.run_taps(*arrays, chunk=LAYER_BATCH, workers=workers)):
        start = number * LAYER_BATCH
        values = twin.run([array[start : start + LAYER_BATCH] for array in arrays], keys)
        for key, value in zip(keys, values, strict=True):
            theirs = run.taps[Tap(key)]
            ours = _signed(value, theirs.dtype)
            if ours.size < theirs.size:  # follows from constants alone, which the twin computes once for all samples
                ours = np.broadcast_to(ours.reshape(theirs.shape[1:]), theirs.shape)
            compared = compare_all([ours.reshape(theirs.shape)], [theirs])
            found[key] = found[key] + compared if key in found else compared
    return found


def _signed(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The twin's integers as a signless type shows them: what is unsigned in the graph wraps, and nothing else does."""
    limits = np.iinfo(dtype)
    span = int(limits.max) - int(limits.min) + 1
    return np.where((values > limits.max) & (values < span), values - span, values) if limits.min < 0 else values
