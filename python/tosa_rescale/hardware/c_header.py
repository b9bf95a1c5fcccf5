# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rescale tables as a C header, with the reference kernel that computes on them and a program that checks it."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from tosa_rescale.core.display import count
from tosa_rescale.hardware.pairs import NO_ROUND, RescaleTable

SOURCES = pathlib.Path(__file__).with_name("c")
_WIDTH = 120


def c_files(tables: Sequence[RescaleTable], model: str) -> Mapping[str, str]:
    """`rescales.h` (the numbers), `rescale_kernel.h` (the arithmetic) and `check_goldens.c`."""
    files = {name: (SOURCES / name).read_text() for name in ("rescale_kernel.h", "check_goldens.c")}
    return {"rescales.h": _header(tables, model), **files}


def _header(tables: Sequence[RescaleTable], model: str) -> str:
    text = [
        f"/* Rescales of {_comment(model)}: compact pairs of multiplier and shift. Made by tosa-rescale.",
        " * Include it in one file only: it defines what it declares. */",
        "#ifndef TOSA_RESCALE_RESCALES_H",
        "#define TOSA_RESCALE_RESCALES_H",
        "",
        '#include "rescale_kernel.h"',
        "",
        f"#define TOSA_RESCALE_COUNT {len(tables)}u",
        f"#define TOSA_RESCALE_MULTIPLIER_BITS {max(table.bits for table in tables)}",
        "",
    ]
    rows = []
    for index, table in enumerate(tables):
        kind = _kind(table)
        twice = bool((table.second_round != NO_ROUND).any())
        text.append(f"/* {table.key}, {_comment(table.name)}: {table.op}, {count(table.bits, 'bit')} */")
        text.append(_array(kind, f"{table.key}_multiplier", table.multiplier, "u"))
        text.append(_array("int8_t", f"{table.key}_shift", table.shift))
        if twice:
            text.append(_array("int8_t", f"{table.key}_second_round", table.second_round))
        text.append(f"enum {{ tosa_{table.key}_index = {index} }};\n")
        rows.append(
            f"    {{{_string(table.key)}, {_string(table.name)}, {table.channels}u,"
            f" tosa_{table.key}_multiplier, sizeof({kind}),"
            f" tosa_{table.key}_shift, {f'tosa_{table.key}_second_round' if twice else 'NULL'},"
            f" {table.input_zp}, {table.output_zp}, {table.input_bits}, {int(table.input_unsigned)},"
            f" {table.output_bits}, {int(table.output_unsigned)}}},"
        )
    text += ["static const tosa_rescale_table tosa_rescale_tables[TOSA_RESCALE_COUNT] = {", *rows, "};", "", "#endif", ""]
    return "\n".join(text)


def _kind(table: RescaleTable) -> str:
    return next(f"uint{width}_t" for width in (8, 16, 32) if table.bits <= width)


def _array(kind: str, name: str, values: np.ndarray, suffix: str = "") -> str:
    lines, line = [], "   "
    for value in values.tolist():
        item = f" {value}{suffix},"
        if len(line) + len(item) > _WIDTH:
            lines.append(line)
            line = "   "
        line += item
    body = "\n".join([*lines, line])
    return f"static const {kind} tosa_{name}[{len(values)}] = {{\n{body}\n}};"


def _comment(text: str) -> str:
    """Text that ends no comment and starts none."""
    return "".join(c if c.isprintable() and c.isascii() else "?" for c in text).replace("*/", "*?").replace("/*", "/?")


def _string(text: str) -> str:
    """A C string literal. No `??`, which starts a trigraph."""
    escaped = "".join(
        c if c.isprintable() and c.isascii() and c not in '"\\?' else f"\\{ord(c):03o}" if ord(c) < 256 else "_" for c in text
    )
    return f'"{escaped}"'
