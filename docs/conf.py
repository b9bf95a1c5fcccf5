# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The documentation's site: `make site` builds it into build/site, with warnings as errors."""

from tosa_rescale.core.version import versions

project = "tosa-rescale"
copyright = "the tosa-rescale authors"
release = versions()["tosa-rescale"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["passes.md"]  # generated, without a title: reference/passes.md takes it in
suppress_warnings = ["myst.header", "misc.highlighting_failure"]  # its headings begin at the third level; no lexer knows MLIR
myst_heading_anchors = 3

default_role = "code"  # docstrings write code between single backquotes, as Markdown does

html_theme = "furo"  # self-contained: no font or script from elsewhere
html_title = "tosa-rescale"
html_copy_source = False
html_show_sphinx = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # the fields of a dataclass are documented by its docstring, and stand there once
