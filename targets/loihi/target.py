"""The target loihi2: what its description says, behind the contract of a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.figure import Figure
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.graph.target import Opener
from spikeloom.compiler.mapping.chip import Chip, Description, read_description
from spikeloom.compiler.mapping.network import Network
from spikeloom.errors import Problem, UnsupportedError
from spikeloom.targets.loihi.assemble import assemble
from spikeloom.targets.loihi.attention import Form, reorder
from spikeloom.targets.loihi.grid import off_grid
from spikeloom.targets.loihi.lower import Lowered, lower, missing_rules
from spikeloom.targets.loihi.lowering.rule import StateSizes, rules
from spikeloom.targets.loihi.program import Program

DESCRIPTION = Path(__file__).with_name("loihi2.toml")
SMALLEST_WEIGHT_BITS = 2
STREAM_BITS = 15
"""Width of a membrane on the residual path: 7 fraction digits and a leak of one half fill 23 bits."""
MOST_SYNAPSES = 50_000_000
"""Synapses of a network that is expanded one by one; some 1.2 GB while it is."""


class Loihi2:
    """Intel's Loihi 2 as far as it is public.

    The chip's own compiler and driver are closed, so that nothing here runs on silicon. Lowering
    and limits are exact where Lava or Intel's printed tables say what the chip does, and advisory
    elsewhere: the core that a neuron lands on is decided by Intel's compiler, and populations
    tagged as needing a neuron program need one that nobody has published.

    Args:
        attention: which product of attention comes first: the one of fewer neurons, or as named.
    """

    name = "loihi2"
    summary = "Intel Loihi 2: 120 cores a chip, 8-bit weights, LIF neurons and neuron programs"

    def __init__(self, attention: Form = "cheapest") -> None:
        self.attention: Form = attention

    @cached_property
    def description(self) -> Description:
        """What ``loihi2.toml`` says."""
        return read_description(DESCRIPTION)

    def chip(self) -> Chip:
        """One Loihi 2; :meth:`Chip.with_chips` gives boards of up to 1,152."""
        return self.description.chip

    def profile(self, weight_bits: int) -> NumericProfile:
        """The integers that Loihi 2 holds.

        * Lava stores mixed-sign 8-bit weights as even numbers; a weight w of ``weight_bits`` is
          stored as 2w, and nothing is rounded.
        * Lava shifts the sum of weights left by 6. With 2w that is the sum of w shifted by 7: seven
          fraction bits.
        * A threshold is a mantissa of 17 bits times 64 state units, one for each of at most 8
          groups of neurons. A bias is a signed mantissa of 13 bits shifted left by up to 7.
        * Membrane potential and current have 24 bits, a decay has 12.
        * Values that are added before a neuron fires are brought to one unit by relays, neuron
          programs that send a graded spike of 15 bits.

        Raises:
            UnsupportedError: SL0504, no such width of weights.
        """
        width: dict[str, Any] = {
            name: int(figure.nominal) for name, figure in self.description.numeric.items()
        }
        widest = width.pop("weight_bits")
        if not SMALLEST_WEIGHT_BITS <= weight_bits <= widest:
            raise UnsupportedError.of(
                "SL0504",
                self.name,
                "has no weights of this width",
                wanted=f"{SMALLEST_WEIGHT_BITS} to {widest} bits",
                got=f"{weight_bits} bits",
                remedy="try --bits 8",
            )
        integers = NumericProfile(self.name, weight_bits, **width)
        return replace(integers, rescales=True, stream_bits=STREAM_BITS)

    def operations(self) -> frozenset[str]:
        """Those that have a lowering rule, and the sum over time, which is the host's."""
        return frozenset(op.name for op in rules()) | {Accumulate.name}

    def obstacles(self, graph: Graph) -> list[Problem]:
        """Operations without a lowering rule, and numbers that the chip cannot hold."""
        return missing_rules(graph) + off_grid(graph, self.profile(8))

    def lower(self, graph: Graph) -> Network:
        """Populations and projections; see :mod:`spikeloom.targets.loihi.lowering`.

        Raises:
            UnsupportedError: SL0602, an operation has no rule; all are listed.
        """
        return self._lowered(graph).network

    def arrange(self, graph: Graph) -> Graph:
        """The products of attention in the cheaper order, or in the one asked for."""
        return reorder(graph, self.attention)

    def program(self, graph: Graph) -> Program:
        """What the chip executes: processes, synapses, delays, reset steps.

        Raises:
            UnsupportedError: SL0602, an operation has no rule; SL0503 and SL0504, a number that the
                chip cannot hold; SL0603, the network is too large to be expanded; all are listed.
        """
        if not self.can_execute(graph):
            raise UnsupportedError.of(
                "SL0603",
                graph.name,
                "is too large to be executed synapse by synapse",
                wanted=f"at most {MOST_SYNAPSES:,}",
                remedy="run it on onnx; map and estimate it for loihi2",
            )
        return assemble(self._lowered(graph))

    def engines(self) -> Mapping[str, Opener]:
        """``loihi``: the chip's steps, in NumPy. ``lava``: Lava's, in an environment of its own."""
        return {"loihi": self._open_loihi, "lava": self._open_lava}

    def can_execute(self, graph: Graph) -> bool:
        """Whether the network has at most :data:`MOST_SYNAPSES`, since each is held in memory."""
        network = self.lower(graph)
        return sum(network.synapses(number) for number in range(len(network.projections))) <= MOST_SYNAPSES

    def _open_loihi(self, graph: Graph, artifacts: Mapping[str, bytes]) -> Engine:
        from spikeloom.targets.loihi.engine import LoihiEngine

        return LoihiEngine(self.program(graph), graph)

    def _open_lava(self, graph: Graph, artifacts: Mapping[str, bytes]) -> Engine:
        from spikeloom.targets.loihi.lava import LavaEngine

        return LavaEngine(self.program(graph), graph)

    def _lowered(self, graph: Graph) -> Lowered:
        neuron = self.description.neuron
        sizes = StateSizes(int(neuron["variable_bytes"].nominal), int(neuron["parameter_bytes"].nominal))
        return lower(graph, sizes)

    def artifacts(self, graph: Graph) -> Mapping[str, bytes]:
        """None: `spikeloom export --to lava` writes the program of a bundle."""
        return {}

    def costs(self) -> Mapping[str, Figure]:
        """Constants of latency and energy, each with its band and source.

        ``e_synop``, ``e_update``, ``e_spike`` (one message to one core), ``e_hop``, ``e_reset`` in J;
        ``t_synop``, ``t_update``, ``t_spike``, ``t_hop``, ``t_barrier``, ``t_barrier_chips`` in s;
        ``p_static`` a chip and ``p_host`` a board in W; ``r_inject`` in messages a second.
        """
        return self.description.costs
