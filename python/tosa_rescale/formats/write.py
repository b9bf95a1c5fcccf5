# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes a program as any kind of file; the kind goes by suffix. To add one, add a function and a row."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence

from tosa_rescale.core.errors import FileKindError, ModelError
from tosa_rescale.core.files import FileKind, PathLike, kind_of, require_writable, write_bytes
from tosa_rescale.core.program import Program
from tosa_rescale.core.recipe import attach_state
from tosa_rescale.formats.tosa import require_tosa_opt


def save(
    program: Program,
    path: PathLike,
    force: bool = False,
    *,
    original: PathLike | None = None,
    allow_partial: bool = False,
    flags: Sequence[str] | None = None,
) -> pathlib.Path:
    """Writes a program; the kind goes by suffix (.mlirbc, .mlir, .tosa, .vmfb, .tflite).

    The recipe and the border's quantization go along as module attributes (.mlirbc, .mlir).

    Args:
        program: what to write.
        path: the file.
        force: overwrite it.
        original: .tflite: the file that the model was made from; None: the one that it was loaded from.
        allow_partial: .tflite: leave element-wise multipliers, which scales cannot express, as they were.
        flags: .vmfb: iree-compile's; None: for this machine's CPU.

    Raises:
        FileKindError: the suffix is unknown, or names no kind that can be written.
        OutputError: it exists and `force` is not given, or cannot be written.
        ModelError: .tflite: there is no original, or scales cannot express a multiplier.
        CompileError: .vmfb: iree-compile failed.
        MissingToolError: .tosa: tosa-opt is not installed.
    """
    path, kind = require_writable(path, force), kind_of(path)
    writers: dict[FileKind, Callable[[], bytes]] = {
        FileKind.BYTECODE: lambda: with_state(program),
        FileKind.TEXT: lambda: _text(program),
        FileKind.LITERT: lambda: _litert(program, original, allow_partial),
        FileKind.TOSA: lambda: _tosa(program, str(path)),
        FileKind.EXECUTABLE: lambda: _executable(program, flags),
    }
    if kind not in writers:
        known = ", ".join(each.value for each in writers)
        raise FileKindError(f"{path}: a model cannot be written as {kind.value}; use one of {known}")
    write_bytes(path, writers[kind]())
    return path


def require_writable_as(program: Program, path: PathLike, *, original: PathLike | None = None) -> None:
    """Checks, before anything is computed, that what is made of a program can be written as the kind that a suffix names.

    Args:
        program: the program, or one that it will be made from.
        path: the file to write.
        original: see save.

    Raises:
        FileKindError: the suffix is unknown.
        MissingToolError: .tosa: tosa-opt is not installed.
        ModelError: .tflite: there is no original.
    """
    kind = kind_of(path)
    if kind is FileKind.TOSA:
        require_tosa_opt(str(path))
    if kind is FileKind.LITERT and program.flatbuffer is None and original is None:
        raise ModelError(
            f"{path}: cannot be written, as {program.source} came from no .tflite; write a .mlirbc, or convert that with"
            " --original and the .tflite that the model was made from"
        )


def with_state(program: Program) -> bytes:
    """The bytecode with quantization and recipe as module attributes."""
    return attach_state(program.bytecode, program.quantization, program.recipe, program.source)


def _text(program: Program) -> bytes:
    from tosa_rescale_runtime import Module

    module = Module.parse(with_state(program), program.source)
    return module.ir.operation.get_asm(print_generic_op_form=True).encode()


def _litert(program: Program, original: PathLike | None, allow_partial: bool) -> bytes:
    from tosa_rescale.formats.litert.export import to_litert

    return to_litert(program, original, allow_partial)


def _tosa(program: Program, target: str) -> bytes:
    from tosa_rescale.formats.tosa import serialize

    return serialize(program.bytecode, target)


def _executable(program: Program, flags: Sequence[str] | None) -> bytes:
    from tosa_rescale_runtime import DEFAULT_FLAGS, compile_module, prepare_for_iree

    module = prepare_for_iree(program.bytecode, program.source)
    return compile_module(module, DEFAULT_FLAGS if flags is None else tuple(flags))
