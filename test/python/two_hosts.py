# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Two hosts on one machine, for tests: namespaces with addresses, host names, processes and file systems of their own.

A host is the first process of a process namespace, so that ending it ends everything on it, as a power cut does. Folders that
it is not to see lie below an empty file system. All of it goes with its processes; nothing on the machine itself is changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

NAMESPACES = ("--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc")
OWN = ("/dev/shm", "/tmp/ray")
"""What Ray keeps on a machine; two hosts do not share it."""


@dataclasses.dataclass
class Host:
    """One host.

    Attributes:
        name: its host name.
        address: IPv4.
        process: `unshare`, which ends with the host.
        environment: of commands that run on it.
    """

    name: str
    address: str
    process: subprocess.Popen[bytes]
    environment: dict[str, str]

    @property
    def first(self) -> int:
        """The first process of the host, seen from outside."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def start(self, command: Sequence[object], **options: object) -> subprocess.Popen[str]:
        """Starts a command on the host; its output and errors are one text."""
        entered = [
            "nsenter",
            f"--target={self.first}",
            "--net",
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            f"--wd={pathlib.Path.cwd()}",
        ]
        return subprocess.Popen(  # type: ignore[call-overload]
            [*entered, *map(str, command)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )

    def run(self, *command: object, timeout: float = 300) -> str:
        """Runs a command on the host; returns what it said.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        process = self.start(command)
        try:
            said, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            raise RuntimeError(f"{self.name}: {command} took longer than {timeout} s: {said}") from None
        if process.returncode:
            raise RuntimeError(f"{self.name}: {command} ended with {process.returncode}: {said}")
        return said

    def end(self) -> None:
        """Ends everything on the host at once."""
        with contextlib.suppress(OSError, IndexError):
            os.kill(self.first, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def link(self, state: str) -> None:
        """Cuts the host off ("down") or connects it again ("up")."""
        self.run("ip", "link", "set", "eth0", state)


def allowed() -> str:
    """Why there can be no hosts here; empty if there can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "namespaces need Linux and root"
    probe = ["unshare", *NAMESPACES, "sh", "-c", "mount -t tmpfs none /mnt && ip link set lo up"]
    try:
        done = subprocess.run(probe, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no namespaces here: {error}"
    return f"no namespaces here: {done.stderr.strip()}" if done.returncode else ""


@contextlib.contextmanager
def hosts(
    count: int, hidden: Sequence[pathlib.Path], environments: Sequence[Mapping[str, str]] | None = None
) -> Iterator[list[Host]]:
    """Hosts that see each other, and nothing else, by network.

    Args:
        count: how many; 2 are linked directly, more through the first one's bridge.
        hidden: folders that only the first one sees; the others find them empty.
        environments: what each one's commands find in their environment, beside this process' own.
    """
    made: list[Host] = []
    try:
        for index in range(count):
            below = [shlex.quote(str(each)) for each in (*OWN, *(hidden if index else ()))]
            covered = " && ".join(f"mkdir -p {folder} && mount -t tmpfs none {folder}" for folder in below)
            name = f"host{index}"
            setup = f"{covered} && hostname {name} && ip link set lo up && touch {OWN[0]}/ready && exec sleep infinity"
            process = subprocess.Popen(["unshare", *NAMESPACES, "sh", "-c", setup], stdin=subprocess.DEVNULL)
            environment = {**os.environ, **(environments[index] if environments else {})}
            host = Host(name, f"10.213.7.{index + 1}", process, environment)
            made.append(host)
            _wait_until_ready(host)
        _connect(made)
        yield made
    finally:
        for host in made:
            host.end()


def _wait_until_ready(host: Host) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, IndexError):
            if pathlib.Path(f"/proc/{host.first}/root{OWN[0]}/ready").exists():
                return
        if host.process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"{host.name} did not start")


def _connect(made: Sequence[Host]) -> None:
    """Cables from every host to a switch within the first one."""
    first = made[0]
    first.run("ip", "link", "add", "switch", "type", "bridge")
    first.run("ip", "link", "set", "switch", "up")
    for index, host in enumerate(made):
        plug = f"port{index}"
        first.run("ip", "link", "add", plug, "type", "veth", "peer", "name", f"cable{index}")
        if host is not first:
            # By the process number that this machine gives it: the first host does not see the others' processes.
            entered = ["nsenter", f"--target={first.first}", "--net"]
            subprocess.run([*entered, "ip", "link", "set", f"cable{index}", "netns", str(host.first)], check=True)
        host.run("ip", "link", "set", f"cable{index}", "name", "eth0")
        host.run("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")
        first.run("ip", "link", "set", plug, "master", "switch")
        first.run("ip", "link", "set", plug, "up")
