# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reads TOSA modules, whatever format they came in, with a limit of time."""

from __future__ import annotations

from tosa_rescale.core.passes import run_passes, to_bytecode
from tosa_rescale.formats.folding import fold_slices, slices_constants
from tosa_rescale.formats.limits import read_limit


def passes(batch: int | None) -> list[str]:
    """What every module goes through: the batch where its first dimension is open; None leaves it open."""
    return [] if batch is None else [f"tosa-rescale-static-batch=batch={batch}"]


def sound(data: bytes, source: str, batch: int | None) -> bytes:
    """The module, read and verified, with this batch and without slices of constants. Raises PassError where that cannot be.

    In a process of its own, because the reader may never return.
    """
    from tosa_rescale_runtime import Module

    bytecode = run_passes(data, passes(batch), source=source, timeout=read_limit(data)).bytecode
    if not slices_constants(bytecode):
        return bytecode
    module = Module.parse(bytecode, source)
    return to_bytecode(module, source) if fold_slices(module) else bytecode
