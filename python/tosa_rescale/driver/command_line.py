# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command line of `tosa-rescale-compile`: our flags, `--tosa-rescale-*`, among those of iree-compile."""

from __future__ import annotations

import dataclasses
import enum
import pathlib
import shlex
from collections.abc import Callable, Sequence

from tosa_rescale.core.errors import OptionError
from tosa_rescale.driver.settings import LOWER_SETTINGS, PREFIX, SETTINGS, Setting

PROGRAM = "tosa-rescale-compile"
_HELP = ("help", "h", "help-hidden", "help-list", "help-list-hidden")


@dataclasses.dataclass(frozen=True)
class OwnFlag:
    """A flag `--tosa-rescale-<name>`.

    Attributes:
        name: without the prefix.
        value: what --help shows behind the name: `=<k>`, `[=<true|false>]` where it may be left out, or nothing.
        says: its meaning.
    """

    name: str
    value: str
    says: str

    @property
    def spelled(self) -> str:
        """As it is typed."""
        return f"--{PREFIX}{self.name}"

    @property
    def needs_value(self) -> bool:
        """Its value is the next argument where it does not follow `=`."""
        return self.value.startswith("=")


_TRUTH = "[=<true|false>]"


def _flag_of(setting: Setting) -> OwnFlag:
    """The flag of an option that a dataclass declares."""
    default = setting.default
    if issubclass(setting.kind, enum.StrEnum):
        value = f"=<{'|'.join(setting.kind)}>"
    elif setting.kind is bool:
        value, default = _TRUTH, str(default).lower()
    else:
        value = f"=<{(setting.about.metavar or 'n').lower()}>"
    with_default = "" if default in (dataclasses.MISSING, None) else f" (default {default})"
    needed = "" if setting.narrows else "compensate" if setting.compensates else "lower"
    condition = f"With --{PREFIX}{needed}: " if needed else ""
    says = setting.about.help.rstrip(".").replace("--", f"--{PREFIX}")
    return OwnFlag(setting.name, value, f"{condition}{says}{with_default}")


OWN_FLAGS = (
    *map(_flag_of, SETTINGS.values()),
    OwnFlag("compensate", _TRUTH, "Let weights and biases absorb the error"),
    OwnFlag(
        "calibration",
        "=<path|synthetic|none>",
        f"With --{PREFIX}compensate: images or .npz to calibrate on (default synthetic)",
    ),
    OwnFlag("lower", _TRUTH, "Compute rescales in 32 bits where that is proven exact, after what else is asked"),
    *map(_flag_of, LOWER_SETTINGS.values()),
    OwnFlag(
        "config", "=<file>", "YAML or JSON with these settings, and widths of single ops by name pattern; flags override it"
    ),
    OwnFlag("report", "=<file>", "Write what was done to every rescale, as JSON"),
    OwnFlag("depfile", "=<file>", "Write the files that were read as a rule for make and ninja"),
    OwnFlag("cmake-dir", "", "Print the folder of TosaRescaleConfig.cmake, which has tosa_rescale_module(...), and end"),
)


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """A command line, taken apart.

    Attributes:
        own: values of the flags `--tosa-rescale-*`, by name without that prefix.
        others: all other arguments in order: iree-compile's.
        inputs: positions in `others` of arguments that are no flags.
        output: path after `-o`; None: standard output.
        output_at: positions in `others` of the arguments that name the output, as a slice.
    """

    own: dict[str, str]
    others: tuple[str, ...]
    inputs: tuple[int, ...]
    output: str | None
    output_at: slice | None

    @property
    def wants_help(self) -> bool:
        """Help or version is asked for, not a compilation."""
        return any(each.lstrip("-") in (*_HELP, "version") for each in self.others if each.startswith("-"))

    @property
    def flags(self) -> list[str]:
        """iree-compile's arguments without input and output."""
        output = range(*self.output_at.indices(len(self.others))) if self.output_at else ()
        return [each for at, each in enumerate(self.others) if at not in self.inputs and at not in output]

    def arguments(self, source: str | None = None, output: str | None = None) -> list[str]:
        """iree-compile's arguments, with another input or output in place of the user's."""
        replaced = list(self.others)
        if source is not None:
            replaced[self.inputs[0]] = source
        if output is not None and self.output_at is not None:
            replaced[self.output_at] = ["-o", output]
        return replaced


def parse_command_line(arguments: Sequence[str], takes_value: Callable[[str], bool]) -> CommandLine:
    """Tells our flags, iree-compile's flags, input and output apart, by LLVM's rules.

    A flag has one dash or two; its value follows `=` or is the next argument.

    Args:
        arguments: the command line, without the program's name.
        takes_value: whether iree-compile's flag of this name needs a value; asked only where the text does not say.

    Raises:
        OptionError: an unknown or repeated flag `--tosa-rescale-*`, or one without its value.
    """
    own: dict[str, str] = {}
    others: list[str] = []
    inputs: list[int] = []
    output, output_at = None, None
    rest = list(_expand_response_files(arguments))
    flags_end = False
    while rest:
        argument = rest.pop(0)
        if flags_end or argument == "-" or not argument.startswith("-"):
            inputs.append(len(others))
            others.append(argument)
            continue
        flags_end = argument == "--"
        name, equals, value = argument.lstrip("-").partition("=")
        if name.startswith(PREFIX) and not flags_end:
            name = name.removeprefix(PREFIX)
            _take_own(own, name, value if equals else None, rest)
            continue
        start = len(others)
        others.append(argument)
        # A flag that is followed by another flag has no separate value, or a broken one that iree-compile will name.
        if not flags_end and not equals and rest and (rest[0] == "-" or not rest[0].startswith("-")) and takes_value(name):
            value = rest.pop(0)
            others.append(value)
        if name == "o":
            output, output_at = value, slice(start, len(others))
    return CommandLine(own, tuple(others), tuple(inputs), None if output in (None, "-") else output, output_at)


def _take_own(own: dict[str, str], name: str, value: str | None, rest: list[str]) -> None:
    flag = next((each for each in OWN_FLAGS if each.name == name), None)
    if flag is None:
        known = ", ".join(each.spelled for each in OWN_FLAGS)
        raise OptionError(f"--{PREFIX}{name}: unknown command line argument; use one of {known}")
    if name in own:
        raise OptionError(f"{flag.spelled}: is given twice; give it once")
    if value is None and flag.needs_value:
        if not rest:
            raise OptionError(f"{flag.spelled}: requires a value; see {PROGRAM} --help")
        value = rest.pop(0)
    own[name] = value or ""


def _expand_response_files(arguments: Sequence[str]) -> list[str]:
    """Replaces `@file` by the arguments in it, as iree-compile would; one that cannot be read stays for it to name."""
    expanded: list[str] = []
    for each in arguments:
        path = pathlib.Path(each[1:])
        expanded += shlex.split(path.read_text()) if each.startswith("@") and path.is_file() else [each]
    return expanded


def help_text() -> str:
    """What --help says of our flags."""
    flags = "\n".join(f"  {each.spelled + each.value:<52} - {each.says}" for each in OWN_FLAGS)
    return (
        f"USAGE: {PROGRAM} [--{PREFIX}... ] [iree-compile options] <model.tflite, .mlirbc, .mlir, .tosa, or '-' for stdin>\n\n"
        f"Narrows the rescale multipliers of an integer model, then compiles it with iree-compile.\n\n"
        f"tosa-rescale options:\n\n{flags}\n\n"
    )
