# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The commands of `tosa-rescale`."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

import click

from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import Encoding, MultiplierRounding, NarrowOptions, Preset, RoundingMode, Scope, parse_bits
from tosa_rescale.core.version import versions

_F = TypeVar("_F", bound=Callable[..., Any])

_ENGINES_HELP = (
    "iree (multipliers and weights as parameters), iree-constant, tf (the twin), tf64 (in float64), litert, reference"
)


def _choice(kind: Any) -> click.Choice:
    return click.Choice([member.value for member in kind])


def _narrow_options(function: _F) -> _F:
    """The options that every narrowing command takes."""
    for option in reversed(
        (
            click.option(
                "--multiplier-rounding",
                type=_choice(MultiplierRounding),
                help="How a 31-bit multiplier becomes a k-bit one; default: to nearest, up before a fine-tuning.",
            ),
            click.option(
                "--hidden-bit", is_flag=True, help="The leading one is implicit in the hardware and not counted in --bits."
            ),
            click.option(
                "--encoding",
                type=_choice(Encoding),
                default="aligned",
                show_default=True,
                help="How the multiplier stands in the op: at the top of an i32, or compact in an i16 (k <= 15).",
            ),
            click.option(
                "--scope",
                type=_choice(Scope),
                default="accumulator",
                show_default=True,
                help="Rescales of MAC layers only, or all.",
            ),
            click.option(
                "--elementwise-bits", metavar="K2", help="Width for the rescales outside MAC layers, with --scope all."
            ),
            click.option(
                "--rounding-mode",
                type=_choice(RoundingMode),
                default="single",
                show_default=True,
                help="Rounding of the narrowed rescale.",
            ),
            click.option(
                "--preset",
                type=_choice(Preset),
                default="none",
                show_default=True,
                help="paper: truncate, hidden bit and single rounding.",
            ),
        )
    ):
        function = option(function)
    return function


def _preprocessing_options(function: _F) -> _F:
    """How samples become the model's input."""
    for option in reversed(
        (
            click.option(
                "--input-mean",
                type=float,
                help="Real input = (pixel - mean) / std. Default: pixels 0..255 onto the input's 256 levels.",
            ),
            click.option("--input-std", type=float, help="See --input-mean."),
            click.option(
                "--crop-fraction",
                type=float,
                default=0.875,
                show_default=True,
                help="Side of the centre crop over the image's short side.",
            ),
            click.option(
                "--label-offset",
                type=int,
                default=0,
                show_default=True,
                help="Added to every label; 1 where class 0 is background.",
            ),
            click.option(
                "--allow-unreadable", is_flag=True, help="Leave unreadable images out instead of refusing the folder."
            ),
        )
    ):
        function = option(function)
    return function


def _data_options(function: _F) -> _F:
    """Preprocessing, and which samples."""
    for option in reversed(
        (
            click.option("--take", type=int, metavar="N", help="Use N samples, spread evenly over the data."),
            click.option("--leave-out", type=int, metavar="N", help="Leave out the N samples that a calibration took."),
        )
    ):
        function = option(function)
    return _preprocessing_options(function)


