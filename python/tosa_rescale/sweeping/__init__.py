# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Many models measured: methods, points on disk, search for a width, clusters."""
