"""``spikeloom targets``: what can be compiled for, and every limit with its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from spikeloom.cli.console import figures, print_json, table
from spikeloom.cli.console import output as console
from spikeloom.cli.sources import Json
from spikeloom.compiler.graph.figure import Figure
from spikeloom.compiler.graph.target import Target, find_target, target_names
from spikeloom.compiler.mapping.target import ChipTarget


def targets(
    name: Annotated[str | None, typer.Argument(help="Show one target with its limits and constants.")] = None,
    json: Json = False,
) -> None:
    """List the targets, or show one with the source of each of its numbers."""
    if name is None:
        _list(json)
        return
    target = find_target(name)
    if json:
        print_json(_document(target))
    else:
        _print(target)


def _list(as_json: bool) -> None:
    found = [find_target(name) for name in target_names()]
    if as_json:
        print_json([{"name": target.name, "summary": target.summary} for target in found])
        return
    shown = table("", "target", "what it is", text=2)
    for target in found:
        shown.add_row(target.name, target.summary)
    console.print(shown)


def _document(target: Target) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": target.name,
        "summary": target.summary,
        "profile": target.profile(8).to_json(),
        "costs": _as_json(target.costs()),
    }
    if isinstance(target, ChipTarget):
        document["chip"] = target.chip().to_json()
    return document


def _print(target: Target) -> None:
    console.print(f"[bold]{target.name}[/]  {target.summary}")
    profile = table("\nNumbers that the quantizer keeps to (8-bit weights)", "number", "value")
    for key, value in target.profile(8).to_json().items():
        profile.add_row(key.replace("_", " "), str(value))
    console.print(profile)
    if isinstance(target, ChipTarget):
        console.print(figures("\nLimits", _as_json(target.chip().figures)))
    if target.costs():
        console.print(figures("\nCosts", _as_json(target.costs())))


def _as_json(constants: Mapping[str, Figure]) -> dict[str, dict[str, Any]]:
    return {name: figure.to_json() for name, figure in constants.items()}
