# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One worker of the tests of distributed fine-tuning: python replica_worker.py FOLDER RANK PORT,PORT|mirrored|alone

Does three fine-tunings of the demo's model and writes what it found to FOLDER/RANK.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import sys
from typing import Any

import numpy as np


def main(folder: pathlib.Path, rank: int, how: str) -> None:
    if how not in ("mirrored", "alone"):
        workers = [f"127.0.0.1:{port}" for port in how.split(",")]
        os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}})
    import tosa_rescale as tr
    from tosa_rescale.core.options import FinetuneOptions
    from tosa_rescale.demo import DATA, MODEL
    from tosa_rescale.twin.backend import tf
    from tosa_rescale.twin.finetune import TrainingError, TrainingRun, finetune
    from tosa_rescale.twin.replicas import strategy_named

    if how == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = strategy_named("none" if how == "alone" else "multi-worker")
    with np.load(DATA) as file:
        data = tr.Dataset("digits", file["train_x"], None, tr.Preprocessing()).take(54)
    original = tr.load(MODEL)
    narrowed = original.narrow(2)
    options = FinetuneOptions(epochs=1, batch=16, validation=0.1)  # 49 for training: the last batch is one sample
    found: dict[str, Any] = {}

    class Weights(tf.keras.callbacks.Callback):
        """Notes the unrounded weights after every epoch."""

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            found["unrounded"] = [hashlib.sha256(w.tobytes()).hexdigest() for w in self.model.get_weights()]

    class Spoiled(tf.keras.callbacks.Callback):
        """Moves one weight of this worker alone by a step."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if rank == 1 and batch == 0:
                weights = self.model.get_weights()
                weights[0].flat[0] += 2 if weights[0].flat[0] < 100 else -2
                self.model.set_weights(weights)

    state = folder / f"{rank}.npz"
    tuned = finetune(
        narrowed,
        data,
        teacher=original,
        options=options,
        run=TrainingRun(strategy=strategy, checkpoint=state, callbacks=[Weights()]),
    )
    found |= {
        "bytecode": hashlib.sha256(tuned.model.bytecode).hexdigest(),
        "history": tuned.history,
        "changed": tuned.changes.percent,
        "checkpoint": state.exists(),
    }
    if len(sys.argv) > 4:
        for name, samples, callbacks in (("spoiled", data, [Spoiled()]), ("other data", data.take(50 + rank), [])):
            try:
                run = TrainingRun(strategy=strategy, callbacks=callbacks)
                finetune(narrowed, samples, teacher=original, options=options, run=run)
            except TrainingError as error:
                found[name] = str(error)
    (folder / f"{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
