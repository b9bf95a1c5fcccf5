# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whether engines agree bit for bit on a model."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tosa_rescale_runtime import Comparison, compare_all

from tosa_rescale.data import Dataset
from tosa_rescale.engines import exact_engines, make_engine
from tosa_rescale.errors import OptionError
from tosa_rescale.progress import Progress, Silent

if TYPE_CHECKING:
    from tosa_rescale.model import Model


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """Every pair of engines compared.

    Attributes:
        samples: number of samples run.
        pairs: the comparison of every pair of engines.
    """

    samples: int
    pairs: dict[tuple[str, str], Comparison]

    @property
    def bit_exact(self) -> bool:
        """No value differs between any two engines."""
        return all(comparison.exact for comparison in self.pairs.values())

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
        }


def check(
    model: Model,
    inputs: Dataset | int = 8,
    *,
    engines: Sequence[str] | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> CheckResult:
    """Runs a model on several engines and compares every output value.

    Args:
        model: the model.
        inputs: a dataset, or a number of uniform random samples.
        engines: at least two; None: all that are at hand and must agree.
        seed: of the random samples.
        workers: threads; None: one for each core.
        progress: shows rate and remaining time.

    Raises:
        OptionError: fewer than two engines.
        DataError: samples do not fit the input.
    """
    names = list(exact_engines() if engines is None else engines)
    if len(set(names)) < 2:
        raise OptionError(f"engines: {', '.join(names) or 'none'} cannot be compared; give at least two, by comma")
    if isinstance(inputs, int):
        if inputs < 1:
            raise OptionError(f"inputs: {inputs} is out of range; give at least 1")
        arrays = model.random_inputs(inputs, seed)
    else:
        arrays = [np.concatenate(list(inputs.quantized(model.input_spec)))]
    outputs = {}
    for name in names:
        with (progress or Silent()).task(f"run on {name}", len(arrays[0])) as advance:
            outputs[name] = make_engine(name, model, workers).run_many(arrays, advance)
    pairs = {(a, b): compare_all(outputs[a], outputs[b]) for a, b in itertools.combinations(names, 2)}
    return CheckResult(len(arrays[0]), pairs)
