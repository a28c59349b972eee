"""The mapping of ``spikeloom compile``: what is said of it, and the page that draws it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from spikeloom.atomic import require_writable, write_text
from spikeloom.cli.console import table
from spikeloom.compiler.graph.target import find_target
from spikeloom.compiler.mapping.explanation import Explanation
from spikeloom.compiler.mapping.target import ChipTarget
from spikeloom.compiler.pipeline import Compilation
from spikeloom.errors import InputError

STAGE = "mapped"


def check_map_only(target: str, page: Path | None) -> None:
    """Refuse ``--map-only`` for a target without cores, or for a page that could not be written."""
    if not isinstance(find_target(target), ChipTarget):
        raise InputError.of(
            "SL0901", "--map-only", f"{target} has no cores to map onto", remedy="try --target loihi2"
        )
    if page is not None:
        require_writable(page)


def write_page(run: Compilation, path: Path) -> int:
    """Write the page that draws a mapping; its size in bytes."""
    from spikeloom.runtime.report.cores import placement_of
    from spikeloom.runtime.report.page import render_mapping

    assert run.mapping is not None
    text = render_mapping(run.mapping.network.name, placement_of(run.mapping, run.explanation))
    write_text(path, text)
    return len(text.encode())


def mapping_document(run: Compilation) -> dict[str, Any]:
    """What is said of a mapping, as JSON."""
    assert run.mapping is not None
    assert run.explanation is not None
    chip = run.mapping.chip
    return {
        "chip": chip.name,
        "limits": {limit.name: limit.value for limit in chip.limits},
        "load": vars(run.mapping.load),
        "explanation": run.explanation.to_json(),
    }


def mapping_tables(why: Explanation, multicast: bool) -> Iterator[Table]:
    """Bounds, both ways of routing (the chip's own is said), what binds, and what would change that."""
    bounds = table("Mapping, a time step", "", "here", "at least", "ratio")
    for what, value, least in (
        ("cores", why.cores, why.least_cores),
        ("messages between cores", why.messages, why.least_messages),
        ("hops, of these tiles", why.hops, why.least_hops),
    ):
        bounds.add_row(what, f"{value:,.0f}", f"{least:,.0f}", f"{value / least:.2f}" if least else "–")
    yield bounds
    routes = table("\nRoutes, a time step", "", "sent", "hops", "busiest link")
    for what, routing, own in (
        ("one message a target", why.unicast, not multicast),
        ("copied where routes part", why.multicast, multicast),
    ):
        if routing is not None:
            cells = (f"{value:,.0f}" for value in (routing.sent, routing.hops, routing.busiest_link))
            routes.add_row(f"{what}, as this chip does" if own else what, *cells)
    yield routes
    limits = table("\nLimits of a core", "limit", "binds cores", "alone asks for")
    for name in dict.fromkeys([*why.binding, *why.alone]):
        alone = f"{why.alone[name]:,}" if name in why.alone else "–"
        limits.add_row(name.replace("_", " "), f"{why.binding.get(name, 0):,}", alone)
    yield limits
    changes = table("\nThe same network with", "", "cores", "at least", "messages", "at least")
    for one in why.what_if:
        cores = "–" if one.cores is None else f"{one.cores:,}"
        messages = "–" if one.messages is None else f"{one.messages:,.0f}"
        changes.add_row(one.change, cores, f"{one.least_cores:,}", messages, f"{one.least_messages:,.0f}")
    yield changes
