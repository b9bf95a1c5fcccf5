# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a model gives for some samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tosa_rescale.core.display import count
from tosa_rescale.core.errors import DataError
from tosa_rescale.data.source import as_dataset, input_arrays
from tosa_rescale.measure.engines import engine_or_twin

if TYPE_CHECKING:
    from tosa_rescale.core.program import Program


def execute(model: Program, *data: Any, engine: str = "iree", workers: int | None = None) -> list[np.ndarray]:
    """Runs a model on samples.

    Args:
        model: the model.
        data: a data set or what as_dataset makes one of; one sample of the only input, without a dimension that counts samples;
            or for each input, in order, an array [N, ...].
        engine: see tosa_rescale.measure.engines.
        workers: threads; None: one for each core.

    Returns:
        The integers of each output, [N, *shape of a sample]; of one sample without the first dimension.

    Raises:
        DataError: samples do not fit the inputs.
        ModelError, OptionError: the engine cannot execute the model, or there is no such engine.
    """
    specs = model.input_specs
    single = len(specs) == len(data) == 1 and np.shape(data[0]) == specs[0].shape if _is_array(data) else False
    if len(data) == 1:
        given = as_dataset(data[0][None] if single else data[0])
    elif len(data) == len(specs):
        given = as_dataset({f"input{i}": array for i, array in enumerate(data)})
    else:
        raise DataError(
            f"{model.source}: has {count(len(specs), 'input')}, got {count(len(data), 'array')}; give an array for each"
        )
    runner, _ = engine_or_twin(engine, model, workers)
    outputs = runner.run_many(input_arrays(given, specs))
    return [output[0] for output in outputs] if single else outputs


def _is_array(data: tuple[Any, ...]) -> bool:
    return bool(data) and hasattr(data[0], "__array__")
