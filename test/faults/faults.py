# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Kills, shared caches and full disks: old outputs stay, reruns go on, nothing damaged is ever used.

Usage: python test/faults/faults.py [--tries N] [--seed S] [--only STEP]...
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter

DRIVER = "import sys; from tosa_rescale.driver.command import main; sys.exit(main())"
OLD = b"an old output"
VMFB_MAGIC = b"tosa-rescale vmfb 1\n"


@dataclasses.dataclass(frozen=True)
class Job:
    """A command that is killed.

    Attributes:
        argv: the command, run in a folder of its own.
        output: the file it makes there.
        replaces: an old output lies there before, which a kill must leave.
        checkpoint: the state it leaves beside the output; a rerun goes on from it where there is one.
        disk: size of the disk that is filled, in the words of mount; takes the output and the state.
    """

    argv: tuple[str, ...]
    output: str
    replaces: bool
    checkpoint: str = ""
    disk: str = "256k"

    def command(self, folder: pathlib.Path) -> tuple[str, ...]:
        """The command as a user would give it in that folder."""
        return (*self.argv, "--resume") if self.checkpoint and (folder / self.checkpoint).exists() else self.argv


def jobs() -> dict[str, Job]:
    """The steps, on the demo's model."""
    from tosa_rescale.demo import DATA, MODEL

    command = (sys.executable, "-m", "tosa_rescale")
    vmvx = ("--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=vmvx")
    samples = ("--calibration", str(DATA), "--samples", "8", "--quiet", "--force")
    return {
        "compensate": Job(
            (*command, "compensate", str(MODEL), "-o", "out.mlirbc", "--bits", "1", *samples), "out.mlirbc", True
        ),
        "compile": Job(
            (sys.executable, "-c", DRIVER, str(MODEL), *vmvx, "--tosa-rescale-bits=4", "-o", "out.vmfb"), "out.vmfb", True
        ),
        "sweep": Job(
            (*command, "sweep", str(MODEL), "--data", str(DATA), "-o", "out", "--bits", "8,4,2,1", "--take", "16", "--quiet"),
            "out/sweep.json",
            False,
        ),
        # A .tflite has weights and no history: two runs must give the same bytes.
        "finetune": Job(
            (
                *(*command, "finetune", str(MODEL), "-o", "out.tflite", "--bits", "2", "--data", str(DATA)),
                *("--take", "40", "--batch", "8", "--epochs", "3", "--quiet", "--force"),
            ),
            *("out.tflite", True, "out.tflite.checkpoint.npz", "8m"),
        ),
    }


def content(path: pathlib.Path) -> object:
    """What must be equal between runs: bytes, or a sweep's state without its times."""
    if path.suffix != ".json":
        return path.read_bytes()
    points = json.loads(path.read_text())["points"]
    return [{key: value for key, value in point.items() if "seconds" not in key} for point in points]


def damaged_entries(cache: pathlib.Path) -> list[str]:
    """Cache entries whose checksum is wrong."""
    damaged = []
    for path in cache.glob("*.vmfb"):
        stored = path.read_bytes()
        data = stored[len(VMFB_MAGIC) + 32 :]
        if stored[: len(VMFB_MAGIC) + 32] != VMFB_MAGIC + hashlib.sha256(data).digest():
            damaged.append(path.name)
    return damaged


