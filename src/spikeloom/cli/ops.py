"""``spikeloom ops``: the operations of a graph, and which target executes them."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from spikeloom.cli.console import output as console
from spikeloom.cli.console import print_json, table
from spikeloom.cli.sources import Json
from spikeloom.compiler.graph.op import StatefulOp, all_ops
from spikeloom.compiler.graph.target import find_target, target_names


def ops(
    target: Annotated[str | None, typer.Option(help="Only what this target executes.")] = None,
    json: Json = False,
) -> None:
    """List every operation, what it means, and what executes it in an integer graph.

    The event engine has kernels for most; it runs the others by their definition.
    """
    names = target_names() if target is None else [target]
    kernels = _kernels()
    executed = {name: find_target(name).operations() for name in names}
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "meaning": (inspect.getdoc(op) or "").splitlines()[0],
            "state": issubclass(op, StatefulOp),
            "targets": [chip for chip in names if name in executed[chip]],
        }
        for name, op in all_ops().items()
    ]
    for row in rows:
        row["event"] = _event(row, kernels)
    if target is not None:
        rows = [row for row in rows if row["targets"]]
    if json:
        print_json({"operations": rows})
        return
    shown = table("", "operation", "state", "targets", "event engine", "meaning", text=5)
    for row in rows:
        state = "yes" if row["state"] else ""
        shown.add_row(
            row["name"], state, ", ".join(row["targets"]) or "float only", row["event"], row["meaning"]
        )
    console.print(shown)


def _kernels() -> set[str]:
    """Operations for which the event engine has kernels of its own."""
    from spikeloom.runtime.engines.event.rules import all_rules

    return {op.name for op in all_rules()}


def _event(row: dict[str, Any], kernels: set[str]) -> str:
    """What the event engine runs; nothing for an operation that no integer graph holds."""
    if not row["targets"]:
        return ""
    return "kernel" if row["name"] in kernels else "definition"
