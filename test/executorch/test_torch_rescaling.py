# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The contexts between ExecuTorch's TOSA and its backends: what is handed on, what is refused, what is left as it was."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("executorch", reason="the extra `executorch` is not installed; make test-executorch")

import numpy as np
import torch
import tosa_rescale as tr
import tosa_rescale.executorch as te
from executorch.backends.arm.ethosu import EthosUCompileSpec, EthosUPartitioner
from executorch.backends.arm.tosa.backend import TOSABackend
from executorch.backends.arm.tosa.compile_spec import TosaCompileSpec
from executorch.backends.arm.tosa.partitioner import TOSAPartitioner
from executorch.exir import EdgeProgramManager, to_edge_transform_and_lower
from networks import quantize
from test_torch_load import Sorted, run_integers
from torch import nn
from torch_fixtures import IMAGE, TOKENS, exported, images, read_tosa, tokens
from tosa_rescale.core.errors import OptionError

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "how-to" / "pytorch.md"
pytest_plugins = ("torch_fixtures",)
pytestmark = pytest.mark.slow


def lower(
    program: torch.nn.Module, example: tuple[torch.Tensor, ...] = IMAGE, spec: Any = "TOSA-1.0+INT"
) -> EdgeProgramManager:
    """Delegates a program; the partitioner goes by the kind of the compile spec."""
    if isinstance(spec, str):
        spec = TosaCompileSpec(spec)
    partitioner = EthosUPartitioner(spec) if isinstance(spec, EthosUCompileSpec) else TOSAPartitioner(spec)
    return to_edge_transform_and_lower(exported(program, example), partitioner=[partitioner])


def payloads(lowered: EdgeProgramManager) -> list[bytes]:
    """What the backends made: for TOSABackend the .tosa itself."""
    nodes = lowered.exported_program().graph_module
    return [module.processed_bytes for name, module in nodes.named_children() if name.startswith("lowered_module")]


# -- what is handed on -------------------------------------------------------------------------------------------------


def test_every_multiplier_of_the_payload_is_a_shift(quantized: torch.fx.GraphModule, tmp_path: pathlib.Path) -> None:
    with te.rescaling(bits=1, scope="all", calibration=images(16)) as rescaled:
        lowered = lower(quantized)
    (payload,) = payloads(lowered)
    received = read_tosa(payload, tmp_path)
    assert [each.power_of_two for each in received.info()] == [True] * 7
    (done,) = rescaled.models
    assert received.module().to_text() != done.original.module().to_text()
    assert [each.bits for each in done.original.info()].count(1) < 7
    said = (
        r"tag0: 7 of 7 rescales are shifts, the widest multiplier has 1 significant bit \(before: 31\); compensate, \d+\.\d s"
    )
    assert re.fullmatch(said, repr(done))
    assert done.model.recipe[-1].options["scope"] == "all"


def test_the_payload_computes_what_the_kept_model_says(quantized: torch.fx.GraphModule, tmp_path: pathlib.Path) -> None:
    with te.rescaling(bits=2, calibration="none") as rescaled:
        lowered = lower(quantized)
    model = rescaled.models[0].model
    received = dataclasses.replace(read_tosa(payloads(lowered)[0], tmp_path), quantization=model.quantization)
    x = images(32, seed=3)
    expected = run_integers(model, x, "iree")
    np.testing.assert_array_equal(run_integers(received, x, "iree"), expected)
    np.testing.assert_array_equal(run_integers(received, x[:4], "reference"), expected[:4])


def test_outside_the_context_nothing_is_changed(quantized: torch.fx.GraphModule) -> None:
    before, original = payloads(lower(quantized)), vars(TOSABackend)["_preprocess"]
    with te.rescaling(bits=1, calibration=None):
        changed = payloads(lower(quantized))
    assert vars(TOSABackend)["_preprocess"] is original
    assert payloads(lower(quantized)) == before != changed


