# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The archive of labels that metadata tools attach: a ZIP file behind the flatbuffer."""

from __future__ import annotations

import io
import zipfile


def archive_start(data: bytes) -> int:
    """Where the flatbuffer ends and a ZIP archive begins; the data's length where there is none."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return len(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return min((each.header_offset for each in archive.infolist()), default=len(data))


def with_archive(flatbuffer: bytes, original: bytes, start: int) -> bytes:
    """The flatbuffer with the archive of the original file, which begins at `start`, behind it."""
    if len(flatbuffer) == start:
        return flatbuffer + original[start:]
    out = io.BytesIO(flatbuffer)
    with (
        zipfile.ZipFile(io.BytesIO(original)) as old,
        zipfile.ZipFile(out, "a") as new,
    ):  # its offsets count from the file's start
        for each in old.infolist():
            new.writestr(each, old.read(each))
    return out.getvalue()
