# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale finetune`."""

from __future__ import annotations

import pathlib
from typing import Any

import click

from tosa_rescale.cli import options
from tosa_rescale.core.options import FinetuneOptions, NarrowOptions


@options.command("finetune")
@options.model
@options.output
@click.option(
    "--bits",
    metavar="K",
    help="Narrow to K bits before training. Without it MODEL is trained as it is.",
)
@click.option("--data", required=True, type=click.Path(), help="Images or .npz; labels are used with --teacher labels only.")
@click.option(
    "--teacher",
    default="original",
    show_default=True,
    help="original: imitate MODEL before narrowing, no labels needed; labels; or the file of a model to imitate.",
)
@options.options_of(FinetuneOptions)
@click.option("--checkpoint", type=click.Path(dir_okay=False), help="State after every epoch. Default: beside OUTPUT.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint of a run that was stopped.")
@click.option(
    "--strategy",
    type=click.Choice(["none", "mirrored", "multi-worker"]),
    default="none",
    show_default=True,
    help="mirrored: all GPUs of this machine; multi-worker: the processes that TF_CONFIG names, each with this command.",
)
@options.options_of(NarrowOptions, leave_out=("bits",))
@options.samples_of_data
@options.allow_partial
@options.wide
@options.json_file
@options.force
def finetune(
    model: str,
    output: str,
    bits: str | None,
    data: str,
    teacher: str,
    checkpoint: str | None,
    resume: bool,
    strategy: str,
    allow_partial: bool,
    json_file: str | None,
    force: bool,
    **given: Any,
) -> int:
    """Train MODEL's weights through its integer arithmetic; the result is never worse on held-out samples."""
    from tosa_rescale.cli import common, show
    from tosa_rescale.core.files import require_writable
    from tosa_rescale.core.progress import Silent

    asked = options.taken(FinetuneOptions, given)
    narrowing = None if bits is None else options.taken(NarrowOptions, given, bits=bits).before_training(asked, teacher)

    from tosa_rescale.twin.finetune import TrainingRun
    from tosa_rescale.twin.finetune import finetune as run_finetune
    from tosa_rescale.twin.replicas import Replicas, strategy_named

    distribution = strategy_named(strategy)
    chief = Replicas(distribution).chief
    if chief:
        require_writable(output, force)
    state = pathlib.Path(checkpoint or f"{output}.checkpoint.npz")
    loaded = common.load(model)
    loaded.require_rescales()
    if chief:
        common.require_output(loaded, output)
    samples = common.load_data(data, given)
    wanted: Any = teacher if teacher in ("original", "labels") else common.load(teacher)
    if narrowing is not None:
        wanted, loaded = loaded if wanted == "original" else wanted, loaded.narrow(**narrowing.as_dict())
        show.remarks(loaded)
    found = run_finetune(
        loaded,
        samples,
        teacher=wanted,
        options=asked,
        run=TrainingRun(checkpoint=state, resume=resume, force=force, strategy=distribution),
        progress=common.progress() if chief else Silent(),
    )
    if not chief:
        return 0  # the first worker shows and writes what all of them have
    show.remarks(found.model)
    show.finetuned(found)
    common.save(found.model, output, force, allow_partial=allow_partial)
    state.unlink(missing_ok=True)  # only now: what was trained is safe in the output
    common.write_json(json_file, found.as_dict())
    return 0
