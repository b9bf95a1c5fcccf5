# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowering: the pass `tosa-rescale-lower`, which writes rescales as operations of 32 bits."""

from __future__ import annotations

from tosa_rescale.core.options import LOWER, LowerOptions
from tosa_rescale.core.passes import run_passes
from tosa_rescale.core.program import P
from tosa_rescale.core.recipe import Step
from tosa_rescale.core.rescales import raised


def lower(program: P, options: LowerOptions) -> P:
    """Rewrites the rescales in scope into 32-bit operations, where that is proven to give the same for every input.

    Args:
        program: a module with rescales; ones that are lowered already are lowered anew.
        options: what is asked.

    Returns:
        A new program; `remarks` names the rescales in scope that stay, with the range that keeps them.

    Raises:
        ModelError: the module has no rescale (a float model).
        PassError: with `strict`, a rescale cannot be lowered.
    """
    program.require_rescales()
    done = run_passes(raised(program).bytecode, [options.pass_options(LOWER)], program.source)
    return program.after(done.bytecode, Step("lower", options.as_dict()), done.remarks)
