# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Alignment of transformers, on synthetic encoders of int16 activations: the figures of docs/alignment.md among them."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tosa_rescale as tr
from conftest import ROOT
from encoder_module import encoder, encoder_inputs
from tosa_rescale.core.errors import DataError, PassError
from tosa_rescale.core.options import CompensateOptions
from tosa_rescale.core.passes import run_passes
from tosa_rescale.demo import TRANSFORMER
from tosa_rescale.rewrite.compensate import Compensator
from tosa_rescale.twin.twin import Twin
from tosa_rescale_runtime import Executable, externalize

LAYERS, TOKENS, WIDTH = 1, 8, 32


def load_encoder(folder: pathlib.Path, layers: int = LAYERS, tokens: int = TOKENS) -> tr.Model:
    path = folder / "encoder.mlir"
    path.write_text(encoder(layers, tokens=tokens, width=WIDTH))
    return tr.load(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tr.Model:
    return load_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return encoder_inputs(40, TOKENS, WIDTH)[:, 0]


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Mean cosine of tokens."""
    a, b = (each.reshape(-1, WIDTH).astype(np.float64) for each in (first, second))
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean())


def aligned_at(model: tr.Model, bits: int, inputs: np.ndarray | None = None) -> tr.Model:
    options = CompensateOptions(bits=bits, scope="all")  # type: ignore[arg-type]
    return Compensator(model, None if inputs is None else [inputs], workers=1).compensate(options)


def test_alignments_share_one_skeleton(model: tr.Model) -> None:
    made = [
        run_passes(model.bytecode, passes).bytecode
        for passes in (
            ["tosa-rescale-align=bits=1"],
            ["tosa-rescale-align=bits=1 saturation=false"],
            [
                "tosa-rescale-align=bits=3 clipping=0.4",
                "tosa-rescale-compensate=bits=3",
                "tosa-rescale-narrow=bits=3 scope=all",
            ],
        )
    ]
    assert len(set(made)) == 3
    assert len({externalize(each).bytecode for each in made}) == 1


def test_documented_figures_of_an_encoder_of_shifts_alone(model: tr.Model, samples: np.ndarray) -> None:
    reference = Executable.build(model.bytecode).run_many(samples[16:], workers=1)[0]

    def near(made: tr.Model) -> str:
        return f"{cosine(reference, Executable.build(made.bytecode).run_many(samples[16:], workers=1)[0]):.5f}"

    rows = [("narrowed", near(model.narrow(1, scope="all")), model.info())]
    for name, given in (("aligned and compensated, no data", None), ("the same, 16 samples", samples[:16])):
        made = aligned_at(model, 1, given)
        rows.append((name, near(made), made.info()))
    page = (ROOT / "docs/alignment.md").read_text()
    for name, found, rescales in rows:
        wide = 0 if name == "narrowed" else sum(each.above(1) > 0 for each in rescales)
        assert f"| {name} | {found} | {wide} of {len(rescales)} |" in page


@pytest.mark.parametrize("width", [7, 100])
def test_no_multiplier_of_an_encoder_stays_wide_at_any_number_of_bits(width: int, tmp_path: pathlib.Path) -> None:
    # Of a mean, 1/n is on the circle from a tensor to its difference from the mean, and here n is no power of two.
    path = tmp_path / "encoder.mlir"
    path.write_text(encoder(2, tokens=4, width=width, heads=1, hidden=width))
    model = tr.load(path)
    for bits in range(1, 9):
        passes = [f"tosa-rescale-align=bits={bits} strict", f"tosa-rescale-compensate=bits={bits}"]
        passes += [f"tosa-rescale-narrow=bits={bits} scope=all", f"tosa-rescale-verify=bits={bits} scope=all"]
        done = run_passes(model.bytecode, passes)
        assert not [remark.text for remark in done.remarks if "keeps a multiplier" in remark.text]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_powers_of_two_are_multipliers_of_any_number_of_bits(bits: int) -> None:
    # Of the vision transformer in the package 2 to 5 stayed wide beyond one bit: each for itself, the multipliers around a
    # LayerNorm were best with all their bits, and did not multiply to a narrow one.
    made = tr.load(TRANSFORMER).compensate(bits, scope="all", calibration="none")
    assert len(made.info()) == 159 and not any(each.above(bits) for each in made.info())
    run_passes(made.bytecode, [f"tosa-rescale-verify=bits={bits} scope=all"])


def test_the_aligned_encoder_gives_the_same_bits_in_the_twin(model: tr.Model, samples: np.ndarray) -> None:
    made = aligned_at(model, 1)
    expected = Executable.build(made.bytecode).run_many(samples[:4], workers=1)[0]
    np.testing.assert_array_equal(Twin(made.module()).run([samples[:4]])[0], expected)


@pytest.mark.parametrize("bits", [1, 3])
def test_an_attention_head_of_litert_names_what_stays_wide(tmp_path: pathlib.Path, bits: int) -> None:
    networks = pytest.importorskip("networks", reason="needs TensorFlow")
    path = tmp_path / "attention.tflite"
    path.write_bytes(networks.attention())
    made = aligned_at(tr.load(path), bits)
    # The residual addition ties the graph's input to its output, both of which keep their scales.
    assert sum(each.above(bits) > 0 for each in made.info()) == 1
    (remark,) = made.remarks
    assert "an output of the graph" in remark.text and "an input of the graph" in remark.text
    tr.load(made.save(tmp_path / "narrow.tflite"))
    strict = CompensateOptions(bits=bits, scope="all", strict=True)  # type: ignore[arg-type]
    with pytest.raises(PassError, match="the scales that meet here contradict each other"):
        Compensator(tr.load(path), None).compensate(strict)


def test_a_mean_over_one_element_is_aligned(tmp_path: pathlib.Path) -> None:
    # One token: attention sums over one.
    made = aligned_at(load_encoder(tmp_path, 1, tokens=1), 1)
    assert not any(each.above(1) for each in made.info())


def test_a_sequence_longer_than_the_model_is_one_line(model: tr.Model, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "long.npz"
    np.savez(path, x=encoder_inputs(2, 2 * TOKENS, WIDTH)[:, 0])
    with pytest.raises(DataError) as caught:
        model.compensate(1, scope="all", calibration=str(path))
    assert f"{2 * TOKENS}" in str(caught.value) and "\n" not in str(caught.value)
