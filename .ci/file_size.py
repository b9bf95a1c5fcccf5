# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fails when a file is above a size limit. Usage: file_size.py KILOBYTES FILE..."""

import pathlib
import sys

limit = int(sys.argv[1]) * 1000
large = [path for path in map(pathlib.Path, sys.argv[2:]) if path.stat().st_size > limit]
for path in large:
    print(f"{path}: {path.stat().st_size} bytes, limit {limit}; make it by a script, or keep it elsewhere")
sys.exit(bool(large))
