# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command line, `tosa-rescale`. Each command is a thin layer over one function of the package."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
import warnings

import click

from tosa_rescale.cli import errors as errors
from tosa_rescale.cli import export as export
from tosa_rescale.cli import hardware as hardware
from tosa_rescale.cli import report as report
from tosa_rescale.cli.commands import group

DEBUG_VARIABLE = "TOSA_RESCALE_DEBUG"
EXIT_NO, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: without the program's name; None: those of this process.

    Returns:
        0 done; 1 the answer is no; 2 bad input or usage, one line on standard error; 130 interrupted.
    """
    from tosa_rescale.core.errors import TosaRescaleError

    warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged images; what cannot be read is named as an error
    try:
        typed = shlex.join(["tosa-rescale", *(sys.argv[1:] if arguments is None else arguments)])
        result = group.main(args=arguments, prog_name="tosa-rescale", standalone_mode=False, obj=typed)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        return _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        print("tosa-rescale: interrupted; finished steps are kept", file=sys.stderr)
        return EXIT_INTERRUPTED
    except TosaRescaleError as error:
        return _fail(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; nothing to tell anyone
        return 0
    except OSError as error:
        return _fail(f"{error.filename or 'file system'}: {error.strerror}")
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            traceback.print_exc()
        return _fail(
            f"internal error: {type(error).__name__}: {error}; set {DEBUG_VARIABLE}=1 for the traceback, and report it"
        )


def _fail(message: str) -> int:
    print(f"tosa-rescale: error: {' '.join(message.split())}", file=sys.stderr)
    return EXIT_BAD_INPUT
