# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fine-tuning on several replicas: all of them end with the same integers."""

from __future__ import annotations

import json
import pathlib
import socket
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tosa_rescale as tr
from conftest import Cli

pytest.importorskip("tensorflow")

from tosa_rescale.core.errors import OptionError
from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.replicas import Replicas, strategy_named

WORKER = pathlib.Path(__file__).with_name("replica_worker.py")


def start(folder: pathlib.Path, rank: int, *how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, WORKER, folder, str(rank), *how], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run(folder: pathlib.Path, *how: str, ranks: int = 1) -> list[dict[str, Any]]:
    """What the workers found."""
    processes = [start(folder, rank, *how) for rank in range(ranks)]
    try:
        for process in processes:
            said, _ = process.communicate(timeout=900)
            assert process.returncode == 0, said
    finally:
        for process in processes:
            process.kill()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(ranks)]


def free_ports(count: int) -> str:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = ",".join(str(each.getsockname()[1]) for each in sockets)
    for each in sockets:
        each.close()
    return ports


def strip(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in history]


def test_two_workers_end_with_the_same_integers(tmp_path: pathlib.Path) -> None:
    first, second = run(tmp_path, free_ports(2), "and errors", ranks=2)
    assert first["bytecode"] == second["bytecode"]
    assert first["unrounded"] == second["unrounded"]
    assert strip(first["history"]) == strip(second["history"])
    assert first["history"][1]["validation_loss"] < first["history"][0]["validation_loss"] and first["changed"] > 0
    assert first["checkpoint"] and not second["checkpoint"]  # only the first worker writes
    for found in (first, second):  # both stop: none waits for the other for ever
        assert "after epoch 1 the integer weights of replicas [1] differ" in found["spoiled"]
        assert "workers [1] start from another model, data, options or checkpoint" in found["other data"]


@pytest.mark.slow
def test_replicas_learn_what_one_learns(tmp_path: pathlib.Path) -> None:
    folders = [tmp_path / name for name in ("alone", "mirrored")]
    for folder in folders:
        folder.mkdir()
    (alone,), (mirrored,) = (run(folder, folder.name) for folder in folders)
    # Sums of floats depend on their order, so the weights are near to each other and not equal.
    assert mirrored["history"][0]["validation_loss"] == pytest.approx(alone["history"][0]["validation_loss"], rel=1e-5)
    assert mirrored["history"][1]["validation_loss"] == pytest.approx(alone["history"][1]["validation_loss"], rel=0.1)


def test_shares_are_consecutive_and_complete() -> None:
    replicas = Replicas()
    assert (replicas.count, replicas.chief) == (1, True)
    rows = np.arange(10, 20)
    parts = []
    for first, end in ((0, 1), (1, 3), (3, 4)):  # three workers, the second one with two replicas
        replicas.count, replicas._local = 4, list(range(first, end))
        parts.append(replicas.share(rows))
    assert [len(part) for part in parts] == [2, 5, 3]
    assert np.array_equal(np.concatenate(parts), rows)


def test_strategies_without_a_copy_on_every_replica_are_refused() -> None:
    with pytest.raises(OptionError, match="strategy: str does not keep a copy of the weights on every replica"):
        Replicas("mirrored")


def test_an_optimizer_of_another_strategy_is_refused(demo: tr.Model, digits: tr.Dataset) -> None:
    optimizer = tf.keras.optimizers.SGD(0.1)
    with pytest.raises(OptionError, match="optimizer: was made for another strategy; make it within"):
        demo.finetune(digits.take(4), 2, optimizer=optimizer, strategy=tf.distribute.OneDeviceStrategy("CPU:0"))


def test_multi_worker_needs_its_configuration(
    cli: Cli, demo_model: pathlib.Path, demo_data: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(OptionError, match="strategy: multi-worker needs TF_CONFIG, which names all workers"):
        strategy_named("multi-worker")
    done = cli("finetune", demo_model, "-o", "x.mlirbc", "--data", demo_data, "--bits", 2, "--strategy", "multi-worker")
    assert done.returncode == 2 and "strategy: multi-worker needs TF_CONFIG" in done.stderr
