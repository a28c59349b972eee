"""Which outputs of a time step are the states that its next one takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spikeloom.compiler.frontends.onnx.file import OnnxNetwork, OnnxNode
from spikeloom.errors import Problem, UnsupportedError

ENDINGS = (("", "'"), ("", "_next"), ("", ".next"), ("", "_out"), ("_in", "_out"), ("", "_new"))
"""How the names of a state going in and out differ, as exporters write them."""


@dataclass(frozen=True)
class Step:
    """A network of one time step.

    Attributes:
        network: all of it.
        x: the input.
        y: the output.
        states: the value after a step by the value before it. They start at rest, 0 if they never fire.
        stacked: of a network that was unrolled, whether it gives all time steps, and not one answer.
        called: the name of the input in the file, where that is another.
    """

    network: OnnxNetwork
    x: str
    y: str
    states: Mapping[str, str]
    stacked: bool = True
    called: str = ""

    @property
    def nodes(self) -> tuple[OnnxNode, ...]:
        """The nodes that the output or a state depends on, in order."""
        needed = {self.y, *self.states.values()}
        kept = []
        for node in reversed(self.network.nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                kept.append(node)
        return tuple(reversed(kept))


def find_step(network: OnnxNetwork, told: Mapping[str, str], where: str) -> Step:
    """Pair states by name.

    Args:
        network: of one time step.
        told: the output by the input, for states whose names do not say it.
        where: for messages.

    Raises:
        UnsupportedError: SL0302, a state has no counterpart, or there are several inputs or outputs besides.
    """
    states = dict(told)
    for name in network.inputs:
        for before, after in ENDINGS:
            stem = name.removesuffix(before)
            if name not in states and name.endswith(before) and stem + after in network.outputs:
                states[name] = stem + after
    inputs = [name for name in network.inputs if name not in states]
    outputs = [name for name in network.outputs if name not in states.values()]
    problems = [
        Problem("SL0302", f"{where}: {name}", "is no value of the file", remedy="--state INPUT=OUTPUT")
        for pair in told.items()
        for name in pair
        if name not in (*network.inputs, *network.outputs)
    ]
    for kind, names in (("input", inputs), ("output", outputs)):
        if len(names) != 1:
            what = f"has {len(names)} {kind}s that are no states"
            remedy = "name its states with --state INPUT=OUTPUT"
            problems.append(Problem("SL0302", where, what, "one", ", ".join(names), remedy))
    if problems:
        raise UnsupportedError(problems)
    return Step(network, inputs[0], outputs[0], states)
