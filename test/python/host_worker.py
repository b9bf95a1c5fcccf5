# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One worker of a fine-tuning on two hosts: python host_worker.py MODEL DATA CHECKPOINT OUT [resume], with TF_CONFIG.

Writes to OUT the SHA-256 of the integers that it ends with, and its history without times; an error is one line, and no OUT.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import sys

import tosa_rescale as tr
from tosa_rescale.core.errors import TosaRescaleError
from tosa_rescale.core.options import FinetuneOptions
from tosa_rescale.twin.finetune import TrainingRun, finetune
from tosa_rescale.twin.replicas import strategy_named


def main(model: str, data: str, checkpoint: str, out: str, resume: bool) -> int:
    strategy = strategy_named("multi-worker")
    original = tr.load(model)
    samples = tr.load_data(data).take(96)
    run = TrainingRun(strategy=strategy, checkpoint=checkpoint, resume=resume)
    try:
        tuned = finetune(original.narrow(2), samples, teacher=original, options=FinetuneOptions(epochs=3, batch=16), run=run)
    except TosaRescaleError as error:
        print(error)
        return 2
    history = [{key: value for key, value in entry.items() if key != "seconds"} for entry in tuned.history]
    found = {"integers": hashlib.sha256(tuned.model.bytecode).hexdigest(), "history": history}
    pathlib.Path(out).write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5], resume="resume" in sys.argv[5:]))