def start(job: Job, folder: pathlib.Path, cache: pathlib.Path) -> subprocess.Popen[str]:
    """Starts a job in a process group of its own."""
    return subprocess.Popen(
        job.command(folder),
        cwd=folder,
        env={**os.environ, "TOSA_RESCALE_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(job: Job, folder: pathlib.Path, cache: pathlib.Path) -> tuple[int, str]:
    """Runs a job to its end: status and messages."""
    process = start(job, folder, cache)
    _, said = process.communicate(timeout=300)
    return process.returncode, said


def expect(condition: object, what: str) -> None:
    if not condition:
        raise AssertionError(what)


def kill_at_random(name: str, tries: int, seed: int) -> Counter[str]:
    """Kills a step at random moments and runs it again.

    Returns:
        How many tries were killed, found the old output, the new one, or none, after the kill.
    """
    job, rng, counts = jobs()[name], random.Random(f"{seed} {name}"), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="tosa-rescale-faults-") as root:
        folder, cache = pathlib.Path(root, "good"), pathlib.Path(root, "cache")
        folder.mkdir()
        finish(job, folder, cache)
        expected = content(folder / job.output)
        shutil.rmtree(folder)
        folder.mkdir()
        began = time.monotonic()
        finish(job, folder, cache)  # with a filled cache, as most of the tries
        duration = time.monotonic() - began
        expect(content(folder / job.output) == expected, "two undisturbed runs differ")
        for attempt in range(tries):
            if attempt % 5 == 0:  # otherwise nothing would ever be killed while it fills the cache
                shutil.rmtree(cache, ignore_errors=True)
            work = pathlib.Path(root, "work")
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            target = work / job.output
            if job.replaces:
                target.write_bytes(OLD)
            process = start(job, work, cache)
            moment = rng.uniform(0, duration * 1.1)
            if job.checkpoint and attempt % 2:  # most of its time passes before the first one
                _wait_for(work / job.checkpoint, process)
                moment *= 0.01  # the epochs that are left are short
            try:
                process.wait(moment)
                counts["finished before the kill"] += 1
            except subprocess.TimeoutExpired:
                counts["killed"] += 1
                if rng.random() < 0.5:
                    process.kill()  # alone: its children must end by themselves
                else:
                    os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if target.exists():
                found = content(target)
                if found == OLD:
                    counts["old output"] += 1
                elif found == expected:
                    counts["new output"] += 1
                else:
                    expect(isinstance(found, list) and found == expected[: len(found)], f"{name} {attempt}: damaged output")  # pyright: ignore
                    counts["a part of the sweep, whole points"] += 1
            else:
                expect(not job.replaces, f"{name} {attempt}: the old output is gone")
                counts["no output yet"] += 1
            expect(not damaged_entries(cache), f"{name} {attempt}: damaged cache entries {damaged_entries(cache)}")
            visible = {path.name for path in work.iterdir() if not path.name.startswith(".")}
            expect(visible <= {job.output.partition("/")[0], job.checkpoint}, f"{name} {attempt}: leaves {visible}")
            if job.checkpoint in visible:
                counts["went on from a checkpoint"] += 1
            status, said = finish(job, work, cache)
            expect(status == 0, f"{name} {attempt}: the rerun ended with {status}: {said}")
            expect(content(target) == expected, f"{name} {attempt}: the rerun gives another result")
            counts["rerun to the same result"] += 1
    return counts


def share_a_cache(name: str, tries: int) -> Counter[str]:
    """Two processes at once on an empty cache; in every other try one of them is killed."""
    job, counts = jobs()[name], Counter[str]()
    with tempfile.TemporaryDirectory(prefix="tosa-rescale-faults-") as root:
        cache = pathlib.Path(root, "cache")
        results = []
        for attempt in range(tries):
            shutil.rmtree(cache, ignore_errors=True)
            folders = [pathlib.Path(root, f"{attempt}-{i}") for i in range(2)]
            for folder in folders:
                folder.mkdir()
            processes = [start(job, folder, cache) for folder in folders]
            if attempt % 2:
                time.sleep(1.0)
                processes[1].kill()
                processes[1].communicate()
                counts["one of two killed"] += 1
                folders.pop()
            for process in processes[: len(folders)]:
                _, said = process.communicate(timeout=300)
                expect(process.returncode == 0, f"ended with {process.returncode}: {said}")
            expect(not damaged_entries(cache), f"damaged cache entries {damaged_entries(cache)}")
            results += [content(folder / job.output) for folder in folders]
            counts["runs together"] += 1
        expect(all(each == results[0] for each in results), "results differ")
    return counts


def full_disk(name: str) -> Counter[str]:
    """A step whose output, or whose cache, lies on a disk that is full."""
    job, counts = jobs()[name], Counter[str]()
    with tempfile.TemporaryDirectory(prefix="tosa-rescale-faults-") as root:
        disk, cache, work = (pathlib.Path(root, each) for each in ("disk", "cache", "work"))
        disk.mkdir()
        work.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={job.disk}", "none", str(disk)], capture_output=True, check=False
        ).returncode
        if mounted != 0:
            counts["skipped: mounting is not allowed"] += 1
            return counts
        try:
            status, said = finish(job, work, cache)
            expect(status == 0, said)
            expected = content(work / job.output)
            target = disk / job.output
            target.parent.mkdir(exist_ok=True)
            if job.replaces:
                target.write_bytes(OLD)
            _fill(disk)
            status, said = finish(job, disk, cache)
            expect(status != 0, f"{name}: succeeded on a full disk")
            expect("Traceback" not in said and "internal error" not in said, said)
            expect(not job.replaces or target.read_bytes() == OLD, f"{name}: the old output is gone")
            left = [path.name for path in disk.iterdir() if path.name.startswith(".") and path.is_file()]
            expect(not left, f"{name}: leaves {left}")
            counts["full output disk: old output kept"] += 1
            if job.checkpoint:
                _fill_after_checkpoint(job, disk, cache, expected)
                counts["full checkpoint disk: old checkpoint kept, and gone on from"] += 1
            shutil.rmtree(work)
            work.mkdir()
            (disk / "c").mkdir(exist_ok=True)
            status, said = finish(job, work, disk / "c")
            expect(status == 0 and content(work / job.output) == expected, f"{name}: a full cache disk: {status} {said}")
            counts["full cache disk: done without it"] += 1
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    return counts


