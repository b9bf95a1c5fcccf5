# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps that rewrite a module: narrow, compensate, align. Knows no accuracy."""
