# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Keeps what C libraries write to standard error to itself."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

VARIABLE = "TF_CPP_MIN_LOG_LEVEL"
"""TensorFlow's own; 0 asks for everything."""


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Standard error, the file descriptor, goes nowhere while the block runs; after an error in it, it is shown.

    TensorFlow writes of processors and missing GPUs before its own log levels hold. With $TF_CPP_MIN_LOG_LEVEL=0 nothing is
    kept back.
    """
    if os.environ.get(VARIABLE) == "0":
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            _restore(kept)
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))
            raise
        _restore(kept)


def _restore(kept: int) -> None:
    sys.stderr.flush()
    os.dup2(kept, 2)
    os.close(kept)
