# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What every layer above stands on: options, passes, rescales, files, errors. Knows no images, formats or TensorFlow."""
