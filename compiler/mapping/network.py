"""The network as a chip sees it: populations, and projections between them, in closed form.

Nothing here lists neurons or synapses. A projection says, axis by axis, which indices of its source
an index of its target reads, and which weights of a shared kernel lie between them; so a box of the
target needs a box of the source and a slice of the kernel, whatever its size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from math import prod
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.box import Box, Grid, Range, coarsen, refine
from spikeloom.errors import InputError

Answer = TypeVar("Answer")

REMEMBERED = 200_000
"""So many answers about boxes are kept, then forgotten together."""

Role = Literal["input", "neuron", "accumulator", "product", "readout"]
Combine = Literal["sum", "max", "product"]
Kind = Literal["dense", "conv", "pointwise", "pool", "elementwise"]


@dataclass(frozen=True)
class Population:
    """Neurons of one kind.

    Attributes:
        name: that of the graph's node (a neuron layer) or value it stands for, or derived from it.
        shape: of the value, without batch and time.
        role: ``input`` is fed from outside and occupies no core; ``neuron`` spikes;
            ``accumulator`` sends its sum in every step; ``product`` sends the product of its two
            ports when it is not zero; ``readout`` is read from outside.
        bounds: smallest and largest number that it sends.
        state_bytes: of one neuron.
        tag: a word of the target for what it takes to run these neurons.
        combine: what a neuron does with the inputs that arrive in one step at one port.
        group_shape, groups: neurons of one parameter group share their threshold. ``groups``
            numbers them in row-major order of ``group_shape``, which broadcasts against ``shape``.
        together: axes that a tile should hold whole where a core has room for it.
        late: chip steps from the first in which it takes something of a network step to that in which it
            begins to send what it makes of it.
        streams: whether it sends in several chip steps of a network step, so that what reads it cannot wait.
        value: of the graph, which it sends over a network step (a product: whose products it makes), if its
            name does not say.
        programs: for each parameter group, a name that it shares with the groups of other populations whose
            neurons execute the same with the same parameters; empty where it shares none.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    bounds: tuple[int, int]
    state_bytes: int = 0
    tag: str = ""
    combine: Combine = "sum"
    group_shape: tuple[int, ...] = ()
    groups: tuple[int, ...] = (0,)
    together: tuple[int, ...] = ()
    late: int = 0
    streams: bool = False
    value: str = ""
    programs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1 or len(self.group_shape) > len(self.shape):
            raise ValueError(f"population {self.name} has the shape {self.shape}")
        if prod(self.group_shape) != len(self.groups):
            raise ValueError(f"population {self.name} has {len(self.groups)} groups for {self.group_shape}")

    @property
    def size(self) -> int:
        """Number of neurons."""
        return prod(self.shape)

    def group_name(self, group: int) -> str:
        """What a core knows a parameter group by: groups of one name are one."""
        return self.programs[group] if self.programs else f"{self.name}/{group}"

    @cached_property
    def _group_array(self) -> NDArray[np.int64]:
        padded = (1,) * (len(self.shape) - len(self.group_shape)) + self.group_shape
        return np.array(self.groups, np.int64).reshape(padded)

    def groups_in(self, box: Box) -> frozenset[int]:
        """The parameter groups that the neurons of a box belong to."""
        array = self._group_array
        if array.size == 1:
            return frozenset(self.groups)
        slices = tuple(
            slice(None) if size == 1 else part for size, part in zip(array.shape, box.slices, strict=True)
        )
        return frozenset(np.unique(array[slices]).tolist())


