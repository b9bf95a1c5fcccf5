# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Samples: folders of images, arrays, synthetic ones. Knows no MLIR."""
