"""Options that several commands share: single ones, and how a command takes a group of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer
from typer.models import OptionInfo

Result = TypeVar("Result")

BundleFile = Annotated[Path, typer.Argument(help="A compiled network.")]
EngineName = Annotated[str, typer.Option(help="What executes the network: event, onnx or reference.")]
TargetName = Annotated[str, typer.Option(help="What to compile for; see `spikeloom targets`.")]
ModelSpec = Annotated[
    str,
    typer.Argument(
        help="FILE.py:factory, a function that builds the model; or a .capture, .nir, .onnx or .net file.",
        metavar="MODEL",
    ),
]
ExitRuleFile = Annotated[
    Path | None, typer.Option("--exit", help="Stop early by this rule, from `spikeloom exit`.")
]


def spread(command: Callable[..., Result]) -> Callable[..., Result]:
    """A command that takes groups of options: each field of a parameter that is a dataclass is an option.

    The class is written once, with the help and the default of each option and, as ``PANEL``, the heading
    under which help shows them; a command names the class, and gets an instance.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Board:
    ...     PANEL = "The board"
    ...     chips: Annotated[int, typer.Option(help="Chips that may be used.")] = 1
    ...     clock: Annotated[float, typer.Option(help="In MHz.")] = 100.0
    >>> @spread
    ... def cycles(seconds: float, board: Board) -> float:
    ...     return seconds * board.clock * 1e6 * board.chips
    >>> list(signature(cycles).parameters), cycles(seconds=2, chips=3, clock=1.0)
    (['seconds', 'chips', 'clock'], 6000000.0)
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if is_dataclass(kind) and isinstance(kind, type)}

    @wraps(command)
    def called(**given: Any) -> Result:
        taken = {
            name: kind(**{field.name: given.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        return command(**given, **taken)

    parameters = [
        one
        for parameter in signature(command).parameters.values()
        for one in _spread_out(parameter, hints[parameter.name])
    ]
    called.__signature__ = signature(command).replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called


def _spread_out(parameter: Parameter, kind: Any) -> Iterator[Parameter]:
    if not is_dataclass(kind):
        yield parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=kind)
        return
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        option = _below(hints[field.name], getattr(kind, "PANEL", None))
        yield Parameter(field.name, Parameter.KEYWORD_ONLY, default=_default(field), annotation=option)


def _below(option: Any, panel: str | None) -> Any:
    """An annotated option, shown under a heading."""
    kind, *told = get_args(option)
    placed = []
    for info in told:
        if isinstance(info, OptionInfo):
            info = copy(info)
            info.rich_help_panel = info.rich_help_panel or panel
        placed.append(info)
    return Annotated[(kind, *placed)]


def _default(field: Field[Any]) -> Any:
    return Parameter.empty if field.default is MISSING else field.default
