# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Inputs of int64, as tokens and masks are in PyTorch: narrowed in front of the delegate, so that the graph is whole."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("executorch", reason="the extra `executorch` is not installed; make test-executorch")

import numpy as np
import torch
import tosa_rescale.executorch as te
from executorch.backends.arm.ethosu import EthosUCompileSpec
from executorch.backends.arm.quantizer import TOSAQuantizer, get_symmetric_quantization_config
from executorch.backends.arm.tosa.compile_spec import TosaCompileSpec
from executorch.backends.arm.tosa.partitioner import TOSAPartitioner
from executorch.exir import to_edge_transform_and_lower
from networks import quantize
from torch import Tensor, nn
from torch_fixtures import exported
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from tosa_rescale.core.errors import DataError
from tosa_rescale.measure.engines import make_engine

pytest_plugins = ("torch_fixtures",)
pytestmark = pytest.mark.slow

SPEC = "TOSA-1.0+INT"
WORDS, LENGTH = 32, 8
CLEAR = (torch.zeros(1, LENGTH, dtype=torch.int64),)


def texts(count: int, seed: int = 1) -> Tensor:
    """Tokens int64 [count, LENGTH]."""
    return torch.randint(0, WORDS, (count, LENGTH), generator=torch.Generator().manual_seed(seed))


class Tagger(nn.Module):
    """A class for each token."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.linear = nn.Embedding(WORDS, 16), nn.Linear(16, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.linear(torch.relu(self.embedding(tokens)))


class Positions(Tagger):
    """With an embedding of positions, which are constants of int64."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Embedding(LENGTH, 16)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.linear(torch.relu(self.embedding(tokens) + self.positions(torch.arange(tokens.shape[1]))))


class Masked(Tagger):
    """With a mask of int64, as tokenizers give it."""

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = self.embedding(tokens)
        scores = x @ x.transpose(-1, -2) + ((1.0 - mask.float()) * -16.0)[:, None, :]
        return self.linear(torch.softmax(scores, -1) @ x)


class Best(Tagger):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens).argmax(-1)


@pytest.fixture(scope="module")
def tagger() -> torch.fx.GraphModule:
    torch.manual_seed(0)
    return quantize(Tagger(), [(x[None],) for x in texts(16)])


def test_tokens_give_the_integers_of_pytorch(tagger: torch.fx.GraphModule) -> None:
    model, x = te.load(tagger, CLEAR), texts(64, seed=2)
    (spec,) = model.input_specs
    assert (spec.name, spec.dtype, spec.limits) == ("tokens", np.int32, (0, WORDS - 1))
    border = model.quantization.outputs[0]  # type: ignore[union-attr]
    with torch.no_grad():
        real = torch.cat([tagger(each[None]) for each in x]).numpy()
    wanted = np.round(real / border.scale + border.zero_point).astype(np.int64)
    assert len(np.unique(wanted)) > 30
    for engine in ("iree", "reference"):
        found = make_engine(engine, model).run_many([x.numpy().astype(np.int32)])[0]
        np.testing.assert_array_equal(found.reshape(wanted.shape), wanted, err_msg=engine)


def test_int64_and_int32_give_the_same_graph() -> None:
    loaded = []
    for kind in (torch.int64, torch.int32):
        torch.manual_seed(0)
        network = Positions()
        samples = [(x[None].to(kind),) for x in texts(4)]
        loaded.append(te.load(quantize(network, samples), samples[0]))
    # The argument keeps the name of the node in front of the delegate.
    wide, narrow = (re.sub(r'tosa.tensor_name = "[^"]*"', "", each.module().to_text()) for each in loaded)
    assert wide == narrow and "tosa.gather" in wide
    assert [each.name for each in loaded[0].signature.inputs] == ["tokens"]


