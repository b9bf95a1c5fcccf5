# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where IREE's time goes, dispatch by dispatch, from IREE's own profiler.

    python bench/dispatches.py MODEL.tflite [--iree-flag ...]

Flags that follow the model are added to the default ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import load
from tosa_rescale_runtime import DEFAULT_FLAGS, Executable

RUNS = 20
_NUMPY_TO_IREE = {"int8": "i8", "uint8": "i8", "int16": "i16", "int32": "i32"}


def profile(executable: Executable, runs: int = RUNS) -> list[tuple[float, str]]:
    """Time of every dispatch of one run in microseconds, and its name; the longest first.

    A time is the least of all runs, the figure that a shared machine disturbs least.
    """
    import iree.runtime as rt

    index = rt.ParameterIndex()
    for name, value in executable.parameters.items():
        index.add_buffer(name, value.reshape(-1).view(np.uint8))
    with tempfile.TemporaryDirectory() as folder:
        module, parameters, profile = (Path(folder, name) for name in ("m.vmfb", "p.irpa", "p.ireeprof"))
        module.write_bytes(executable.vmfb)
        index.create_archive_file(str(parameters))
        inputs = [f"--input={'x'.join(map(str, spec.shape))}x{_NUMPY_TO_IREE[spec.dtype.name]}=3" for spec in executable.inputs]
        subprocess.run(
            [
                "iree-benchmark-module",
                f"--module={module}",
                f"--parameters=model={parameters}",
                f"--function={executable.function}",
                "--device=local-sync",
                *inputs,
                f"--benchmark_min_time={runs}x",
                "--device_profiling_mode=queue-events,host-execution,executable-metadata",
                f"--device_profiling_output={profile}",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        listing = subprocess.run(
            ["iree-profile", "dispatch", "--format=jsonl", str(profile)], check=True, capture_output=True, text=True
        ).stdout
    records = (json.loads(line) for line in listing.splitlines())
    rows = [
        (each["min_ns"] * each["count"] / runs / 1e3, each["key"])
        for each in records
        if each.get("type") == "host_dispatch_group"
    ]
    return sorted(rows, reverse=True)


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    rows = profile(Executable.build(load(Path(sys.argv[1])), flags=(*DEFAULT_FLAGS, *sys.argv[2:])))
    total = sum(time for time, _ in rows)
    for time, name in rows:
        print(f"{time:9.1f} us {100 * time / total:5.1f} %  {name}")
    print(f"{total:9.1f} us")


if __name__ == "__main__":
    main()
