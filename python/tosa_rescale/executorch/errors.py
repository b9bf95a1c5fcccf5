# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What can go wrong between PyTorch and TOSA."""

from __future__ import annotations

from tosa_rescale.core.errors import TosaRescaleError


class ExecutorchError(TosaRescaleError):
    """A program that ExecuTorch does not lower as a whole to integers, another release of it, or a second context."""
