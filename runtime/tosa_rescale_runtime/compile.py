# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiling with IREE, and a cache of what was compiled.

Environment:
    TOSA_RESCALE_CACHE: folder of the cache; the user's cache folder where unset.
    TOSA_RESCALE_SAVE_TEMPS: folder in which every compilation leaves its input, command line and messages.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import CompileError, one_line

_FUSE_PADDING = "--iree-dispatch-creation-enable-fuse-padding-into-linalg-consumer-ops"
"""IREE 3.13 crashes with it on a padded convolution of a 1 x 1 image, and refuses some of 160 channels; what it cannot compile
is compiled again without it."""

DEFAULT_FLAGS = (
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
    "--iree-opt-data-tiling=true",
    _FUSE_PADDING,
    "--iree-llvmcpu-enable-ukernels=all",
)
"""Flags of iree-compile for the machine at hand. The last three halve the time of a network of depthwise blocks: without
the second of them a pointwise layer writes into its reader's padded buffer and loses its tiling (see bench/README.md)."""

_MOST_REFUSED = 64
_refused: dict[str, CompileError] = {}
_under_way: collections.defaultdict[str, threading.Lock] = collections.defaultdict(threading.Lock)
"""What iree-compile said of graphs that it cannot compile, by cache key, in this process: at every width a graph has the same
skeleton, and each attempt may take minutes."""

_MAGIC = b"tosa-rescale vmfb 1\n"
_STALE_SECONDS = 24 * 3600
_HINTS = (
    ("exceeded stack allocation limit", "make the batch static with `tosa-rescale-opt --tosa-rescale-static-batch`"),
    ("Unknown command line argument", "see `iree-compile --help` for the flags"),
    ("No space left", "free some disk space"),
    ("INEXACT_ROUND", "IREE executes SINGLE_ROUND and DOUBLE_ROUND only"),
    ("restricted to workgroup distributed contexts", "IREE cannot split the work of an op of this graph"),
)
_NOT_THE_GRAPH = (
    *("Unknown command line argument", "iree-compile: for the --", "Too many positional arguments", "unregistered device"),
    *("No space left", "Cannot allocate"),
)
"""What iree-compile says where the graph is not at fault: flags, disk, memory."""


@dataclass(frozen=True)
class Cache:
    """A folder of compiled modules, addressed by content.

    Processes may share it: files appear by a rename, carry a checksum that every read verifies, and are never changed.

    Attributes:
        folder: where the files are; made when the first one is written.
        limit_bytes: size above which the files that were not used for the longest time are removed.

    """

    folder: Path
    limit_bytes: int = 2 << 30

    def get(self, key: str) -> bytes | None:
        """Returns what was stored under `key`; None when there is nothing or it is damaged, which also removes it."""
        path = self._path(key)
        try:
            stored = path.read_bytes()
        except OSError:
            return None
        header = len(_MAGIC) + hashlib.sha256().digest_size
        data = stored[header:]
        if stored[:header] != _MAGIC + hashlib.sha256(data).digest():
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # The time of last use: some file systems do not keep one on reading.
        return data

    def has(self, key: str) -> bool:
        """Whether something is stored under `key`."""
        return self._path(key).is_file()

    def put(self, key: str, data: bytes) -> None:
        """Stores `data` under `key` and makes room; a full or read-only disk is a warning, not an error."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _replacing(self._path(key)) as temporary:
                temporary.write_bytes(_MAGIC + hashlib.sha256(data).digest() + data)
        except OSError as error:
            warnings.warn(
                f"the compile cache {self.folder} is not writable ({error.strerror}); set TOSA_RESCALE_CACHE",
                stacklevel=2,
            )
            return
        self.evict(keep=key)

    def evict(self, keep: str | None = None) -> None:
        """Removes the files unused for the longest time until the rest fits `limit_bytes`; never the one of `keep`."""
        entries = []
        now = time.time()
        for path in self.folder.glob("*"):
            with contextlib.suppress(OSError):
                state = path.stat()
                if path.suffix == ".tmp":
                    if now - state.st_mtime > _STALE_SECONDS:  # Left by a process that was killed.
                        path.unlink()
                elif path.suffix == ".vmfb":
                    entries.append((state.st_mtime, state.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.limit_bytes:
                return
            if keep is None or path != self._path(keep):
                with contextlib.suppress(OSError):
                    path.unlink()
                total -= size

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.vmfb"


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem[:16], suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def default_cache() -> Cache:
    """Returns the cache in `TOSA_RESCALE_CACHE`, else in the user's cache folder."""
    folder = os.environ.get("TOSA_RESCALE_CACHE")
    if folder:
        return Cache(Path(folder))
    import platformdirs

    return Cache(Path(platformdirs.user_cache_dir("tosa-rescale", appauthor=False)))


def cache_key(bytecode: bytes, flags: Sequence[str]) -> str:
    """Returns the address of a compilation.

    It is a digest of the input, the flags, IREE's version and, where the flags ask for code for the machine at hand,
    what that machine is.
    """
    parts = [importlib.metadata.version("iree-base-compiler"), *flags]
    if any(flag.endswith("=host") for flag in flags):
        parts.append(_host_cpu())
    digest = hashlib.sha256(json.dumps(parts).encode())
    digest.update(hashlib.sha256(bytecode).digest())
    return digest.hexdigest()


