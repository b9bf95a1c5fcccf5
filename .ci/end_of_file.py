# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes every file end with one newline; fails where one did not. Usage: end_of_file.py FILE..."""

import pathlib
import sys

mended = []
for path in map(pathlib.Path, sys.argv[1:]):
    data = path.read_bytes()
    if data and data != data.rstrip(b"\n") + b"\n":
        path.write_bytes(data.rstrip(b"\n") + b"\n")
        mended.append(path)
for path in mended:
    print(f"{path}: mended")
sys.exit(bool(mended))
