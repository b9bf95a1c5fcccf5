# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is read of Liberty files, and what is refused. The library is made up."""

from __future__ import annotations

import gzip
import pathlib

import numpy as np
import pytest
from tiny_library import library, written
from tosa_rescale.core.errors import DataError
from tosa_rescale.hardware import activity
from tosa_rescale.hardware.liberty import read_library


def test_a_library_is_read_with_its_units(tmp_path: pathlib.Path) -> None:
    found = read_library([written(tmp_path, library())], tmp_path)
    assert (found.name, found.voltage, len(found.cells)) == ("tiny", 1.0, 10)
    flip_flop, gate = found.cells["DFF"], found.cells["NAND2"]
    assert (flip_flop.state, flip_flop.next_state, flip_flop.outputs) == (("IQ", "IQN"), "D", {"Q": "IQ"})
    assert gate.inputs == {"A": 2.0, "B": 2.0} and gate.leakage == pytest.approx(0.0015)  # fF from pF, uW from nW
    assert found.driver() == "BUF2" and found.load() == 8.0
    assert "internal_power" in found.files[0].read_text() and "internal_power" not in found.lean[0].read_text()
    assert found.lean[0].read_text().count("{") == found.lean[0].read_text().count("}")


def test_leakage_is_the_mean_over_states_of_what_all_supplies_give(tmp_path: pathlib.Path) -> None:
    groups = "".join(
        f'leakage_power () {{ value : {value} ; when : "{when}" ; related_pg_pin : {supply} ; }} '
        for when, found in (("A", {"VDD": 4, "VSS": 0}), ("!A", {"VDD": 2, "VSS": 1}))
        for supply, value in found.items()
    )
    text = library().replace("cell (INV) { area : 1.0 ; cell_leakage_power : 1.0 ;", f"cell (INV) {{ area : 1.0 ; {groups}")
    assert groups in text
    found = read_library([written(tmp_path, text)], tmp_path)
    assert found.cells["INV"].leakage == pytest.approx(0.0035)  # nW: 3 from one, 0.5 from the other


def test_a_library_may_lie_in_several_files_and_compressed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "g.lib.gz").write_bytes(gzip.compress(library("tiny_SIMPLE", flip_flop=False).encode()))
    found = read_library([tmp_path / "g.lib.gz", written(tmp_path, library("tiny_SEQ", gates=False))], tmp_path)
    assert set(found.cells) == set(read_library([written(tmp_path, library(), "whole.lib")], tmp_path).cells)
    assert found.name == "tiny"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("module top; endmodule", "is no Liberty file"),
        (library()[:-300], "is cut off"),
        ("", "is no Liberty file"),
        (library(flip_flop=False), "has no flip-flops"),
        (library().replace("cell (DFF) {", "cell (DFF) { dont_use : true ;"), "has no flip-flops"),
        (library().replace("ff (IQ, IQN) {", "latch (IQ, IQN) {").replace("next_state", "data_in"), "has no flip-flops"),
        (library(delays=False), "has no delay tables"),
        (library(gates=False), "has no buffer"),
        (library().replace('time_unit : "1ns"', 'time_unit : "1 fortnight"'), "time_unit is `1 fortnight`"),
        ('library (empty) { time_unit : "1ns"; capacitive_load_unit (1, pf); }', "has no cells"),
    ],
)
def test_what_is_no_library_is_refused_in_one_line(text: str, message: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_library([written(tmp_path, text)], tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_or_broken_file_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_library([tmp_path / "none.lib"], tmp_path)
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        read_library([tmp_path], tmp_path)
    (tmp_path / "cut.lib.gz").write_bytes(gzip.compress(library().encode())[:-40])
    with pytest.raises(DataError, match="cannot be read"):
        read_library([tmp_path / "cut.lib.gz"], tmp_path)
    other = library("slow").replace("nom_voltage : 1.0", "nom_voltage : 0.9")
    with pytest.raises(DataError, match="nominal voltages differ"):
        read_library([written(tmp_path, library()), written(tmp_path, other, "slow.lib")], tmp_path)


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        ("!A & B", lambda a, b, c: ~a & b),
        ("(A B)'", lambda a, b, c: ~(a & b)),
        ("A'+ B", lambda a, b, c: ~a | b),
        ("A | B & C", lambda a, b, c: a | (b & c)),
        ("A & B ^ C", lambda a, b, c: a & (b ^ c)),  # Liberty's ^ binds more than &, Python's does not
        ("(A*!C) + (B*C)", lambda a, b, c: (a & ~c) | (b & c)),
        ("!(A (B + C)')", lambda a, b, c: ~(a & ~(b | c))),
        ("1", lambda a, b, c: a | ~a),
    ],
)
def test_functions_of_cells_are_read_as_liberty_means_them(function: str, wanted: object) -> None:
    text, _ = activity._expression(function, {"A": 2, "B": 3, "C": 4})
    nets = [np.uint8(0), np.uint8(255), np.uint8(0b11110000), np.uint8(0b11001100), np.uint8(0b10101010)]
    assert eval(text, {"n": nets}) & 255 == wanted(*nets[2:]) & 255  # type: ignore[operator]