@dataclass(frozen=True)
class SourceAxis:
    """Which indices of one axis of the source a target index reads.

        source index = target index * stride + tap * dilation + offset,  tap = 0 .. taps - 1

    as far as it lies within 0 .. size - 1. Without a target axis, the target index counts as zero.

    Attributes:
        size: of the axis in the source.
        target: number of the target axis, or None: every target index reads the same.
        stride, taps, dilation, offset: of the equation; padding is a negative offset.
        atom: whether the neurons along this axis share an axon and differ in its payload, as the
            channels of one position do where a kernel is shared over positions.

    >>> SourceAxis(size=8, target=0, stride=2, taps=3, offset=-1).reach(0, 2)
    (0, 4)
    """

    size: int
    target: int | None
    stride: int = 1
    taps: int = 1
    dilation: int = 1
    offset: int = 0
    atom: bool = False

    @property
    def is_identity(self) -> bool:
        """Whether each target index reads one source index, with all in order."""
        return self.target is not None and self.stride == 1 and self.taps == 1

    def reach(self, start: int, stop: int) -> Range | None:
        """The source indices that target indices start..stop-1 read, as one range."""
        low = start * self.stride + self.offset
        high = (stop - 1) * self.stride + (self.taps - 1) * self.dilation + self.offset + 1
        low, high = max(low, 0), min(high, self.size)
        return (low, high) if low < high else None

    def taps_used(self, start: int, stop: int) -> Range:
        """The taps by which target indices start..stop-1 meet the source."""
        first = -(((stop - 1) * self.stride + self.offset) // self.dilation)
        last = (self.size - 1 - self.offset - start * self.stride) // self.dilation
        return max(first, 0), min(last + 1, self.taps)

    def feeds(self, start: int, stop: int, count: int) -> Range | None:
        """The target indices, of ``count``, that source indices start..stop-1 reach, as one range.

        >>> SourceAxis(size=8, target=0, stride=2, taps=3, offset=-1).feeds(3, 4, 4)
        (1, 3)
        """
        if self.target is None:
            return self.reach(0, 1) and (0, 1)
        low = -(-(start - self.offset - (self.taps - 1) * self.dilation) // self.stride)
        high = (stop - 1 - self.offset) // self.stride + 1
        low, high = max(low, 0), min(high, count)
        return (low, high) if low < high else None

    def pairs(self, start: int, stop: int) -> int:
        """How many pairs of a target index and a source index are connected."""
        targets = np.arange(start, stop) if self.target is not None else np.zeros(1, np.int64)
        taps = np.arange(self.taps) * self.dilation + self.offset
        if targets[0] * self.stride + taps[0] >= 0 and targets[-1] * self.stride + taps[-1] < self.size:
            return len(targets) * self.taps
        indices = np.add.outer(targets * self.stride, taps)
        return int(((indices >= 0) & (indices < self.size)).sum())


@dataclass(frozen=True)
class KernelAxis:
    """Which index of one axis of a kernel lies between a target and a source index.

    It is the index of target axis ``target``, or the tap of source axis ``source``, plus
    ``offset``; with neither it is ``offset``.
    """

    size: int
    target: int | None = None
    source: int | None = None
    offset: int = 0


@dataclass(frozen=True)
class Kernel:
    """Weights that synapses refer to.

    Attributes:
        name: unique in the network.
        shape: of the array of weights.
        bits: width of a weight with sign.
        nonzero: number of weights that are not zero.
        tensor: where the graph keeps the weights, ``node/field``; empty where all are one.
    """

    name: str
    shape: tuple[int, ...]
    bits: int
    nonzero: int
    tensor: str = ""

    @property
    def density(self) -> float:
        """Share of weights that are not zero."""
        return self.nonzero / prod(self.shape)


@dataclass(frozen=True)
class Projection:
    """Synapses from one population to another, described on finer axes of both.

    The axes of either population are first read as several (``grid``): tokens as rows and columns,
    channels as heads and channels of a head. On the finer axes every connection is a
    :class:`SourceAxis`. Between a source and a target neuron there is at most one synapse.

    Attributes:
        source, target: names of populations.
        kind: ``dense`` (one axon a source neuron), ``conv``, ``pointwise`` (a kernel shared over
            positions), ``pool`` or ``elementwise`` (all weights are one).
        source_axes: for each axis of the source, the finer axes that it is read as.
        target_grid: for each axis of the target, the sizes of its finer axes.
        kernel: name of the kernel.
        kernel_axes: finer axes of the kernel's array, row-major.
        port: which input of the target: a product has the ports 0 and 1.
    """

    source: str
    target: str
    kind: Kind
    source_axes: tuple[tuple[SourceAxis, ...], ...]
    target_grid: Grid
    kernel: str
    kernel_axes: tuple[KernelAxis, ...] = ()
    port: int = 0

    def __post_init__(self) -> None:
        linked = [axis.target for axis in self.axes if axis.target is not None]
        if len(set(linked)) != len(linked):
            raise ValueError(f"{self.source} -> {self.target}: two source axes follow one target axis")

    @cached_property
    def axes(self) -> tuple[SourceAxis, ...]:
        """All finer axes of the source, in order."""
        return tuple(axis for group in self.source_axes for axis in group)

    @cached_property
    def source_grid(self) -> Grid:
        """Sizes of the finer axes of each axis of the source."""
        return tuple(tuple(axis.size for axis in group) for group in self.source_axes)

    @cached_property
    def target_sizes(self) -> tuple[int, ...]:
        """Sizes of all finer axes of the target."""
        return tuple(size for group in self.target_grid for size in group)

    @property
    def shared(self) -> bool:
        """Whether source neurons share axons, as with a kernel that is used at many positions."""
        return any(axis.atom for axis in self.axes)

    @cached_property
    def _unlinked(self) -> tuple[int, ...]:
        linked = {axis.target for axis in self.axes}
        return tuple(axis for axis in range(len(self.target_sizes)) if axis not in linked)

    def target_pieces(self, box: Box) -> tuple[Box, ...]:
        """A box of the target population on the finer axes."""
        return refine(box, self.target_grid)

    def source_pieces(self, box: Box) -> tuple[Box, ...]:
        """A box of the source population on the finer axes."""
        return refine(box, self.source_grid)

    def need(self, piece: Box) -> Box | None:
        """The box of the source (finer axes) that a piece of the target (finer axes) reads.

        A stride larger than the window leaves gaps in it. None if the piece reads padding only.
        """
        ranges = []
        for axis in self.axes:
            reach = axis.reach(*self._followed(axis, piece))
            if reach is None:
                return None
            ranges.append(reach)
        return Box(tuple(ranges))

    def reads(self, box: Box) -> tuple[Box, ...]:
        """The boxes of the source population that a box of the target population reads.

        They may overlap where the target's box needs several pieces.
        """
        needs = (self.need(piece) for piece in self.target_pieces(box))
        return tuple(part for need in needs if need is not None for part in coarsen(need, self.source_grid))

    def feeds(self, box: Box) -> tuple[Box, ...]:
        """The boxes of the target population that a box of the source population reaches.

        With gaps between taps a box also holds neurons that are not reached; boxes may overlap.
        """
        found: list[Box] = []
        for piece in self.source_pieces(box):
            ranges: list[Range] | None = [(0, size) for size in self.target_sizes]
            for axis, span in zip(self.axes, piece.ranges, strict=True):
                reached = axis.feeds(*span, self.target_sizes[axis.target] if axis.target is not None else 1)
                if reached is None or ranges is None:
                    ranges = None
                elif axis.target is not None:
                    ranges[axis.target] = reached
            if ranges is not None:
                found += coarsen(Box(tuple(ranges)), self.target_grid)
        return tuple(found)

    def kernel_slice(self, piece: Box) -> Box:
        """The box of the kernel, on ``kernel_axes``, that a piece of the target uses."""
        return Box(tuple(self._kernel_range(axis, piece) for axis in self.kernel_axes))

    def synapses(self, piece: Box) -> int:
        """How many synapses end in a piece of the target."""
        count = prod(axis.pairs(*self._followed(axis, piece)) for axis in self.axes)
        return count * prod(piece.shape[axis] for axis in self._unlinked)

    @staticmethod
    def _followed(axis: SourceAxis, piece: Box) -> Range:
        return (0, 1) if axis.target is None else piece.ranges[axis.target]

    def _kernel_range(self, axis: KernelAxis, piece: Box) -> Range:
        if axis.target is not None:
            start, stop = piece.ranges[axis.target]
        elif axis.source is not None:
            source = self.axes[axis.source]
            start, stop = source.taps_used(*self._followed(source, piece))
        else:
            start, stop = 0, 1
        return start + axis.offset, stop + axis.offset


@dataclass(frozen=True)
class Network:
    """Populations in the order of the data flow, projections, kernels.

    Attributes:
        name: of the model.
        outputs: names of the populations that are the network's result.
        steps: chip steps that one time step of the network takes.
    """

    name: str
    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    kernels: tuple[Kernel, ...]
    outputs: tuple[str, ...]
    steps: int = 1

    def __post_init__(self) -> None:
        for names in ([p.name for p in self.populations], [k.name for k in self.kernels]):
            if len(set(names)) != len(names):
                raise ValueError(f"a name of {sorted(names)} is used twice")
        for one in self.projections:
            for name, grid in ((one.source, one.source_grid), (one.target, one.target_grid)):
                shape = self.population(name).shape
                if shape != tuple(prod(sizes) for sizes in grid):
                    raise ValueError(f"{one.source} -> {one.target}: {grid} is not a grid over {shape}")
            if prod(axis.size for axis in one.kernel_axes) != prod(self.kernel(one.kernel).shape):
                raise ValueError(f"{one.source} -> {one.target}: its axes do not fit its kernel")

    @cached_property
    def _populations(self) -> dict[str, Population]:
        return {population.name: population for population in self.populations}

    @cached_property
    def _kernels(self) -> dict[str, Kernel]:
        return {kernel.name: kernel for kernel in self.kernels}

    @cached_property
    def _into(self) -> dict[str, tuple[int, ...]]:
        return {
            population.name: tuple(i for i, p in enumerate(self.projections) if p.target == population.name)
            for population in self.populations
        }

    @cached_property
    def _out_of(self) -> dict[str, tuple[int, ...]]:
        return {
            population.name: tuple(i for i, p in enumerate(self.projections) if p.source == population.name)
            for population in self.populations
        }

    def population(self, name: str) -> Population:
        """The population of that name."""
        return self._populations[name]

    def kernel(self, name: str) -> Kernel:
        """The kernel of that name."""
        return self._kernels[name]

    def into(self, population: str) -> tuple[int, ...]:
        """Numbers of the projections that end in a population."""
        return self._into[population]

    def out_of(self, population: str) -> tuple[int, ...]:
        """Numbers of the projections that start in a population."""
        return self._out_of[population]

    @cached_property
    def _geometry(self) -> tuple[int, ...]:
        """A number for each projection, the same for those that differ in names only."""
        known: dict[object, int] = {}
        return tuple(
            known.setdefault((one.kind, one.source_axes, one.target_grid, one.kernel_axes), len(known))
            for one in self.projections
        )

    @cached_property
    def _remembered(self) -> dict[object, Any]:
        return {}

    def remember(self, number: int, work: Callable[[Projection, Box], Answer], box: Box) -> Answer:
        """What ``work`` says of a projection and a box, computed once for all projections alike.

        ``work`` may look at axes and kind of the projection, not at its names.
        """
        key = (self._geometry[number], work, box.ranges)
        if key not in self._remembered:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = work(self.projections[number], box)
        answer: Answer = self._remembered[key]
        return answer

    @property
    def placed(self) -> tuple[Population, ...]:
        """The populations that occupy cores."""
        return tuple(population for population in self.populations if population.role != "input")

    def synapses(self, number: int) -> int:
        """Synapses of a projection."""
        one = self.projections[number]
        return one.synapses(Box(tuple((0, size) for size in one.target_sizes)))

    def shares(self) -> dict[str, dict[str, int]]:
        """Neurons on cores, and the synapses that end in them, by the populations' tags."""
        table: dict[str, dict[str, int]] = {}
        for population in self.placed:
            row = table.setdefault(population.tag, {"neurons": 0, "synapses": 0})
            row["neurons"] += population.size
            row["synapses"] += sum(self.synapses(number) for number in self.into(population.name))
        return table

    def to_json(self) -> dict[str, Any]:
        """The network as a JSON object."""
        return {
            "name": self.name,
            "populations": [asdict(population) for population in self.populations],
            "projections": [asdict(projection) for projection in self.projections],
            "kernels": [asdict(kernel) for kernel in self.kernels],
            "outputs": list(self.outputs),
            "steps": self.steps,
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Network:
        """The network again.

        Raises:
            InputError: SL0703, the document is not a network of this version.
        """
        try:
            return Network(
                document["name"],
                tuple(_population(entry) for entry in document["populations"]),
                tuple(_projection(entry) for entry in document["projections"]),
                tuple(Kernel(**{**entry, "shape": tuple(entry["shape"])}) for entry in document["kernels"]),
                tuple(document["outputs"]),
                document.get("steps", 1),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError.of("SL0703", "network", f"does not describe a network: {error}") from error


def _population(entry: Mapping[str, Any]) -> Population:
    lists = {key: tuple(value) for key, value in entry.items() if isinstance(value, list | tuple)}
    population = Population(**{**entry, **lists})
    if population.role not in get_args(Role) or population.combine not in get_args(Combine):
        raise ValueError(f"role {population.role} or combination {population.combine} is not known")
    return population


def _projection(entry: Mapping[str, Any]) -> Projection:
    changes = {
        "source_axes": tuple(tuple(SourceAxis(**axis) for axis in group) for group in entry["source_axes"]),
        "target_grid": tuple(tuple(sizes) for sizes in entry["target_grid"]),
        "kernel_axes": tuple(KernelAxis(**axis) for axis in entry["kernel_axes"]),
    }
    projection = Projection(**{**entry, **changes})
    if projection.kind not in get_args(Kind):
        raise ValueError(f"the kind {projection.kind} is not known")
    return projection
