# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale-compile`: the passes in front of iree-compile."""
