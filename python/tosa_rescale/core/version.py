# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Versions of this package and of what its results depend on."""

from __future__ import annotations

import importlib.metadata

_PACKAGES = ("tosa-rescale", "iree-base-compiler", "iree-base-runtime", "tosa-converter-for-tflite", "ai-edge-litert", "numpy")


def versions() -> dict[str, str]:
    """Package name to installed version; "not installed" where missing."""

    def version(package: str) -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "not installed"

    return {package: version(package) for package in _PACKAGES}
