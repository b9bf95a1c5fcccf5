# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Without torch or executorch: what is said, and that importing needs neither. Runs in every environment."""

from __future__ import annotations

import importlib.metadata
import inspect
import subprocess
import sys

import pytest
import tosa_rescale.executorch as te
from tosa_rescale import Model
from tosa_rescale.core.errors import MissingToolError


@pytest.fixture
def without_executorch(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)


@pytest.mark.usefixtures("without_executorch")
def test_loading_says_what_to_install() -> None:
    with pytest.raises(
        MissingToolError, match=r"executorch: is not installed; pip install 'tosa-rescale\[executorch\]' in an env"
    ):
        te.load(None)


@pytest.mark.usefixtures("without_executorch")
def test_the_context_says_what_to_install_before_it_is_entered() -> None:
    with pytest.raises(MissingToolError, match="executorch: is not installed"), te.rescaling(bits=1):
        pytest.fail("entered")
    with pytest.raises(MissingToolError, match="executorch: is not installed"), te.applying(lambda model: model):
        pytest.fail("entered")


def test_importing_loads_neither_torch_nor_executorch() -> None:
    code = "import sys, tosa_rescale.executorch; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "executorch", "iree", "tensorflow"} & set(loaded)


def test_the_context_takes_the_options_of_compensate() -> None:
    """With the same defaults: the signatures repeat them, so that editors show them. It has no data, and no file."""
    chooses = {"data", "max_drop", "metrics", "per_layer", "for_litert"}
    ours, models = (inspect.signature(each).parameters for each in (te.rescaling, Model.compensate))
    assert {name: each.default for name, each in ours.items()} == {
        name: each.default for name, each in models.items() if name not in {"self", *chooses}
    }
