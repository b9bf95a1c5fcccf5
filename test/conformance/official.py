# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arm's RESCALE conformance tests that IREE can take, as given and narrowed, on the TOSA reference model, IREE and the twin.

Usage: python test/conformance/official.py FOLDER [--take N]

FOLDER is what tosa_verif_conformance_generator wrote. Left out is INEXACT_ROUND, which IREE refuses, multipliers that are
inputs, and tests of wrong graphs. Many tests make one module, because a process and a compilation for each would take an hour.

A multiplier that rounds up to the next power of two leaves half the range of values, and one that grows can leave int32 behind
it. The tests fill their ranges, so their inputs are clipped to what the narrowed rescale allows; how many values that changes
is reported.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "python"))

import tosa_rescale as tr
from edges import VARIANTS, differing, label, run_iree, run_reference, run_twin, variant
from runtime_modules import RescaleCase, function, rescale, tensor
from tosa_rescale.formats.tosa import deserialize
from tosa_rescale_runtime import Module
from tosa_rescale_runtime.module import Rescale

BATCH = 63  # 214 tests in four modules


@dataclasses.dataclass(frozen=True, eq=False)
class Test:
    """One conformance test: a rescale and its input."""

    name: str
    case: RescaleCase
    data: np.ndarray


def read_test(folder: pathlib.Path) -> Test | None:
    """Reads a test; None where IREE cannot take it: INEXACT_ROUND, multipliers that are inputs (EXT-DYNAMIC), wrong graphs."""
    if (folder / "input-1.npy").is_file() or json.loads((folder / "desc.json").read_text())["expected_failure"]:
        return None
    (found,) = Module.parse(deserialize((folder / "test.tosa").read_bytes(), folder.name), folder.name).rescales()
    if found.rounding_mode == "INEXACT_ROUND":
        return None
    assert found.multiplier is not None and found.shift is not None
    source, target = (
        f"{'u' if unsigned else ''}i{bits}"
        for unsigned, bits in ((found.input_unsigned, found.input_bits), (found.output_unsigned, found.output_bits))
    )
    case = RescaleCase(
        source,
        target,
        tuple(found.multiplier.tolist()),
        tuple(found.shift.tolist()),
        input_zp=found.input_zp or 0,
        output_zp=found.output_zp or 0,
        double_round=found.rounding_mode == "DOUBLE_ROUND",
        scale32=found.scale32,
    )
    data = np.load(folder / "input-0.npy", allow_pickle=False)
    return Test(folder.name, case, data.view(data.dtype.str.replace("i", "u")) if source.startswith("u") else data)


def build(tests: list[Test]) -> tr.Model:
    """One module of many tests."""
    arguments = [(f"x{i}", tensor(test.data.shape, test.case.source)) for i, test in enumerate(tests)]
    results = [(f"y{i}", tensor(test.data.shape, test.case.target)) for i, test in enumerate(tests)]
    body = "".join(rescale(f"y{i}", f"x{i}", test.data.shape, test.case) for i, test in enumerate(tests))
    return tr.Model(Module.parse(function(arguments, body, results)).to_bytecode(), "conformance tests")


def allowed(data: np.ndarray, found: Rescale) -> np.ndarray:
    """The input, clipped to the values for which the specification defines the rescale."""
    assert found.multiplier is not None and found.shift is not None and found.input_zp is not None
    limits = np.iinfo(data.dtype)
    bounds = []
    for m, s in zip(found.multiplier.tolist(), found.shift.tolist(), strict=True):
        # scale32: -(1 << s-1) <= value < 1 << s-1; scale16: the result fits i32. The output's zero point takes its share.
        most = (1 << s - 1) - 1 if found.scale32 else ((1 << 31) - 1 - 65536 << s) // max(m, 1)
        least = -(1 << s - 1) if found.scale32 else -most
        bounds.append([min(max(each + found.input_zp, limits.min), limits.max) for each in (least, most)])
    low, high = np.array(bounds, np.int64).T
    return np.clip(data.astype(np.int64), low, high).astype(data.dtype).reshape(data.shape)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--take", type=int, help="use N tests, spread evenly")
    asked = parser.parse_args()
    began = time.monotonic()
    folders = sorted(path.parent for path in asked.folder.rglob("test.tosa") if (path.parent / "input-0.npy").is_file())
    if asked.take:
        folders = folders[:: max(1, len(folders) // asked.take)]
    tests = [test for test in map(read_test, folders) if test is not None]
    print(f"{len(folders)} tests with inputs, {len(tests)} that IREE can take", flush=True)
    wrong = count = clipped = 0
    for how in VARIANTS:
        iree: list[str] = []
        twin: list[str] = []
        for start in range(0, len(tests), BATCH):
            part = tests[start : start + BATCH]
            rewritten = variant(build(part), how)
            rescales = Module.parse(rewritten.bytecode).rescales()
            inputs = [test.data for test in part]
            if how is not None:
                inputs = [allowed(data, found) for data, found in zip(inputs, rescales, strict=True)]
                clipped += sum(int((a != test.data).sum()) for a, test in zip(inputs, part, strict=True))
            expected = run_reference(rewritten, inputs)
            count += sum(each.size for each in expected)
            iree += [part[i].name for i in differing(run_iree(rewritten, inputs), expected)]
            twin += [part[i].name for i in differing(run_twin(rewritten, inputs), expected)]
        wrong += len(iree) + len(twin)
        print(f"{label(how)}: {len(tests)} VALID, IREE differs in {len(iree)} {iree[:5]}, the twin in {twin[:5]}", flush=True)
    seconds = time.monotonic() - began
    print(f"{len(VARIANTS) * len(tests)} runs, {count} values, {clipped} clipped, {wrong} differ, {seconds:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
