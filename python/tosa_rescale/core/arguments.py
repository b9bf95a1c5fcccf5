# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Messages name arguments as Python does, `force=True`; what reads flags puts its own in their place."""

from __future__ import annotations

import re
from collections.abc import Callable

_ARGUMENT = re.compile(r"`(\w+)(?:=('[^']*'|-?\w+))?`")


def in_flags(text: str, flag: Callable[[str, str | None], str | None]) -> str:
    """A message with flags for the arguments that it names.

    Args:
        text: the message.
        flag: gives the flag for an argument's name and value, the latter None or without quotes; None: the argument stays.
    """

    def put(found: re.Match[str]) -> str:
        given = flag(found[1], found[2] and found[2].strip("'"))
        return found[0] if given is None else given

    return _ARGUMENT.sub(put, text)
