# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The corners of RESCALE, as given and narrowed: the TOSA reference model must say VALID, and IREE and the twin must equal it.

Usage: python test/conformance/edges.py [--write]   (needs tosa-tools on PATH and the extra `train`; --write renews edges.npz)

edges.npz holds the reference model's outputs, so that the ordinary tests can compare the others with them without tosa-tools.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "python"))

import tosa_rescale as tr
from runtime_modules import RescaleCase, function, rescale, tensor
from tosa_rescale_runtime import Executable, Module

STORED = pathlib.Path(__file__).with_name("edges.npz")
FLAGS = ("--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=vmvx")
# 16 bits do not fit an i16 multiplier: 15 stand for them.
VARIANTS: tuple[tuple[int, str] | None, ...] = (
    *(None, (16, "aligned"), (15, "scale16")),
    *itertools.product((8, 4, 2, 1), ("aligned", "scale16")),
)
LIMITS = {"i8": 7, "i16": 15, "i32": 31, "i48": 47}
STORED_VARIANTS = ("given", "8-scale16", "4-aligned", "1-aligned")  # enough for the ordinary tests

CARRY = (1 << 31) - 1  # rounds up to the next power of two at every width below 31
TIE = (1 << 30) | (1 << 22)  # exactly between two multipliers of 8 bits
ODD = 1409286145


def cases() -> list[RescaleCase]:
    """Every mode, zero point, shift and multiplier at its limit."""
    return [
        # Both ends of the shift; 31 and 32, between which DOUBLE_ROUND begins to act.
        *(RescaleCase("i32", "i8", (ODD,), (s,), output_zp=-3) for s in (2, 30, 31, 32, 40, 62)),
        *(RescaleCase("i32", "i8", (ODD,), (s,), double_round=True) for s in (31, 32, 40, 62)),
        *(RescaleCase("i32", target, (m,), (40,)) for target in ("i8", "i16", "i32") for m in (0, CARRY, TIE, 1 << 30, ODD)),
        # Carry where the shift becomes one less: 2, 32 and 62.
        *(RescaleCase("i32", "i16", (CARRY,), (s,)) for s in (3, 32, 62)),
        # Zero points at both ends, on both sides.
        *(RescaleCase("i8", "i8", (ODD,), (31,), input_zp=i, output_zp=o) for i in (-128, 127) for o in (-128, 127)),
        *(RescaleCase(source, "i32", (ODD,), (31,)) for source in ("i8", "i16")),
        *(RescaleCase("i16", target, (TIE,), (34,)) for target in ("i8", "i16")),
        RescaleCase("i8", "i16", (CARRY,), (24,), input_zp=127),
        # Unsigned on either side; 32768 is the only other zero point that ui16 may have.
        *(RescaleCase("ui8", "i8", (ODD,), (31,), input_zp=zp, output_zp=-128) for zp in (0, 128, 255)),
        *(RescaleCase("i8", "ui8", (ODD,), (31,), output_zp=zp) for zp in (0, 128, 255)),
        RescaleCase("ui16", "i16", (ODD,), (31,), input_zp=32768),
        RescaleCase("i16", "ui16", (ODD,), (31,), output_zp=32768),
        # Per channel: every kind of multiplier beside the others.
        RescaleCase("i32", "i8", (ODD, 0, CARRY, TIE, 1 << 30, 1, 3, (1 << 30) + 1), (40, 31, 33, 38, 62, 20, 45, 30)),
        # 16-bit multipliers, which have no limit on the value.
        *(RescaleCase("i32", "i8", (m,), (s,), scale32=False) for m, s in ((21504, 29), (32767, 33), (1, 24), (0, 2))),
        *(
            RescaleCase("i48", target, (m,), (45,), scale32=False)
            for target in ("i8", "i16", "i32")
            for m in (21505, 32767, 16448)
        ),
    ]


