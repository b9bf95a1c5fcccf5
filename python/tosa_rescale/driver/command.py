# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale-compile`: narrows a model's rescales, then runs iree-compile with the user's own flags.

A drop-in: every flag of iree-compile is passed on as it stands. iree-compile cannot load passes built against another LLVM, so
they run in front of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from tosa_rescale.core.errors import ModelError, OptionError, OutputError, TosaRescaleError
from tosa_rescale.core.files import PathLike, atomic_write, read_file, write_text
from tosa_rescale.driver.command_line import PROGRAM, CommandLine, help_text, parse_command_line
from tosa_rescale.driver.settings import CompileSettings, describe, to_json
from tosa_rescale.driver.target_types import advice, said_of

if TYPE_CHECKING:
    from tosa_rescale.core.program import Program

EXIT_FAILURE = 1  # what iree-compile ends with, whatever was wrong
DEBUG_VARIABLE = "TOSA_RESCALE_DEBUG"
# One line of iree-compile's help, `  --name=<value>  - text`; `[=<value>]` is optional and never the next argument.
_HELP_LINE = re.compile(r"^\s+--?(?P<name>[\w.-]+)(?P<value>=<| <)?", re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a compilation.

    Args:
        arguments: without the program's name; None: those of this process.

    Returns:
        iree-compile's exit status, 128 + n where signal n ended it; 1 and one line on standard error where it was
        not reached.
    """
    try:
        return _compile(sys.argv[1:] if arguments is None else arguments)
    except TosaRescaleError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; nothing to tell anyone
        return EXIT_FAILURE
    except OSError as error:
        return _fail(f"{error.filename or 'file system'}: {error.strerror}")
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        return _fail(
            f"internal error: {type(error).__name__}: {error}; set {DEBUG_VARIABLE}=1 for the traceback, and report it"
        )


def compile(model: Program | PathLike, flags: Sequence[str] = ()) -> bytes:
    """Compiles a model as `tosa-rescale-compile` does; `tr.compile`.

    Args:
        model: a model, or the path of one.
        flags: flags of iree-compile and `--tosa-rescale-*`. Where none names a target, those for this machine's CPU are added.

    Returns:
        What iree-compile wrote, by default a vmfb.

    Raises:
        OptionError: a flag is unknown or contradicts another, or names an input or output.
        CompileError: iree-compile failed.
    """
    from tosa_rescale_runtime import DEFAULT_FLAGS, CompileError, compile_module, prepare_for_iree

    from tosa_rescale.core.program import Program
    from tosa_rescale.formats.read import read

    line = parse_command_line(flags, _takes_value)
    if line.inputs or line.output_at:
        raise OptionError("flags: input and output are not flags here; the model is an argument, the executable is returned")
    for needless in ("depfile", "cmake-dir"):
        if needless in line.own:
            raise OptionError(f"tosa-rescale-{needless}: is for build systems; use the program {PROGRAM}")
    loaded = model if isinstance(model, Program) else read(model)
    settings = CompileSettings.from_flags(line.own)
    rewritten = settings.apply(loaded)
    if not any("-target-" in each for each in line.others):
        line = dataclasses.replace(line, others=(*DEFAULT_FLAGS, *line.others))
    try:
        executable = compile_module(prepare_for_iree(rewritten.bytecode, rewritten.source), line.others)
    except CompileError as error:
        stderr = error.stderr
        known = advice(lambda: rewritten, line.others, _iree_compile(), lambda: stderr)
        if known is None:
            raise
        raise error.with_advice(known) from None
    if "report" in line.own:
        write_text(line.own["report"], to_json(describe(loaded, rewritten, settings)))
    return executable


def _compile(arguments: Sequence[str]) -> int:
    if not arguments:
        print(f"{help_text()}Everything else goes to iree-compile; --help shows its options too.", file=sys.stderr)
        return EXIT_FAILURE
    line = parse_command_line(arguments, _takes_value)
    if line.wants_help:
        print(f"{help_text()}Everything else goes to iree-compile:\n", flush=True)
        return _run([_iree_compile(), *line.others])
    if "cmake-dir" in line.own:
        print(pathlib.Path(__file__).parent / "cmake")
        return 0
    if len(line.inputs) != 1:
        return _run([_iree_compile(), *line.others])  # it says what is missing, or too much
    settings = CompileSettings.from_flags(line.own)
    with contextlib.ExitStack() as stack:
        source, report, rewritten = None, None, None
        path = line.others[line.inputs[0]]
        rewriting = settings.rewrites or "report" in line.own
        data = _read_input(path) if rewriting or path.endswith((".tflite", ".tosa")) else None
        if data is not None:
            model = _load(data, path)
            rewritten = settings.apply(model)
            for remark in dict.fromkeys((*model.remarks, *rewritten.remarks)):
                print(f"{remark.where or path}: remark: {remark.text}", file=sys.stderr)
            report = to_json(describe(model, rewritten, settings)) if "report" in line.own else None
            bytecode: bytes | None = rewritten.bytecode
        else:
            bytecode = None if path == "-" else _misread_by_iree(path)
        if bytecode is not None:
            stem = "stdin" if path == "-" else pathlib.Path(path).stem
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tosa-rescale-"))
            source = str(pathlib.Path(folder, f"{stem}.mlirbc"))
            pathlib.Path(source).write_bytes(_as_iree_reads_it(bytecode, source))
        status = _run_into(line, source, report, settings)
        if status > 0 and path != "-":
            said = functools.partial(said_of, _iree_compile(), source or path, line.flags)
            known = advice(lambda: rewritten or _load(_read_input(path), path), line.flags, _iree_compile(), said)
            return status if known is None else _fail(known)
        return status


def _misread_by_iree(path: str) -> bytes | None:
    """A module to be compiled as it is, where iree-compile would read other constants in it than it holds; else None."""
    from tosa_rescale_runtime import Module, rewrite_for_iree

    try:
        data = pathlib.Path(path).read_bytes()
        if b"tosa" not in data:
            return None
        module = Module.parse(data, path)
        before = module.to_bytecode()
        rewrite_for_iree(module)
    except (OSError, TosaRescaleError):
        return None  # iree-compile says what is wrong with it, or knows more dialects than we do
    return data if module.to_bytecode() != before else None


def _as_iree_reads_it(bytecode: bytes, path: str) -> bytes:
    """The module in a form that IREE reads as it is meant; iree-compile names what it dumps after `path`."""
    from tosa_rescale_runtime import Module, rewrite_for_iree

    module = Module.parse(bytecode, path)
    rewrite_for_iree(module)
    module.set_file_name(pathlib.Path(path).name)
    return module.to_bytecode()


def _run_into(line: CommandLine, source: str | None, report: str | None, settings: CompileSettings) -> int:
    """Runs iree-compile; output, report and dependency file appear only if it succeeds, the output last and whole."""

    def write_others() -> None:
        if report is not None:
            write_text(line.own["report"], report)
        if "depfile" in line.own:
            write_text(line.own["depfile"], _dependency_rule(line, settings))

    if line.output is None or not _replaceable(line.output):
        status = _run([_iree_compile(), *line.arguments(source)])
        if status == 0:
            write_others()
        return status
    try:
        with atomic_write(os.path.realpath(line.output)) as temporary:
            status = _run([_iree_compile(), *line.arguments(source, str(temporary))])
            if status != 0:
                raise _CompilerFailedError(status)
            write_others()
    except _CompilerFailedError as failure:
        return failure.status
    return 0


class _CompilerFailedError(Exception):
    """iree-compile ended with a status other than 0, having said why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _replaceable(output: str) -> bool:
    """Whether a rename can put the output in place: not into a device, a pipe or a folder that takes no new file."""
    path = pathlib.Path(os.path.realpath(output))
    try:
        return stat.S_ISREG(path.stat().st_mode) and os.access(path.parent, os.W_OK)
    except OSError:
        return path.parent.is_dir() and os.access(path.parent, os.W_OK)


def _read_input(path: str) -> bytes:
    data = sys.stdin.buffer.read() if path == "-" else read_file(path)
    if not data.strip():
        raise ModelError(f"{'<stdin>' if path == '-' else path}: is empty")
    return data


def _load(data: bytes, path: str) -> Program:
    """The model in a file's bytes; its kind goes by content, as iree-compile's does."""
    from tosa_rescale.formats.read import read_content

    return read_content(data, "<stdin>" if path == "-" else path)


def _dependency_rule(line: CommandLine, settings: CompileSettings) -> str:
    if line.output is None:
        raise OutputError("tosa-rescale-depfile: a rule needs a target; name the output with -o")
    read = [each for each in (line.others[line.inputs[0]], line.own.get("config")) if each not in (None, "-")]
    read += [str(each) for each in settings.calibration_files()]

    def escaped(path: str) -> str:
        return re.sub(r"([ #\\])", r"\\\1", path).replace("$", "$$")

    return f"{escaped(line.output)}:" + "".join(f" \\\n  {escaped(str(each))}" for each in read) + "\n"


def _run(command: Sequence[str]) -> int:
    """Runs a command with our standard streams; it never outlives us."""

    def end(number: int, _: Any) -> NoReturn:
        raise SystemExit(128 + number)  # unwinds: temporary files go

    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGHUP, end)
    with subprocess.Popen(command, preexec_fn=_die_with_parent()) as process:
        try:
            status = process.wait()
        except BaseException:
            process.kill()
            raise
    return status if status >= 0 else 128 - status


def _die_with_parent() -> Callable[[], None] | None:
    """What a child runs first, so that a kill of this process ends it too; None where the system has no such thing."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, set_death_signal = ctypes.CDLL(None).prctl, 1  # PR_SET_PDEATHSIG
    return lambda: prctl(set_death_signal, signal.SIGKILL)


@functools.cache
def _valued_flags() -> Mapping[str, bool]:
    done = subprocess.run([_iree_compile(), "--help-hidden"], capture_output=True, text=True, check=False)
    return {match["name"]: match["value"] is not None for match in _HELP_LINE.finditer(done.stdout)}


def _takes_value(name: str) -> bool:
    return name == "o" or _valued_flags().get(name, False)


def _iree_compile() -> str:
    from iree.compiler.tools.binaries import find_tool

    return find_tool("iree-compile")


def _fail(message: str) -> int:
    print(f"{PROGRAM}: error: {' '.join(message.split())}", file=sys.stderr)
    return EXIT_FAILURE
