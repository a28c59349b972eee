"""What tiles take of a core's limits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod
from typing import TypeVar

from spikeloom.compiler.mapping.box import Box, Range, coarsen, disjoint, union_size
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.network import Network, Population, Projection

Key = TypeVar("Key")


@dataclass(frozen=True)
class Slice:
    """Outputs of a kernel: what is stored once on a core, however many positions use it.

    Two slices whose outputs overlap without being equal are stored apart, and so are those of terms of a sum
    that split the kernel's axes otherwise.

    Attributes:
        kernel: its name.
        grid: sizes of the finer axes that its array is read as.
        outputs: ranges of the kernel's output axes.
        indexed: whether each weight carries an index, as in a dense layer.
    """

    kernel: str
    grid: tuple[int, ...]
    outputs: tuple[Range, ...]
    indexed: bool


@dataclass(frozen=True)
class Demand:
    """What some tiles need together on one core.

    Attributes:
        neurons: number of neurons.
        groups: names of the parameter groups.
        state_bytes: of all neurons.
        rows: for each slice of a kernel, the rows (inputs and taps) of it that are used.
        axons_in: for each projection, the axons that arrive: neurons, or positions whose channels
            share an axon.
        axons_out: entries of the table of axons that leave: for each projection one a neuron, or
            one a position whose channels share an axon. (Intel's compiler: one a neuron before a
            dense layer, one to two a position before a convolution.)
        fan_in: most synapses of one neuron.
        holds: the neurons of each population that are here, as boxes that do not overlap.
        reads: the neurons of each population whose spikes are needed here, likewise.
    """

    neurons: int
    groups: frozenset[str]
    state_bytes: int
    rows: Mapping[Slice, tuple[Box, ...]]
    axons_in: Mapping[int, tuple[Box, ...]]
    axons_out: int
    fan_in: int
    holds: Mapping[str, tuple[Box, ...]]
    reads: Mapping[str, tuple[Box, ...]]

    def with_tile(self, other: Demand) -> Demand:
        """What both need on the same core: distinct slices and axons count once."""
        return Demand(
            self.neurons + other.neurons,
            self.groups | other.groups,
            self.state_bytes + other.state_bytes,
            _united(self.rows, other.rows),
            _united(self.axons_in, other.axons_in),
            self.axons_out + other.axons_out,
            max(self.fan_in, other.fan_in),
            {**self.holds, **{name: self.holds.get(name, ()) + more for name, more in other.holds.items()}},
            _united(self.reads, other.reads),
        )

    def arriving(self, rates: Mapping[str, float]) -> float:
        """Messages a step that arrive from other cores, if only this is on the core."""
        total = 0.0
        for name, boxes in self.reads.items():
            remote = sum(box.size for box in boxes)
            for own in self.holds.get(name, ()):
                shared = (own.overlap(box) for box in boxes)
                remote -= sum(box.size for box in shared if box is not None)
            total += rates[name] * remote
        return total

    def uses(self, network: Network, chip: Chip) -> dict[str, int]:
        """The use of each limit that the chip declares."""
        words = sum(
            sum(box.size for box in rows)
            * chip.encoding.row_words(
                prod(stop - start for start, stop in one.outputs),
                network.kernel(one.kernel).bits,
                one.indexed,
            )
            for one, rows in self.rows.items()
        )
        amounts = {
            "neurons": self.neurons,
            "neuron_groups": len(self.groups),
            "synaptic_memory": words,
            "core_memory": words * chip.encoding.word_bits // 8 + self.state_bytes,
            "axons_in": sum(box.size for boxes in self.axons_in.values() for box in boxes),
            "axons_out": self.axons_out,
            "fan_in": self.fan_in,
        }
        return {limit.name: amounts[limit.name] for limit in chip.limits}


def tile_demand(network: Network, population: Population, box: Box) -> Demand:
    """What the neurons in a box of a population need."""
    rows: dict[Slice, list[Box]] = {}
    axons: dict[int, tuple[Box, ...]] = {}
    reads: dict[str, dict[tuple[Box, ...], None]] = {}
    fan_in = 0
    for number in network.into(population.name):
        projection = network.projections[number]
        fan_in += prod(axis.taps for axis in projection.axes)
        arriving, read, used = network.remember(number, _arrivals, box)
        if arriving:
            axons[number] = arriving
            reads.setdefault(projection.source, {})[read] = None
        grid = tuple(axis.size for axis in projection.kernel_axes)
        for outputs, inputs in used:
            one = Slice(projection.kernel, grid, outputs, projection.kind == "dense")
            rows.setdefault(one, []).append(inputs)
    return Demand(
        box.size,
        frozenset(map(population.group_name, population.groups_in(box))),
        box.size * population.state_bytes,
        {one: disjoint(boxes) for one, boxes in rows.items()},
        axons,
        sum(network.remember(number, _axons_out, box) for number in network.out_of(population.name)),
        fan_in,
        {population.name: (box,)},
        {
            name: next(iter(parts)) if len(parts) == 1 else disjoint(box for part in parts for box in part)
            for name, parts in reads.items()
        },
    )


Arrivals = tuple[tuple[Box, ...], tuple[Box, ...], tuple[tuple[tuple[Range, ...], Box], ...]]


def _arrivals(projection: Projection, box: Box) -> Arrivals:
    """Axons that arrive, neurons of the source that are read, and (outputs, rows) of the kernel."""
    axons: list[Box] = []
    reads: list[Box] = []
    rows: list[tuple[tuple[Range, ...], Box]] = []
    for piece in projection.target_pieces(box):
        need = projection.need(piece)
        if need is not None:
            axons.append(axon_box(projection, need))
            reads += coarsen(need, projection.source_grid)
            rows.append(_kernel_rows(projection, piece))
    return disjoint(axons), disjoint(reads), tuple(rows)


def violations(uses: Mapping[str, int], chip: Chip) -> list[str]:
    """Names of the limits that are exceeded."""
    return [limit.name for limit in chip.limits if uses[limit.name] > limit.value]


def share(uses: Mapping[str, int], chip: Chip, without: Collection[str] = ()) -> float:
    """Use over limit, of the limit that is used most; some may be left out."""
    return max(uses[limit.name] / limit.value for limit in chip.limits if limit.name not in without)


def axon_box(projection: Projection, source: Box) -> Box:
    """The axons of a box of source neurons: axes whose neurons share an axon shrink to one index."""
    return Box(
        tuple(
            (0, 1) if axis.atom else span for axis, span in zip(projection.axes, source.ranges, strict=True)
        )
    )


def _kernel_rows(projection: Projection, piece: Box) -> tuple[tuple[Range, ...], Box]:
    ranges = projection.kernel_slice(piece).ranges
    axes = list(zip(projection.kernel_axes, ranges, strict=True))
    outputs = tuple(span for axis, span in axes if axis.target is not None)
    return outputs, Box(tuple(span for axis, span in axes if axis.target is None))


def _axons_out(projection: Projection, box: Box) -> int:
    everything = projection.need(Box.whole(projection.target_sizes))
    if everything is None:
        return 0
    read = (piece.overlap(everything) for piece in projection.source_pieces(box))
    return union_size(axon_box(projection, piece) for piece in read if piece is not None)


def _united(a: Mapping[Key, tuple[Box, ...]], b: Mapping[Key, tuple[Box, ...]]) -> dict[Key, tuple[Box, ...]]:
    united = dict(a)
    for key, boxes in b.items():
        united[key] = disjoint(united[key] + boxes) if key in united else boxes
    return united
