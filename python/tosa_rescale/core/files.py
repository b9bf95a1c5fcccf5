# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Files: kinds by suffix, and writing that is all or nothing."""

from __future__ import annotations

import contextlib
import enum
import fcntl
import glob
import os
import pathlib
import tempfile
import time
from collections.abc import Iterator

from tosa_rescale.core.errors import FileKindError, ModelError, OutputError

PathLike = str | os.PathLike[str]

STALE_SECONDS = 60  # between making a temporary file and locking it pass microseconds


class FileKind(enum.Enum):
    """What a file holds, by its suffix."""

    LITERT = ".tflite"
    BYTECODE = ".mlirbc"
    TEXT = ".mlir"
    TOSA = ".tosa"
    EXECUTABLE = ".vmfb"


def kind_of(path: PathLike) -> FileKind:
    """The kind that a path's suffix names.

    Raises:
        FileKindError: the suffix names none.
    """
    suffix = pathlib.Path(path).suffix.lower()
    try:
        return FileKind(suffix)
    except ValueError:
        known = ", ".join(kind.value for kind in FileKind)
        raise FileKindError(f"{path}: unknown suffix {suffix!r}; file kinds go by suffix, one of {known}") from None


def read_file(path: PathLike) -> bytes:
    """A model file's bytes. Raises ModelError where it is missing, unreadable or empty."""
    path = pathlib.Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if not data:
        raise ModelError(f"{path}: is empty")
    return data


def require_writable(path: PathLike, force: bool) -> pathlib.Path:
    """Checks, before any work is done, that an output may be written.

    Raises:
        OutputError: it exists and `force` is not given, or its folder is missing or not writable.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file")
    if path.exists() and not force:
        raise OutputError(f"{path}: exists already; pass `force=True` to overwrite it")
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"{path}: folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: folder {folder} is not writable; choose another")
    return path


@contextlib.contextmanager
def atomic_write(path: PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary path beside `path` that takes its place when the block ends without an error.

    A reader sees the old file or the new one, never a part: a full disk or a kill leaves the old one as it was.

    Raises:
        OutputError: the file cannot be written (no space, no permission).
    """
    path = pathlib.Path(path)
    _remove_stale(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    temporary = pathlib.Path(name)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # for _remove_stale; ends with this process, however it ends
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}; the old file, if any, is as it was") from error
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def _remove_stale(path: pathlib.Path) -> None:
    """Removes temporary files of `path` that killed processes left: old enough to be locked, and not locked."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.????????{glob.escape(path.suffix)}"):
        with contextlib.suppress(OSError):
            if time.time() - temporary.stat().st_mtime < STALE_SECONDS:
                continue
            with open(temporary, "rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                temporary.unlink()


def write_bytes(path: PathLike, data: bytes) -> None:
    """Writes a file whole or not at all. Raises OutputError."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: PathLike, text: str) -> None:
    """Writes a text file (UTF-8) whole or not at all. Raises OutputError."""
    write_bytes(path, text.encode())


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
