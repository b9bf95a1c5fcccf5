# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs passes in the tosa-rescale-opt process: bytecode in, bytecode out.

The passes are C++ against LLVM's MLIR; Python's MLIR bindings are IREE's own copy, and two copies cannot share a process.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tosa_rescale.core.errors import MissingToolError, PassError

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module

TOOL = "tosa-rescale-opt"
TOOL_VARIABLE = "TOSA_RESCALE_OPT"
SAVE_TEMPS_VARIABLE = "TOSA_RESCALE_SAVE_TEMPS"

# A line of the tool, "name: error: text" (passes/Diagnostics.h), or of MLIR, "file:line:column: error: text".
_DIAGNOSTIC = re.compile(r"^(?P<where>.*?): (?P<kind>error|warning|remark): (?P<text>.*)$")
_NOWHERE = "<unknown>:0"
# The module is the tool's standard input, which its user knows by another name; bytecode has no lines.
_INPUT = re.compile(r"^(<stdin>|-):(?P<line>\d+):(?P<column>\d+)$")


@dataclasses.dataclass(frozen=True)
class Diagnostic:
    """One thing a pass said.

    Attributes:
        where: the operation's name, or file, line and column; empty where that is not known.
        kind: error, warning or remark.
        text: what it said.
    """

    where: str
    kind: str
    text: str


@dataclasses.dataclass(frozen=True)
class PassResult:
    """A rewritten module and what the passes said of it."""

    bytecode: bytes
    diagnostics: tuple[Diagnostic, ...]

    @property
    def remarks(self) -> tuple[Diagnostic, ...]:
        """What was left alone, and why."""
        return tuple(d for d in self.diagnostics if d.kind == "remark")


def find_tool() -> pathlib.Path:
    """The tosa-rescale-opt executable: $TOSA_RESCALE_OPT, this installation's scripts folder, or PATH.

    Raises:
        MissingToolError: there is none.
    """
    if named := os.environ.get(TOOL_VARIABLE):
        return pathlib.Path(named)
    installed = pathlib.Path(sysconfig.get_path("scripts")) / TOOL
    if installed.is_file():
        return installed
    if on_path := shutil.which(TOOL):
        return pathlib.Path(on_path)
    raise MissingToolError(f"{TOOL}: not found; reinstall tosa-rescale, or name the tool in ${TOOL_VARIABLE}")


def build_argv(tool: str, passes: Sequence[str]) -> list[str]:
    """The command line: module on standard input, bytecode on standard output, passes as `--name=options`."""
    return [tool, "-", "--emit-bytecode", *(f"--{each}" for each in passes)]


def run_passes(bytecode: bytes, passes: Sequence[str], source: str = "model", timeout: float | None = None) -> PassResult:
    """Runs passes over a module.

    Args:
        bytecode: a TOSA module, MLIR bytecode or text.
        passes: each `name` or `name=option=value option=value`, in order.
        source: the file's name, for errors.
        timeout: seconds after which the tool is ended; None: no limit.

    Raises:
        PassError: the tool refused the module or took too long; the message is its first error.
        MissingToolError: the tool is not installed.
    """
    argv = build_argv(str(find_tool()), passes)
    try:
        done = subprocess.run(argv, input=bytecode, capture_output=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise PassError(f"{source}: {TOOL} did not end within {timeout:.0f} s (corrupt file?)") from None
    except OSError as error:
        raise MissingToolError(f"{argv[0]}: cannot be run: {error.strerror}; reinstall tosa-rescale") from error
    said = done.stderr.decode(errors="replace")
    diagnostics = parse_diagnostics(said)
    if folder := os.environ.get(SAVE_TEMPS_VARIABLE):
        _save_temps(pathlib.Path(folder), argv, bytecode, done.stdout, said)
    if done.returncode != 0:
        raise PassError(_failure_message(source, done.returncode, diagnostics, said), said)
    return PassResult(done.stdout, diagnostics)


def run_passes_on(module: Module, passes: Sequence[str], source: str = "model") -> PassResult:
    """Runs passes over a module that Python has changed; see run_passes.

    The bindings' MLIR is newer than the tool's, and for a few ops (tosa.cast) the tool cannot read its bytecode. Both
    agree on the generic text, which is larger and slower, so it comes second.
    """
    try:
        return run_passes(module.to_bytecode(), passes, source)
    except PassError:
        return run_passes(module.to_generic_text().encode(), passes, source)


def to_bytecode(module: Module, source: str = "model") -> bytes:
    """Bytecode of a module that Python has changed, in the form that the tool writes: equal modules give equal bytes."""
    return run_passes_on(module, [], source).bytecode


def parse_diagnostics(text: str) -> tuple[Diagnostic, ...]:
    """The diagnostics in what tosa-rescale-opt printed, in order."""
    matches = (_DIAGNOSTIC.match(line) for line in text.splitlines())
    return tuple(Diagnostic(_place(m["where"]), m["kind"], m["text"]) for m in matches if m)


def _place(where: str) -> str:
    if (match := _INPUT.match(where)) is None:
        return "" if where == _NOWHERE else where
    return "" if match["line"] == "0" else f"line {match['line']}, column {match['column']}"


def _failure_message(source: str, status: int, diagnostics: Sequence[Diagnostic], said: str) -> str:
    errors = [d for d in diagnostics if d.kind == "error"]
    if errors:
        where, more = errors[0].where, f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        place = f"{source}: {where}" if where else source
        return f"{place}: {errors[0].text}{more}"
    first = next((line for line in said.splitlines() if line.strip()), "no message")
    return f"{source}: {TOOL} ended with status {status}: {first}"


def _save_temps(folder: pathlib.Path, argv: Sequence[str], before: bytes, after: bytes, said: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    kept = pathlib.Path(tempfile.mkdtemp(prefix=f"{TOOL}-", dir=folder))
    (kept / "before.mlirbc").write_bytes(before)
    (kept / "after.mlirbc").write_bytes(after)
    (kept / "stderr.txt").write_text(said)
    (kept / "command.txt").write_text(" ".join(argv) + "\n")
