"""How the commands speak: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console, Group
from rich.markup import escape
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from spikeloom.errors import Problem

output = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def show_problems(problems: Sequence[Problem]) -> None:
    """Print problems to standard error, one a line."""
    for problem in problems:
        code, _, rest = str(problem).partition(" ")
        errors.print(f"[bold red]{code}[/] {escape(rest)}", soft_wrap=True)


def print_json(document: Any) -> None:
    """Print a result as JSON on standard output."""
    typer.echo(json.dumps(document, indent=1, allow_nan=False))


@contextmanager
def progress(total: int | None = None, what: str = "") -> Iterator[Progress]:
    """A progress bar on a terminal, nothing elsewhere; a first task is there already."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        bar.add_task(what, total=total)
        yield bar


def table(title: str, *columns: str, text: int = 1) -> Table:
    """A table whose first ``text`` columns are text, and whose others are numbers."""
    result = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2)
    )
    for index, column in enumerate(columns):
        result.add_column(column, justify="left" if index < text else "right", overflow="fold")
    return result


def percent(share: float) -> str:
    """A share as a percentage.

    >>> percent(0.12345)
    '12.3 %'
    """
    return f"{100 * share:.1f} %"


def si(value: float, unit: str) -> str:
    """A number with an SI prefix.

    >>> si(0.000153, "s")
    '153 us'
    """
    if value == 0:
        return f"0 {unit}"
    for factor, prefix in (
        (1e6, "M"),
        (1e3, "k"),
        (1, ""),
        (1e-3, "m"),
        (1e-6, "u"),
        (1e-9, "n"),
        (1e-12, "p"),
    ):
        if abs(value) >= factor * 0.9995:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def comparisons(title: str, ledger: Sequence[Mapping[str, Any]]) -> Table:
    """The ledger of a compilation as a table."""
    shown = table(title, "stage", "compared with", "tolerance", "cells", "differ", text=3)
    for entry in ledger:
        counts = (f"{entry['cells']:,}", f"{entry['differing']:,}")
        shown.add_row(entry["stage"], entry["against"], entry["tolerance"], *counts)
    return shown


def figures(title: str, constants: Mapping[str, Mapping[str, Any]]) -> Group:
    """Constants of a chip: value, band and origin on a line, and below it the source."""
    lines: list[Padding | str] = [f"[bold]{title}[/]"]
    for name, figure in constants.items():
        point = figure["low"] == figure["high"]
        band = "" if point else f", {figure['low']:.3g} to {figure['high']:.3g}"
        value = f"{figure['nominal']:.6g}{band} {figure['unit']}"
        lines.append(f"[bold cyan]{name}[/]  {value}  [green]{figure['origin']}[/]")
        lines.append(Padding(f"[dim]{escape(figure['source'])}[/]", (0, 0, 0, 4)))
    return Group(*lines)
