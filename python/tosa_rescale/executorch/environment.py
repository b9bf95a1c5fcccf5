# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Finds ExecuTorch's Arm backend and makes sure that it has the form which this package was tested with."""

from __future__ import annotations

import importlib.metadata
import inspect
from typing import Any

from tosa_rescale.core.errors import MissingToolError
from tosa_rescale.executorch.errors import ExecutorchError

TESTED = ("1.5.1", "1.5.0", "1.4.1")
"""Releases of executorch that the tests ran with."""

HINT = "pip install 'tosa-rescale[executorch]' in an environment without TensorFlow"


def installed_version() -> str:
    """The release of executorch that is installed, without a local part such as `+cpu`.

    Raises:
        MissingToolError: there is none.
    """
    try:
        return importlib.metadata.version("executorch").split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        raise MissingToolError(f"executorch: is not installed; {HINT}") from None


def tosa_backend() -> Any:
    """ExecuTorch's class TOSABackend: its Ethos-U and VGF backends call it too, and compile what it gives them.

    Raises:
        MissingToolError: executorch or torch is not installed.
        ExecutorchError: the release is not one of those tested, or its backend is of another form.
    """
    version = installed_version()
    try:
        from executorch.backends.arm.common.arm_compile_spec import ArmCompileSpec
        from executorch.backends.arm.tosa.backend import TOSABackend
    except ImportError as error:
        raise MissingToolError(f"executorch {version}: {error.name} is not installed; {HINT}") from error
    # Private names of ExecuTorch, which no release promises to keep.
    lower = vars(TOSABackend).get("_preprocess")
    form = isinstance(lower, staticmethod) and tuple(inspect.signature(lower.__func__).parameters)
    if version not in TESTED or form != ("edge_program", "compile_spec") or not hasattr(ArmCompileSpec, "DebugMode"):
        raise ExecutorchError(
            f"executorch {version}: is not a release that this package was tested with ({', '.join(TESTED)});"
            f" pip install executorch=={TESTED[0]}"
        )
    return TOSABackend
