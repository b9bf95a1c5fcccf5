# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Options of the command line: those of a step follow from its dataclass (core/options.py), the others stand here once."""

from __future__ import annotations

import dataclasses
import enum
import functools
import os
import pathlib
import re
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import click

from tosa_rescale.core import arguments
from tosa_rescale.core.errors import OptionError, TosaRescaleError
from tosa_rescale.core.hush import VARIABLE as TENSORFLOWS
from tosa_rescale.core.options import Options, Scope, describe
from tosa_rescale.core.parsing import About, parse_number
from tosa_rescale.data.preprocessing import Preprocessing

F = TypeVar("F", bound=Callable[..., Any])
O = TypeVar("O", bound=Options)  # noqa: E741  # a type variable, as F beside it

ENGINES_HELP = (
    "iree (multipliers and weights as parameters), iree-constant, tf (the twin), tf64 (in float64), litert, reference"
)


class Number(click.ParamType):
    """A number within the limits that its dataclass declares; refused in the words of the dataclass.

    Args:
        kind: int or float.
        about: its limits.
        option: what the message calls it.
    """

    def __init__(self, kind: type, about: About, option: str) -> None:
        self.kind, self.about, self.option = kind, about, option
        self.name = "integer" if kind is int else "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return parse_number(value, self.kind, self.about, self.option)


def choice(kind: type[enum.StrEnum]) -> click.Choice[str]:
    """The values of an enum."""
    return click.Choice([member.value for member in kind])


def click_option(kind: type[Options], name: str, help_prefix: str = "", flag: str | None = None) -> Callable[[F], F]:
    """The click option of one field of an options class: type, default, limits and help are the field's.

    Args:
        kind: the class.
        name: of the field.
        help_prefix: stands before the help.
        flag: what the command line calls it; None: as the field, with dashes.
    """
    field, value, _ = describe(kind)[name]
    about, spelled = kind.about(name), flag or name.replace("_", "-")
    given: dict[str, Any] = {"help": help_prefix + about.help, "metavar": about.metavar}
    if field.default is dataclasses.MISSING:
        given["required"] = True
    else:
        default = field.default.value if isinstance(field.default, enum.Enum) else field.default
        given |= {"default": default, "show_default": default is not None}
    if value is bool:
        return click.option(f"--{spelled}/--no-{spelled}", name, **given)
    if value in (int, float):
        given["type"] = Number(value, about, spelled)
    elif issubclass(value, enum.StrEnum):
        given["type"] = choice(value)
    return click.option(f"--{spelled}", name, **given)


def options_of(kind: type[Options], *, leave_out: Collection[str] = (), help_prefix: str = "") -> Callable[[F], F]:
    """Gives a command the options of a class; `taken` makes the class of what the command was given.

    Args:
        kind: the class.
        leave_out: names of fields that the command has in another form, or not at all.
        help_prefix: stands before each help.
    """

    def decorate(function: F) -> F:
        for name in reversed(offered(kind)):
            if name not in leave_out:
                function = click_option(kind, name, help_prefix)(function)
        return function

    return decorate


def offered(kind: type[Options]) -> list[str]:
    """Names of the fields that a command line offers, in order."""
    return [name for name in describe(kind) if not kind.about(name).only_in_python]


def taken(kind: type[O], given: Mapping[str, Any], **others: Any) -> O:
    """The options class of what a command was given.

    Args:
        kind: the class.
        given: the command's keyword arguments; what is no field is not looked at.
        others: values of fields that the command has in another form.

    Raises:
        OptionError: a value is out of range or contradicts another.
    """
    return kind(**{name: given[name] for name in describe(kind) if name in given} | others)


def in_flags(text: str) -> str:
    """A message as the command line says it: what it names as arguments of Python, `force=True`, are the command's flags."""
    context = click.get_current_context(silent=True)
    known = [] if context is None else context.command.params
    parameters = {each.name: each for each in known if isinstance(each, click.Option)}

    def flag(name: str, value: str | None) -> str | None:
        if (option := parameters.get(name)) is None:
            return None
        if value == "False" and option.secondary_opts:
            return option.secondary_opts[-1]
        return option.opts[-1] if value in (None, "True") else f"{option.opts[-1]} {value}"

    return arguments.in_flags(text, flag)


