# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Joining a Ray cluster, and what may be wrong with one."""

from __future__ import annotations

import importlib
import logging
import os
import secrets
import socket
import subprocess
import sys
from typing import Any

from tosa_rescale_runtime import usable_cores

from tosa_rescale.core.errors import ClusterError, MissingToolError

LOCAL = "local"
REACH_SECONDS = 5.0
ANSWER_SECONDS = 30.0

PROMPT = {"RAY_grpc_client_keepalive_time_ms": "65000", "RAY_grpc_client_keepalive_timeout_ms": "20000"}
"""When this process asks whether a silent machine is still there, and for how long: Ray's own 300 and 120 s are seven minutes
in which a sweep stands still. Servers of a cluster with Ray's defaults take more than one question in 60 s for an attack."""


def import_ray() -> Any:
    """The package, with the settings that it reads once, when it is loaded; those of the user's environment come first."""
    for name, value in PROMPT.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingToolError(
            f"cluster: {error.name} is not installed; pip install 'tosa-rescale[distributed]' on every machine"
        ) from error


def join(ray: Any, address: str, workers: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    logging.getLogger("ray").setLevel(logging.ERROR)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to its makers otherwise
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # those of tasks that nobody waits for after the first error
    try:
        if address == LOCAL:
            if not any(os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
                os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # else one is left in the user's home
            ray.init(address=LOCAL, num_cpus=workers or usable_cores(), include_dashboard=False, **quiet)
        else:
            _require_answer(address)
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
        what = "no cluster can be started here" if address == LOCAL else "cannot be joined"
        raise ClusterError(f"{address}: {what}: {first_line(error)}") from error


def _require_answer(address: str) -> None:
    """Raises ClusterError where no cluster answers: Ray itself tries for minutes and then ends the process."""
    if address == "auto":
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (host and colon and port.isdigit()):
        raise ClusterError(f"{address}: is no address of a cluster; give HOST:PORT, ray://HOST:PORT, auto or local")
    try:
        socket.create_connection((host, int(port)), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ClusterError(
            f"{address}: no cluster can be reached: {reason}; start one with `ray start --head`, or use `cluster='local'`"
        ) from error
    if address.startswith("ray://"):
        return
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "health-check", "--address", address]
    try:
        healthy = subprocess.run(command, capture_output=True, check=False, timeout=ANSWER_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        healthy = False
    if not healthy:
        raise ClusterError(f"{address}: something answers, but no Ray cluster that accepts this version and its RAY_AUTH_TOKEN")


def not_installed(error: BaseException) -> ClusterError:
    return ClusterError(
        f"workers cannot run tasks: {first_line(error)}; install 'tosa-rescale[distributed]', same version, on every machine"
    )


def first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
