# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reads a model of any kind into a Program: `read` goes by a path's suffix, `read_content` by the bytes alone."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence

from tosa_rescale.core.errors import FileKindError, ModelError, PassError
from tosa_rescale.core.files import FileKind, PathLike, kind_of, read_file
from tosa_rescale.core.passes import run_passes_on
from tosa_rescale.core.program import Program
from tosa_rescale.core.recipe import read_state
from tosa_rescale.formats.module import passes, sound
from tosa_rescale.formats.tosa import deserialize

_MAGIC = {FileKind.LITERT: (4, b"TFL3"), FileKind.TOSA: (4, b"TOSA"), FileKind.BYTECODE: (0, b"ML\xefR")}
_SAID = {
    FileKind.LITERT: "a LiteRT model (.tflite)",
    FileKind.TOSA: "a TOSA flatbuffer (.tosa)",
    FileKind.BYTECODE: "MLIR bytecode (.mlirbc)",
}


def read(
    path: PathLike, batch: int = 1, *, until: str | None = None, shapes: Mapping[str, Sequence[int]] | None = None
) -> Program:
    """Reads a model with its state; the kind goes by suffix (.tflite, .mlirbc, .mlir, .tosa).

    Of a .tflite, the part that TOSA can express in integers is read; `remarks` says what of the file stays as it is. Its
    float32 inputs and outputs are read as the integers that the file quantizes them to.

    Args:
        path: the file.
        batch: extent given to a first dimension that the file leaves open.
        until: .tflite: the tensor that the part ends with; None: as far as TOSA goes.
        shapes: .tflite: whole shapes of inputs, by name; needed where other dimensions than the first are open.

    Raises:
        FileKindError: the suffix is unknown, names no model, or is not that of the content.
        ModelError: the file is missing, corrupt, or cannot be converted; `until` or `shapes` do not fit it.
        MissingToolError: a .tosa file, and tosa-opt is not installed.
        PassError: the module cannot be made static.
    """
    path = pathlib.Path(path)
    kind = kind_of(path)
    data = read_file(path)
    if kind is FileKind.EXECUTABLE:
        raise FileKindError(f"{path}: is a compiled executable; give the model it was made from (.tflite, .mlirbc, .mlir)")
    found = _kind_by_magic(data)
    if found is not None and found is not kind and (kind, found) != (FileKind.TEXT, FileKind.BYTECODE):
        raise FileKindError(f"{path}: holds {_SAID[found]}; rename it to {path.with_suffix(found.value).name}")
    return _read(data, kind, str(path), batch, until, shapes)


def as_program(model: Program | PathLike, argument: str = "model") -> Program:
    """A model, or the one in a file.

    Args:
        model: a program, or the path of a file that `read` reads.
        argument: what a message calls it.

    Raises:
        ModelError: it is neither; and what `read` raises.
    """
    if isinstance(model, Program):
        return model
    if isinstance(model, (str, os.PathLike)):
        return read(model)
    raise ModelError(f"{argument}: {type(model).__name__} is no model; give one, or the path of a file")


def read_content(
    data: bytes,
    source: str,
    batch: int | None = None,
    *,
    until: str | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Program:
    """Reads a model with its state; the kind goes by content (LiteRT, TOSA, MLIR bytecode, else MLIR text).

    Args:
        data: the bytes.
        source: what to call them in messages, such as the file's name. A suffix of .tflite says what they should be.
        batch: extent given to a first dimension that is open; None: it stays open, and is 1 in a LiteRT model.
        until, shapes: see `read`.

    Raises:
        ModelError, MissingToolError, PassError: see `read`.
    """
    if not data.strip():
        raise ModelError(f"{source}: is empty")
    kind = _kind_by_magic(data) or (FileKind.LITERT if source.endswith(FileKind.LITERT.value) else FileKind.TEXT)
    return _read(data, kind, source, batch, until, shapes)


def _kind_by_magic(data: bytes) -> FileKind | None:
    return next((kind for kind, (start, magic) in _MAGIC.items() if data[start : start + len(magic)] == magic), None)


def _read(
    data: bytes,
    kind: FileKind,
    source: str,
    batch: int | None,
    until: str | None,
    shapes: Mapping[str, Sequence[int]] | None,
) -> Program:
    if kind is FileKind.LITERT:
        from tosa_rescale.formats.litert.read import read_flatbuffer

        return read_flatbuffer(data, source, batch or 1, until, shapes)
    for option, given in (("`until`", until), ("`shapes`", shapes)):
        if given:
            raise ModelError(f"{source}: {option} is for .tflite files; this is {_SAID.get(kind, 'MLIR text')}")
    if kind is FileKind.TOSA:
        data = deserialize(data, source)
    bytecode = _from_text(data, source, batch) if kind is FileKind.TEXT else sound(data, source, batch)
    quantization, recipe = read_state(bytecode, source)
    return Program(bytecode, source, quantization, None, recipe)


def _from_text(data: bytes, source: str, batch: int | None) -> bytes:
    """Bytecode of text, which MLIR releases spell differently: as our tool writes it, else as IREE does."""
    from tosa_rescale_runtime import Module
    from tosa_rescale_runtime.errors import TosaRescaleError

    try:
        return sound(data, source, batch)
    except PassError as refused:
        try:
            module = Module.parse(data, source)
        except TosaRescaleError:
            raise refused from None
        return run_passes_on(module, passes(batch), source).bytecode
