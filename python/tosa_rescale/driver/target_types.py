# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Why a target refused a model: integers of 64 bits that it does not have, and that rescales still need."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence

from tosa_rescale.core.display import count
from tosa_rescale.core.errors import TosaRescaleError
from tosa_rescale.core.program import Program
from tosa_rescale.core.rescales import describe_rescales

_PROBE = "func.func @main(%a: tensor<1xi8>) -> tensor<1xi8> { return %a : tensor<1xi8> }\n"
# A processor of IREE's target description: `compute = fp32|int32|int16`.
_COMPUTE = re.compile(r"\bcompute = ([\w|]+)")
# An error about a type of 64 bits, or about the pair of halves that IREE makes of one.
_ABOUT_64_BITS = re.compile(r"error: .*(?:xi64\b|-> i64\b|x2xi32\b)")
_LIMIT_S = 60


def said_of(compiler: str, source: str, flags: Sequence[str]) -> str:
    """What iree-compile writes to its standard error for an input that it refused before."""
    argv = [compiler, source, *flags, "-o", os.devnull]
    return subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False).stderr


def advice(model: Callable[[], Program], flags: Sequence[str], compiler: str, said: Callable[[], str]) -> str | None:
    """What to do where iree-compile refused a model for a target without 64-bit integers.

    Args:
        model: gives what was compiled.
        flags: of iree-compile, without input and output.
        compiler: path of iree-compile.
        said: gives its standard error. Both are called only where the target is such a one.

    Returns:
        One line that names the first rescale that needs 64 bits, the target's types and the remedy; None where the target has
        64-bit integers or does not say, where no error is about 64 bits, or no rescale needs them.
    """
    types = _types_of_target(flags, compiler)
    if not types or "int64" in types or not any(_ABOUT_64_BITS.search(line) for line in said().splitlines()):
        return None
    try:
        compiled = model()
        wide = [each for each in describe_rescales(compiled) if not each.lowered]
    except TosaRescaleError:
        return None  # no module that we can read; what iree-compile said stands alone
    if not wide:
        return None
    first = f"{wide[0].key} ({wide[0].name})" if wide[0].name else wide[0].key
    need = f"it and {count(len(wide) - 1, 'more rescale')} need" if len(wide) > 1 else "it needs"
    return (
        f"{compiled.source}: {first}: {need} products of 64 bits, and the target has {', '.join(types)}; pass "
        "--tosa-rescale-lower, with --tosa-rescale-bits=8 or fewer and --tosa-rescale-scope=all where multipliers are wider"
    )


def _types_of_target(flags: Sequence[str], compiler: str) -> list[str]:
    """The types that IREE's description of a GPU names for computing, fewest of all devices; empty where there are none."""
    with tempfile.TemporaryDirectory(prefix="tosa-rescale-") as folder:
        probe = pathlib.Path(folder, "probe.mlir")
        probe.write_text(_PROBE)
        kept = [each for each in flags if "compile-to" not in each and "compile-from" not in each]
        argv = [compiler, str(probe), *kept, "--compile-to=flow", "-o", "-"]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False, timeout=_LIMIT_S)
        except subprocess.TimeoutExpired:
            return []
    found = [each.split("|") for each in _COMPUTE.findall(done.stdout)]
    return min(found, key=len, default=[])
