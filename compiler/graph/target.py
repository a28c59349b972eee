"""What a target is, and how one is found by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Protocol, runtime_checkable

from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.figure import Figure
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.errors import InputError, Problem

GROUP = "spikeloom.targets"

Opener = Callable[[Graph, Mapping[str, bytes]], Engine]
"""Opens an engine on an integer graph; the second argument holds a bundle's files by name."""


@runtime_checkable
class Target(Protocol):
    """A chip or a simulator that a network can be compiled for.

    A package offers targets under the entry point group ``spikeloom.targets``: each entry is a
    function without arguments that returns the target.

    Attributes:
        name: as on the command line.
        summary: what it is, in one line.
    """

    name: str
    summary: str

    def profile(self, weight_bits: int) -> NumericProfile:
        """The numeric profile that the quantizer must keep to.

        Raises:
            UnsupportedError: SL0504, the target has no weights of that width.
        """
        ...

    def operations(self) -> frozenset[str]:
        """Names of the operations of an integer graph that the target executes."""
        ...

    def obstacles(self, graph: Graph) -> list[Problem]:
        """Everything in an integer graph that the target cannot execute; empty if it can."""
        ...

    def artifacts(self, graph: Graph) -> Mapping[str, bytes]:
        """Files of the target for the bundle, by relative path."""
        ...

    def costs(self) -> Mapping[str, Figure]:
        """Constants for the latency and energy estimate, by name; empty if there is no model."""
        ...


@runtime_checkable
class RunnableTarget(Target, Protocol):
    """A target whose chip steps can be executed here."""

    def engines(self) -> Mapping[str, Opener]:
        """How to open each engine of the target, by the engine's name; the first needs nothing installed."""
        ...

    def arrange(self, graph: Graph, chips: int = 0, attention: str = "") -> Graph:
        """The integer graph in the order that costs the target least; nothing that a neuron does changes.

        Args:
            graph: the integer graph.
            chips: that may be used; 0 where it does not matter.
            attention: a word of the target for how attention is executed; empty: its own choice.

        Raises:
            InputError: SL0901, the target has no such word.
        """
        ...

    def can_execute(self, graph: Graph) -> bool:
        """Whether a network is small enough for the first engine."""
        ...


def target_names() -> list[str]:
    """Names of the targets that are installed, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def find_target(name: str) -> Target:
    """The target of that name.

    Raises:
        InputError: SL0601, no such target is installed, or two packages offer it.
    """
    entries = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    if len(entries) > 1:
        raise InputError.of("SL0601", name, f"is offered by several packages: {', '.join(sorted(entries))}")
    if not entries:
        raise InputError.of(
            "SL0601",
            name,
            "no such target",
            wanted=" or ".join(target_names()),
            remedy="see `spikeloom targets`",
        )
    target: Target = next(iter(entries.values())).load()()
    return target