def _fill_after_checkpoint(job: Job, disk: pathlib.Path, cache: pathlib.Path, expected: object) -> None:
    """Stops a job at its first checkpoint, fills the disk, goes on in vain, makes room and goes on."""
    (disk / "filler").unlink()
    state = disk / job.checkpoint
    process = start(job, disk, cache)
    _wait_for(state, process)
    process.kill()
    process.communicate()
    kept = state.read_bytes()
    _fill(disk)
    status, said = finish(job, disk, cache)
    expect(status != 0 and "No space left" in said and "Traceback" not in said, f"on a full disk: {status} {said}")
    expect(state.read_bytes() == kept, "the old checkpoint is gone")
    (disk / "filler").unlink()
    status, said = finish(job, disk, cache)
    expect(status == 0 and content(disk / job.output) == expected, f"after making room: {status} {said}")
    _fill(disk)


def _wait_for(path: pathlib.Path, process: subprocess.Popen[str]) -> None:
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)


def _fill(disk: pathlib.Path) -> None:
    with open(disk / "filler", "wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"\0" * 4096)
        except OSError:
            pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=[*jobs(), "cache", "disk"])
    asked = parser.parse_args()
    failed = 0
    checks = {name: (lambda n=name: kill_at_random(n, asked.tries, asked.seed)) for name in jobs()}
    checks["cache"] = lambda: share_a_cache("compensate", min(asked.tries, 10))
    checks["disk"] = lambda: sum((full_disk(name) for name in jobs()), Counter[str]())
    for name, run in checks.items():
        if asked.only and name not in asked.only:
            continue
        began = time.monotonic()
        try:
            found = run()
            print(f"{name}: {', '.join(f'{what} {n}' for what, n in sorted(found.items()))} ({time.monotonic() - began:.0f} s)")
        except AssertionError as error:
            failed += 1
            print(f"{name}: FAILED: {error}")
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
