# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every TOSA op on integers, one at a time: the TOSA reference model must say VALID, and IREE and the twin must equal it.

Usage: python test/conformance/ops.py [--write] [--only KIND] [--engines NAMES]   (needs tosa-tools on PATH, extra `train`)

The cases are those of test/python/op_cases.py. --write renews ops.npz, which holds the reference model's answers, so that the
ordinary tests can compare the others with them without tosa-tools.
"""

from __future__ import annotations

import argparse
import collections
import pathlib
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "python"))

from op_cases import OpCase, op_cases
from tosa_rescale_runtime import Executable, TosaRescaleError

STORED = pathlib.Path(__file__).with_name("ops.npz")


def run_reference(case: OpCase) -> np.ndarray:
    """The TOSA reference model's answer; ModelError where it does not say VALID."""
    from tosa_rescale.formats.tosa import run_reference_model, serialize

    (found,) = run_reference_model(serialize(case.module().to_bytecode(), case.name), case.arrays, 1, case.name)
    return found


def run_iree(case: OpCase) -> np.ndarray:
    """IREE's answer, all that can be a parameter being one."""
    return Executable.build(case.module().to_bytecode(), source=case.name).run(*case.arrays)[0]


def run_iree_constant(case: OpCase) -> np.ndarray:
    """IREE's answer, constants being constants."""
    return Executable.from_constants(case.module().to_bytecode(), source=case.name).run(*case.arrays)[0]


def run_twin(case: OpCase, reference: bool = False) -> np.ndarray:
    """The twin's answer, op by op without a graph."""
    from tosa_rescale.twin import Twin

    module = case.module()
    (found,) = Twin(module, reference=reference).integers([array[None] for array in case.arrays])
    return found.numpy().astype(np.int64).reshape(case.shape).astype(module.signature.outputs[0].dtype)


def run_twin_reference(case: OpCase) -> np.ndarray:
    """The answer of the twin in float64."""
    return run_twin(case, reference=True)


ENGINES: dict[str, Callable[[OpCase], np.ndarray]] = {
    "twin": run_twin,
    "twin64": run_twin_reference,
    "iree": run_iree,
    "iree-constant": run_iree_constant,
}


def differs(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether a value or the type differs."""
    return found.dtype != expected.dtype or not np.array_equal(found, expected)


def judge(case: OpCase, engines: list[str]) -> tuple[np.ndarray | None, dict[str, str]]:
    """The reference model's answer, and what is wrong with whom."""
    try:
        expected = run_reference(case)
    except TosaRescaleError as error:
        return None, {"reference": str(error)}
    wrong = {}
    for name in engines:
        try:
            found = ENGINES[name](case)
        except TosaRescaleError as error:
            wrong[name] = str(error)[:300]
            continue
        if differs(found, expected):
            at = tuple(np.argwhere(found != expected)[0]) if found.shape == expected.shape else ()
            wrong[name] = f"{np.sum(found != expected)} of {expected.size} differ, at {at} {found[at]} for {expected[at]}"
    return expected, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="renew ops.npz")
    parser.add_argument("--only", help="ops of this kind")
    parser.add_argument("--engines", default=",".join(ENGINES), help="by comma; all by default")
    asked = parser.parse_args()
    cases = [case for case in op_cases() if asked.only in (None, case.kind)]
    began, stored, wrong = time.monotonic(), {}, collections.Counter()
    with ThreadPoolExecutor(2) as pool:
        for case, (expected, failed) in zip(
            cases, pool.map(lambda case: judge(case, asked.engines.split(",")), cases), strict=True
        ):
            wrong.update(list(failed))
            for name, why in failed.items():
                print(f"{case.name}: {name}: {why}", flush=True)
            if expected is not None:
                stored[case.name] = expected
    values = sum(each.size for each in stored.values())
    print(f"{len(cases)} cases, {values} values, wrong: {dict(wrong) or 'none'}, {time.monotonic() - began:.0f} s")
    if asked.write and len(stored) == len(cases):
        np.savez_compressed(STORED, **stored)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
