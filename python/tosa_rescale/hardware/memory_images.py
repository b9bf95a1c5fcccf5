# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rescale tables as memory images for $readmemh: the pairs of all channels one after the other, and a descriptor a rescale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tosa_rescale.core.display import count
from tosa_rescale.hardware.pairs import NO_ROUND, RescaleTable

# Descriptor of 128 bits, fields from the top: offset, channels, zero points, and how the elements are stored.
_OFFSET, _CHANNELS, _INPUT_ZP, _OUTPUT_ZP, _INPUT_BYTES, _OUTPUT_BYTES = 96, 64, 40, 16, 8, 4
_INPUT_UNSIGNED, _OUTPUT_UNSIGNED, _DOUBLE_ROUND = 2, 1, 0


def hex_files(tables: Sequence[RescaleTable]) -> Mapping[str, str]:
    """`multipliers.hex`, `shifts.hex`, `second_rounds.hex` (where DOUBLE_ROUND needs it) and `rescales.hex`."""
    bits = max(table.bits for table in tables)
    files = {
        "multipliers.hex": _image(f"{bits}-bit multipliers", bits, (m for table in tables for m in table.multiplier)),
        "shifts.hex": _image("shifts, two's complement, negative: left", 8, (s for table in tables for s in table.shift)),
    }
    if any((table.second_round != NO_ROUND).any() for table in tables):
        files["second_rounds.hex"] = _image(
            "bit that the second rounding adds, ff: none", 8, (r for table in tables for r in table.second_round)
        )
    descriptors, offset = [], 0
    for table in tables:
        descriptors.append(_descriptor(table, offset))
        offset += table.channels
    files["rescales.hex"] = _image("descriptors, one for each rescale", 128, descriptors)
    return files


def _descriptor(table: RescaleTable, offset: int) -> int:
    return (
        offset << _OFFSET
        | table.channels << _CHANNELS
        | (table.input_zp & 0xFFFFFF) << _INPUT_ZP
        | (table.output_zp & 0xFFFFFF) << _OUTPUT_ZP
        | (table.input_bits // 8) << _INPUT_BYTES
        | (table.output_bits // 8) << _OUTPUT_BYTES
        | table.input_unsigned << _INPUT_UNSIGNED
        | table.output_unsigned << _OUTPUT_UNSIGNED
        | bool((table.second_round != NO_ROUND).any()) << _DOUBLE_ROUND
    )


def _image(what: str, bits: int, words: Iterable[int]) -> str:
    digits, mask = -(-bits // 4), (1 << bits) - 1
    lines = [f"{int(word) & mask:0{digits}x}" for word in words]
    return f"// {what}; {count(len(lines), 'word')} of {count(bits, 'bit')}\n" + "\n".join(lines) + "\n"
