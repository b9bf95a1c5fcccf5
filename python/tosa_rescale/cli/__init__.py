# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command line, `tosa-rescale`. Each command is a thin layer over one function of the package, in a file of its own."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
import traceback
import warnings

import click

from tosa_rescale.core.version import versions

DEBUG_VARIABLE = "TOSA_RESCALE_DEBUG"
EXIT_NO, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130

COMMANDS = {
    "demo": "demo.demo",
    "info": "info.info",
    "narrow": "narrow.narrow",
    "compensate": "compensate.compensate",
    "lower": "lower.lower",
    "finetune": "finetune.finetune",
    "evaluate": "evaluate.evaluate",
    "errors": "rescale_errors.errors",
    "sensitivity": "sensitivity.sensitivity",
    "sweep": "sweep.sweep",
    "report": "report.report",
    "check": "check.check",
    "convert": "convert.convert",
    "export": "export.export",
    "hardware-cost": "hardware.hardware_cost",
    "plugin-path": "plugin_path.plugin_path",
}
"""Every command, in the order of help: file and name of its function. A file is imported when its command is asked for."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        file, name = COMMANDS[cmd_name].split(".")
        return getattr(importlib.import_module(f"{__name__}.{file}"), name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(versions()["tosa-rescale"], prog_name="tosa-rescale")
def group() -> None:
    """Narrow the rescale multipliers of integer neural networks to k bits, down to a pure shift, and prove it bit for bit.

    File kinds go by suffix: .tflite, .mlirbc, .mlir, .tosa, .vmfb. DATA is a folder of images (with labels.csv, or one
    sub-folder a class) or an .npz with x and optional y. Exit status: 0 done; 1 the answer is no; 2 bad input or usage.
    """


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
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return EXIT_BAD_INPUT
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
