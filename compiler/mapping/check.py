"""An independent check of a mapping: does every core keep every limit?

It shares no code with the mapper beyond the data types. Where the mapper reasons with ranges, this
enumerates the indices of every axis and marks what is used in boolean arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.network import Network, Population, Projection, SourceAxis
from spikeloom.compiler.mapping.placement import Mapping, Tile
from spikeloom.errors import Problem

Indices = NDArray[np.int64]
Block = list[Indices]
"""Sorted indices along each axis: all tuples of them."""

REMEDIES = {
    "neurons": "cut the population into smaller tiles",
    "neuron_groups": "put fewer populations on the core, or use fewer thresholds a layer",
    "synaptic_memory": "put fewer output channels on the core, or use fewer bits a weight",
    "core_memory": "put fewer neurons or output channels on the core",
    "axons_in": "put fewer positions on the core",
    "axons_out": "cut the population into smaller tiles",
    "fan_in": "use a layer with fewer inputs",
}


def check_mapping(mapping: Mapping) -> list[Problem]:
    """A problem for every limit that a core exceeds, and for every neuron that is not on one core.

    The use of each limit is counted anew from the network and the tiles; a core that declares
    another number is a problem as well.
    """
    problems = _coverage(mapping) + _slots(mapping) + _carried(mapping)
    on_core: dict[int, list[Tile]] = {core: [] for core in range(len(mapping.cores))}
    for tile in mapping.tiles:
        on_core.setdefault(tile.core, []).append(tile)
    for core, tiles in on_core.items():
        if core < len(mapping.cores):
            problems += _core_problems(mapping, core, recount(mapping, tiles))
    return problems


def recount(mapping: Mapping, tiles: list[Tile]) -> dict[str, int]:
    """The use of every limit by some tiles on one core, counted index by index."""
    network, encoding = mapping.network, mapping.chip.encoding
    populations = [network.population(tile.population) for tile in tiles]
    neurons = [prod(stop - start for start, stop in tile.box.ranges) for tile in tiles]
    words = 0
    for (kernel, indexed, _, _), (outputs, rows) in _kernel_rows(mapping, tiles).items():
        words += _marked(rows) * encoding.row_words(outputs, network.kernel(kernel).bits, indexed)
    state = sum(count * one.state_bytes for count, one in zip(neurons, populations, strict=True))
    groups = {
        one.group_name(int(group))
        for tile, one in zip(tiles, populations, strict=True)
        for group in np.unique(_group_map(one)[tuple(slice(*span) for span in tile.box.ranges)])
    }
    return {
        "neurons": sum(neurons),
        "neuron_groups": len(groups),
        "synaptic_memory": words,
        "core_memory": words * encoding.word_bits // 8 + state,
        "axons_in": _arriving(mapping, tiles),
        "axons_out": sum(_leaving(mapping, tile) for tile in tiles),
        "fan_in": max([_fan_in(network, one) for one in populations], default=0),
    }


def _fan_in(network: Network, population: Population) -> int:
    return sum(prod(axis.taps for axis in network.projections[n].axes) for n in network.into(population.name))


def _core_problems(mapping: Mapping, core: int, counted: dict[str, int]) -> list[Problem]:
    problems = []
    declared = mapping.cores[core].uses
    for limit in mapping.chip.limits:
        got = counted[limit.name]
        if got > limit.value:
            wanted = f"at most {limit.value:,} {limit.unit}"
            what = f"exceeds the limit of {limit.name} of {mapping.chip.name}"
            problems.append(Problem("SL0603", f"core {core}", what, wanted, f"{got:,}", REMEDIES[limit.name]))
        if declared.get(limit.name) != got:
            what = f"the mapping declares another use of {limit.name}"
            problems.append(
                Problem(
                    "SL0603", f"core {core}", what, f"{got:,}", str(declared.get(limit.name)), "map it again"
                )
            )
    return problems


def _coverage(mapping: Mapping) -> list[Problem]:
    problems = []
    boxes: dict[str, list[tuple[slice, ...]]] = {}
    for tile in mapping.tiles:
        boxes.setdefault(tile.population, []).append(tuple(slice(*span) for span in tile.box.ranges))
    for population in mapping.network.placed:
        holders = np.zeros(population.shape, np.int16)
        for slices in boxes.get(population.name, ()):
            holders[slices] += 1
        wrong = int((holders != 1).sum())
        if wrong:
            what = "neurons are not on exactly one core"
            problems.append(Problem("SL0603", population.name, what, "0", f"{wrong:,}", "map it again"))
    return problems


def _slots(mapping: Mapping) -> list[Problem]:
    slots = [core.slot for core in mapping.cores]
    known = range(mapping.chip.cores)
    faults = []
    if len(set(slots)) != len(slots) or any(slot not in known for slot in slots):
        faults.append(("slots", "two cores share a slot, or a slot does not exist"))
    for number, core in enumerate(mapping.cores):
        if core.slot in known and mapping.chip.position(core.slot) != (core.chip, core.column, core.row):
            faults.append((f"core {number}", "is not where its slot is"))
    if any(not 0 <= tile.core < len(mapping.cores) for tile in mapping.tiles):
        faults.append(("tiles", "a tile is on a core that is not in use"))
    return [Problem("SL0603", where, what, remedy="map it again") for where, what in faults]


def _carried(mapping: Mapping) -> list[Problem]:
    """Whether the links carry the hops that are declared, and the busiest of them what is said of it."""
    links = np.array([getattr(mapping.links, way) for way in ("east", "west", "south", "north")])
    said = {"hops": mapping.load.hops, "busiest_link": mapping.load.busiest_link}
    counted = {"hops": float(links.sum()), "busiest_link": float(links.max())}
    return [
        Problem(
            "SL0603",
            name,
            "is not what the links carry",
            f"{counted[name]:,.3f}",
            f"{value:,.3f}",
            "map it again",
        )
        for name, value in said.items()
        if not np.isclose(value, counted[name], rtol=1e-9, atol=1e-9)
    ]


def _group_map(population: Population) -> Indices:
    shape = (1,) * (len(population.shape) - len(population.group_shape)) + population.group_shape
    return np.broadcast_to(np.array(population.groups, np.int64).reshape(shape), population.shape)


def _finer(span: tuple[int, int], sizes: tuple[int, ...]) -> list[list[Indices]]:
    """A range of an axis as products of index sets of its finer axes."""
    if len(sizes) <= 1:
        return [[np.arange(*span)] * len(sizes)]
    inner = prod(sizes[1:])
    by_inner: dict[tuple[int, int], list[int]] = {}
    for outer in range(span[0] // inner, (span[1] - 1) // inner + 1):
        part = max(span[0] - outer * inner, 0), min(span[1] - outer * inner, inner)
        by_inner.setdefault(part, []).append(outer)
    return [
        [np.array(outers), *rest] for part, outers in by_inner.items() for rest in _finer(part, sizes[1:])
    ]


def _pieces(tile: Tile, grid: tuple[tuple[int, ...], ...]) -> Iterator[list[Indices]]:
    """The tile as products of index sets of finer axes."""
    spans = zip(tile.box.ranges, grid, strict=True)
    for parts in product(*[_finer(span, sizes) for span, sizes in spans]):
        yield [indices for part in parts for indices in part]


def _gapless(indices: Indices) -> Indices:
    """Every index from the first to the last, which is what a range in an axon table covers."""
    return np.arange(indices.min(), indices.max() + 1) if len(indices) else indices


def _met(axis: SourceAxis, piece: list[Indices]) -> tuple[Indices, Indices]:
    """The source indices, and the taps, by which a piece of the target meets the source."""
    targets = np.zeros(1, np.int64) if axis.target is None else piece[axis.target]
    taps = np.arange(axis.taps)
    indices = targets[:, None] * axis.stride + taps * axis.dilation + axis.offset
    inside = (indices >= 0) & (indices < axis.size)
    return _gapless(np.unique(indices[inside])), _gapless(taps[inside.any(0)])


def _reading(
    mapping: Mapping, tiles: list[Tile]
) -> Iterator[tuple[int, list[Indices], list[tuple[Indices, Indices]]]]:
    """Every piece of every tile with each projection into it, and what it meets on each axis."""
    network = mapping.network
    for tile in tiles:
        for number in network.into(tile.population):
            projection = network.projections[number]
            for piece in _pieces(tile, projection.target_grid):
                met = [_met(axis, piece) for axis in projection.axes]
                if all(len(indices) for indices, _ in met):
                    yield number, piece, met


RowsKey = tuple[str, bool, tuple[int, ...], bytes]
"""A kernel, whether its weights carry indices, the sizes of its finer axes, and its outputs."""


def _kernel_rows(mapping: Mapping, tiles: list[Tile]) -> dict[RowsKey, tuple[int, list[Block]]]:
    """For each kernel, as its axes are split, and set of outputs, how many outputs, and the rows used."""
    table: dict[RowsKey, tuple[int, list[Block]]] = {}
    for number, piece, met in _reading(mapping, tiles):
        projection = mapping.network.projections[number]
        outputs: list[Indices] = []
        rows: list[Indices] = []
        for axis in projection.kernel_axes:
            if axis.target is not None:
                outputs.append(piece[axis.target] + axis.offset)
            else:
                rows.append(
                    (met[axis.source][1] if axis.source is not None else np.zeros(1, int)) + axis.offset
                )
        name = b"|".join(indices.tobytes() for indices in outputs)
        grid = tuple(axis.size for axis in projection.kernel_axes)
        key = projection.kernel, projection.kind == "dense", grid, name
        table.setdefault(key, (prod(map(len, outputs)), []))[1].append(rows)
    return table


def _arriving(mapping: Mapping, tiles: list[Tile]) -> int:
    """Axons that arrive, of all projections."""
    blocks: dict[int, list[Block]] = {}
    for number, _, met in _reading(mapping, tiles):
        axes = mapping.network.projections[number].axes
        blocks.setdefault(number, []).append(_axons(axes, [indices for indices, _ in met]))
    return sum(map(_marked, blocks.values()))


def _leaving(mapping: Mapping, tile: Tile) -> int:
    """Entries of the table of axons that leave: neurons or positions that a projection reads."""
    total = 0
    for number in mapping.network.out_of(tile.population):
        projection = mapping.network.projections[number]
        read = _ever_read(projection)
        blocks = []
        for piece in _pieces(tile, projection.source_grid):
            common = [
                mine[(mine >= theirs[0]) & (mine <= theirs[-1])] if len(theirs) else theirs
                for mine, theirs in zip(piece, read, strict=True)
            ]
            if all(map(len, common)):
                blocks.append(_axons(projection.axes, common))
        total += _marked(blocks)
    return total


@lru_cache(maxsize=1024)
def _ever_read(projection: Projection) -> Block:
    """The source indices, along each axis, that anything of the target reads."""
    everything = [np.arange(size) for sizes in projection.target_grid for size in sizes]
    return [_met(axis, everything)[0] for axis in projection.axes]


def _axons(axes: Sequence[SourceAxis], block: Block) -> Block:
    """Neurons along the atoms of a projection share an axon."""
    return [
        np.zeros(1, np.int64) if axis.atom else indices for axis, indices in zip(axes, block, strict=True)
    ]


def _marked(blocks: list[Block]) -> int:
    """How many tuples of indices lie in any of some products of sorted indices."""
    if len(blocks) < 2:
        return sum(prod(map(len, block)) for block in blocks)
    lows = [min(int(indices[0]) for indices in column) for column in zip(*blocks, strict=True)]
    highs = [max(int(indices[-1]) for indices in column) for column in zip(*blocks, strict=True)]
    mask = np.zeros([high - low + 1 for low, high in zip(lows, highs, strict=True)], bool)
    for block in blocks:
        mask[np.ix_(*(indices - low for indices, low in zip(block, lows, strict=True)))] = True
    return int(mask.sum())
