# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every model of a folder through everything: one row each, with the first thing that failed.

Usage: python test/zoo/zoo.py PATH... [--samples N] [--seed S] [--jobs N] [--timeout SECONDS] [--json FILE] [--table FILE]

PATH is a model (.tflite, .tosa, .mlirbc), a folder of them, or `networks`: those that test/python/networks.py and
zoo_networks.py build.
Steps: import; info; verify; check over all engines at hand, as given and narrowed to 31, 8, 4 and 1 bits in every rescale;
compensate in scope all at 1 bit without data, and check that; write back as the kind that it came as; read again and run.
A model runs in a process of its own, so that a crash is a row. A model that is refused as it is read, by one line of the
product's own, counts as refused and the line is its row. Exit status 1 if anything failed.
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
    from tosa_rescale.measure.engines import engine_or_twin

    def checked(model: tr.Model) -> str:
        found = model.check(samples, seed=seed)
        wrong = {f"{a}/{b}": compared.mismatches for (a, b), compared in found.pairs.items() if not compared.exact}
        if wrong:
            raise AssertionError(f"engines differ: {wrong}")
        engines = {name for pair in found.pairs for name in pair}
        left = "".join(f", without {name} ({why})" for name, why in found.left_out.items())
        return f"{len(engines)} engines, {next(iter(found.pairs.values())).values} values{left}"

    model = tr.load(path)
    model.require_rescales()
    part = "; ".join(remark.text for remark in model.remarks)
    yield "import", f"{len(model.signature.inputs)} in, {len(model.signature.outputs)} out{part and f'; {part}'}"
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
        ours, theirs = (engine_or_twin("iree-constant", each)[0].run_many(inputs) for each in (compensated, again))
        largest = max(
            int(np.abs(a.astype(np.int64) - b.astype(np.int64)).max(initial=0)) for a, b in zip(ours, theirs, strict=True)
        )
        yield "read again", f"{largest} LSB"


def one(path: pathlib.Path, samples: int, seed: int) -> None:
    """The process of one model: a line of JSON for each step."""
    began, done = time.monotonic(), False
    try:
        for name, figure in steps(path, samples, seed):
            done = True
            print(json.dumps({"step": name, "figure": figure, "seconds": time.monotonic() - began}), flush=True)
    except Exception as error:
        own = type(error).__module__.startswith("tosa_rescale")
        what = "refused" if own and not done and "\n" not in str(error) else "failed"
        said = f"{'' if own else f'{type(error).__name__}: '}{' '.join(str(error).split())}"
        print(json.dumps({what: said, "seconds": time.monotonic() - began}), flush=True)


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
    failed, refused = (next((line[what] for line in lines if what in line), None) for what in ("failed", "refused"))
    if failed is None and status != 0:
        last = next((line for line in reversed(errors.splitlines()) if line.strip()), "no message")
        failed = f"ended with status {status}: {last}"
    return {
        "model": path.name,
        "steps": [line for line in lines if "step" in line],
        "failed": failed,
        "refused": refused,
        "seconds": lines[-1]["seconds"] if lines else 0.0,
    }


def files_in(paths: list[str], folder: pathlib.Path) -> list[pathlib.Path]:
    """The models that the paths name; the built ones are written into `folder`."""
    found: list[pathlib.Path] = []
    for path in paths:
        if path == "networks":
            sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "python"))
            import networks
            import zoo_networks

            for name, build in {**networks.NETWORKS, **zoo_networks.ZOO}.items():
                (folder / f"{name}.tflite").write_bytes(build())
                found.append(folder / f"{name}.tflite")
        elif pathlib.Path(path).is_dir():
            found += sorted(each for each in pathlib.Path(path).iterdir() if each.suffix in SUFFIXES)
        else:
            found.append(pathlib.Path(path))
    return found


def verdict(row: dict[str, Any]) -> str:
    """What became of a model, in words."""
    if row["refused"]:
        return f"refused: {row['refused']}"
    after = row["steps"][-1]["step"] if row["steps"] else "nothing"
    return "ok" if row["failed"] is None else f"FAILED after {after}: {row['failed']}"


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = ["| model | verdict | rescales | values compared | wide at 1 bit | read again |", "|---|---|---|---|---|---|"]
    for row in rows:
        figures = {each["step"]: each["figure"] for each in row["steps"]}
        shown = (figures.get(step, "") for step in ("info", "check as given", "compensate", "read again"))
        lines.append(f"| {row['model']} | {verdict(row)} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--timeout", type=int, default=1800)
    parser.add_argument("--json", type=pathlib.Path, help="the rows, for programs")
    parser.add_argument("--table", type=pathlib.Path, help="the rows, in Markdown")
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
            print(f"{row['model']:45} {verdict(row)} ({row['seconds']:.0f} s) [{figures}]", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")
    if asked.table:
        asked.table.write_text(table(rows))
    failed, refused = (sum(bool(row[what]) for row in rows) for what in ("failed", "refused"))
    print(f"{len(rows)} models, {failed} failed, {refused} refused by one line")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