def test_a_mask_of_int64_keeps_its_name() -> None:
    torch.manual_seed(0)
    mask = torch.ones(1, LENGTH, dtype=torch.int64)
    mask[:, 5:] = 0
    samples = [(x[None], mask if i % 2 else torch.ones_like(mask)) for i, x in enumerate(texts(8))]
    model = te.load(quantize(Masked(), samples), samples[0])
    assert {each.name: (each.dtype, each.shape) for each in model.signature.inputs} == {
        "tokens": (np.int32, (1, LENGTH)),
        "mask": (np.int32, (1, LENGTH)),
    }
    inputs = [np.concatenate([each[i].numpy() for each in samples]).astype(np.int32) for i in range(2)]
    found, same = (make_engine(engine, model).run_many(inputs)[0] for engine in ("iree", "reference"))
    np.testing.assert_array_equal(found, same)
    assert (make_engine("iree", model).run_many([inputs[0], np.ones_like(inputs[1])])[0] != found).any()


def test_samples_of_int64_calibrate_and_score(tagger: torch.fx.GraphModule) -> None:
    model, x = te.load(tagger, CLEAR), texts(32, seed=3)
    with te.rescaling(bits=1, scope="all", calibration=x) as rescaled:
        to_edge_transform_and_lower(exported(tagger, CLEAR), partitioner=[TOSAPartitioner(TosaCompileSpec(SPEC))])
    (partition,) = rescaled.models
    assert all(each.power_of_two for each in partition.model.info())
    shifts = model.compensate(bits=1, scope="all", calibration=te.dataset(x, model))
    inputs = [x.numpy().astype(np.int32)]
    expected = make_engine("iree", shifts).run_many(inputs)[0]
    np.testing.assert_array_equal(make_engine("iree", partition.model).run_many(inputs)[0], expected)


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [WORDS, -1, 2**32])
def test_tokens_outside_of_the_vocabulary_are_refused(tagger: torch.fx.GraphModule, token: int) -> None:
    """2^32 would be token 0 after ExecuTorch's conversion to int32."""
    model, x = te.load(tagger, CLEAR), texts(4)
    x[2, 3] = token
    with pytest.raises(DataError, match=rf"has integers from .*{token}.*, the model's input tokens takes 0 to {WORDS - 1}"):
        model.compensate(bits=1, scope="all", calibration=te.dataset(x, model))


def test_an_argmax_in_the_program_is_named() -> None:
    """PyTorch's gives int64."""
    program = quantize(Best(), [CLEAR])
    with pytest.raises(te.ExecutorchError, match=r"1 operator is not delegated with TOSA-1.0\+INT: aten\.argmax\.default;"):
        te.load(program, CLEAR)


def test_an_embedding_that_is_not_quantized_is_named_and_what_follows_is_rescaled() -> None:
    """The delegate takes vectors then, and the tokens stay outside with their table."""
    torch.manual_seed(0)
    quantizer = TOSAQuantizer(TosaCompileSpec(SPEC)).set_global(get_symmetric_quantization_config(is_per_channel=True))
    quantizer.set_module_type(nn.Embedding, None)
    prepared = prepare_pt2e(exported(Tagger().eval(), CLEAR).module(check_guards=False), quantizer)
    for x in texts(4):
        prepared(x[None])
    program = convert_pt2e(prepared)
    with pytest.raises(te.ExecutorchError, match=r"not delegated with .*: .*aten\.embedding\.default \(in embedding\);"):
        te.load(program, CLEAR)
    spec = TosaCompileSpec(SPEC)
    with te.rescaling(bits=1, scope="all", calibration="none") as rescaled:
        to_edge_transform_and_lower(exported(program, CLEAR), partitioner=[TOSAPartitioner(spec)])
    (partition,) = rescaled.models
    assert partition.original.signature.inputs[0].shape == (1, LENGTH, 16)
    assert all(each.power_of_two for each in partition.model.info())
    with (
        pytest.raises(te.ExecutorchError, match=r"partition tag0: .*samples have shape \(8,\), .* takes \(8, 16\)"),
        te.rescaling(bits=1, scope="all", calibration=texts(4)),
    ):
        to_edge_transform_and_lower(exported(program, CLEAR), partitioner=[TOSAPartitioner(spec)])


def test_a_target_without_gather_is_named(tagger: torch.fx.GraphModule) -> None:
    with pytest.raises(te.ExecutorchError, match=r"not delegated with TOSA-1.0\+INT.*u55: .*aten\.index_select\.default"):
        te.load(tagger, CLEAR, EthosUCompileSpec("ethos-u55-128"))
