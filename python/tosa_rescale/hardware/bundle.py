# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A folder with the rescales of a model for those who build hardware and firmware; `tosa-rescale export`."""

from __future__ import annotations

import contextlib
import io
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from tosa_rescale.core.errors import OptionError, OutputError
from tosa_rescale.core.files import PathLike, write_bytes
from tosa_rescale.hardware.c_header import c_files
from tosa_rescale.hardware.goldens import Goldens
from tosa_rescale.hardware.json_tables import json_files
from tosa_rescale.hardware.memory_images import hex_files
from tosa_rescale.hardware.model_explorer import Figures, node_data_files
from tosa_rescale.hardware.pairs import RescaleTable

if TYPE_CHECKING:
    from tosa_rescale.core.program import Program

FORMATS = ("json", "c", "hex", "rtl", "model-explorer")


def parse_formats(text: str) -> tuple[str, ...]:
    """Formats by comma. Raises OptionError that lists the legal ones."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in FORMATS:
            raise OptionError(f"format: {name!r} is not one of {', '.join(FORMATS)}")
    if not names:
        raise OptionError(f"format: names none; give at least one of {', '.join(FORMATS)}, by comma")
    return names


def require_folder(folder: PathLike, force: bool) -> pathlib.Path:
    """Checks, before any work is done, that a folder may be written.

    Raises:
        OutputError: it exists and `force` is not given, is a file, or its parent is missing.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; name a folder")
    if folder.exists() and not force:
        raise OutputError(f"{folder}: exists already; pass --force to write into it")
    if not folder.absolute().parent.is_dir():
        raise OutputError(f"{folder}: folder {folder.parent} does not exist; make it first")
    return folder


def write_bundle(
    folder: PathLike,
    model: Program,
    tables: Sequence[RescaleTable],
    formats: Sequence[str],
    goldens: Goldens | None = None,
    force: bool = False,
    figures: Mapping[str, Figures] = MappingProxyType({}),
) -> list[pathlib.Path]:
    """Writes tables, and golden vectors where there are some.

    Args:
        folder: for a folder of each format, and `goldens/`.
        model: the model that the tables are of; its file's name is written down.
        tables: see `read_tables`.
        formats: of FORMATS.
        goldens: see `record_goldens`.
        force: write into a folder that exists; files of the same name are replaced, others stay.
        figures: what `model-explorer` shows beside the tables' own, see `read_figures`.

    Returns:
        The files written, sorted.

    Raises:
        OutputError: see `require_folder`, or no space. A new folder appears whole or not at all.
    """
    folder = require_folder(folder, force)
    files = dict(_files(model, tables, formats, figures))
    if goldens is not None:
        files |= {f"goldens/{name}": data for name, data in _golden_files(goldens, tables).items()}
    if folder.exists():
        for name, data in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            write_bytes(folder / name, data)
    else:
        with _new_folder(folder) as temporary:
            for name, data in files.items():
                (temporary / name).parent.mkdir(exist_ok=True)
                (temporary / name).write_bytes(data)
    return sorted(folder / name for name in files)


def _files(
    model: Program, tables: Sequence[RescaleTable], formats: Sequence[str], figures: Mapping[str, Figures]
) -> Iterator[tuple[str, bytes]]:
    name = pathlib.Path(model.source).name
    texts: dict[str, Mapping[str, str]] = {}
    if "json" in formats:
        texts["json"] = json_files(tables, name)
    if "c" in formats:
        texts["c"] = c_files(tables, name)
    if "hex" in formats:
        texts["hex"] = hex_files(tables)
    if "rtl" in formats:
        from tosa_rescale.hardware.synthesis import RTL

        texts["rtl"] = {path.name: path.read_text() for path in sorted(RTL.glob("*.sv"))}
    if "model-explorer" in formats:
        texts["model-explorer"] = node_data_files(model, tables, figures)
    for part, files in texts.items():
        for file, text in files.items():
            yield f"{part}/{file}", text.encode()


def _golden_files(goldens: Goldens, tables: Sequence[RescaleTable]) -> dict[str, bytes]:
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **goldens.arrays(tables))
    files = {"goldens.npz": packed.getvalue()}
    for table, vectors in zip(tables, goldens.vectors, strict=True):
        files[f"{table.key}.txt"] = vectors.text(table).encode()
    return files


@contextlib.contextmanager
def _new_folder(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder beside `folder` that takes its name when the block ends without an error."""
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.absolute().parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
