# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Feeds mutated files to the command line: no crash, no hang, no traceback, no partial output, no code run from a file.

Usage: python test/fuzz/fuzz.py [--count N] [--seed S] [--only KIND:INDEX] [--keep FOLDER]

Input `index` of a kind is the same in every run with the same seed, so a finding is named by `--seed S --only KIND:INDEX`.
Commands run inside a worker process, which is started anew when it dies or takes more than LIMIT seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import os
import pathlib
import pickle
import select
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
CORPUS = pathlib.Path(__file__).parent / "corpus"
KINDS = ("tflite", "mlirbc", "npz", "image")
LIMIT = 10.0  # seconds for one input, by the project's promise
MEMORY = 8 << 30  # bytes of address space of the worker: a file's header must not be able to ask for more
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclasses.dataclass(frozen=True)
class Finding:
    """An input that broke a promise."""

    kind: str
    index: int
    what: str


class _Canary:
    """Unpickling this makes a file: proof that code of a data file ran."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (self.path, "w"))


def seeds(kind: str, canary: pathlib.Path) -> list[bytes]:
    """Sound files of a kind, to be mutated, and those of the corpus."""
    from tosa_rescale import load
    from tosa_rescale.demo import DATA, MODEL

    found = [path.read_bytes() for path in sorted(CORPUS.glob(f"*.{kind}"))]
    if kind == "tflite":
        return [*found, MODEL.read_bytes()]
    if kind == "mlirbc":
        return [*found, load(MODEL).bytecode]
    if kind == "npz":
        with np.load(DATA) as digits:
            x, y = digits["x"][:3], digits["y"][:3]
        plain, pickled = io.BytesIO(), io.BytesIO()
        np.savez(plain, x=x, y=y)
        np.savez(pickled, x=np.array([_Canary(str(canary))], object))
        return [*found, plain.getvalue(), pickled.getvalue(), pickle.dumps(_Canary(str(canary)))]
    from PIL import Image

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8))
    for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        stream = io.BytesIO()
        image.save(stream, form)
        found.append(stream.getvalue())
    return found


def mutate(data: bytes, rng: np.random.Generator, other: bytes) -> bytes:
    """One to eight random edits, mostly one or two: what is refused at the first check tests only that."""
    changed = bytearray(data)
    for _ in range(int(rng.choice((1, 1, 1, 2, 2, 4, 8)))):
        if not changed:
            break
        # Headers decide most of what a reader does.
        span = len(changed) if rng.random() < 0.6 else min(len(changed), 256)
        at, size = int(rng.integers(span)), int(rng.integers(1, 64))
        match int(rng.integers(7)):
            case 0:
                changed[at] ^= 1 << int(rng.integers(8))
            case 1:
                changed[at] = int(rng.integers(256))
            case 2:
                width = int(rng.choice((1, 2, 4, 8)))
                extreme = int(rng.choice(EXTREMES)) & ((1 << 8 * width) - 1)
                changed[at : at + width] = extreme.to_bytes(width, "little")
            case 3 if rng.random() < 0.3:
                del changed[at:]
            case 4:
                del changed[at : at + size]
            case 5:
                changed[at:at] = changed[at : at + size]
            case 6:
                start = int(rng.integers(len(other)))
                changed[at : at + size] = other[start : start + size]
    return bytes(changed)


def mutated_input(kind: str, index: int, seed: int, sound: list[bytes]) -> bytes:
    """Input `index` of a kind."""
    rng = np.random.default_rng([seed, KINDS.index(kind), index])
    base, other = (sound[int(rng.integers(len(sound)))] for _ in range(2))
    if index < len(sound):
        return sound[index]
    if kind == "npz" and rng.random() < 0.6 and zipfile.is_zipfile(io.BytesIO(base)):
        # Checksums of the archive would hide everything behind them: mutate the members.
        packed = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(base)) as source, zipfile.ZipFile(packed, "w") as target:
            for name in source.namelist():
                target.writestr(name, mutate(source.read(name), rng, other))
        return packed.getvalue()
    return mutate(base, rng, other)


def command(kind: str, folder: pathlib.Path) -> list[str]:
    """What a user would do with a file of this kind."""
    from tosa_rescale.demo import MODEL

    if kind in ("tflite", "mlirbc"):
        return ["narrow", str(folder / f"input.{kind}"), "-o", str(folder / "out.mlirbc"), "--bits", "4"]
    data = folder / ("input.npz" if kind == "npz" else "images")
    return ["evaluate", str(MODEL), "--data", str(data), "--quiet", "--workers", "1", "--json", str(folder / "out.json")]


def place(kind: str, data: bytes, folder: pathlib.Path) -> None:
    """Writes an input into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if kind == "image":
        (folder / "images").mkdir()
        (folder / "images" / "input.png").write_bytes(data)
    else:
        (folder / f"input.{kind}").write_bytes(data)


