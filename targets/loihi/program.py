"""What the chip executes: processes with their parameters, synapses with their delays, reset steps.

A :class:`Program` says in numbers what a network of populations says in closed form. It is what the
engine executes, what the Lava worker rebuilds, and what a bundle keeps in ``lava/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from spikeloom.errors import InputError

VERSION = 3
SHIFT = 6
"""A synaptic sum is shifted left by so many digits before it reaches the current u."""
STATE_LIMIT = 2**23
"""u and v have 24 bits with sign."""
DECAY_ONE = 4096
LONGEST_DELAY = 62
"""Steps by which a synapse can be late, beyond the one that each costs."""

Model = Literal[
    "input",
    "lif",
    "counter",
    "sigma_delta",
    "resonator",
    "sum",
    "largest",
    "relay",
    "product",
    "gate",
    "memory",
    "readout",
]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Rescaling:
    """What a relay does with its sum: y = clip(((x * factor + half) >> shift) + offset, low, high).

    Attributes:
        factor, offset: [neurons].
        shift: digits dropped; half is 2**(shift - 1), and 0 without a shift.
        low, high: of what is sent.
    """

    factor: Ints
    offset: Ints
    shift: int
    low: int
    high: int

    def of(self, sums: Ints) -> Ints:
        """What [neurons, ...] becomes.

        >>> Rescaling(np.array([3]), np.array([1]), 1, -9, 9).of(np.array([[1, -1, 9]])).tolist()
        [[3, 0, 9]]
        """
        factor, offset = (array.reshape(-1, *(1,) * (sums.ndim - 1)) for array in (self.factor, self.offset))
        moved: Ints = (sums * factor + ((1 << self.shift) // 2)) >> self.shift
        sent: Ints = np.clip(moved + offset, self.low, self.high)
        return sent


@dataclass(frozen=True)
class Coding:
    """What a sigma-delta process does with its sum; see :class:`~spikeloom.compiler.graph.ops.sigma_delta`.

    Attributes:
        bias: [neurons] of the activation, in state units.
        threshold, output_shift, input_shift, integrates, rectifies, limit: of the operation.
    """

    bias: Ints
    threshold: int
    output_shift: int
    input_shift: int
    integrates: bool
    rectifies: bool
    limit: int


@dataclass(frozen=True)
class Turn:
    """What a resonator does in a step; see :class:`~spikeloom.compiler.graph.ops.resonator.Resonator`.

    Attributes:
        cosine, sine, threshold, fraction_bits, by_phase: of the operation.
    """

    cosine: int
    sine: int
    threshold: int
    fraction_bits: int
    by_phase: bool


@dataclass(frozen=True)
class Process:
    """One population on the chip.

    ========= ==========================================================================
    input     sends what the host injects
    lif       the chip's LIF: one threshold exceeded, then 0
    counter   a neuron program: several thresholds, or a reset that subtracts
    sigma_delta a neuron program: sends by how much an activation changed
    resonator a neuron program: a complex state turns; real parts arrive at port 0, imaginary ones at 1
    sum       sends the sum of what arrives, as one graded spike
    largest   sends the largest of what arrives
    relay     sends the sum (or the largest) in another unit, within bounds
    product   sends the product of what arrives at its two ports
    gate      sends the product of what arrives at port 0 and what arrived at port 1 in slot 0
    memory    adds up the products of a network step, and sends the sum in slot ``late``
    readout   never sends; the host reads its sum
    ========= ==========================================================================

    Attributes:
        name, shape: of the population.
        model: of the table above.
        layer: the neuron layer of the graph whose spikes it sends; empty for the others.
        depth: chip steps after the input at which it takes the same time step of the network; it is
            reset at this step, counted from a sample's first.
        tag: what it takes to run it on silicon.
        bias: [neurons] added in each step, in state units for neurons, else in units of the sum.
        threshold: [levels, neurons] in state units; a LIF's register holds a 64th of it.
        decay: of v, 12 bits; the register dv.
        current_decay: of u; the register du holds one less. 4096 where u has no memory.
        reset_by: [neurons] state units that each spike takes from v; None sets v to 0.
        takes_largest: whether a neuron takes the largest of what arrives instead of the sum.
        keeps_current: whether u is part of the state.
        rescaling: what a relay does with its sum.
        coding: what a sigma-delta process does with it.
        turn: what a resonator does in a step.
        opens: the first network step of a sample in which it sends, and how many there are; None: all.
        waits: whether it sends nothing before its own first step, since messages outlive a step: with no
            bias and no constant until then, which the host sets with the reset.
        late: slots from the first that it takes in to the first that it sends in.
        takes, sends: [neurons] the slots of a network step in which each neuron takes what arrives, and sends
            what it made of it; None where it does in every chip step.
    """

    name: str
    shape: tuple[int, ...]
    model: Model
    layer: str = ""
    depth: int = 0
    tag: str = ""
    bias: Ints = field(default_factory=lambda: np.zeros(1, np.int64))
    threshold: Ints = field(default_factory=lambda: np.zeros((1, 1), np.int64))
    decay: int = DECAY_ONE
    current_decay: int = DECAY_ONE
    reset_by: Ints | None = None
    takes_largest: bool = False
    keeps_current: bool = False
    rescaling: Rescaling | None = None
    coding: Coding | None = None
    turn: Turn | None = None
    opens: tuple[int, int] | None = None
    waits: bool = False
    late: int = 0
    takes: Ints | None = None
    sends: Ints | None = None

    @property
    def size(self) -> int:
        """Number of neurons."""
        return prod(self.shape)

    @property
    def has_state(self) -> bool:
        """Whether it remembers anything from step to step."""
        return self.model in ("lif", "counter", "sigma_delta", "resonator")


@dataclass(frozen=True)
class Synapses:
    """Synapses between two processes, ordered by target.

    Attributes:
        source, target: names of processes.
        port: of the target.
        delay: steps beyond the one that every synapse takes.
        starts: [targets + 1], where the synapses of each target begin.
        sources: flat index of the source neuron of each synapse.
        weights: as stored on the chip: even where signs are mixed.
        largest_message: of the source; 1 if it sends spikes.
        exponent: the sum of what arrives is shifted left by so much (right if negative).
        later: [synapses] steps beyond ``delay`` that each waits by itself; empty where none does.
    """

    source: str
    target: str
    port: int
    delay: int
    starts: Ints
    sources: Ints
    weights: Ints
    largest_message: int = 1
    exponent: int = 0
    later: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def waits(self) -> Ints:
        """[synapses] steps beyond the one that every synapse takes."""
        return self.later + self.delay if self.later.size else np.full(len(self.weights), self.delay)

    @property
    def longest(self) -> int:
        """The longest of these steps; the common ones where there is no synapse."""
        return self.delay + int(self.later.max(initial=0))

    @property
    def graded(self) -> bool:
        """Whether messages carry numbers."""
        return self.largest_message > 1


@dataclass(frozen=True)
class Program:
    """Processes in the order of the data flow, and the synapses between them.

    Attributes:
        name: of the network.
        output: name of the process that gives the network's output.
        output_bias: [...] added to what the output process gives.
        sums_over_time: whether the host adds up the outputs of a sample.
        steps: chip steps of one time step of the network: its slots.
        remembers: whether messages outlive the step of the network in which they were sent: synapses that
            are late by steps of the network, spikes that come back. Samples then do not follow each other
            through the pipeline: before each the host makes the chip forget states and messages.
    """

    name: str
    processes: tuple[Process, ...]
    synapses: tuple[Synapses, ...]
    output: str
    output_bias: Ints
    sums_over_time: bool = False
    steps: int = 1
    remembers: bool = False

    def interval(self, steps: int) -> int:
        """Chip steps from the start of one sample of ``steps`` network steps to that of the next."""
        return steps * self.steps + (self.deepest if self.remembers else 0)

    @property
    def deepest(self) -> int:
        """Chip steps that the pipeline goes on after the last network step of the input."""
        return max(one.depth for one in self.processes)

    def process(self, name: str) -> Process:
        """The process of that name."""
        return next(one for one in self.processes if one.name == name)

    def into(self, name: str) -> tuple[Synapses, ...]:
        """Synapses that end in a process."""
        return tuple(one for one in self.synapses if one.target == name)

    @property
    def latency(self) -> int:
        """Chip steps from an input to the output that stands for the same time step."""
        output = self.process(self.output)
        return output.depth + output.late

    @property
    def layers(self) -> Mapping[str, Process]:
        """The process of every neuron layer of the graph."""
        return {one.layer: one for one in self.processes if one.layer}

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Ints]]:
        """The program as a JSON object and tensors, which :meth:`from_parts` puts together again."""
        tensors: dict[str, Ints] = {"output/bias": self.output_bias}
        processes, synapses = [], []
        for process in self.processes:
            entry = {key: getattr(process, key) for key in _PROCESS_SCALARS} | {"shape": [*process.shape]}
            entry["rescaling"] = entry["coding"] = None
            entry["turn"] = process.turn and asdict(process.turn)
            entry["opens"] = process.opens and [*process.opens]
            processes.append(entry)
            tensors[f"process/{process.name}/bias"] = process.bias
            tensors[f"process/{process.name}/threshold"] = process.threshold
            if process.reset_by is not None:
                tensors[f"process/{process.name}/reset_by"] = process.reset_by
            if (relay := process.rescaling) is not None:
                entry["rescaling"] = {key: getattr(relay, key) for key in _RELAY_SCALARS}
                tensors[f"process/{process.name}/factor"] = relay.factor
                tensors[f"process/{process.name}/offset"] = relay.offset
            if (coding := process.coding) is not None:
                entry["coding"] = {key: getattr(coding, key) for key in _CODING_SCALARS}
                tensors[f"process/{process.name}/activation_bias"] = coding.bias
            if process.takes is not None and process.sends is not None:
                tensors[f"process/{process.name}/takes"] = process.takes
                tensors[f"process/{process.name}/sends"] = process.sends
        for number, one in enumerate(self.synapses):
            synapses.append({key: getattr(one, key) for key in _SYNAPSE_SCALARS})
            for key in _SYNAPSE_ARRAYS:
                tensors[f"synapses/{number}/{key}"] = _narrow(getattr(one, key))
        document = {
            "version": VERSION,
            "name": self.name,
            "output": self.output,
            "sums_over_time": self.sums_over_time,
            "steps": self.steps,
            "remembers": self.remembers,
            "processes": processes,
            "synapses": synapses,
        }
        return document, tensors

    @staticmethod
    def from_parts(document: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Program:
        """The program again.

        Raises:
            InputError: SL0703, the parts are not a program of this version.
        """
        wide = {name: array.astype(np.int64) for name, array in tensors.items()}
        try:
            if document["version"] != VERSION:
                raise ValueError(f"version {document['version']}, not {VERSION}")
            return Program(
                document["name"],
                tuple(_process(entry, wide) for entry in document["processes"]),
                tuple(_synapses(number, entry, wide) for number, entry in enumerate(document["synapses"])),
                document["output"],
                wide["output/bias"],
                document["sums_over_time"],
                document["steps"],
                document["remembers"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError.of(
                "SL0703", "lava/program.json", f"does not describe a program: {error}"
            ) from error


_PROCESS_SCALARS = (
    "name",
    "model",
    "layer",
    "depth",
    "tag",
    "decay",
    "current_decay",
    "takes_largest",
    "keeps_current",
    "waits",
    "late",
)
_RELAY_SCALARS = ("shift", "low", "high")
_CODING_SCALARS = ("threshold", "output_shift", "input_shift", "integrates", "rectifies", "limit")
_SYNAPSE_SCALARS = ("source", "target", "port", "delay", "largest_message", "exponent")
_SYNAPSE_ARRAYS = ("starts", "sources", "weights", "later")


def _process(entry: Mapping[str, Any], tensors: Mapping[str, Ints]) -> Process:
    if entry["model"] not in get_args(Model):
        raise ValueError(f"there is no model {entry['model']}")
    name = f"process/{entry['name']}"
    scalars = {key: entry[key] for key in _PROCESS_SCALARS}
    settings, coding, turn = entry["rescaling"], entry.get("coding"), entry["turn"]
    return Process(
        opens=entry["opens"] and tuple(entry["opens"]),
        turn=turn and Turn(**turn),
        coding=coding and Coding(tensors[f"{name}/activation_bias"], **coding),
        rescaling=settings and Rescaling(tensors[f"{name}/factor"], tensors[f"{name}/offset"], **settings),
        shape=tuple(entry["shape"]),
        bias=tensors[f"{name}/bias"],
        threshold=tensors[f"{name}/threshold"],
        reset_by=tensors.get(f"{name}/reset_by"),
        takes=tensors.get(f"{name}/takes"),
        sends=tensors.get(f"{name}/sends"),
        **scalars,
    )


def _synapses(number: int, entry: Mapping[str, Any], tensors: Mapping[str, Ints]) -> Synapses:
    arrays: dict[str, Any] = {key: tensors[f"synapses/{number}/{key}"] for key in _SYNAPSE_ARRAYS}
    return Synapses(**{key: entry[key] for key in _SYNAPSE_SCALARS}, **arrays)


def _narrow(array: Ints) -> NDArray[Any]:
    """The array in the narrowest of three widths that holds it."""
    for dtype in (np.int8, np.int16, np.int32):
        limits = np.iinfo(dtype)
        if array.size == 0 or (array.min() >= limits.min and array.max() <= limits.max):
            return array.astype(dtype)
    return array
