# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a model computes and how good that is: engines, accuracy, bit-exactness, the error of each rescale."""
