# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every model of a folder through everything: one row each, with the first thing that failed.

Usage: python test/zoo/zoo.py PATH... [--samples N] [--seed S] [--jobs N] [--timeout SECONDS] [--json FILE]

PATH is a model (.tflite, .tosa, .mlirbc), a folder of them, or `networks`: those that test/python/networks.py builds.
Steps: import; info; verify; check over all engines at hand, as given and narrowed to 31, 8, 4 and 1 bits in every rescale;
compensate in scope all at 1 bit without data, and check that; write back as the kind that it came as; read again and run.
A model runs in a process of its own, so that a crash is a row. Exit status 1 if anything failed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

WIDTHS = (31, 8, 4, 1)
SUFFIXES = (".tflite", ".tosa", ".mlirbc")


def steps(path: pathlib.Path, samples: int, seed: int) -> Iterator[tuple[str, str]]:
    """Runs the steps on one model; yields the name of each that is done, and a figure."""
    import numpy as np
    import tosa_rescale as tr
    from tosa_rescale.core.passes import run_passes

    def checked(model: tr.Model) -> str:
        found = model.check(samples, seed=seed)
        wrong = {f"{a}/{b}": compared.mismatches for (a, b), compared in found.pairs.items() if not compared.exact}
        if wrong:
            raise AssertionError(f"engines differ: {wrong}")
        engines = {name for pair in found.pairs for name in pair}
        return f"{len(engines)} engines, {next(iter(found.pairs.values())).values} values"

    model = tr.load(path)
    yield "import", f"{len(model.signature.inputs)} in, {len(model.signature.outputs)} out"
    rescales = model.info()
    yield "info", f"{len(rescales)} rescales, {max((each.bits or 0 for each in rescales), default=0)} bits"
    run_passes(model.bytecode, ["tosa-rescale-verify"], model.source)
    yield "verify", ""
    yield "check as given", checked(model)
    for bits in WIDTHS:
        narrowed = model.narrow(bits, scope="all")
        run_passes(narrowed.bytecode, ["tosa-rescale-verify"], model.source)
        yield f"check {bits}", checked(narrowed)
    compensated = model.compensate(1, scope="all", calibration="none")
    wide = sum((each.bits or 32) > 1 for each in compensated.info())
    yield "compensate", f"{wide} wide"
    yield "check compensated", checked(compensated)
    with tempfile.TemporaryDirectory() as folder:
        back = compensated.save(
            pathlib.Path(folder) / f"back{path.suffix}", **({"allow_partial": True} if path.suffix == ".tflite" else {})
        )
        yield "write back", f"{back.stat().st_size} bytes"
        again = tr.load(back)
        inputs = compensated.random_inputs(samples, seed)
        ours, theirs = (each.compile().run_many(*inputs) for each in (compensated, again))
        largest = max(
            int(np.abs(a.astype(np.int64) - b.astype(np.int64)).max(initial=0)) for a, b in zip(ours, theirs, strict=True)
        )
        yield "read again", f"{largest} LSB"


def one(path: pathlib.Path, samples: int, seed: int) -> None:
    """The process of one model: a line of JSON for each step."""
    began = time.monotonic()
    try:
        for name, figure in steps(path, samples, seed):
            print(json.dumps({"step": name, "figure": figure, "seconds": time.monotonic() - began}), flush=True)
    except Exception as error:
        kind = "" if type(error).__module__.startswith("tosa_rescale") else f"{type(error).__name__}: "
        print(json.dumps({"failed": f"{kind}{' '.join(str(error).split())}", "seconds": time.monotonic() - began}), flush=True)


def run(path: pathlib.Path, asked: argparse.Namespace) -> dict[str, Any]:
    """What became of one model: its steps, and why the first one that failed did."""
    argv = [sys.executable, __file__, str(path), "--one", "--samples", str(asked.samples), "--seed", str(asked.seed)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=asked.timeout)
        said, status, errors = done.stdout, done.returncode, done.stderr
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"").decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        status, errors = None, f"did not end within {asked.timeout} s"
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    failed = next((line["failed"] for line in lines if "failed" in line), None)
    if failed is None and status != 0:
        last = next((line for line in reversed(errors.splitlines()) if line.strip()), "no message")
        failed = f"ended with status {status}: {last}"
    return {
        "model": path.name,
        "steps": [line for line in lines if "step" in line],
        "failed": failed,
        "seconds": lines[-1]["seconds"] if lines else 0.0,
    }


def files_in(paths: list[str], folder: pathlib.Path) -> list[pathlib.Path]:
    """The models that the paths name; the built ones are written into `folder`."""
    found: list[pathlib.Path] = []
    for path in paths:
        if path == "networks":
            sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "python"))
            import networks

            for name, build in networks.NETWORKS.items():
                (folder / f"{name}.tflite").write_bytes(build())
                found.append(folder / f"{name}.tflite")
        elif pathlib.Path(path).is_dir():
            found += sorted(each for each in pathlib.Path(path).iterdir() if each.suffix in SUFFIXES)
        else:
            found.append(pathlib.Path(path))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--timeout", type=int, default=1800)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        one(pathlib.Path(asked.paths[0]), asked.samples, asked.seed)
        return 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(asked.jobs) as pool:
        rows = []
        for row in pool.map(lambda path: run(path, asked), files_in(asked.paths, pathlib.Path(folder))):
            rows.append(row)
            figures = "; ".join(f"{each['step']}: {each['figure']}" for each in row["steps"] if each["figure"])
            after = row["steps"][-1]["step"] if row["steps"] else "nothing"
            verdict = "ok" if row["failed"] is None else f"FAILED after {after}: {row['failed']}"
            print(f"{row['model']:45} {verdict} ({row['seconds']:.0f} s) [{figures}]", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")
    failed = sum(row["failed"] is not None for row in rows)
    print(f"{len(rows)} models, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
