# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A small Liberty library of made-up cells, for tests: enough gates to map to, one flip-flop, linear delays."""

from __future__ import annotations

import pathlib

# Cell: area, function, inputs, resistance (ns a pF), and how the output follows.
GATES = {
    "INV": (1.0, "!A", "A", 2.0, "negative_unate"),
    "BUF1": (1.5, "A", "A", 2.0, "positive_unate"),
    "BUF2": (2.0, "A", "A", 1.0, "positive_unate"),
    "NAND2": (1.5, "!(A B)", "AB", 2.0, "negative_unate"),
    "NOR2": (1.5, "(A + B)'", "AB", 2.5, "negative_unate"),
    "AND2": (2.0, "A*B", "AB", 1.5, "positive_unate"),
    "OR2": (2.0, "A|B", "AB", 1.5, "positive_unate"),
    "XOR2": (3.0, "A^B", "AB", 2.5, "non_unate"),
    "MUX2": (3.0, "(A*!C) + (B*C)", "ABC", 2.5, "non_unate"),
}
FLIP_FLOP = """
  cell (DFF) {
    area : 6 ; cell_leakage_power : 5 ;
    ff (IQ, IQN) { clocked_on : "CK" ; next_state : "D" ; }
    pin (CK) { direction : input ; capacitance : 0.002 ; clock : true ; }
    pin (D) { direction : input ; capacitance : 0.002 ;
      timing () { related_pin : "CK" ; timing_type : setup_rising ;
        rise_constraint (scalar) { values ("0.05") ; } fall_constraint (scalar) { values ("0.05") ; } } }
    pin (Q) { direction : output ; function : "IQ" ; max_capacitance : 0.3 ;
      timing () { related_pin : "CK" ; timing_type : rising_edge ; %s }
      internal_power () { related_pin : "CK" ;
        rise_power (scalar) { values ("0.01") ; } fall_power (scalar) { values ("0.01") ; } } }
  }
"""
INDEX = 'index_1 ("0.01, 0.1, 1.0") ; index_2 ("0.001, 0.03, 0.3") ;'
HEAD = """/* made up */
library (%s_typ_1p00V) {
  delay_model : table_lookup ; time_unit : "1ns" ; voltage_unit : "1V" ; current_unit : "1mA" ;
  capacitive_load_unit (1, pf) ; leakage_power_unit : "1nW" ; pulling_resistance_unit : "1kohm" ; nom_voltage : 1.0 ;
  operating_conditions (typical) { process : 1 ; temperature : 25 ; voltage : 1.0 ; } default_operating_conditions : typical ;
  nom_process : 1 ; nom_temperature : 25 ; input_threshold_pct_rise : 50 ; input_threshold_pct_fall : 50 ;
  output_threshold_pct_rise : 50 ; output_threshold_pct_fall : 50 ; slew_lower_threshold_pct_rise : 20 ;
  slew_lower_threshold_pct_fall : 20 ; slew_upper_threshold_pct_rise : 80 ; slew_upper_threshold_pct_fall : 80 ;
  lu_table_template (grid) { variable_1 : input_net_transition ; variable_2 : total_output_net_capacitance ;
    %s }
"""


def tables(resistance: float) -> str:
    """Delay and slew that grow with slew and load. abc takes no tables of two by two."""
    slews, loads = (0.01, 0.1, 1.0), (0.001, 0.03, 0.3)
    rows = [", ".join(f"{0.02 + 0.1 * slew + resistance * load:.4f}" for load in loads) for slew in slews]
    values = ", ".join(f'"{row}"' for row in rows)
    names = ("cell_rise", "cell_fall", "rise_transition", "fall_transition")
    return " ".join(f"{name} (grid) {{ {INDEX} values ({values}) ; }}" for name in names)


def library(name: str = "tiny", gates: bool = True, flip_flop: bool = True, delays: bool = True) -> str:
    """The text of a library, of parts."""
    parts = [HEAD % (name, INDEX)]
    for cell, (area, function, inputs, resistance, sense) in (GATES if gates else {}).items():
        pins = "".join(f"pin ({pin}) {{ direction : input ; capacitance : 0.002 ; }} " for pin in inputs)
        timing = "".join(
            f'timing () {{ related_pin : "{pin}" ; timing_sense : {sense} ; {tables(resistance) if delays else ""} }} '
            for pin in inputs
        )
        power = '(scalar) { values ("0.002") ; }'
        energy = "".join(
            f'internal_power () {{ related_pin : "{pin}" ; rise_power {power} fall_power {power} }} ' for pin in inputs
        )
        limit = f"max_capacitance : {0.3 / resistance:.3f} ;"
        output = f'pin (Y) {{ direction : output ; function : "{function}" ; {limit} {timing}{energy} }}'
        parts.append(f"  cell ({cell}) {{ area : {area} ; cell_leakage_power : {area} ; {pins}{output} }}\n")
    if flip_flop:
        parts.append(FLIP_FLOP % (tables(1.5) if delays else ""))
    return "".join([*parts, "}\n"])


def written(folder: pathlib.Path, text: str, name: str = "tiny.lib") -> pathlib.Path:
    """The path of a file with a library's text."""
    (folder / name).write_text(text)
    return folder / name