def _host_cpu() -> str:
    """Describes the processor as far as it decides which instructions there are."""
    parts = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name = line.partition(":")[0].strip()
            if name in ("flags", "Features", "model name", "CPU part", "isa"):
                parts.append(line)
            elif not name:
                break  # The first core speaks for all.
    return "\n".join(parts)


_watch: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext


def watch_compiler(watch: Callable[[], contextlib.AbstractContextManager[object]]) -> None:
    """Says what to enter around each run of iree-compile of this process; a result from the cache is no run.

    A run can take minutes. A program that shows its progress shows this one too.

    Args:
        watch: makes a context manager; `contextlib.nullcontext` for none.

    """
    global _watch
    _watch = watch


def compile_command(compiler: str, source: str, output: str, flags: Sequence[str]) -> tuple[str, ...]:
    """Returns the argument vector of one compilation.

    Args:
        compiler: path of iree-compile.
        source: path of the input.
        output: path of the vmfb to write.
        flags: flags of iree-compile.

    """
    return (compiler, source, *flags, "-o", output)


def is_compiled(bytecode: bytes, flags: Sequence[str] = DEFAULT_FLAGS, cache: Cache | bool = True) -> bool:
    """Whether `compile_module` would find the module in the cache."""
    if cache is False:
        return False
    return (default_cache() if cache is True else cache).has(cache_key(bytecode, flags))


def compile_module(bytecode: bytes, flags: Sequence[str] = DEFAULT_FLAGS, cache: Cache | bool = True) -> bytes:
    """Compiles a module with IREE, or takes the result of an earlier compilation from the cache.

    Args:
        bytecode: the module, as MLIR bytecode or text that IREE reads.
        flags: flags of iree-compile.
        cache: the cache to use; True is `default_cache()`, False none.

    Returns:
        The executable, a vmfb.

    Raises:
        CompileError: iree-compile failed; one line with the compiler's first error and a hint where one is known. The
            attribute `stderr` has all of it. What it cannot compile for the graph's sake is not tried again by this process.

    """
    store = default_cache() if cache is True else cache or None
    key = cache_key(bytecode, flags)
    with _under_way[key]:  # another thread may be at it
        if store and (cached := store.get(key)) is not None:
            return cached
        if (known := _refused.get(key)) is not None:
            raise known.again()
        vmfb = _compiled_or_refused(bytecode, flags, key)
        if store:
            store.put(key, vmfb)
        return vmfb


def _compiled_or_refused(bytecode: bytes, flags: Sequence[str], key: str) -> bytes:
    """Runs the compiler, and remembers what it cannot compile."""
    with _watch():
        try:
            return _compiled(bytecode, flags, key)
        except CompileError as error:
            if error.unsupported and error.status != -signal.SIGKILL:  # the kernel kills for memory, which may come back
                _refused[key] = error.again()  # without the frames that the traceback of the first one keeps
                if len(_refused) > _MOST_REFUSED:
                    del _refused[next(iter(_refused))]
            raise


def _compiled(bytecode: bytes, flags: Sequence[str], key: str) -> bytes:
    """Runs the compiler; once more without the flag that may be what it cannot do."""
    try:
        return _run_compiler(bytecode, flags, key)
    except CompileError as error:
        if not error.unsupported or _FUSE_PADDING not in flags:
            raise
        return _run_compiler(bytecode, [flag for flag in flags if flag != _FUSE_PADDING], key)


def _run_compiler(bytecode: bytes, flags: Sequence[str], key: str) -> bytes:
    from iree.compiler.tools.binaries import find_tool

    with tempfile.TemporaryDirectory(prefix="tosa-rescale-") as folder:
        source, output = Path(folder, "input.mlir"), Path(folder, "output.vmfb")
        source.write_bytes(bytecode)
        command = compile_command(find_tool("iree-compile"), str(source), str(output), flags)
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        saved = _save_temps(bytecode, command, done.stderr, key)
        if done.returncode == 0:
            return output.read_bytes()
        raise CompileError(
            _describe_failure(done.returncode, done.stderr) + (f"; input saved in {saved}" if saved else ""),
            stderr=done.stderr,
            command=command,
            saved=saved,
            status=done.returncode,
            unsupported=not any(symptom in done.stderr for symptom in _NOT_THE_GRAPH),
        )


def _describe_failure(status: int, stderr: str) -> str:
    errors = [line.partition("error: ")[2] for line in stderr.splitlines() if "error: " in line]
    reason = one_line(errors[0] if errors else stderr) or "no message"
    hint = next((f" ({hint})" for symptom, hint in _HINTS if symptom in stderr), "")
    return f"iree-compile failed with exit status {status}: {reason}{hint}"


def _save_temps(bytecode: bytes, command: Sequence[str], stderr: str, key: str) -> str | None:
    root = os.environ.get("TOSA_RESCALE_SAVE_TEMPS")
    if not root:
        return None
    folder = Path(root) / key[:16]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "input.mlirbc").write_bytes(bytecode)
    (folder / "command.txt").write_text(shlex.join(command) + "\n")
    (folder / "stderr.txt").write_text(stderr)
    return str(folder)
