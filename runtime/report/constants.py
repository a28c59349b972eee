"""The numbers that a report rests on, in groups, each with what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spikeloom.runtime.report.collect import Report

MEANINGS = {
    "e_synop": "energy of a synaptic operation",
    "e_update": "energy of a neuron update",
    "e_spike": "energy of a message to one core",
    "e_hop": "energy of a message from router to router",
    "e_reset": "energy to reset the state of a chip",
    "t_synop": "time of a synaptic operation",
    "t_update": "time of a neuron update",
    "t_spike": "time to send a message",
    "t_hop": "time of a message from router to router",
    "t_barrier": "shortest step of one chip",
    "t_barrier_chips": "shortest step over several chips",
    "p_static": "static power of a chip",
    "p_host": "power of the board's processors",
    "r_inject": "messages into the chip",
}
"""The constants of an estimate by the names that :mod:`spikeloom.runtime.estimate.chip` knows."""

ESTIMATE = "Latency and energy"
SECTIONS = {
    "limits": "What a core holds",
    "mesh": "Cores on a chip",
    "boards": "Chips on a board",
    "encoding": "How synapses fill the memory",
}


@dataclass(frozen=True)
class Constant:
    """A number with its band and its source.

    Attributes:
        name, meaning: of the constant; no meaning where the name says it.
        figure: low, nominal, high, unit, origin and source.
    """

    name: str
    meaning: str
    figure: Mapping[str, Any]

    @property
    def is_point(self) -> bool:
        """Whether its band is a single number."""
        return bool(self.figure["low"] == self.figure["high"])


def constant_groups(report: Report) -> dict[str, list[Constant]]:
    """Every constant behind the estimate and the mapping, by the title of its group."""
    groups: dict[str, list[Constant]] = {title: [] for title in (ESTIMATE, *SECTIONS.values())}
    for name, figure in report.estimate["constants"].items():
        groups[ESTIMATE].append(Constant(name, MEANINGS.get(name, ""), figure))
    figures = report.placement.figures if report.placement else {}
    for name, figure in figures.items():
        section, _, rest = name.partition(".")
        constant = Constant(rest.replace("_", " ").replace(".", ", "), "", figure.to_json())
        groups.setdefault(SECTIONS.get(section, section), []).append(constant)
    return {title: group for title, group in groups.items() if group}
