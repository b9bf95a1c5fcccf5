# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Narrowing: the pass `tosa-rescale-narrow`, and widths of single rescales."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tosa_rescale.core.attributes import BITS
from tosa_rescale.core.display import count
from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import NARROW, MultiplierRounding, NarrowOptions
from tosa_rescale.core.parsing import parse_bits
from tosa_rescale.core.passes import run_passes, to_bytecode
from tosa_rescale.core.program import P, Program
from tosa_rescale.core.recipe import Step
from tosa_rescale.core.rescales import raised

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module


def narrow(program: P, options: NarrowOptions) -> P:
    """Narrows the rescale multipliers in scope.

    Args:
        program: a module with rescales.
        options: what is asked.

    Returns:
        A new program; `remarks` names the rescales in scope that had to be left alone.

    Raises:
        ModelError: the module has no rescale (a float model).
        PassError: the pass refused the module.
    """
    program.require_rescales()
    program = raised(program)
    options = dataclasses.replace(options, multiplier_rounding=options.multiplier_rounding or MultiplierRounding.NEAREST)
    done = run_passes(program.bytecode, [options.pass_options(NARROW)], program.source)
    return program.after(done.bytecode, Step("narrow", options.as_dict()), done.remarks)


def with_bits(program: P, bits_of: Mapping[str, int]) -> P:
    """Writes widths of single rescales as attributes that override a pass's own width.

    Args:
        program: a module with rescales.
        bits_of: widths by key of the rescale (`RescaleInfo.key`), such as `rescale3`.

    Returns:
        A new program; its recipe has the widths.

    Raises:
        OptionError: a key names no rescale, or a width is out of range.
    """
    if not isinstance(bits_of, Mapping):
        raise OptionError(f"bits_of: {type(bits_of).__name__} is no mapping; give widths by key, such as {{'rescale3': 4}}")
    program = raised(program)
    module = mark_bits(program, program.module(), bits_of)
    return program.after(to_bytecode(module, program.source), Step("with_bits", {"bits_of": dict(bits_of)}), program.remarks)


def mark_bits(program: Program, module: Module, bits_of: Mapping[str, int]) -> Module:
    """Writes widths of single rescales on a module of the program, or one that a pass made of it; gives it back."""
    rescales = {op.key: op for op in module.ops() if op.kind == "rescale"}
    for key, bits in bits_of.items():
        if key not in rescales:
            near = difflib.get_close_matches(key, rescales, 3, 0.0)
            raise OptionError(
                f"bits_of: {key!r} is none of the {count(len(rescales), 'rescale')} of {program.source}"
                f" ({', '.join(near)}, ...); `tosa-rescale info` lists their keys"
            )
        module.set_attribute(rescales[key], BITS, parse_bits(bits, f"bits_of: {key}"))
    return module
