# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a quantized torch program to a model: names, border, and the same integers as PyTorch's own quantized model."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("executorch", reason="the extra `executorch` is not installed; make test-executorch")

import numpy as np
import torch
import tosa_rescale as tr
import tosa_rescale.executorch as te
from networks import quantize
from torch import nn
from torch_fixtures import IMAGE, TOKENS, exported, images, tokens
from tosa_rescale.core.errors import MissingToolError, OptionError
from tosa_rescale.core.quantization import TensorQuantization
from tosa_rescale.executorch import environment

pytest_plugins = ("torch_fixtures",)
pytestmark = pytest.mark.slow


def quantized_output(
    program: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, border: TensorQuantization
) -> np.ndarray:
    """What PyTorch's quantized model gives, sample by sample, as the integers that its last quantize operator made."""
    with torch.no_grad():
        real = torch.cat([program(each[None]) for each in x]).numpy()
    return np.round(real / border.scale + border.zero_point).astype(np.int64)


def run_integers(model: tr.Model, x: torch.Tensor, engine: str) -> np.ndarray:
    from tosa_rescale.measure.engines import make_engine

    (spec,) = model.input_specs
    assert spec.quantization is not None
    return make_engine(engine, model).run_many([spec.quantization.quantize(x.numpy(), spec.dtype)])[0].astype(np.int64)


def test_rescales_are_named_after_torch_modules(model: tr.Model) -> None:
    assert [each.name for each in model.info()] == ["stem", "add_1", "body.0", "body.2", "add_1", "add_1", "head"]


def test_a_transformer_has_the_names_of_its_modules(encoders: dict[str, torch.fx.GraphModule]) -> None:
    loaded = te.load(encoders["TOSA-1.0+INT"], TOKENS)
    named = {each.name for each in loaded.info()}
    below = "encoder.layer.0"
    assert {f"{below}.attention.{part}" for part in ("query", "key", "value", "output", "softmax_1")} <= named
    assert {f"{below}.norm1", f"{below}.norm2", f"{below}.mlp.0", f"{below}.mlp.2"} <= named
    assert [name for name in named if not name.startswith(f"{below}.")] == []
    products = [each.name for each in loaded.info() if each.op == "matmul"]
    assert products == [f"{below}.attention.bmm_1", f"{below}.attention.bmm_2"]


def test_the_border_is_that_of_the_program(quantized: torch.fx.GraphModule, model: tr.Model) -> None:
    calls = [node for node in quantized.graph.nodes if "quantize_per_tensor" in str(node.target)]
    first, last = calls[0], calls[-1]
    assert model.quantization is not None
    assert model.quantization.inputs == (TensorQuantization("image", first.args[1], first.args[2]),)
    assert model.quantization.outputs == (TensorQuantization("output0", last.args[1], last.args[2]),)
    assert model.signature.inputs[0].name == "image"
    assert model.source == "ConvNet (tag0)"


def test_an_exported_program_from_a_file_gives_the_same_model(
    quantized: torch.fx.GraphModule, model: tr.Model, tmp_path: pathlib.Path
) -> None:
    torch.export.save(exported(quantized), tmp_path / "model.pt2")
    again = te.load(torch.export.load(tmp_path / "model.pt2"))
    assert again.bytecode == model.bytecode
    assert again.recipe == model.recipe and again.recipe[0].options["spec"] == "TOSA-1.0+INT"


class Exactly(torch.fx.Interpreter):
    """PyTorch's quantized graph in float64: sums of products of integers are exact then."""

    def run_node(self, node: torch.fx.Node) -> Any:
        name, (args, _) = str(node.target), self.fetch_args_kwargs_from_env(node)
        if "dequantize_per_tensor" in name:
            return (args[0].double() - args[2]) * args[1]
        if "dequantize_per_channel" in name:
            shape = [-1 if i == args[3] else 1 for i in range(args[0].ndim)]
            return args[0].double() * args[1].double().reshape(shape)  # weights and biases: zero points are 0
        if "quantize_per_tensor" in name:
            return (torch.round(args[0].double() / args[1]) + args[2]).clamp(args[3], args[4]).to(args[5])
        return super().run_node(node)


@pytest.mark.parametrize("engine", ["iree", "iree-constant", "reference"])
def test_a_convolutional_network_equals_pytorch(quantized: torch.fx.GraphModule, model: tr.Model, engine: str) -> None:
    x = images(8 if engine == "reference" else 256, seed=3)
    border = model.quantization.outputs[0]  # type: ignore[union-attr]
    found = run_integers(model, x, engine)
    assert len(np.unique(found)) > 50
    # With other seeds 1 value of 2,560 may differ by 1: PyTorch's float32 takes 86.499994 for 86.5 inside the network.
    np.testing.assert_array_equal(found, quantized_output(quantized, x, border))


