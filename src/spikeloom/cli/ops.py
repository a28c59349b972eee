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
    """List every operation, what it means, and which targets execute it in an integer graph."""
    names = target_names() if target is None else [target]
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
    if target is not None:
        rows = [row for row in rows if row["targets"]]
    if json:
        print_json({"operations": rows})
        return
    shown = table("", "operation", "state", "targets", "meaning", text=4)
    for row in rows:
        state = "yes" if row["state"] else ""
        shown.add_row(row["name"], state, ", ".join(row["targets"]) or "float only", row["meaning"])
    console.print(shown)
