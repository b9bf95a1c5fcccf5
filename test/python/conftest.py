# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the tests share: the demo's model and data, the folder of real models, the command line."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest
import tosa_rescale as tr

ROOT = pathlib.Path(__file__).parents[2]
SHARED = pathlib.Path(os.environ.get("TOSA_RESCALE_SHARED", ROOT.parent / "shared"))

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def shared_models() -> pathlib.Path:
    """Folder of real models; skips where it is missing."""
    folder = SHARED / "models"
    if not folder.is_dir():
        pytest.skip("no folder of real models: set TOSA_RESCALE_SHARED")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> None:
    """One compile cache for the whole test run: tests neither read nor fill the user's."""
    if "TOSA_RESCALE_CACHE" not in os.environ:
        root = tmp_path_factory.getbasetemp()
        # With xdist every worker has its own base folder below a common one.
        shared = root.parent if hasattr(request.config, "workerinput") else root
        os.environ["TOSA_RESCALE_CACHE"] = str(shared / "compile-cache")


@pytest.fixture(scope="session")
def demo_model() -> pathlib.Path:
    from tosa_rescale.demo import MODEL

    return MODEL


@pytest.fixture(scope="session")
def demo_data() -> pathlib.Path:
    from tosa_rescale.demo import DATA

    return DATA


@pytest.fixture(scope="module")
def demo(demo_model: pathlib.Path) -> tr.Model:
    """The demo's model, read."""
    return tr.load(demo_model)


@pytest.fixture(scope="module")
def digits(demo_data: pathlib.Path) -> tr.Dataset:
    """The demo's held-out digits."""
    return tr.load_data(demo_data)


@pytest.fixture
def cli(tmp_path: pathlib.Path) -> Cli:
    """Runs `tosa-rescale` as a user does: a process of its own, in an empty folder."""

    def run(*arguments: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "tosa_rescale", *map(str, arguments)]
        # A runner of tests may set a width, and a pipe has none.
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        return subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=timeout)

    return run