_workers = click.option("--workers", type=click.IntRange(min=1), help="Threads; default: one for each core.")
_cluster = click.option(
    "--cluster", metavar="ADDRESS|local", help="Run as tasks of a Ray cluster: its address, or a new one on this machine."
)
_json = click.option("--json", "json_file", type=click.Path(dir_okay=False), help="Write the figures to this file as well.")
_allow_partial = click.option(
    "--allow-partial", is_flag=True, help="Write a .tflite although scales cannot express every multiplier."
)
_force = click.option("--force", is_flag=True, help="Overwrite what exists.")
_quiet = click.option("--quiet", is_flag=True, help="No progress.")
_calibration = click.option(
    "--calibration", default="synthetic", show_default=True, help="Images or .npz, synthetic (no data needed) or none."
)
_samples = click.option(
    "--samples", type=click.IntRange(min=1), default=32, show_default=True, help="Calibration samples, at most."
)
_seed = click.option("--seed", type=int, default=0, show_default=True, help="Of random samples.")
_fold_gains = click.option(
    "--fold-gains/--no-fold-gains",
    default=True,
    show_default=True,
    help="Training begins with what narrowing did to each channel's gain folded into its weights.",
)
_model = click.argument("model", type=click.Path())
_output = click.option("-o", "--output", required=True, type=click.Path(), help="Output; its kind goes by suffix.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(versions()["tosa-rescale"], prog_name="tosa-rescale")
def group() -> None:
    """Narrow the rescale multipliers of integer neural networks to k bits, down to a pure shift, and prove it bit for bit.

    File kinds go by suffix: .tflite, .mlirbc, .mlir, .tosa, .vmfb. DATA is a folder of images (with labels.csv, or one
    sub-folder a class) or an .npz with x and optional y. Exit status: 0 done; 1 the answer is no; 2 bad input or usage.
    """


@group.command()
@click.option(
    "-o", "--output", default="demo-report", show_default=True, type=click.Path(file_okay=False), help="Report folder."
)
@_quiet
def demo(output: str, quiet: bool) -> int:
    """Tell the whole story on an embedded model: import, sweep the width, run on IREE, one table, one report folder."""
    from tosa_rescale.demo import run_demo

    return run_demo(pathlib.Path(output), _console(), _progress(quiet))


@group.command()
@_model
@click.option(
    "--scope", type=_choice(Scope), default="all", show_default=True, help="All rescales, or those of MAC layers only."
)
@click.option("--fail-above", metavar="K", help="Exit with 1 if any multiplier has more than K significant bits.")
@_json
def info(model: str, scope: str, fail_above: str | None, json_file: str | None) -> int:
    """Show every rescale of MODEL: op, channels, significant bits, shift and value range, violations of the specification."""
    from tosa_rescale.cli.tables import print_info, print_too_wide
    from tosa_rescale.core.rescales import wider_than

    limit = None if fail_above is None else parse_bits(fail_above, "fail-above")
    loaded = _load(model)
    loaded.require_rescales()
    rescales = [each for each in loaded.info() if scope == Scope.ALL or each.scope == scope]
    print_info(rescales, _console())
    _write_json(json_file, [each.as_dict() for each in rescales])
    if limit is None or not (found := wider_than(rescales, limit)):
        return 0
    print_too_wide(found, limit, _console())
    names = ", ".join(each.key for each in found)
    click.echo(f"{model}: {len(found)} of {len(rescales)} rescales have multipliers wider than {limit} bits: {names}", err=True)
    return 1


@group.command()
@_model
@_output
@click.option("--bits", required=True, metavar="K", help="Significant bits of the multiplier, 1..31.")
@_narrow_options
@_allow_partial
@_force
def narrow(model: str, output: str, bits: str, allow_partial: bool, force: bool, **options: Any) -> int:
    """Narrow the rescale multipliers of MODEL to K bits."""
    from tosa_rescale.core.files import require_writable

    asked = NarrowOptions(parse_bits(bits), **options)
    require_writable(output, force)
    narrowed = _load(model).narrow(**asked.as_dict())
    _print_remarks(narrowed)
    _save(narrowed, output, force, allow_partial=allow_partial)
    return 0


@group.command()
@_model
@_output
@click.option(
    "--bits", required=True, metavar="K|auto", help="Significant bits, 1..31; auto: the smallest that keeps --max-drop."
)
@_calibration
@_samples
@_seed
@click.option(
    "--scope", type=_choice(Scope), default="accumulator", show_default=True, help="MAC layers only, or all rescales."
)
@click.option("--elementwise-bits", metavar="K2", help="Width for the rescales outside MAC layers, with --scope all.")
@click.option(
    "--encoding", type=_choice(Encoding), default="aligned", show_default=True, help="How a multiplier stands in the op."
)
@click.option(
    "--align/--no-align",
    default=True,
    show_default=True,
    help="With --scope all: change activation scales so that all multipliers become narrow.",
)
@click.option("--clipping", type=float, default=0.1, show_default=True, help="Part by which alignment may shrink a scale.")
@click.option("--strict", is_flag=True, help="Fail where alignment must leave multipliers wide.")
@click.option("--promote/--no-promote", default=True, show_default=True, help="Give per-tensor layers a multiplier a channel.")
@click.option("--data", type=click.Path(), help="With --bits auto: what accuracy is measured on.")
@click.option("--max-drop", type=float, default=0.5, show_default=True, help="With --bits auto: points that may be lost.")
@click.option("--per-layer", is_flag=True, help="With --bits auto: let single layers go one bit lower.")
@_allow_partial
@_preprocessing_options
@_json
@_force
@_quiet
def compensate(
    model: str,
    output: str,
    bits: str,
    calibration: str,
    samples: int,
    seed: int,
    data: str | None,
    max_drop: float,
    per_layer: bool,
    allow_partial: bool,
    json_file: str | None,
    force: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Narrow MODEL's multipliers to K bits and let weights and biases absorb the error; no training."""
    from tosa_rescale.cli.tables import print_compensation, print_search
    from tosa_rescale.core.files import require_writable
    from tosa_rescale.core.options import CompensateOptions
    from tosa_rescale.data.source import CalibrationPlan
    from tosa_rescale.rewrite.compensate import Compensator

    preprocessing = _take_preprocessing(options)
    asked = CompensateOptions(1 if bits == "auto" else parse_bits(bits), **options)
    if bits == "auto" and data is None:
        raise OptionError("bits: auto measures accuracy and needs data; pass --data")
    require_writable(output, force)
    loaded = _load(model)
    loaded.require_rescales()
    plan = CalibrationPlan(samples, seed, source=_calibration_source(calibration, preprocessing))
    compensator = Compensator(loaded, plan.inputs(loaded.input_specs), _progress(quiet))
    if bits == "auto":
        assert data is not None
        scored = plan.leave_out(_load_data(data, preprocessing))
        found = _search(loaded, scored, compensator, max_drop, per_layer, asked, quiet)
        print_search(found, _console())
        result = found.model
    else:
        result = compensator.compensate(asked)
    _print_remarks(result)
    print_compensation(result, _console())
    _save(result, output, force, allow_partial=allow_partial)
    _write_json(json_file, dict(result.recipe[-1].options))
    return 0


def _search(loaded: Any, scored: Any, compensator: Any, max_drop: float, per_layer: bool, asked: Any, quiet: bool) -> Any:
    import tempfile

    from tosa_rescale.sweeping.search import find_bits

    with tempfile.TemporaryDirectory(prefix="tosa-rescale-") as folder:
        return find_bits(
            loaded,
            scored,
            pathlib.Path(folder),
            compensator,
            max_drop=max_drop,
            per_layer=per_layer,
            options=asked,
            progress=_progress(quiet),
        )


@group.command()
@_model
@_output
@click.option(
    "--bits",
    metavar="K",
    help="Narrow to K bits first, multipliers of MAC layers rounded up if nothing else is asked for and gains are folded in; "
    "without: train MODEL as it is (compensated, say).",
)
@click.option("--data", required=True, type=click.Path(), help="Images or .npz; labels are used with --teacher labels only.")
@click.option("--epochs", type=int, default=2, show_default=True, help="Passes over the data.")
@click.option(
    "--teacher",
    default="original",
    show_default=True,
    help="original: imitate MODEL before narrowing, no labels needed; labels; or the file of a model to imitate.",
)
@click.option("--batch", type=int, default=16, show_default=True, help="Samples for one step.")
@click.option(
    "--learning-rate",
    type=float,
    default=0.5,
    show_default=True,
    help="Of SGD: share of the loss that a batch is to take away.",
)
@_fold_gains
@click.option("--validation", type=float, default=0.1, show_default=True, help="Share of the data that chooses the epoch.")
@_seed
@click.option("--checkpoint", type=click.Path(dir_okay=False), help="State after every epoch. Default: beside OUTPUT.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint of a run that was stopped.")
@click.option(
    "--strategy",
    type=click.Choice(["none", "mirrored", "multi-worker"]),
    default="none",
    show_default=True,
    help="mirrored: all GPUs of this machine; multi-worker: the processes that TF_CONFIG names, each with this command.",
)
@_narrow_options
@_data_options
@_allow_partial
@_json
@_force
@_quiet
def finetune(
    model: str,
    output: str,
    bits: str | None,
    data: str,
    epochs: int,
    teacher: str,
    batch: int,
    learning_rate: float,
    fold_gains: bool,
    validation: float,
    seed: int,
    checkpoint: str | None,
    resume: bool,
    strategy: str,
    allow_partial: bool,
    json_file: str | None,
    force: bool,
    quiet: bool,
    take: int | None,
    leave_out: int | None,
    **options: Any,
) -> int:
    """Train MODEL's weights through its integer arithmetic; the result is never worse on held-out samples."""
    from tosa_rescale.cli.tables import print_finetuned
    from tosa_rescale.core.files import require_writable
    from tosa_rescale.core.options import FinetuneOptions
    from tosa_rescale.twin.finetune import TrainingRun
    from tosa_rescale.twin.finetune import finetune as run_finetune
    from tosa_rescale.twin.replicas import Replicas, strategy_named

    preprocessing = _take_preprocessing(options)
    asked = FinetuneOptions(epochs, batch, learning_rate, validation, seed, fold_gains=fold_gains)
    narrowing = None if bits is None else NarrowOptions(parse_bits(bits), **options).before_training(asked, teacher)
    distribution = strategy_named(strategy)
    chief = Replicas(distribution).chief
    if chief:
        require_writable(output, force)
    state = pathlib.Path(checkpoint or f"{output}.checkpoint.npz")
    loaded = _load(model)
    loaded.require_rescales()
    samples = _load_data(data, preprocessing, take, leave_out)
    wanted: Any = teacher if teacher in ("original", "labels") else _load(teacher)
    if narrowing is not None:
        wanted, loaded = loaded if wanted == "original" else wanted, loaded.narrow(**narrowing.as_dict())
        _print_remarks(loaded)
    found = run_finetune(
        loaded,
        samples,
        teacher=wanted,
        options=asked,
        run=TrainingRun(checkpoint=state, resume=resume, force=force, strategy=distribution),
        progress=_progress(quiet or not chief),
    )
    if not chief:
        return 0  # the first worker shows and writes what all of them have
    print_finetuned(found, _console())
    _save(found.model, output, force, allow_partial=allow_partial)
    state.unlink(missing_ok=True)  # only now: what was trained is safe in the output
    _write_json(json_file, found.as_dict())
    return 0


@group.command()
@_model
@click.option("--data", required=True, type=click.Path(), help="Images or .npz.")
@click.option("--engine", default="iree", show_default=True, help=_ENGINES_HELP)
@click.option("--reference", type=click.Path(), help="Model to compare with.")
@_data_options
@_workers
@_cluster
@_json
@_quiet
def evaluate(
    model: str,
    data: str,
    engine: str,
    reference: str | None,
    workers: int | None,
    cluster: str | None,
    json_file: str | None,
    quiet: bool,
    take: int | None,
    leave_out: int | None,
    **preprocessing: Any,
) -> int:
    """Measure MODEL's accuracy on DATA and, with --reference, its difference from another model."""
    from tosa_rescale.cli.tables import print_evaluation

    loaded = _load(model)
    other = _load(reference) if reference else None
    samples = _load_data(data, preprocessing, take, leave_out)
    found = loaded.evaluate(
        samples, engine=engine, reference=other, workers=workers, cluster=cluster, progress=_progress(quiet)
    )
    print_evaluation(found, _console())
    _write_json(json_file, found.as_dict())
    return 0


@group.command()
@_model
@click.option("--data", required=True, type=click.Path(), help="Images or .npz.")
@click.option("--bits", default="32,8,6,5,4,3,2,1", show_default=True, help="Widths by comma; 32 stands for the original.")
@click.option("--methods", default="narrow", show_default=True, help="By comma: narrow, compensate, align, finetune.")
@_calibration
@_samples
@_seed
@click.option(
    "--train", type=click.Path(), help="finetune: images or .npz to train on. Default: half of DATA, then not scored."
)
@click.option("--train-samples", type=click.IntRange(min=2), help="finetune: use this many of them.")
@click.option("--epochs", type=int, default=2, show_default=True, help="finetune: passes over them.")
@click.option("--batch", type=int, help="finetune: samples for one step.")
@click.option("--learning-rate", type=float, help="finetune: share of the loss that a batch is to take away.")
@click.option("--teacher", type=click.Choice(["original", "labels"]), default="original", show_default=True, help="finetune.")
@_fold_gains
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False), help="Folder for the results.")
@click.option(
    "--errors", type=click.IntRange(min=0), default=0, show_default=True, help="Samples to measure every rescale's error on."
)
@_narrow_options
@_data_options
@_workers
@_cluster
@_json
@_force
@_quiet
def sweep(
    model: str,
    data: str,
    bits: str,
    methods: str,
    calibration: str,
    samples: int,
    seed: int,
    train: str | None,
    train_samples: int | None,
    epochs: int,
    batch: int | None,
    learning_rate: float | None,
    teacher: str,
    fold_gains: bool,
    output: str,
    errors: int,
    take: int | None,
    leave_out: int | None,
    workers: int | None,
    cluster: str | None,
    json_file: str | None,
    force: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Measure accuracy over multiplier width. An interrupted sweep goes on where it stopped."""
    from tosa_rescale.api import sweep as run_sweep
    from tosa_rescale.core.options import FinetuneOptions
    from tosa_rescale.data.source import CalibrationPlan
    from tosa_rescale.reporting import print_sweep, print_training, write_report, write_training
    from tosa_rescale.sweeping.training import TrainingPlan, split_training

    widths = [32 if part.strip() == "32" else parse_bits(part.strip()) for part in bits.split(",") if part.strip()]
    preprocessing = _take_preprocessing(options)
    # The narrowest width stands for all where options are checked; each point has its own.
    asked = NarrowOptions(min((b for b in widths if b != 32), default=31), **options)
    plan = CalibrationPlan(samples, seed, source=_calibration_source(calibration, preprocessing))
    loaded = _load(model)
    scored = plan.leave_out(_load_data(data, preprocessing, take, leave_out))
    names, training = [m.strip() for m in methods.split(",")], None
    if "finetune" in names:
        source = None if train is None else _load_data(train, preprocessing)
        chosen, scored = split_training(scored, source, train_samples)
        asked_for = {"epochs": epochs, "batch": batch, "learning_rate": learning_rate, "seed": seed}
        given = {name: value for name, value in asked_for.items() if value is not None}
        training = TrainingPlan(chosen, teacher=teacher, options=FinetuneOptions(**given, fold_gains=fold_gains))
    result = run_sweep(
        loaded,
        scored,
        output,
        bits=widths,
        methods=names,
        options=asked,
        calibration=plan.source,
        samples=samples,
        seed=seed,
        training=training,
        force=force,
        workers=workers,
        cluster=cluster,
        progress=_progress(quiet),
        errors=errors,
        command=click.get_current_context().find_root().obj or "",
    )
    print_sweep(result, _console())
    print_training(result, _console())
    for written in [*write_report(output, result), *write_training(output, result)]:
        click.echo(written)
    _write_json(json_file, [point.as_dict() for point in result.points])
    return 0


@group.command()
@_model
@click.option("--engines", help=f"At least two, by comma ({_ENGINES_HELP}). Default: all at hand that must agree.")
@click.option("--inputs", type=click.IntRange(min=1), default=8, show_default=True, help="Number of random samples.")
@click.option("--data", type=click.Path(), help="Images or .npz instead of random samples.")
@click.option("--layers", is_flag=True, help="Compare the differentiable twin with IREE at every rescale as well.")
@_seed
@_data_options
@_workers
@_json
@_quiet
def check(
    model: str,
    engines: str | None,
    inputs: int,
    data: str | None,
    layers: bool,
    seed: int,
    workers: int | None,
    json_file: str | None,
    quiet: bool,
    take: int | None,
    leave_out: int | None,
    **preprocessing: Any,
) -> int:
    """Compare engines on MODEL. Exit status 0 only if they agree bit for bit."""
    from tosa_rescale.cli.tables import print_check

    loaded = _load(model)
    what = _load_data(data, preprocessing, take, leave_out) if data else inputs
    names = [name.strip() for name in engines.split(",")] if engines else None
    result = loaded.check(what, engines=names, seed=seed, workers=workers, layers=layers, progress=_progress(quiet))
    print_check(result, _console())
    _write_json(json_file, result.as_dict())
    return 0 if result.bit_exact else 1


@group.command()
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("target", metavar="OUT", type=click.Path())
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Extent of a dynamic batch dimension.")
@click.option("--original", type=click.Path(), help="To .tflite: the file that the model was made from.")
@_allow_partial
@_force
def convert(source: str, target: str, batch: int, original: str | None, allow_partial: bool, force: bool) -> int:
    """Convert a model from one file kind to another."""
    from tosa_rescale.api import load
    from tosa_rescale.core.files import require_writable

    require_writable(target, force)
    _save(load(source, batch), target, force, original=original, allow_partial=allow_partial)
    return 0


_PREPROCESSING = ("input_mean", "input_std", "crop_fraction", "label_offset", "allow_unreadable")


def _take_preprocessing(options: dict[str, Any]) -> dict[str, Any]:
    """Takes the preprocessing options out of a command's options."""
    return {key: options.pop(key) for key in _PREPROCESSING}


def _load(path: str) -> Any:
    from tosa_rescale.api import load

    return load(path)


def _load_data(path: str, preprocessing: dict[str, Any], take: int | None = None, leave_out: int | None = None) -> Any:
    from tosa_rescale.data.dataset import Preprocessing, load_data

    options = dict(preprocessing)
    data = load_data(path, Preprocessing(options.pop("input_mean"), options.pop("input_std"), **options))
    if leave_out is not None:
        data = data.drop(leave_out)
    return data if take is None else data.take(take)


def _calibration_source(calibration: str, preprocessing: dict[str, Any]) -> Any:
    return calibration if calibration in ("synthetic", "none") else _load_data(calibration, preprocessing)


def _save(model: Any, output: str, force: bool, **litert_options: Any) -> None:
    """Writes a model; what only a LiteRT file knows goes to no other kind."""
    from tosa_rescale.core.files import FileKind, kind_of

    model.save(output, force=force, **(litert_options if kind_of(output) is FileKind.LITERT else {}))


def _print_remarks(model: Any) -> None:
    for remark in model.remarks:
        click.echo(f"remark: {remark.where}: {remark.text}", err=True)


def _write_json(path: str | None, value: Any) -> None:
    if path:
        from tosa_rescale.reporting import write_json

        write_json(path, value)


def _console() -> Any:
    from rich.console import Console

    # Wide enough for every table where the output is a file or a pipe, which has no width of its own.
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=140)


def _progress(quiet: bool) -> Any:
    from tosa_rescale.core.progress import Bars, Silent

    return Silent() if quiet else Bars()
