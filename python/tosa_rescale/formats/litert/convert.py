# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the LiteRT to TOSA converter in a process of its own, and says what it refused."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from tosa_rescale.core.errors import ModelError
from tosa_rescale.formats.limits import read_limit

CONVERTER = pathlib.Path(__file__).parent / "_converter.py"
_LOCATED = re.compile(r"loc\((?P<where>.*?)\): error: (?P<text>.*)$")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclasses.dataclass(frozen=True)
class Refusal:
    """An operator that the converter did not turn into TOSA.

    Attributes:
        kind: of the operator, such as TOPK_V2; empty where the converter does not say.
        names: of tensors that it may make.
        reason: the converter's own words; empty where it left the operator as it was.
    """

    kind: str
    names: frozenset[str]
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Converted:
    """What came of a flatbuffer: a TOSA module, or the operators that stood in its way."""

    bytecode: bytes
    refusals: tuple[Refusal, ...] = ()


def convert(data: bytes, source: str, shapes: Sequence[Sequence[int]] | None = None) -> Converted:
    """Converts a LiteRT flatbuffer to TOSA.

    Args:
        data: the flatbuffer.
        source: its name, for errors.
        shapes: of the inputs, in order, where the graph has dynamic extents; None: every extent is static.

    Raises:
        ModelError: the converter ended without saying which operator it refuses.
    """
    try:
        return _convert(data, None if shapes is None else tuple(tuple(map(int, shape)) for shape in shapes))
    except _FailedError as error:
        raise ModelError(f"{source}: {error}") from None


class _FailedError(Exception):
    """The converter ended without saying which operator it refuses."""


@functools.lru_cache(maxsize=2)  # a model is converted when it is read, and compared with itself when it is written back
def _convert(data: bytes, shapes: tuple[tuple[int, ...], ...] | None) -> Converted:
    with tempfile.TemporaryDirectory(prefix="tosa-rescale-") as name:
        folder = pathlib.Path(name)
        # A fixed name in the working folder: the converter writes it into every location, and equal models must give
        # equal bytecode wherever they lie.
        (folder / "model.tflite").write_bytes(data)
        if shapes is not None:
            (folder / "shapes.json").write_text(json.dumps(shapes))
        argv = [sys.executable, "-P", str(CONVERTER)]
        limit = read_limit(data)
        try:
            done = subprocess.run(argv, cwd=folder, capture_output=True, check=False, timeout=limit)
        except subprocess.TimeoutExpired:
            raise _FailedError(f"the converter did not end within {limit:.0f} s (corrupt file?)") from None
        said = done.stderr.decode(errors="replace")
        converted, left = folder / "model.mlirbc", folder / "left.json"
        if left.exists():
            listed = json.loads(left.read_text())
            return Converted(b"", tuple(Refusal(each["kind"], frozenset(each["names"])) for each in listed))
        if done.returncode == 0 and converted.is_file():
            return Converted(converted.read_bytes())
        refusals = _refusals(said)
        if not refusals:
            raise _FailedError(f"cannot be converted to TOSA: {_reason(said)}")
        return Converted(b"", refusals)


def _refusals(said: str) -> tuple[Refusal, ...]:
    found = []
    for line in said.splitlines():
        if match := _LOCATED.search(line):
            joined = _QUOTED.findall(match["where"])
            names = frozenset(name for each in joined for name in (each, *each.split(";")))
            if names:
                found.append(Refusal("", names, match["text"]))
    return tuple(found)


def _reason(said: str) -> str:
    lines = said.splitlines()
    errors = [line.split("error: ", 1)[1] for line in lines if "error: " in line]
    raised = [line for line in lines if re.match(r"\w*Error: ", line)]  # the last line of Python's traceback
    return next(iter([*errors, *raised[-1:]]), "the converter ended without a message (corrupt file?)")
