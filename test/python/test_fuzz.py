# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A small share of `make fuzz`."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest
import tosa_rescale as tr
from conftest import ROOT, Cli
from tosa_rescale.core.errors import ModelError, PassError
from tosa_rescale.formats import limits
from tosa_rescale.formats.litert import convert

FUZZ = ROOT / "test" / "fuzz" / "fuzz.py"
COUNT = 80


def test_mutated_files_are_refused_in_one_line_or_read() -> None:
    argv = [sys.executable, FUZZ, "--count", str(COUNT), "--seed", "1"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert f"{COUNT} inputs, 0 findings" in done.stdout


def test_the_fuzzer_sees_code_that_runs(tmp_path: pathlib.Path) -> None:
    import pickle

    sys.path.insert(0, str(FUZZ.parent))
    try:
        import fuzz
    finally:
        sys.path.remove(str(FUZZ.parent))
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(fuzz._Canary(str(canary)))).close()
    assert fuzz.judge({"status": 0, "stderr": ""}, tmp_path, canary) == "code of the file was run"
    canary.unlink()
    assert "partial output" in str(_judged(fuzz, tmp_path, 2, "tosa-rescale: error: x: y\n"))
    assert "not one line" in str(_judged(fuzz, tmp_path, 2, "tosa-rescale: error: x\nmore\n"))
    assert "internal error" in str(_judged(fuzz, tmp_path, 2, "tosa-rescale: error: internal error: x\n"))
    assert _judged(fuzz, tmp_path, 0, "") is None


def _judged(fuzz: object, folder: pathlib.Path, status: int, said: str) -> str | None:
    (folder / "out.mlirbc").touch()
    return fuzz.judge({"status": status, "stderr": said}, folder, folder / "canary")  # pyright: ignore


def test_a_converter_that_hangs_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, demo_model: pathlib.Path
) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text("import time; time.sleep(60)")
    convert._convert.cache_clear()  # the model may have been read before
    monkeypatch.setattr(convert, "CONVERTER", slow)
    monkeypatch.setattr(limits, "READ_TIMEOUT", 0.2)
    with pytest.raises(ModelError, match=r"digits_int8.tflite: the converter did not end within 0 s \(corrupt file\?\)"):
        tr.load(demo_model)


def test_a_reader_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    slow = tmp_path / "slow"
    slow.write_text(f"#!{sys.executable}\nimport time; time.sleep(60)\n")
    slow.chmod(0o755)
    monkeypatch.setenv("TOSA_RESCALE_OPT", str(slow))
    monkeypatch.setattr(limits, "READ_TIMEOUT", 0.2)
    (tmp_path / "x.mlirbc").write_bytes(b"ML\xefR")
    with pytest.raises(PassError, match=r"x.mlirbc: tosa-rescale-opt did not end within 0 s \(corrupt file\?\)"):
        tr.load(tmp_path / "x.mlirbc")


def test_limits_are_below_ten_seconds() -> None:
    assert limits.READ_TIMEOUT < 10


def test_a_member_without_numpys_header_is_no_array(cli: Cli, demo_model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", b"plain bytes")
    done = cli("evaluate", demo_model, "--data", "x.npz")
    assert done.returncode == 2 and "x.npz: not a readable .npz of plain arrays" in done.stderr and done.stderr.count("\n") == 1