@pytest.mark.parametrize("target", ["ethos-u55-128", "ethos-u85-256"])
def test_vela_takes_the_whole_graph_before_and_after(
    quantized: torch.fx.GraphModule, target: str, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def operators() -> tuple[int, int]:
        said = capfd.readouterr().out
        return tuple(int(re.findall(rf"{unit} operators = (\d+)", said)[-1]) for unit in ("CPU", "NPU"))  # type: ignore[return-value]

    def pte(lowered: EdgeProgramManager, name: str) -> bytes:
        lowered.to_executorch().save(str(tmp_path / name))
        return (tmp_path / name).read_bytes()

    spec = EthosUCompileSpec(target)
    plain, before = pte(lower(quantized, spec=spec), "plain.pte"), operators()
    with te.rescaling(bits=1, scope="all", calibration=images(16)) as rescaled:
        shifts, after = pte(lower(quantized, spec=spec), "shifts.pte"), operators()
    assert before[0] == after[0] == 0
    assert before[1] == after[1] > 5
    assert all(each.power_of_two for each in rescaled.models[0].model.info())
    assert plain != shifts and plain[4:8] == shifts[4:8] == b"ET12"


def test_vgf_gets_the_narrowed_graph(quantized: torch.fx.GraphModule) -> None:
    if not shutil.which("model-converter"):
        pytest.skip("model-converter is not installed: pip install ai-ml-sdk-model-converter")
    from executorch.backends.arm.vgf import VgfCompileSpec, VgfPartitioner

    def vgf() -> bytes:
        partitioner = VgfPartitioner(VgfCompileSpec("TOSA-1.0+INT"))
        return payloads(to_edge_transform_and_lower(exported(quantized), partitioner=[partitioner]))[0]

    plain = vgf()
    with te.rescaling(bits=1, scope="all", calibration="none") as rescaled:
        shifts = vgf()
    assert all(each.power_of_two for each in rescaled.models[0].model.info())
    assert plain[:4] == shifts[:4] and plain != shifts


@pytest.mark.parametrize("spec", ["TOSA-1.0+INT", "TOSA-1.0+INT+int16"])
def test_a_transformer_block(encoders: dict[str, torch.fx.GraphModule], spec: str, tmp_path: pathlib.Path) -> None:
    """What is handed on is what the kept model says, by the reference model; and it is near what PyTorch computes."""
    with te.rescaling(bits=1, scope="all", calibration="none") as rescaled:
        lowered = lower(encoders[spec], TOKENS, spec)
    (done,) = rescaled.models
    received = dataclasses.replace(read_tosa(payloads(lowered)[0], tmp_path), quantization=done.model.quantization)
    assert len(received.info()) > 40
    # In int8, alignment leaves some rescales of LayerNorm and GELU wide, whose scales contradict each other.
    before, after = ([bool(each.power_of_two) for each in graph.info()] for graph in (done.original, received))
    sequences = tokens(32, seed=5)
    first, second = (run_integers(graph, sequences, "iree") for graph in (done.original, received))
    apart = np.abs(first - second)
    assert (
        f"| {sum(before)} of {len(before)} are shifts | {sum(after)} of {len(after)}; {apart.mean():.2g} LSB mean,"
        f" {apart.max()} LSB largest difference" in PAGE.read_text()
    )
    x = tokens(2, seed=5)
    np.testing.assert_array_equal(run_integers(received, x, "reference"), run_integers(done.model, x, "reference"))
    with torch.no_grad():
        expected = torch.cat([encoders[spec](each[None]) for each in x]).numpy().ravel()
    for model, least in ((done.original, 0.995), (received, 0.98)):
        output = model.quantization.outputs[0]  # type: ignore[union-attr]
        found = (run_integers(model, x, "reference").ravel() - output.zero_point) * output.scale
        assert np.corrcoef(found, expected)[0, 1] > least


# -- samples -----------------------------------------------------------------------------------------------------------


class Pairs(torch.utils.data.Dataset):
    """Images with labels, as a training set has them."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return images(16)[index], index % 10


@pytest.mark.parametrize(
    "samples",
    [
        lambda: torch.utils.data.DataLoader(Pairs(), batch_size=5),
        lambda: [(each[None],) for each in images(16)],
        lambda: images(16).numpy(),
        lambda: images(16).requires_grad_(),
        lambda: {"tag0": images(16)},
    ],
    ids=["loader", "examples", "array", "tensor", "by partition"],
)
def test_samples_of_every_kind_calibrate_alike(quantized: torch.fx.GraphModule, samples: Callable[[], Any]) -> None:
    with te.rescaling(bits=1, calibration=samples()) as rescaled:
        lower(quantized)
    model = rescaled.models[0].model
    # The figure depends on the samples alone.
    assert model.recipe[-1].options["mean_lsb"] == pytest.approx(
        float(
            np.abs(
                run_integers(model, images(16), "iree") - run_integers(rescaled.models[0].original, images(16), "iree")
            ).mean()
        )
    )


def test_samples_of_a_channels_last_input_are_given_as_pytorch_has_them() -> None:
    torch.manual_seed(0)
    example = (torch.randn(1, 3, 6, 8).contiguous(memory_format=torch.channels_last),)
    program = quantize(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)), [example])
    samples = torch.randn(8, 3, 6, 8)
    with te.rescaling(bits=1, calibration=samples) as rescaled:
        lower(program, example)
    (done,) = rescaled.models
    assert done.original.input_spec.shape == (6, 8, 3)
    in_order = samples.permute(0, 2, 3, 1)
    difference = np.abs(run_integers(done.model, in_order, "iree") - run_integers(done.original, in_order, "iree")).mean()
    assert done.model.recipe[-1].options["mean_lsb"] == pytest.approx(float(difference))


def test_samples_of_the_wrong_shape_name_the_partition(quantized: torch.fx.GraphModule) -> None:
    with (
        pytest.raises(te.ExecutorchError, match=r"^partition tag0: .*\(1, 9, 9\).*\(1, 8, 8\)"),
        te.rescaling(bits=1, calibration=torch.zeros(4, 1, 9, 9)),
    ):
        lower(quantized)


# -- several parts -----------------------------------------------------------------------------------------------------


def test_every_part_of_a_partly_delegated_program_is_narrowed() -> None:
    torch.manual_seed(0)
    example = (torch.randn(1, 8),)
    program = quantize(Sorted(), [(torch.randn(1, 8),) for _ in range(8)])
    samples = torch.randn(8, 8)
    with te.rescaling(bits=1, calibration={"tag0": samples, "tag1": samples}) as rescaled:
        lower(program, example)
    assert sorted(each.partition for each in rescaled.models) == ["tag0", "tag1"]
    assert sorted(each.name for done in rescaled.models for each in done.model.info()) == ["after", "before"]
    assert all(each.power_of_two for done in rescaled.models for each in done.model.info())
    with pytest.raises(te.ExecutorchError, match=r"^partition tag[01]: has no calibration samples of its own"):  # noqa: SIM117
        with te.rescaling(bits=1, calibration=samples):
            lower(program, example)


# -- steps of one's own, and models from elsewhere ---------------------------------------------------------------------


def test_a_step_of_ones_own_is_applied(quantized: torch.fx.GraphModule, tmp_path: pathlib.Path) -> None:
    with te.applying(lambda model: model.narrow(4)) as rescaled:
        lowered = lower(quantized)
    received = read_tosa(payloads(lowered)[0], tmp_path)
    bits = {each.key: each.bits for each in received.info() if each.scope == "accumulator"}
    assert max(bits.values()) == 4 and len(bits) == 4  # type: ignore[type-var]
    assert [step.name for step in rescaled.models[0].model.recipe] == ["executorch", "narrow"]


def test_a_finished_model_goes_back_into_its_program(
    quantized: torch.fx.GraphModule, model: tr.Model, tmp_path: pathlib.Path
) -> None:
    finished = model.narrow(3).save(tmp_path / "finished.mlirbc")
    with te.inserting(finished) as rescaled:
        lowered = lower(quantized, spec=EthosUCompileSpec("ethos-u55-128"))
    assert payloads(lowered)
    assert rescaled.models[0].model.fingerprint == tr.load(finished).fingerprint
    with te.inserting(finished):
        (payload,) = payloads(lower(quantized))
    narrowed = [each.bits for each in read_tosa(payload, tmp_path).info() if each.scope == "accumulator"]
    assert max(narrowed) == 3  # type: ignore[type-var]


def test_a_model_is_fine_tuned_in_another_environment(quantized: torch.fx.GraphModule, tmp_path: pathlib.Path) -> None:
    trainer = os.environ.get("TOSA_RESCALE_TRAINER")
    if not trainer:
        pytest.skip("set TOSA_RESCALE_TRAINER to the tosa-rescale of an environment with TensorFlow")
    te.load(quantized, IMAGE).save(tmp_path / "model.mlirbc")
    np.savez(tmp_path / "train.npz", x=images(64).numpy())
    arguments = ["finetune", "model.mlirbc", "-o", "tuned.mlirbc", "--bits", "2", "--data", "train.npz", "--epochs", "1"]
    done = subprocess.run([trainer, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with te.inserting(tmp_path / "tuned.mlirbc") as rescaled:
        (payload,) = payloads(lower(quantized))
    assert [step.name for step in rescaled.models[0].model.recipe] == ["executorch", "narrow", "finetune"]
    assert {each.bits for each in read_tosa(payload, tmp_path).info() if each.scope == "accumulator"} <= {1, 2}


def test_a_model_of_another_program_is_refused(model: tr.Model) -> None:
    torch.manual_seed(1)
    other = quantize(nn.Conv2d(1, 8, 3), [IMAGE])
    with (
        pytest.raises(te.ExecutorchError, match=r"^partition tag0: ConvNet \(tag0\): was made of another graph than this one"),
        te.inserting(model.narrow(3)),
    ):
        lower(other)


def test_a_model_of_another_kind_is_refused() -> None:
    from tosa_rescale.demo import MODEL

    with (
        pytest.raises(
            te.ExecutorchError, match=r"digits_int8\.tflite: its recipe does not begin with tosa_rescale\.executorch"
        ),
        te.inserting(MODEL),
    ):
        pass


def test_a_step_must_keep_the_border(quantized: torch.fx.GraphModule) -> None:
    def rescale_input(model: tr.Model) -> tr.Model:
        border = model.quantization
        assert border is not None
        inputs = (dataclasses.replace(border.inputs[0], scale=2 * border.inputs[0].scale),)
        return dataclasses.replace(model, quantization=dataclasses.replace(border, inputs=inputs))

    with pytest.raises(te.ExecutorchError, match=r"^partition tag0: .*a step may not change these"), te.applying(rescale_input):
        lower(quantized)
    torch.manual_seed(2)
    smaller = te.load(quantize(nn.Conv2d(1, 2, 3), [IMAGE]), IMAGE)
    with pytest.raises(te.ExecutorchError, match=r"^partition tag0: .* gives \[\(\(1, 2"), te.applying(lambda model: smaller):
        lower(quantized)


# -- the context itself ------------------------------------------------------------------------------------------------


def test_an_exception_leaves_executorch_as_it_was(quantized: torch.fx.GraphModule) -> None:
    original = vars(TOSABackend)["_preprocess"]

    def fail(model: tr.Model) -> tr.Model:
        raise OptionError("no such width")

    with pytest.raises(te.ExecutorchError, match=r"^partition tag0: no such width$"), te.applying(fail):
        lower(quantized)
    assert vars(TOSABackend)["_preprocess"] is original
    with pytest.raises(ZeroDivisionError), te.rescaling(bits=1):
        raise ZeroDivisionError
    assert vars(TOSABackend)["_preprocess"] is original
    with te.applying(lambda model: model) as rescaled:  # the lock is free
        lower(quantized)
    assert len(rescaled.models) == 1


def test_options_are_refused_where_they_are_given() -> None:
    with pytest.raises(OptionError, match="bits: 40 is out of range"), te.rescaling(bits=40):
        pass


def test_a_second_context_is_refused_in_this_thread_and_in_others(quantized: torch.fx.GraphModule) -> None:
    refused: list[str] = []

    def enter() -> None:
        try:
            with te.rescaling(bits=1):
                pass
        except te.ExecutorchError as error:
            refused.append(str(error))

    with te.rescaling(bits=1):
        enter()
        other = threading.Thread(target=enter)
        other.start()
        other.join()
        with pytest.raises(te.ExecutorchError, match="is entered already"):
            te.load(quantized, IMAGE)
    assert len(refused) == 2
    assert refused[0].startswith("a context of tosa_rescale.executorch is entered already, in this thread or another one")


def test_what_another_thread_lowers_is_not_changed(quantized: torch.fx.GraphModule) -> None:
    expected, found = payloads(lower(quantized)), []
    with te.rescaling(bits=1, calibration=None) as rescaled:
        other = threading.Thread(target=lambda: found.extend(payloads(lower(quantized))))
        other.start()
        other.join()
    assert found == expected and rescaled.models == []


def test_a_graph_of_floats_is_refused() -> None:
    network = nn.Linear(4, 4).eval()
    with pytest.raises(te.ExecutorchError, match=r"^partition tag0: input0, output0 of .* are floats"), te.rescaling(bits=1):
        lower(network, (torch.zeros(1, 4),), "TOSA-1.0+FP")


def test_a_part_without_rescales_is_handed_on_as_it_is() -> None:
    example = (torch.randn(1, 1, 4, 4),)
    program = quantize(nn.MaxPool2d(2), [example])
    expected = payloads(lower(program, example))
    with te.rescaling(bits=1) as rescaled:
        (payload,) = payloads(lower(program, example))
    assert len(payload) > 0 and len(expected) == 1
    assert repr(rescaled.models[0]).startswith("tag0: 0 of 0 rescales are shifts")
