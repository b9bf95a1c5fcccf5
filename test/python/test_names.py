# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Flatbuffers whose tensors share names, or have none."""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tosa_rescale as tr
from tosa_rescale.formats.litert.names import name_apart
from tosa_rescale_runtime import Executable

pytest.importorskip("tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import networks
    import tensorflow as tf
    from networks import _conv, _dense


def recurrent() -> bytes:
    """An int16 recurrent network of three steps: each state goes to the next one and to the result, at two scales."""

    def network(x: tf.Tensor) -> dict[str, tf.Tensor]:
        state, states = tf.zeros((1, 6)), []
        for step in range(3):
            state = tf.tanh(_dense(tf.concat([x[:, step], state], -1), 0, 6))
            states.append(state)
        return {"y": tf.stack(states, 1)}

    return networks.convert(network, {"x": (1, 3, 6)}, "int16", "int16")


def names(model: Any) -> list[bytes]:
    return [each.name for each in model.subgraphs[0].tensors]


def stripped() -> bytes:
    """A network whose tensors have no names, as tools leave it that make files small."""
    given = networks.convert(
        lambda x: {"y": tf.nn.relu(_conv(x, 1, 4) + _conv(x, 2, 4, relu=False))}, {"x": (1, 6, 6, 3)}, "int8"
    )
    model = networks.unpack(given)
    for tensor in model.subgraphs[0].tensors:
        tensor.name = None
    model.signatureDefs = None
    return networks.pack(model)


@pytest.mark.parametrize("network", [recurrent, stripped])
def test_a_file_whose_names_do_not_tell_tensors_apart_goes_all_the_way(
    tmp_path: pathlib.Path, network: Callable[[], bytes]
) -> None:
    (tmp_path / "model.tflite").write_bytes(network())
    model = tr.load(tmp_path / "model.tflite")
    assert not model.remarks
    made = model.compensate(1, scope="all", calibration="none")
    assert made.recipe[-1].options["aligned"]  # scales were moved, which go by name
    written = tr.load(made.save(tmp_path / "one.tflite", allow_partial=True))
    given = model.random_inputs(1)[0]
    (found,) = Executable.build(made.bytecode).run(given)
    (again,) = Executable.build(written.bytecode).run(given)
    assert written.flatbuffer is not None
    (wanted,) = networks.run_litert(written.flatbuffer, [given])
    # A fully connected layer of 16 bits has a multiplier of 31 bits in LiteRT's kernel and one of 15 in TOSA.
    limits = (0, 2) if found.dtype == np.int8 else (8, 300)
    assert all(np.abs(each.astype(int) - wanted).max() <= limit for each, limit in zip((again, found), limits, strict=True))


def test_results_are_named_apart_and_borders_are_not() -> None:
    model = networks.unpack(recurrent())
    before = names(model)
    assert len(set(before)) < len(before)
    assert name_apart(model)
    after = names(model)
    assert len(set(after)) == len(after)
    graph = model.subgraphs[0]
    assert all(before[i] == after[i] for i in (*graph.inputs, *graph.outputs))
    assert not name_apart(model)
