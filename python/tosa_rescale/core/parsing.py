# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Values of options from what a caller gave, checked: one of several words, a number within its limits, widths, names."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable
from typing import Any, TypeVar

from tosa_rescale.core.errors import OptionError

_E = TypeVar("_E", bound=enum.StrEnum)

MIN_BITS, MAX_BITS = 1, 31


@dataclasses.dataclass(frozen=True)
class About:
    """What is known of one option beside its name, type and default.

    Attributes:
        help: one line for the command line and for documentation.
        passes: mnemonics of the passes that take it under its name.
        low, high: limits of a number, inclusive.
        open_low, open_high: the limit itself is out.
        metavar: what stands for the value in a usage line.
        only_in_python: the command line does not offer it.
    """

    help: str
    passes: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False
    metavar: str | None = None
    only_in_python: bool = False


def parse_enum(kind: type[_E], value: str, option: str) -> _E:
    """The member of `kind` that `value` names. Raises OptionError that lists the legal values."""
    try:
        return kind(value)
    except ValueError:
        legal = ", ".join(member.value for member in kind)
        raise OptionError(f"{option}: {value!r} is not one of {legal}") from None


def parse_number(value: Any, kind: type, about: About, option: str) -> Any:
    """A whole number (kind int) or a number (float) within its limits, from one or from a text. Raises OptionError."""
    wanted = "a whole number" if kind is int else "a number"
    limits = _limits(about)
    try:
        if isinstance(value, bool) or (kind is int and isinstance(value, float)):
            raise ValueError
        number = kind(value)
        if number != number:  # nan
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        raise OptionError(f"{option}: {value!r} is not {wanted}; give one{limits}") from None
    too_low = about.low is not None and (number < about.low or (about.open_low and number == about.low))
    too_high = about.high is not None and (number > about.high or (about.open_high and number == about.high))
    if too_low or too_high:
        raise OptionError(f"{option}: {number} is out of range; give {wanted}{limits}")
    return number


def _limits(about: About) -> str:
    low = "" if about.low is None else f"{about.low:g}"
    high = "" if about.high is None or about.high == float("inf") else f"{about.high:g}"
    if about.open_low:
        return f" above {low}" + (f" and below {high}" if high else "")
    if low and high:
        return f" from {low} to {high}"
    return f" of at least {low}" if low else ""


_BITS = About("significant bits of the multiplier", low=MIN_BITS, high=MAX_BITS)


def parse_bits(value: Any, option: str = "bits") -> int:
    """A multiplier width in bits, 1..31. Raises OptionError."""
    return parse_number(value, int, _BITS, option)


def parse_count(value: Any, option: str, least: int = 1) -> int:
    """A whole number of at least `least`. Raises OptionError."""
    return parse_number(value, int, About("", low=least), option)


_LOSS = About("loss that is allowed", low=0, high=float("inf"), open_high=True)


def parse_loss(value: Any, option: str = "max-drop") -> float:
    """A loss that is allowed, in the unit of a metric, 0 or more. Raises OptionError."""
    return parse_number(value, float, _LOSS, option)


def parse_names(given: Any, option: str) -> tuple[str, ...]:
    """Names by comma in one text, or several names. Raises OptionError."""
    names = given.split(",") if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(each, str) for each in names):
        raise OptionError(f"{option}: {given!r} is no name; give one, several by comma, or a list of names")
    return tuple(name for each in names if (name := each.strip()))


ORIGINAL_BITS = 32
"""Among widths it stands for the original model."""


def parse_widths(given: Any, option: str = "bits") -> tuple[int, ...]:
    """The widths of a sweep.

    Args:
        given: a text of widths and ranges by comma, such as `1-4,8`; a whole number; or several of these. 32 stands for the
            original model.
        option: what the message calls it.

    Raises:
        OptionError: a width is none, or out of range.
    """
    if isinstance(given, str):
        return _parse_widths(given, option)
    if isinstance(given, Iterable):
        found = [bits for each in given for bits in parse_widths(each, option)]
        if not found:
            raise OptionError(f"{option}: names no width; give some, such as 4, [1, 2, 8] or '1-4,8'")
        return tuple(dict.fromkeys(found))
    # A bool is an int, and equal to one.
    return (ORIGINAL_BITS,) if type(given) is int and given == ORIGINAL_BITS else (parse_bits(given, option),)


def _parse_widths(text: str, option: str) -> tuple[int, ...]:

    def parse(part: str) -> int:
        return ORIGINAL_BITS if part == str(ORIGINAL_BITS) else parse_bits(part, option)

    found: list[int] = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        first, dash, last = (each.strip() for each in part.partition("-"))
        if dash and first:
            low, high = sorted((parse_bits(first, option), parse_bits(last, option)))
            found += range(low, high + 1)
        else:
            found.append(parse(part))
    if not found:
        raise OptionError(f"{option}: names no width; give some by comma, such as 1-4,8")
    return tuple(dict.fromkeys(found))


def parse_boolean(value: Any, option: str) -> bool:
    """A truth value from one or from a text; an empty text, as of a flag without a value, is true. Raises OptionError."""
    known = {"true": True, "1": True, "": True, "false": False, "0": False}
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in known:
        raise OptionError(f"{option}: {value!r} is not one of true, false")
    return known[value.lower()]
