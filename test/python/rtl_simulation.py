# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Running the project's RTL in whatever simulator is installed."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
from collections.abc import Sequence

import pytest
from tosa_rescale.hardware.yosys import RTL

SIMULATORS = ("iverilog", "verilator")
MODULES = ("rescaler", "dot_product_engine", "variant_engine", "elementwise_rescaler", "tile")


def simulator() -> str:
    """The first simulator at hand; skips the test where there is none."""
    for name in SIMULATORS:
        if shutil.which(name):
            return name
    pytest.skip("no simulator: install Icarus Verilog or Verilator (Debian: iverilog, verilator)")


def simulate(
    tool: str, bench: str, folder: pathlib.Path, parameters: dict[str, int], arguments: dict[str, object]
) -> tuple[int, int]:
    """Builds a test bench and runs it.

    Returns:
        Number of vectors and of mismatches.
    """
    sources = [str(RTL / f"{bench}.sv"), *(str(RTL / f"{name}.sv") for name in MODULES)]
    program = folder / f"{bench}_{tool}"
    if tool == "iverilog":
        values = [f"-P{bench}.{name}={value}" for name, value in parameters.items()]
        build = ["iverilog", "-g2012", "-s", bench, *values, "-o", str(program), *sources]
        run = ["vvp", "-n", str(program)]
    else:
        values = [f"-G{name}={value}" for name, value in parameters.items()]
        made = folder / "verilated"
        build = [
            "verilator",
            "--binary",
            "-CFLAGS",
            "-O0",
            "-Wno-fatal",
            "--top-module",
            bench,
            *values,
            "--Mdir",
            str(made),
            "-o",
            str(program),
        ]
        build, run = [*build, *sources], [str(program)]
    call(build, folder)
    answer = call([*run, *(f"+{name}={value}" for name, value in arguments.items())], folder)
    words = answer.splitlines()[-1].split() if tool == "iverilog" else _line(answer)
    assert words[0] == "vectors", answer
    return int(words[1]), int(words[3])


def _line(answer: str) -> Sequence[str]:
    return next(line.split() for line in answer.splitlines() if line.startswith("vectors"))


def call(command: Sequence[str], folder: pathlib.Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
