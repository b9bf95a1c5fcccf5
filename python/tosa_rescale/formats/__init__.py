# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reading and writing models: one table of kinds. Knows no steps."""