def worker() -> None:
    """Runs command lines that arrive as JSON lines, and answers each with its status and messages."""
    import resource

    from tosa_rescale.cli import main

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        said, shown = io.StringIO(), io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(shown):
            status = main(json.loads(line))
        print(json.dumps({"status": status, "stderr": said.getvalue()}), file=answers, flush=True)


class Worker:
    """A worker process that is replaced when it is lost."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, arguments: list[str]) -> dict[str, object] | str:
        """The worker's answer, or what became of the worker."""
        if self._process is None:
            argv = [sys.executable, __file__, "--worker"]
            self._process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(arguments) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], LIMIT)
        line = process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)
        self.close()
        return f"hang: more than {LIMIT:.0f} s" if not ready else f"crash: worker ended with {process.returncode}"

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def judge(answer: dict[str, object] | str, folder: pathlib.Path, canary: pathlib.Path) -> str | None:
    """Which promise was broken; None: none."""
    if isinstance(answer, str):
        return answer
    said, status = str(answer["stderr"]), answer["status"]
    errors = [line for line in said.splitlines() if line.startswith("tosa-rescale: error: ")]
    outputs = sorted(
        path.name for path in folder.iterdir() if path.name not in ("images",) and not path.name.startswith("input.")
    )
    if canary.exists():
        return "code of the file was run"
    if "internal error" in said or "Traceback" in said:
        return said.strip()
    if status == 2:
        if len(errors) != 1 or said.strip() != errors[0]:
            return f"not one line: {said!r}"
        return f"partial output {outputs}" if outputs else None
    if status != 0:
        return f"status {status}: {said.strip()}"
    return None if len(outputs) == 1 else f"outputs {outputs}"


def fuzz(count: int, seed: int, only: str | None, keep: pathlib.Path | None) -> tuple[Counter[str], list[Finding]]:
    """Runs `count` inputs, a quarter of each kind.

    Returns:
        How many inputs of each kind were accepted and refused, and the findings.
    """
    counts: Counter[str] = Counter()
    findings = []
    with tempfile.TemporaryDirectory(prefix="tosa-rescale-fuzz-") as name, contextlib.closing(Worker()) as runner:
        root = pathlib.Path(name)
        canary, folder = root / "canary", root / "case"
        # The first call compiles the demo's model, which is no input's fault.
        subprocess.run([sys.executable, "-m", "tosa_rescale", *_warm_up(root)], check=True, capture_output=True)
        for kind in KINDS:
            sound = seeds(kind, canary)
            indices = range(count // len(KINDS))
            if only is not None:
                chosen, _, index = only.partition(":")
                indices = [int(index)] if chosen == kind else []
            for index in indices:
                data = mutated_input(kind, index, seed, sound)
                place(kind, data, folder)
                answer = runner.run(command(kind, folder))
                counts[f"{kind} {'accepted' if isinstance(answer, dict) and answer['status'] == 0 else 'refused'}"] += 1
                if what := judge(answer, folder, canary):
                    findings.append(Finding(kind, index, what))
                    print(f"--seed {seed} --only {kind}:{index}: {what[:300]}", file=sys.stderr, flush=True)
                    canary.unlink(missing_ok=True)
                    if keep is not None:
                        keep.mkdir(parents=True, exist_ok=True)
                        (keep / f"{seed}-{index}.{kind}").write_bytes(data)
    return counts, findings


def _warm_up(root: pathlib.Path) -> list[str]:
    from tosa_rescale.demo import DATA, MODEL

    return ["evaluate", str(MODEL), "--data", str(DATA), "--take", "1", "--quiet", "--json", str(root / "warm.json")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="KIND:INDEX")
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        worker()
        return 0
    start = time.monotonic()
    counts, findings = fuzz(asked.count, asked.seed, asked.only, asked.keep)
    print(", ".join(f"{what} {n}" for what, n in sorted(counts.items())))
    print(f"{sum(counts.values())} inputs, {len(findings)} findings, {time.monotonic() - start:.0f} s")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
