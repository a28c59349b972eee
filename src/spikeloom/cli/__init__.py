"""The command ``spikeloom``: one command a file, all errors turned into exit statuses here."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import typer

import spikeloom
from spikeloom.cli import bench, doctor, estimate, inspect, report, run, targets, verify
from spikeloom.cli import compile as compile_command
from spikeloom.cli.console import errors, show_problems
from spikeloom.errors import InputError, SpikeloomError

INTERNAL = 1
INTERRUPTED = 130

app = typer.Typer(
    name="spikeloom",
    help="Compile trained spiking transformers to neuromorphic hardware, and run them on event data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("compile")(compile_command.compile_)
app.command("run")(run.run)
app.command("verify")(verify.verify)
app.command("estimate")(estimate.estimate)
app.command("inspect")(inspect.inspect)
app.command("report")(report.report)
app.command("targets")(targets.targets)
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spikeloom {spikeloom.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Options of every command."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 internal fault, 2 unsupported, 3 mismatch, 4 bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.exit(_guarded(arguments, as_json="--json" in arguments))


def _guarded(arguments: list[str], as_json: bool) -> int:
    try:
        result: Any = app(arguments, standalone_mode=False)
    except SpikeloomError as error:
        _tell(error, as_json)
        return error.exit_status
    except typer.TyperException as error:
        where = getattr(getattr(error, "ctx", None), "command_path", None) or "spikeloom"
        _tell(InputError.of("SL0901", where, error.format_message(), remedy=f"see {where} --help"), as_json)
        return InputError.exit_status
    except typer.Abort:
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("SPIKELOOM_TRACEBACK"):
            raise
        errors.print(
            f"[bold red]internal fault[/] {type(error).__name__}: {error}\n"
            "This is a bug in Spikeloom. Set SPIKELOOM_TRACEBACK=1, run again, and report what it prints.",
        )
        return INTERNAL
    return result if isinstance(result, int) else 0


def _tell(error: SpikeloomError, as_json: bool) -> None:
    show_problems(error.problems)
    if as_json:
        typer.echo(json.dumps({"error": [problem.to_json() for problem in error.problems]}, indent=1))
