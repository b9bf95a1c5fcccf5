# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every TOSA op on integers, one at a time: the TOSA reference model must say VALID, and IREE and the twin must equal it.

Usage: python test/conformance/ops.py [--write] [--only KIND] [--engines NAMES]   (needs tosa-tools on PATH, extra `train`)

The cases are those of test/python/op_cases.py. --write renews ops.npz, which holds the reference model's answers, so that the
ordinary tests can compare the others with them without tosa-tools.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "python"))

from op_cases import DTYPES, OpCase, module_of, op_cases
from tosa_rescale_runtime import Executable, TosaRescaleError

STORED = pathlib.Path(__file__).with_name("ops.npz")


def write_answers(answers: Mapping[str, np.ndarray]) -> None:
    """Stores answers, all in one array: hundreds of small ones would be mostly headers."""
    names = np.array(list(answers))
    np.savez_compressed(
        STORED, names=names, values=np.concatenate([answers[name].reshape(-1).astype(np.int64) for name in names])
    )


def stored_answers() -> dict[str, np.ndarray]:
    """The reference model's answers by the name of the case, each of its shape and type."""
    with np.load(STORED, allow_pickle=False) as stored:
        names, values = stored["names"].tolist(), stored["values"]
    cases, start, found = {case.name: case for case in op_cases()}, 0, {}
    for name in names:
        shape = cases[name].shape
        end = start + math.prod(shape)
        found[name] = values[start:end].reshape(shape).astype(DTYPES[cases[name].element])
        start = end
    assert start == len(values)
    return found


def run_reference(case: OpCase) -> np.ndarray:
    """The TOSA reference model's answer; ModelError where it does not say VALID."""
    from tosa_rescale.formats.tosa import run_reference_model, serialize

    (found,) = run_reference_model(serialize(case.module().to_bytecode(), case.name), case.arrays, 1, case.name)
    return found


def run_iree(cases: Sequence[OpCase]) -> list[np.ndarray]:
    """IREE's answers, all that can be a parameter being one."""
    return _run_together(cases, Executable.build)


def run_iree_constant(cases: Sequence[OpCase]) -> list[np.ndarray]:
    """IREE's answers, constants being constants."""
    return _run_together(cases, Executable.from_constants)


def _run_together(cases: Sequence[OpCase], build: Callable[..., Executable]) -> list[np.ndarray]:
    # One module: a compilation for each would take an hour.
    executable = build(module_of(cases).to_bytecode(), source=f"{cases[0].name} and {len(cases) - 1} more")
    return list(executable.run(*(array for case in cases for array in case.arrays)))


def run_twin(cases: Sequence[OpCase], reference: bool = False) -> list[np.ndarray]:
    """The twin's answers, without a TensorFlow graph."""
    from tosa_rescale.twin import Twin

    found = []
    for case in cases:
        module = case.module()
        (integers,) = Twin(module, reference=reference).integers([array[None] for array in case.arrays])
        dtype = module.signature.outputs[0].dtype
        found.append(integers.numpy().astype(np.int64).reshape(case.shape).astype(dtype))
    return found


def run_twin_float64(cases: Sequence[OpCase]) -> list[np.ndarray]:
    """The answers of the twin in float64."""
    return run_twin(cases, reference=True)


ENGINES: dict[str, Callable[[Sequence[OpCase]], list[np.ndarray]]] = {
    "twin": run_twin,
    "twin64": run_twin_float64,
    "iree": run_iree,
    "iree-constant": run_iree_constant,
}


def differs(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether a value or the type differs."""
    return found.dtype != expected.dtype or not np.array_equal(found, expected)


def compared(cases: Sequence[OpCase], expected: Mapping[str, np.ndarray], engine: str) -> Iterator[str]:
    """What is wrong with an engine's answers."""
    try:
        answers = ENGINES[engine](cases)
    except TosaRescaleError as error:
        if len(cases) == 1:
            yield f"{cases[0].name}: {engine}: {str(error)[:200]}"
            return
        for half in (cases[: len(cases) // 2], cases[len(cases) // 2 :]):  # which of them
            yield from compared(half, expected, engine)
        return
    for case, found in zip(cases, answers, strict=True):
        wanted = expected[case.name]
        if differs(found, wanted):
            at = tuple(np.argwhere(found != wanted)[0].tolist())
            wrong = int(np.sum(found != wanted))
            yield f"{case.name}: {engine}: {wrong} of {wanted.size} differ, at {at} {found[at]} for {wanted[at]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="renew ops.npz")
    parser.add_argument("--only", help="ops of this kind")
    parser.add_argument("--engines", default=",".join(ENGINES), help="by comma; all by default")
    asked = parser.parse_args()
    began = time.monotonic()
    groups: dict[tuple[str, str], list[OpCase]] = {}
    for case in op_cases():
        if asked.only in (None, case.kind):
            groups.setdefault((case.kind, case.inputs[0][0]), []).append(case)
    cases = [case for group in groups.values() for case in group]
    with ThreadPoolExecutor(2) as pool:
        answers = {case.name: each for case, each in zip(cases, pool.map(run_reference, cases), strict=True)}
    if asked.write and asked.only is None:
        write_answers(answers)
    wrong: dict[str, int] = {}
    for group in groups.values():
        for engine in filter(None, asked.engines.split(",")):
            for line in compared(group, answers, engine):
                wrong[engine] = wrong.get(engine, 0) + 1
                print(line, flush=True)
    values = sum(each.size for each in answers.values())
    print(f"{len(cases)} cases VALID, {values} values, wrong: {wrong or 'none'}, {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
