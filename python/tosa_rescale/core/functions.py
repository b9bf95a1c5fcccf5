# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Functions of the user's own, given as `module:function` or as they are."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from tosa_rescale.core.errors import OptionError


def find_function(given: Callable[..., Any] | str, option: str) -> Callable[..., Any]:
    """The function that `module:function` names; modules in the working folder are found as well.

    Args:
        given: the name, or the function itself.
        option: what asks for it, for errors.

    Raises:
        OptionError: the name has another form, the module cannot be imported, or has no such function.
    """
    if not isinstance(given, str):
        if not callable(given):
            raise OptionError(f"{option}: {given!r} is no function; give one, or its name as module:function")
        return given
    module, _, name = given.partition(":")
    if not module or not name:
        raise OptionError(f"{option}: {given!r} names no function; give it as module:function")
    folder = str(pathlib.Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)  # behind all others: a file in the working folder must not replace an installed package
    try:
        found = functools.reduce(getattr, name.split("."), importlib.import_module(module))
    except ModuleNotFoundError as error:
        raise OptionError(f"{option}: {given}: there is no module {error.name} on Python's path or in {folder}") from error
    except AttributeError as error:
        raise OptionError(f"{option}: {given}: {module} has no function {name}") from error
    except Exception as error:  # importing a user's module runs it
        raise OptionError(f"{option}: {given}: importing {module} raised {type(error).__name__}: {error}") from error
    if not callable(found):
        raise OptionError(f"{option}: {given} is no function")
    return found


def function_name(given: Callable[..., Any] | str) -> str:
    """`module:function` of a function or of its name."""
    if isinstance(given, str):
        return given
    return f"{getattr(given, '__module__', '?')}:{getattr(given, '__qualname__', type(given).__name__)}"


def function_identity(given: Callable[..., Any] | str, option: str) -> str:
    """The name of a function with a hash of its text, where that is known: another text may give other results."""
    try:
        text = inspect.getsource(find_function(given, option))
    except (OSError, TypeError):
        text = ""
    return f"{function_name(given)} {hashlib.sha256(text.encode()).hexdigest()[:16]}"
