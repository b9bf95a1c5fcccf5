# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Networks of the families in the zoos of microcontrollers: read, compensated at one bit, written back, read again; and the
tier that runs models through everything (test/zoo/zoo.py)."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tosa_rescale as tr
from tosa_rescale.core.errors import DataError, ModelError
from tosa_rescale_runtime import Executable

pytest.importorskip("tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import networks
    import zoo_networks

_IN_INTEGERS = ("moves integers", "computes with integers")
"""How remarks begin on islands of float32, which the converter leaves in one run and not in the next (test_islands.py)."""

BEHIND = {
    "embedding": "L2_NORMALIZATION",
    "lstm_int8": "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "movenet_decoder": "CAST",
    "activations": "ELU",
}
"""What the converter leaves of a network, or has no int8 form: it stays behind the part that is read."""


WIDE = {
    "activations": 1,  # a tanh is the output
    "lstm_unrolled": 3,  # a state of a fixed scale joins the input, one for each step
    "lstm_unrolled_int16x8": 3,  # the same
    "ssd": 1,  # a softmax is the output
    "wav2letter": 2,  # leaky ReLUs
    "yolo": 5,  # three of these, and two logistics that are outputs
    "yolo_heads": 3,
}
"""Rescales that keep a multiplier at one bit; none elsewhere."""


def network(name: str, folder: pathlib.Path) -> tr.Model:
    (folder / f"{name}.tflite").write_bytes(zoo_networks.ZOO[name]())
    return tr.load(folder / f"{name}.tflite")


@pytest.mark.parametrize("name", [name for name in zoo_networks.ZOO if name not in zoo_networks.REFUSED])
def test_networks_of_the_zoos_go_in_and_out_at_one_bit(name: str, tmp_path: pathlib.Path) -> None:
    model = network(name, tmp_path)
    left = "; ".join(remark.text for remark in model.remarks if not remark.text.startswith(_IN_INTEGERS))
    assert (BEHIND[name] in left and "behind" in left) if name in BEHIND else not left
    assert model.to_litert() == model.flatbuffer
    narrowed = model.compensate(1, scope="all", calibration="none")
    named = [remark for remark in narrowed.remarks if "keeps a multiplier" in remark.text]
    assert sum(each.above(1) > 0 for each in narrowed.info()) == len(named) == WIDE.get(name, 0)
    again = tr.load(narrowed.save(tmp_path / "back.tflite", allow_partial=True))
    assert again.quantization == model.quantization and again.signature == model.signature
    wide = {each.op for each in narrowed.info() if each.scope == "accumulator" and (each.bits or 32) > 1}
    assert wide <= {"matmul"}  # nothing absorbs what the product of two activations loses


@pytest.mark.parametrize("name", ["vision_transformer", "efficientdet"])
def test_the_file_of_a_network_of_shifts_is_the_module(name: str, tmp_path: pathlib.Path) -> None:
    # Both have tables, constants and matrix products or means that moved. What is left between the two is how near float32
    # scales hold multipliers, and LiteRT's rounding.
    narrowed = network(name, tmp_path).compensate(1, scope="all", calibration="none")
    again = tr.load(narrowed.save(tmp_path / "back.tflite"))
    assert not any(each.above(1) for each in again.info())
    inputs = narrowed.random_inputs(8)
    ours, theirs = (Executable.build(each.bytecode).run_many(*inputs) for each in (narrowed, again.narrow(1, scope="all")))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in zoo_networks.ZOO if name not in zoo_networks.REFUSED])
def test_engines_agree_on_networks_of_the_zoos(name: str, tmp_path: pathlib.Path) -> None:
    found = network(name, tmp_path).narrow(1, scope="all").check(2)
    assert found.bit_exact and "iree" not in found.left_out


@pytest.mark.parametrize("name", zoo_networks.REFUSED)
def test_networks_without_integers_are_answered_by_a_line(name: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ModelError, match=r"\.tflite: has no tosa\.rescale \(a float model\?\); give a full-integer one$"):
        network(name, tmp_path).compensate(1)


# -- tokens ------------------------------------------------------------------------------------------------------------


def test_tokens_that_a_table_has_no_rows_for_are_refused(tmp_path: pathlib.Path) -> None:
    model = network("tokens", tmp_path)
    assert model.input_spec.limits == (0, 11)
    (drawn,) = model.random_inputs(200)
    assert set(np.unique(drawn).tolist()) == set(range(12)) and drawn.dtype == np.int32
    good = np.arange(12, dtype=np.int32).reshape(2, 6)
    assert model.evaluate(good, reference=model.narrow(4)).samples == 2
    for bad in (np.full((1, 6), 12, np.int32), np.full((1, 6), -1, np.int32), np.full((1, 6), 12, np.uint8)):
        with pytest.raises(
            DataError, match=rf"has integers from {bad[0, 0]} to {bad[0, 0]}, the model's input .* takes 0 to 11"
        ):
            model.evaluate(bad, reference=model)


def test_tokens_that_an_offset_is_added_to_stay_within_the_table(tmp_path: pathlib.Path) -> None:
    (tmp_path / "offset.tflite").write_bytes(zoo_networks.tokens(3))
    model, plain = tr.load(tmp_path / "offset.tflite"), network("tokens", tmp_path)
    (drawn,) = model.random_inputs(200)
    assert set(np.unique(drawn).tolist()) == set(range(-3, 9))
    np.testing.assert_array_equal(model(drawn), plain(drawn + 3))
    with pytest.raises(DataError, match=r"has integers from 9 to 9, the model's input .* takes -3 to 8"):
        model.evaluate(np.full((1, 6), 9, np.int32), reference=model)


def test_tokens_are_calibrated_on_rows_of_the_table(tmp_path: pathlib.Path) -> None:
    model = network("tokens", tmp_path)
    assert model.compensate(1, samples=8).check(4, engines=("iree", "tf")).bit_exact


def test_constants_of_no_dimension_are_compared_after_every_op(tmp_path: pathlib.Path) -> None:
    (tmp_path / "given.tflite").write_bytes(networks.attention())  # products are divided by a root
    found = tr.load(tmp_path / "given.tflite").check(3, engines=("iree", "tf"), layers="ops")
    assert found.bit_exact and len(found.layers) > 10


# -- the tier ----------------------------------------------------------------------------------------------------------


def test_the_tier_tells_refused_from_failed(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "a.tflite").write_bytes(networks.floating())
    (folder / "b.tflite").write_bytes(b"no model")
    zoo = pathlib.Path(__file__).parents[1] / "zoo/zoo.py"
    argv = [sys.executable, zoo, folder, "--json", tmp_path / "rows.json", "--table", tmp_path / "rows.md"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "2 models, 0 failed, 2 refused by one line" in done.stdout, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["failed"] for row in rows] == [None, None] and "a float model?" in rows[0]["refused"]
    table = (tmp_path / "rows.md").read_text().splitlines()
    assert table[2].startswith("| a.tflite | refused: ") and len({line.count("|") for line in table}) == 1
    argv[3:] = ["--timeout", "0"]
    failed = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert failed.returncode == 1 and "FAILED after nothing: ended with status None: did not end within 0 s" in failed.stdout
