# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reads a model of any supported file kind into TOSA bytecode."""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess
import sys
import tempfile

from tosa_rescale.core.errors import FileKindError, ModelError
from tosa_rescale.core.files import FileKind, PathLike, kind_of
from tosa_rescale.core.passes import run_passes
from tosa_rescale.core.program import Program
from tosa_rescale.core.quantization import GraphQuantization, read_flatbuffer
from tosa_rescale.core.recipe import read_state
from tosa_rescale.formats.tosa import deserialize

CONVERTER = pathlib.Path(__file__).parent / "_converter.py"
READ_TIMEOUT = 8  # seconds, and one more for each megabyte


@dataclasses.dataclass(frozen=True)
class Imported:
    """A model as it came from its file.

    Attributes:
        bytecode: a TOSA module with static shapes.
        quantization: that of the graph's border; None where the file does not say.
        flatbuffer: the LiteRT file it came from, for writing back.
    """

    bytecode: bytes
    quantization: GraphQuantization | None
    flatbuffer: bytes | None


def import_model(path: PathLike, batch: int = 1) -> Imported:
    """Reads a model; the kind goes by suffix (.tflite, .mlirbc, .mlir, .tosa).

    Args:
        path: the file.
        batch: extent given to a dynamic batch dimension.

    Raises:
        FileKindError: the suffix is unknown, or names no model.
        ModelError: the file is missing, corrupt, or cannot be converted.
        MissingToolError: a .tosa file, and tosa-opt is not installed.
        PassError: the module cannot be made static.
    """
    path = pathlib.Path(path)
    kind = kind_of(path)
    data = read_file(path)
    match kind:
        case FileKind.LITERT:
            return import_flatbuffer(data, str(path), batch)
        case FileKind.TOSA:
            data = deserialize(data, str(path))
        case FileKind.EXECUTABLE:
            raise FileKindError(f"{path}: is a compiled executable; give the model it was made from (.tflite, .mlirbc, .mlir)")
        case FileKind.BYTECODE | FileKind.TEXT:
            pass
    return Imported(_make_static(data, str(path), batch), None, None)


def read(path: PathLike, batch: int = 1) -> Program:
    """Reads a model with its state; the kind goes by suffix; see import_model."""
    imported = import_model(path, batch)
    quantization, recipe = read_state(imported.bytecode, str(path))
    return Program(imported.bytecode, str(path), imported.quantization or quantization, imported.flatbuffer, recipe)


def import_flatbuffer(data: bytes, source: str, batch: int = 1) -> Imported:
    """Reads a LiteRT flatbuffer; see import_model."""
    quantization = read_flatbuffer(data, source)
    return Imported(_make_static(_convert_flatbuffer(data, source), source, batch), quantization, data)


def _make_static(data: bytes, source: str, batch: int) -> bytes:
    return run_passes(data, [f"tosa-rescale-static-batch=batch={batch}"], source=source, timeout=_read_limit(data)).bytecode


def require_readable(data: bytes, source: str) -> None:
    """Raises PassError where a module cannot be read; in a process of its own, because the reader may never return."""
    run_passes(data, [], source=source, timeout=_read_limit(data))


def _read_limit(data: bytes) -> float:
    """Seconds. Converter and bytecode reader can loop on a corrupt file; a sound one takes them 100 ms for each megabyte."""
    return READ_TIMEOUT + len(data) / 1e6


def read_file(path: pathlib.Path) -> bytes:
    """A file's bytes. Raises ModelError where it is missing, unreadable or empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if not data:
        raise ModelError(f"{path}: is empty")
    return data


def _convert_flatbuffer(data: bytes, source: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="tosa-rescale-") as folder:
        # A fixed name in the working folder: the converter writes it into every location, and equal models must give
        # equal bytecode wherever they lie.
        (pathlib.Path(folder) / "model.tflite").write_bytes(data)
        argv = [sys.executable, "-P", str(CONVERTER), "model.tflite", "model.mlirbc"]
        try:
            done = subprocess.run(argv, cwd=folder, capture_output=True, check=False, timeout=_read_limit(data))
        except subprocess.TimeoutExpired:
            raise ModelError(f"{source}: the converter did not end within {_read_limit(data):.0f} s (corrupt file?)") from None
        converted = pathlib.Path(folder) / "model.mlirbc"
        if done.returncode != 0 or not converted.is_file():
            raise ModelError(
                f"{source}: cannot be converted to TOSA: {_converter_reason(done.stderr.decode(errors='replace'))}"
            )
        return converted.read_bytes()


def _converter_reason(said: str) -> str:
    errors = [line.split("error: ", 1)[1] for line in said.splitlines() if "error: " in line]
    return errors[0] if errors else "the converter ended without a message (corrupt file?)"