def test_convolutions_equal_pytorch_in_float64() -> None:
    """Without an add: TOSA rounds its operands to fixed point, an error of 2^-20 that decides 1 in 10,000 values."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, groups=8), nn.ReLU(), nn.Conv2d(8, 16, 1))
    program = quantize(nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)), [(x[None],) for x in images(16)])
    loaded, x = te.load(program, IMAGE), images(1024, seed=4)
    border = loaded.quantization.outputs[0]  # type: ignore[union-attr]
    expected = quantized_output(lambda image: Exactly(program).run(image), x, border)
    assert len(np.unique(expected)) > 100
    np.testing.assert_array_equal(run_integers(loaded, x, "iree"), expected)


def test_a_transformer_in_int8_is_the_same_in_iree_and_the_reference_model(encoders: dict[str, torch.fx.GraphModule]) -> None:
    """PyTorch computes softmax, GELU and LayerNorm in floats, TOSA by tables: equality is between integers."""
    program = encoders["TOSA-1.0+INT"]
    loaded, x = te.load(program, TOKENS), tokens(4, seed=2)
    np.testing.assert_array_equal(run_integers(loaded, x, "iree"), run_integers(loaded, x, "reference"))


def test_channels_last_examples_make_an_input_of_this_order() -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(3, 8, 3)
    example = torch.randn(1, 3, 8, 10).contiguous(memory_format=torch.channels_last)
    loaded = te.load(quantize(network, [(example,)]), (example,))
    assert loaded.input_spec.shape == (8, 10, 3)
    assert [op.kind for op in loaded.module().ops()] == ["conv2d", "rescale"]  # nothing is transposed
    assert loaded.signature.outputs[0].shape == (1, 6, 8, 8)  # 8 channels, last


class TwoInputs(nn.Module):
    def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.relu(right), left + right[:, :2]


def test_several_inputs_and_outputs_keep_their_names() -> None:
    torch.manual_seed(0)
    example = (torch.randn(1, 2), torch.randn(1, 4) * 3)
    program = quantize(TwoInputs(), [example])
    loaded = te.load(program, example)
    shapes = {each.name: each.shape for each in loaded.signature.inputs}
    assert shapes == {"left": (1, 2), "right": (1, 4)}
    assert {each.name: each.shape for each in loaded.signature.outputs} == {"output0": (1, 4), "output1": (1, 2)}
    border = {each.name: each for each in (*loaded.quantization.inputs, *loaded.quantization.outputs)}  # type: ignore[union-attr]
    assert border["right"].scale > 2 * border["left"].scale


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_a_float_program_is_refused() -> None:
    with pytest.raises(te.ExecutorchError, match="the program is a float one: it has no quantize operator; quantize it with"):
        te.load(nn.Linear(4, 4), (torch.zeros(1, 4),))


def test_dynamic_shapes_are_refused(quantized: torch.fx.GraphModule) -> None:
    batch = torch.export.Dim("batch", min=2, max=8)
    network = nn.Linear(4, 4)
    program = torch.export.export(quantize(network, [(torch.randn(4, 4),)]), (torch.randn(4, 4),), dynamic_shapes=({0: batch},))
    with pytest.raises(te.ExecutorchError, match=r"input \w+: has the dynamic shape \(\w+, 4\); export the program without"):
        te.load(program)


class Sorted(nn.Module):
    """An operator in the middle that TOSA does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(torch.sort(self.before(x), -1)[0])


def test_a_partly_delegated_program_names_its_operators() -> None:
    example = (torch.randn(1, 8),)
    program = quantize(Sorted(), [example])
    with pytest.raises(te.ExecutorchError, match=r"1 operator is not delegated with TOSA-1.0\+INT: aten.sort.default;"):
        te.load(program, example)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("TOSA-1.0+FP", r"spec: 'TOSA-1.0\+FP' is not one of integers alone; give 'TOSA-1.0\+INT'"),
        ("TOSA-1.0+INT+FP", "is not one of integers alone"),
        ("TOSA", r"spec: 'TOSA' is no TOSA specification \("),
    ],
)
def test_a_specification_without_integers_is_refused(quantized: torch.fx.GraphModule, spec: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        te.load(quantized, IMAGE, spec)


def test_other_things_than_programs_are_refused(quantized: torch.fx.GraphModule) -> None:
    with pytest.raises(OptionError, match=r"example: is needed to export a torch.nn.Module; give its inputs as a tuple"):
        te.load(quantized)
    with pytest.raises(OptionError, match=r"program: is a str; give the torch.nn.Module that convert_pt2e returned"):
        te.load("model.pt2", IMAGE)


def test_another_executorch_is_refused_by_its_version(monkeypatch: pytest.MonkeyPatch, quantized: torch.fx.GraphModule) -> None:
    monkeypatch.setattr(environment, "installed_version", lambda: "9.8.7")
    with pytest.raises(te.ExecutorchError, match=r"executorch 9\.8\.7: is not a release .*; pip install executorch==1\.5\.1"):
        te.load(quantized, IMAGE)


def test_another_form_of_executorch_is_refused(monkeypatch: pytest.MonkeyPatch, quantized: torch.fx.GraphModule) -> None:
    from executorch.backends.arm.tosa.backend import TOSABackend

    monkeypatch.setattr(TOSABackend, "_preprocess", staticmethod(lambda edge_program: None))
    with pytest.raises(te.ExecutorchError, match=r"executorch [\d.]+: is not a release that this package was tested with"):
        te.load(quantized, IMAGE)


def test_a_backend_that_misses_a_package_names_it(monkeypatch: pytest.MonkeyPatch, quantized: torch.fx.GraphModule) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "executorch.backends.arm.tosa.backend", None)
    with pytest.raises(MissingToolError, match=r"is not installed; pip install 'tosa-rescale\[executorch\]'"):
        te.load(quantized, IMAGE)
