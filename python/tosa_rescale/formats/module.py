# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reads TOSA modules, whatever format they came in, with a limit of time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tosa_rescale.core.passes import run_passes, to_bytecode
from tosa_rescale.formats.argmin import complement_argmins, may_negate
from tosa_rescale.formats.folding import fold_slices, slices_constants
from tosa_rescale.formats.limits import read_limit

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module

Rewrite = tuple[Callable[[bytes], bool], Callable[["Module"], bool]]
"""By its bytecode alone, whether a module may have what is rewritten; and what rewrites it, and says whether there was any."""

_REWRITES: tuple[Rewrite, ...] = ((slices_constants, fold_slices), (may_negate, complement_argmins))


def passes(batch: int | None) -> list[str]:
    """What every module goes through: the batch where its first dimension is open; None leaves it open."""
    return [] if batch is None else [f"tosa-rescale-static-batch=batch={batch}"]


def sound(data: bytes, source: str, batch: int | None, also: Sequence[Rewrite] = ()) -> bytes:
    """The module, read and verified, with this batch, without slices of constants and differences in 8 bits.

    Raises PassError where that cannot be. `also` holds rewrites for modules of one origin only.

    In a process of its own, because the reader may never return.
    """
    from tosa_rescale_runtime import Module

    bytecode = run_passes(data, passes(batch), source=source, timeout=read_limit(data)).bytecode
    rewrites = [rewrite for may_have, rewrite in (*_REWRITES, *also) if may_have(bytecode)]
    if not rewrites:
        return bytecode
    module = Module.parse(bytecode, source)
    changed = [rewrite(module) for rewrite in rewrites]
    return to_bytecode(module, source) if any(changed) else bytecode
