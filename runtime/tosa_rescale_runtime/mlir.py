# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""LLVM's MLIR bindings from IREE's wheel, loaded when they are first used.

No other file of the package imports them. They carry no type information, so the aliases tell the reader what a value
is and are `Any` to a type checker.
"""

from __future__ import annotations

import importlib
from typing import Any, TypeAlias

Attribute: TypeAlias = Any
Block: TypeAlias = Any
Operation: TypeAlias = Any
Type: TypeAlias = Any
Value: TypeAlias = Any


class _LazyModule:
    """Stands for a module and imports it when an attribute is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, found)  # asked for a hundred thousand times where a large network is walked
        return found


ir: Any = _LazyModule("iree.compiler.ir")
passmanager: Any = _LazyModule("iree.compiler.passmanager")
