"""The command ``spikeloom``: one command a file, all errors turned into exit statuses here."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any

import typer

import spikeloom
from spikeloom.cli import (
    bench,
    capture_script,
    check,
    diff,
    doctor,
    estimate,
    export,
    inspect,
    models,
    ops,
    quantize,
    reduce,
    report,
    run,
    stream,
    targets,
    verify,
)
from spikeloom.cli import compile as compile_command
from spikeloom.cli import exit as exit_command
from spikeloom.cli import log as log_command
from spikeloom.cli.console import ClosedOutputError, errors, print_json, show_problems
from spikeloom.cli.stopping import TERMINATED, interrupted_by_sigterm
from spikeloom.cli.weights import weights
from spikeloom.errors import InputError, InternalError, SpikeloomError

INTERRUPTED = 130
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    name="spikeloom",
    help="Compile trained spiking transformers to neuromorphic hardware, and run them on event data.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
COMPILE, RUN, COMPARE, LOOK = "Compile", "Run", "Compare engines", "Look up"
app.command("check", rich_help_panel=COMPILE)(check.check)
app.command("quantize", rich_help_panel=COMPILE)(quantize.quantize)
app.command("compile", rich_help_panel=COMPILE)(compile_command.compile_)
app.command("export", rich_help_panel=COMPILE)(export.export)
app.command("capture-script", rich_help_panel=COMPILE)(capture_script.capture_script)
app.add_typer(weights, name="weights", rich_help_panel=COMPILE)
app.command("run", rich_help_panel=RUN)(run.run)
app.command("stream", rich_help_panel=RUN)(stream.stream)
app.command("exit", rich_help_panel=RUN)(exit_command.exit_)
app.command("log", rich_help_panel=RUN)(log_command.log)
app.command("estimate", rich_help_panel=RUN)(estimate.estimate)
app.command("report", rich_help_panel=RUN)(report.report)
app.command("verify", rich_help_panel=COMPARE)(verify.verify)
app.command("diff", rich_help_panel=COMPARE)(diff.diff)
app.command("reduce", rich_help_panel=COMPARE)(reduce.reduce)
app.command("bench", rich_help_panel=COMPARE)(bench.bench)
app.command("inspect", rich_help_panel=LOOK)(inspect.inspect)
app.command("targets", rich_help_panel=LOOK)(targets.targets)
app.command("models", rich_help_panel=LOOK)(models.models)
app.command("ops", rich_help_panel=LOOK)(ops.ops)
app.command("doctor", rich_help_panel=LOOK)(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spikeloom {spikeloom.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Options of every command."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 internal fault, 2 unsupported, 3 mismatch, 4 bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for terminals that know no more than ASCII
    try:
        with interrupted_by_sigterm() as terminated:
            status = _run(arguments, as_json="--json" in arguments)
        if status == INTERRUPTED and terminated.asked:
            status = TERMINATED
    except ClosedOutputError:  # the reader of a pipe has seen enough
        status = 0
    sys.exit(status)


def _run(arguments: list[str], as_json: bool) -> int:
    try:
        result: Any = app(arguments, prog_name="spikeloom", standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        result = INTERRUPTED
    except ClosedOutputError:
        raise
    except Exception as error:
        told = _as_ours(error)
        if isinstance(told, InternalError) and os.environ.get("SPIKELOOM_TRACEBACK"):
            raise
        return _tell(told, as_json)
    if result == INTERRUPTED:
        errors.print("interrupted")
    return result if isinstance(result, int) else 0


def _as_ours(error: Exception) -> SpikeloomError:
    """Any exception as one that has problems to tell."""
    if isinstance(error, SpikeloomError):
        return error
    if isinstance(error, typer.TyperException):
        return _misused(error)
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        where = error.filename or "standard output or a temporary file"
        return InputError.of("SL0902", where, f"cannot be written: {error.strerror}", remedy="make room")
    return _fault(error)


def _misused(error: typer.TyperException) -> InputError:
    where = getattr(getattr(error, "ctx", None), "command_path", None) or "spikeloom"
    return InputError.of(
        "SL0901", where, error.format_message().removesuffix("."), remedy=f"see {where} --help"
    )


def _fault(error: Exception) -> InternalError:
    return InternalError.of(
        "SL0903",
        type(error).__name__,
        str(error) or "without a word",
        remedy="this is a bug in Spikeloom: run again with SPIKELOOM_TRACEBACK=1 and report what it prints",
    )


def _tell(error: SpikeloomError, as_json: bool) -> int:
    show_problems(error.problems)
    if as_json:
        with suppress(ClosedOutputError, OSError):  # the status still tells
            print_json({"error": [problem.to_json() for problem in error.problems]})
    return error.exit_status