def _speaking_flags(function: F) -> F:
    """Errors of a command in the command line's words."""

    @functools.wraps(function)
    def run(*arguments: Any, **given: Any) -> Any:
        try:
            return function(*arguments, **given)
        except TosaRescaleError as error:
            raise click.ClickException(in_flags(str(error))) from error

    return typing.cast(F, run)


def command(name: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A command, with -v and -q; without any argument it prints its help, if it needs one."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        made = click.command(name, **settings)(_verbosity(_speaking_flags(function)))
        made.short_help = made.short_help or _first_sentence(made.help or "")
        made.no_args_is_help = any(each.required for each in made.params)
        return made

    return decorate


def _first_sentence(text: str) -> str:
    """What the list of commands says: all of it, where click would cut it off in the middle."""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"\.\s+(?=[A-Z])", paragraph)[0].rstrip(".")


PREPROCESSING = {"mean": "input-mean", "std": "input-std"}
"""Flags of Preprocessing that are called otherwise than its fields."""

TALK = "tosa_rescale.talk"
"""Where a context keeps how much a command says: "quiet" or "verbose"; absent: neither."""

WIDE = "tosa_rescale.wide"
"""Where a context keeps that tables are not to be fitted to the terminal."""


def wide(function: F) -> F:
    """For commands that print tables."""

    def keep(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        context.meta[WIDE] = value

    help = "Print every column and whole names, whatever the terminal's width."
    return click.option("--wide", is_flag=True, expose_value=False, callback=keep, help=help)(function)


def _verbosity(function: F) -> F:
    def keep(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if not value:
            return
        if TALK in context.meta:
            raise click.UsageError("--quiet and --verbose contradict each other; give one")
        context.meta[TALK] = parameter.name
        if parameter.name == "verbose":
            os.environ[TENSORFLOWS] = "0"

    for flags, help in (
        (("-q", "--quiet"), "Print results and errors only: no progress, no remarks."),
        (("-v", "--verbose"), "Show what the libraries underneath say, too."),
    ):
        function = click.option(*flags, is_flag=True, expose_value=False, callback=keep, help=help)(function)
    return function


def configuration(function: F) -> F:
    """--config: a YAML file with values of the command's options, which the command line overrides."""

    def read(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            context.default_map = {**(context.default_map or {}), **_read_configuration(value, context.command)}

    return click.option(
        "--config",
        type=click.Path(dir_okay=False),
        is_eager=True,
        expose_value=False,
        callback=read,
        help="YAML with values for any of these options, by name; the command line overrides it.",
    )(function)


def _read_configuration(path: str, command: click.Command) -> dict[str, Any]:
    """The values in a file, by the names of the command's parameters."""
    import yaml

    try:
        # The safe loader makes plain values only: a file must not be able to run code.
        read = yaml.safe_load(pathlib.Path(path).read_bytes())
    except OSError as error:
        raise OptionError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise OptionError(f"{path}: is no YAML: {' '.join(str(error).split())}") from None
    known = {each.opts[-1].lstrip("-").replace("_", "-"): each for each in command.params if each.expose_value}
    if not isinstance(read, dict):
        raise OptionError(f"{path}: needs a mapping with some of the keys {', '.join(known)}")
    spelled = {flag.lstrip("-"): each for each in known.values() for flag in each.opts} | known
    values: dict[str, Any] = {}
    for key, value in read.items():
        parameter = spelled.get(str(key).replace("_", "-"))
        if parameter is None:
            raise OptionError(f"{path}: unknown key {key!r}; use some of {', '.join(known)}")
        is_flag = isinstance(parameter, click.Option) and parameter.is_flag
        if isinstance(value, dict) or is_flag != isinstance(value, bool):
            raise OptionError(f"{path}: {key}: {value!r} is not {'true or false' if is_flag else 'a value of --' + str(key)}")
        assert parameter.name is not None
        joined = ",".join(map(str, value)) if isinstance(value, list) else value
        values[parameter.name] = [joined] if parameter.multiple else joined
    return values


def preprocessing(function: F) -> F:
    """How samples become the model's input: the fields of Preprocessing, which say `input` where they speak of values."""
    for name in reversed(offered(Preprocessing)):
        function = click_option(Preprocessing, name, flag=PREPROCESSING.get(name))(function)
    return function


def samples_of_data(function: F) -> F:
    """Preprocessing, and which samples."""
    for option in reversed(
        (
            click.option("--take", type=int, metavar="N", help="Use N samples, spread evenly over the data."),
            click.option(
                "--leave-out",
                type=int,
                metavar="N",
                help="Do not score the N samples that a calibration with --samples N takes of the same data.",
            ),
        )
    ):
        function = option(function)
    return preprocessing(function)


PART = "tosa_rescale.part"
"""Where a context keeps what part of MODEL is read: `until` and `shapes` of tosa_rescale.load."""


def _parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Name and shape of an input, from `name=1,224,224,3`. Raises OptionError."""
    name, equals, extents = text.rpartition("=")
    parts = extents.replace("x", ",").split(",")
    if not (name and equals and all(part.isdecimal() and int(part) for part in parts)):
        raise OptionError(f"shape: {text!r} is no shape of an input; give its name and extents, such as image=1,224,224,3")
    return name, tuple(map(int, parts))


def _keep_part(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        given = dict(map(_parse_shape, value)) if parameter.name == "shapes" else value
        context.meta.setdefault(PART, {})[str(parameter.name)] = given


def part(function: F) -> F:
    """`--until` and `--shape`: what of a .tflite is read; see common.load."""
    for each in (
        click.option(
            "--shape",
            "shapes",
            metavar="NAME=1,128,384",
            multiple=True,
            expose_value=False,
            callback=_keep_part,
            help="Shape of an input of which a .tflite leaves more than the first dimension open; once for each such input.",
        ),
        click.option(
            "--until",
            metavar="TENSOR",
            expose_value=False,
            callback=_keep_part,
            help="Read a .tflite up to this tensor. Default: as far as TOSA can express it.",
        ),
    ):
        function = each(function)
    return function


def model(function: F) -> F:
    """The argument MODEL, and what part of it is read."""
    return click.argument("model", type=click.Path())(part(function))


output = click.option("-o", "--output", required=True, type=click.Path(), help="Output; its kind goes by suffix.")
data = click.option("--data", required=True, type=click.Path(), help="Images or .npz.")
calibration = click.option(
    "--calibration", default="synthetic", show_default=True, help="Images or .npz, synthetic (no data needed) or none."
)
seed = click.option("--seed", type=int, default=0, show_default=True, help="Seed of random samples.")
rescales = click.option(
    "--scope", type=choice(Scope), default="all", show_default=True, help="All rescales, or those of MAC layers only."
)
metrics = click.option(
    "--metric",
    "--metrics",
    "metrics",
    metavar="NAMES",
    multiple=True,
    callback=lambda context, parameter, value: ",".join(value) or None,
    help="What is measured, by comma or once for each, the first one decides: top1, agreement, miou and so on (an unknown"
    " name lists all), or module:function of your own. Default: what outputs and labels suggest.",
)
workers = click.option("--workers", type=click.IntRange(min=1), help="Threads; default: one for each core.")
cluster = click.option(
    "--cluster", metavar="ADDRESS|local", help="Run as tasks of a Ray cluster: its address, or a new one on this machine."
)
json_file = click.option("--json", "json_file", type=click.Path(dir_okay=False), help="Write the figures to this file as well.")
allow_partial = click.option(
    "--allow-partial", is_flag=True, help="Write a .tflite although scales cannot express every multiplier."
)
force = click.option("--force", is_flag=True, help="Overwrite what exists.")
