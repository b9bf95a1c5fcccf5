# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the tests of this folder share; quantized programs are made once for a run."""

from __future__ import annotations

import collections
import pathlib

import pytest
import torch
import tosa_rescale.executorch as te
from networks import ConvNet, Encoder, quantize
from tosa_rescale.api import Model
from tosa_rescale_runtime import Module

IMAGE = (torch.zeros(1, 1, 8, 8),)
TOKENS = (torch.zeros(1, 8, 32),)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One compile cache for the whole run: tests neither read nor fill the user's."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("TOSA_RESCALE_CACHE", str(tmp_path_factory.getbasetemp() / "compile-cache"))


def images(count: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def tokens(count: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 8, 32, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="session")
def quantized() -> torch.fx.GraphModule:
    """A convolutional network, int8."""
    torch.manual_seed(0)
    return quantize(ConvNet(), [(x[None],) for x in images(16)])


@pytest.fixture(scope="session")
def model(quantized: torch.fx.GraphModule) -> Model:
    """The convolutional network, loaded."""
    return te.load(quantized, IMAGE)


@pytest.fixture(scope="session")
def encoders() -> dict[str, torch.fx.GraphModule]:
    """A transformer block by specification: int8 and int16 activations."""
    found = {}
    for spec in ("TOSA-1.0+INT", "TOSA-1.0+INT+int16"):
        torch.manual_seed(0)
        found[spec] = quantize(Encoder(), [(x[None],) for x in tokens(16)], spec)
    return found


def exported(program: torch.nn.Module, example: tuple[torch.Tensor, ...] = IMAGE) -> torch.export.ExportedProgram:
    return torch.export.export(program, example)


def kinds(module: Module) -> collections.Counter[str]:
    """How many ops there are of each kind."""
    return collections.Counter(op.kind for op in module.ops())


def read_tosa(data: bytes, folder: pathlib.Path) -> Model:
    """A .tosa as any other tool reads it."""
    import tosa_rescale as tr

    (folder / "read.tosa").write_bytes(data)
    return tr.load(folder / "read.tosa")
