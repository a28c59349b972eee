"""How the commands speak: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from spikeloom.errors import CODES, Problem
from spikeloom.errors import counted as counted

CONTAMINATED = (
    "the model lets neuron layers run on from sample to sample of a batch; compiled for single ones"
)


class ClosedOutputError(Exception):
    """Whoever read standard output has closed it."""


def _close_output() -> None:
    """Let what is still to be printed go nowhere, so that Python's own flush at the end is quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Output(Console):
    def on_broken_pipe(self) -> None:
        _close_output()
        raise ClosedOutputError


class _Table(Table):
    """A table below a heading that is as wide as it likes; cells are plain text, never markup."""

    heading = ""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Append a row; strings stand for themselves, whatever they hold."""
        texts = (Text(printable(cell)) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*texts, **options)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.heading:
            yield Text(self.heading, "bold")
        yield from super().__rich_console__(console, options)


_DROPPED = {
    "outside": ("event", "outside the sensor"),
    "backwards": ("event", "backwards in time"),
    "jumps": ("event", "after a silence that no sensor has"),
    "unknown": ("record", "of no kind that the format knows"),
    "left_over_bytes": ("byte", "of no whole event"),
    "unplaced": ("event", "without a time or row"),
    "cropped": ("event", "outside the crop"),
    "late": ("event", "after their frame was finished"),
    "tail": ("event", "after the last frame"),
    "saturated": ("event", "at saturated pixels"),
}

_FIELDS = {"remedy": "next"}

output = _Output(highlight=False, emoji=False)
errors = Console(stderr=True, highlight=False, emoji=False)


def printable(text: str) -> str:
    r"""Text that cannot steer a terminal: names come from files that somebody else wrote.

    >>> printable("lif\x1b[31m")
    'lif\\x1b[31m'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def show_problems(problems: Sequence[Problem]) -> None:
    """Print problems to standard error: a panel for each code on a terminal, else one a line."""
    if errors.is_terminal:
        for code in dict.fromkeys(problem.code for problem in problems):
            errors.print(problem_panel([problem for problem in problems if problem.code == code]))
        return
    for problem in problems:
        code, _, rest = printable(str(problem)).partition(" ")
        errors.print(f"[bold red]{code}[/] {escape(rest)}", soft_wrap=True)


def problem_panel(problems: Sequence[Problem]) -> Panel:
    """Problems of one code, each with its fields under each other; what a field does not say is left out."""
    code = problems[0].code
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for number, problem in enumerate(problems):
        if number:
            grid.add_row()
        shown = problem.to_json()
        if problem.remedy in (other.remedy for other in problems[number + 1 : number + 2]):
            del shown["remedy"]  # the next one says it, too
        for name, text in shown.items():
            if text and name != "code":
                grid.add_row(_FIELDS.get(name, name), Text(printable(text), "bold" if name == "what" else ""))
    title = f"[bold red]{code}[/] {escape(CODES[code].meaning)}"
    return Panel(grid, title=title, title_align="left", border_style="red")


def print_json(document: Any) -> None:
    """Print a result as JSON on standard output."""
    try:
        print(json.dumps(document, indent=1, allow_nan=False), file=sys.stdout, flush=True)
    except BrokenPipeError as error:
        _close_output()
        raise ClosedOutputError from error


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
    result = _Table(box=None, pad_edge=False, padding=(0, 2))
    result.heading = title
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
    samples = max((entry["samples"] for entry in ledger), default=0)
    shown = table(
        f"{title}, on {counted(samples, 'recording')}",
        "stage",
        "compared with",
        "tolerance",
        "cells",
        "differ",
        text=3,
    )
    for entry in ledger:
        counts = (f"{entry['cells']:,}", f"{entry['differing']:,}")
        shown.add_row(entry["stage"], entry["against"], entry["tolerance"], *counts)
    return shown


def print_dropped(report: Mapping[str, int]) -> None:
    """Say what of the recordings did not reach the network, if anything."""
    lost = [
        f"{counted(report[name], thing)} {where}" for name, (thing, where) in _DROPPED.items() if report[name]
    ]
    if lost:
        output.print("dropped: " + ", ".join(lost))


def figures(title: str, constants: Mapping[str, Mapping[str, Any]]) -> Group:
    """Constants of a chip: value, band and origin on a line, and below it the source."""
    lines: list[Padding | str] = [f"[bold]{title}[/]"]
    for name, figure in constants.items():
        lines.append(f"[bold cyan]{name}[/]  {escape(_band(figure))}  [green]{figure['origin']}[/]")
        lines.append(Padding(f"[dim]{escape(figure['source'])}[/]", (0, 0, 0, 4)))
    return Group(*lines)


def _band(figure: Mapping[str, Any]) -> str:
    """The value of a constant, and the band that it may lie in.

    >>> _band({"nominal": 2.5e-11, "low": 2e-11, "high": 3e-11, "unit": "J"})
    '25 pJ, 20 pJ to 30 pJ'
    >>> _band({"nominal": 196608, "low": 196608, "high": 196608, "unit": "bytes/core"})
    '196,608 bytes/core'
    """
    ends = [figure[key] for key in ("nominal", "low", "high")]
    unit = figure["unit"]
    prefixed = unit in ("J", "s", "W")
    nominal, low, high = (si(value, unit) if prefixed else f"{value:,.6g}" for value in ends)
    band = nominal if low == high else f"{nominal}, {low} to {high}"
    return band if prefixed else f"{band} {unit}"


def running_on(latency: int, flush: int) -> str:
    """What a network does that looks ahead in time or goes on after a sample.

    >>> running_on(1, 3)
    'answers 1 time step late, and runs on for 3 time steps after the last frame'
    """
    late = f"answers {counted(latency, 'time step')} late, and " if latency else ""
    return f"{late}runs on for {counted(flush, 'time step')} after the last frame"
