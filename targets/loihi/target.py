"""The targets loihi1 and loihi2: what their descriptions say, behind the contract of a target."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.figure import Figure
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.graph.target import Opener
from spikeloom.compiler.mapping.chip import Chip, Description, read_description
from spikeloom.compiler.mapping.lowering_cost import LoweringCost
from spikeloom.compiler.mapping.network import Network
from spikeloom.errors import InputError, Problem, UnsupportedError
from spikeloom.targets.loihi import refusals
from spikeloom.targets.loihi.assemble import assemble
from spikeloom.targets.loihi.attention import FORMS, Form, chains, reorder
from spikeloom.targets.loihi.grid import off_grid
from spikeloom.targets.loihi.lower import Lowered, lower, missing_rules
from spikeloom.targets.loihi.lowering.rule import StateSizes, rules
from spikeloom.targets.loihi.lowering_cost import lowering_cost
from spikeloom.targets.loihi.program import Program
from spikeloom.targets.loihi.retime import Timing

FOLDER = Path(__file__).parent
SMALLEST_WEIGHT_BITS = 2
STREAM_BITS = 15
"""Width of a membrane on the residual path: 7 fraction digits and a leak of one half fill 23 bits."""
MOST_SYNAPSES = 50_000_000
"""Synapses of a network that is expanded one by one; some 1.2 GB while it is."""
ROOM = "kapoho_point"
"""The board that attention's products may fill: the next larger one is a data centre's."""


class Loihi:
    """What both chips have in common.

    The chips' own compiler and driver are closed, so that nothing here runs on silicon. Lowering
    and limits are exact where Lava, nengo-loihi or Intel's printed tables say what the chip does, and
    advisory elsewhere: the core that a neuron lands on is decided by Intel's compiler.

    Args:
        attention: the form of attention: ``as written``, ``left first`` or ``right first``, both products at
            once; ``at once``, in the order of fewer neurons; ``streamed``, ``rows`` or ``memory``, in slots;
            ``cheapest``: at once if that fits a board of a few chips, else streamed.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    has_programs: ClassVar[bool]

    def __init__(self, attention: Form = "cheapest") -> None:
        self.attention: Form = attention

    @cached_property
    def description(self) -> Description:
        """What the file of the chip says, such as ``loihi2.toml``."""
        return read_description(FOLDER / f"{self.name}.toml")

    def chip(self) -> Chip:
        """One chip; :meth:`Chip.with_chips` gives boards of many."""
        return self.description.chip

    def profile(self, weight_bits: int) -> NumericProfile:
        """The integers that the chip holds.

        * Lava stores mixed-sign 8-bit weights as even numbers; a weight w of ``weight_bits`` is
          stored as 2w, and nothing is rounded.
        * Lava shifts the sum of weights left by 6. With 2w that is the sum of w shifted by 7: seven
          fraction bits.
        * A threshold is a mantissa of 17 bits times 64 state units, one for each of a few groups
          of neurons. A bias is a signed mantissa of 13 bits shifted left by up to 7.
        * Membrane potential and current have 24 bits, a decay has 12.
        * Values that are added before a neuron fires are brought to one unit on Loihi 2, by relays,
          neuron programs that send a graded spike of 15 bits. On Loihi 1 the layers that are added
          share one step of their weights.

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
        return NumericProfile(
            name=self.name,
            weight_bits=weight_bits,
            rescales=self.has_programs,
            stream_bits=STREAM_BITS,
            hosts=False,
            **width,
        )

    def operations(self) -> frozenset[str]:
        """Those that have a lowering rule, and the sum over time, which is the host's."""
        return frozenset(op.name for op in rules()) | {Accumulate.name}

    def obstacles(self, graph: Graph) -> list[Problem]:
        """Operations without a lowering rule, numbers that the chip cannot hold, neurons that it has not."""
        problems = missing_rules(graph, self.name) + off_grid(graph, self.profile(8))
        return problems or self._missing_programs(graph)

    def lower(self, graph: Graph) -> Network:
        """Populations and projections; see :mod:`spikeloom.targets.loihi.lowering`.

        Raises:
            UnsupportedError: SL0602, an operation has no rule, or on a chip without neuron programs
                needs one; all are listed.
        """
        return self._lowered(graph).network

    def lowered(self, graph: Graph) -> tuple[Network, Timing]:
        """What :meth:`lower` gives, and when each population works.

        Raises:
            UnsupportedError: as :meth:`lower`.
        """
        found = self._lowered(graph)
        return found.network, found.timing

    def lowering_cost(self, graph: Graph) -> LoweringCost:
        """Neurons and synapses by operation, forms of attention, latency and delays.

        Raises:
            UnsupportedError: as :meth:`lower`.
        """
        return lowering_cost(self._lowered(graph), self.has_programs)

    def arrange(self, graph: Graph, chips: int = 0, attention: str = "") -> Graph:
        """The products of attention in the cheapest form, or in the one asked for.

        At once, a network step is one chip step. Streamed, it takes as many as there are tokens or channels
        of a head, so that this is for networks that would not fit the chips, or :data:`ROOM`, otherwise.

        Raises:
            InputError: SL0901, there is no such form.
        """
        form = _form(attention) if attention else self.attention
        arranged = reorder(graph, form)
        if form != "cheapest" or self._has_room(arranged, chips):
            return arranged
        return reorder(graph, "streamed")

    def _has_room(self, graph: Graph, chips: int) -> bool:
        """Whether the neurons fit, most of which are products; also where nothing can be streamed anyway."""
        if not self.has_programs or not any(chains(graph)) or missing_rules(graph, self.name):
            return True
        chip = self.chip()
        room = chip.with_chips(chips or next(board.chips for board in chip.boards if board.name == ROOM))
        return sum(one.size for one in self.lower(graph).placed) <= room.cores * room.neurons

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
        """``loihi``: the chip's steps, in NumPy. ``lava``: Lava's, in an environment of its own.

        ``lava-parts``: Lava's, layer by layer, each driven by what the integer graph's layers before it send.
        """
        return {"loihi": self._open_loihi, "lava": self._open_lava, "lava-parts": self._open_parts}

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

    def _open_parts(self, graph: Graph, artifacts: Mapping[str, bytes]) -> Engine:
        from spikeloom.targets.loihi.parts import LavaPartsEngine

        return LavaPartsEngine(self._lowered(graph), graph)

    def _lowered(self, graph: Graph) -> Lowered:
        if problems := self._missing_programs(graph):
            raise UnsupportedError(problems)
        return self._lower(graph)

    def _lower(self, graph: Graph) -> Lowered:
        neuron = self.description.neuron
        names = ("variable_bytes", "parameter_bytes", "delay_slot_bytes")
        sizes = StateSizes(*(int(neuron[name].nominal) for name in names))
        return lower(graph, sizes, self.name)

    def _missing_programs(self, graph: Graph) -> list[Problem]:
        """Populations that the chip's built-in neurons are not, on a chip that has no other."""
        if self.has_programs:
            return []
        return refusals.streams(graph) or refusals.programs(self._lower(graph))

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


def _form(name: str) -> Form:
    """The form of attention of that name."""
    for form in FORMS:
        if name == form:
            return form
    raise InputError.of("SL0901", "--attention", "no such form", wanted=" or ".join(FORMS), got=name)


class Loihi2(Loihi):
    """Intel's Loihi 2 as far as it is public.

    Populations tagged as needing a neuron program need one that nobody has published.
    """

    name = "loihi2"
    summary = "Intel Loihi 2: 120 cores a chip, 8-bit weights, LIF neurons and neuron programs"
    has_programs = True


class Loihi1(Loihi):
    """Intel's Loihi as far as it is public: its built-in LIF, binary spikes, delays of up to 62 steps."""

    name = "loihi1"
    summary = "Intel Loihi: 128 cores a chip of 1,024 LIF neurons, 8-bit weights, binary spikes"
    has_programs = False
