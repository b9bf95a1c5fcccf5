# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""TensorFlow, for the twin only. It is an extra, its import takes seconds, and its types say nothing to a type checker."""

from __future__ import annotations

import importlib
import os
from typing import Any

from tosa_rescale.core.errors import MissingToolError
from tosa_rescale.core.hush import VARIABLE, hushed


def _import_tensorflow() -> Any:
    # Its start-up notes are of no use to a user of this package; errors still show.
    os.environ.setdefault(VARIABLE, "2")
    try:
        with hushed():
            tensorflow = importlib.import_module("tensorflow")
            tensorflow.config.list_physical_devices()  # says what is missing of CUDA, here and not later
    except ImportError as error:
        raise MissingToolError(
            f"the differentiable twin: {error.name} is not installed; pip install 'tosa-rescale[train]'"
        ) from error
    # TensorFloat-32 keeps 11 bits of a factor: 8-bit products survive, 16-bit ones do not.
    tensorflow.config.experimental.enable_tensor_float_32_execution(False)
    return tensorflow


tf: Any = _import_tensorflow()
