# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How long a reader may take: converter and bytecode reader can loop on a corrupt file."""

READ_TIMEOUT = 8  # seconds, and one more for each megabyte


def read_limit(data: bytes) -> float:
    """Seconds. A sound file takes them 100 ms for each megabyte."""
    return READ_TIMEOUT + len(data) / 1e6