def values(case: RescaleCase) -> np.ndarray:
    """Inputs at every boundary that the specification allows for the case: [1, rows, channels].

    A multiplier that rounds up to the next power of two leaves half the range of values, so inputs stay within that half.
    """
    bits = LIMITS[case.source.removeprefix("u")]
    low, high = (0, (1 << bits + 1) - 1) if case.source.startswith("u") else (-(1 << bits), (1 << bits) - 1)
    columns = []
    for m, s in zip(case.multiplier, case.shift, strict=True):
        if case.scale32:
            least, most = -(1 << s - 2) + case.input_zp, (1 << s - 2) - 1 + case.input_zp
        else:  # the result must fit i32, also with a multiplier rounded up
            most = ((1 << 30) << s) // max(2 * m, 1)
            least = -most
        out = LIMITS[case.target.removeprefix("u")]
        wanted = {low, low + 1, high, high - 1, least, least + 1, most, most - 1, 0, 1, -1}
        for result in (0, 1, 2, 5, (1 << out) - 1, 1 << out, (1 << out) + 1):  # ties at, and values around, these results
            for doubled in (2 * result - 1, 2 * result, 2 * result + 1):
                near = (doubled << s) // (2 * m) if m else 0
                wanted |= {sign * (near + d) + case.input_zp for sign in (1, -1) for d in (0, 1)}
        low_now, high_now = max(low, least), min(high, most)
        columns.append(sorted({min(max(v, low_now), high_now) for v in wanted}))
    rows = max(map(len, columns))
    table = [[column[min(i, len(column) - 1)] for column in columns] for i in range(rows)]
    dtype = {"i8": np.int8, "i16": np.int16, "i32": np.int32, "i48": np.int64, "ui8": np.uint8, "ui16": np.uint16}[case.source]
    return np.array(table, dtype)[None]


def build() -> tuple[bytes, list[np.ndarray]]:
    """One module of all cases, and its inputs."""
    arguments, results, inputs, body = [], [], [], ""
    for index, case in enumerate(cases()):
        data = values(case)
        arguments.append((f"x{index}", tensor(data.shape, case.source)))
        inputs.append(data)
        body += rescale(f"y{index}", f"x{index}", data.shape, case)
        results.append((f"y{index}", tensor(data.shape, case.target)))
    return Module.parse(function(arguments, body, results)).to_bytecode(), inputs


def variant(model: tr.Model, how: tuple[int, str] | None) -> tr.Model:
    """The module as given, or narrowed."""
    return model if how is None else model.narrow(how[0], encoding=how[1], scope="all")


def run_iree(model: tr.Model, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Outputs of IREE's reference backend."""
    return [np.asarray(each) for each in Executable.from_constants(model.bytecode, flags=FLAGS).run(*inputs)]


def run_reference(model: tr.Model, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Outputs of the TOSA reference model; ModelError where it does not say VALID."""
    from tosa_rescale.formats.tosa import run_reference_model, serialize

    outputs = model.signature.outputs
    # The format knows no unsigned types: the bits are the same.
    signless = [each.view(each.dtype.str.replace("u", "i")) if each.dtype.kind == "u" else each for each in inputs]
    found = run_reference_model(serialize(model.bytecode, model.source), signless, len(outputs), model.source)
    return [each.view(spec.dtype) for each, spec in zip(found, outputs, strict=True)]


def run_twin(model: tr.Model, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Outputs of the TensorFlow twin."""
    from tosa_rescale.twin import Twin

    found = Twin(Module.parse(model.bytecode)).run([each[None] for each in inputs])
    return [each.reshape(spec.shape) for each, spec in zip(found, model.signature.outputs, strict=True)]


def differing(found: list[np.ndarray], expected: list[np.ndarray]) -> list[int]:
    """Which outputs differ, in value or in type."""
    pairs = enumerate(zip(found, expected, strict=True))
    return [i for i, (a, b) in pairs if a.dtype != b.dtype or not np.array_equal(a, b)]


def label(how: tuple[int, str] | None) -> str:
    return "given" if how is None else f"{how[0]}-{how[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="renew edges.npz")
    asked = parser.parse_args()
    bytecode, inputs = build()
    model, stored, wrong, count, began = tr.Model(bytecode, "edges"), {}, 0, 0, time.monotonic()
    for how in VARIANTS:
        rewritten = variant(model, how)
        expected = run_reference(rewritten, inputs)
        iree, twin = (differing(run(rewritten, inputs), expected) for run in (run_iree, run_twin))
        wrong += len(iree) + len(twin)
        count += sum(each.size for each in expected)
        left = len(rewritten.remarks)
        print(f"{label(how)}: {len(expected)} rescales VALID, IREE differs in {iree}, the twin in {twin}, {left} left alone")
        if label(how) in STORED_VARIANTS:
            stored |= {f"{label(how)}/{i}": each for i, each in enumerate(expected)}
    print(f"{len(VARIANTS) * len(cases())} rescales, {count} values, {wrong} differ, {time.monotonic() - began:.0f} s")
    if asked.write and not wrong:
        np.savez_compressed(STORED, **stored)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
