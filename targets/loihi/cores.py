"""A program core by core: the neurons, in-axons, synapses and routes of each, as files.

The placement is advisory: Intel's compiler decides on which core a neuron lands. What a core would hold if
neurons lay as mapped is exact.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.placement import Mapping
from spikeloom.targets.loihi.program import Ints, Program

VERSION = 1


@dataclass(frozen=True)
class CoreContents:
    """What one core holds.

    Attributes:
        neurons: [neurons, 2]: number of the process, flat index in it.
        axons: [axons, 2]: the neurons elsewhere or here whose messages arrive, likewise.
        synapses: [synapses, 5]: axon (a row of ``axons``), neuron (a row of ``neurons``), port of the neuron,
            steps that the message waits beyond the one that every synapse takes, weight as stored.
        routes: [routes, 2]: a neuron here (a row of ``neurons``) and a core that its messages go to.
    """

    neurons: Ints
    axons: Ints
    synapses: Ints
    routes: Ints


def core_contents(program: Program, mapping: Mapping) -> list[CoreContents]:
    """The contents of every core, in the order of ``mapping.cores``.

    Args:
        program: of the network that is mapped.
        mapping: which core each neuron is on.
    """
    numbers = {one.name: number for number, one in enumerate(program.processes)}
    cores = [mapping.cores_of(one.name).ravel().astype(np.int64) for one in program.processes]
    first = np.cumsum([0, *(one.size for one in program.processes)])
    core_of = np.concatenate(cores)
    table = np.concatenate(list(_synapse_table(program, numbers, first)))
    target_core = core_of[table[:, 1]]
    order = np.argsort(target_core, kind="stable")
    ends = np.searchsorted(target_core[order], np.arange(len(mapping.cores) + 1))
    process, index = _names(program, first)
    pairs = np.unique(np.stack([table[:, 0], target_core], 1), axis=0)
    return [
        _core(core, table[order[ends[core] : ends[core + 1]]], core_of, pairs, np.stack([process, index], 1))
        for core in range(len(mapping.cores))
    ]


def _synapse_table(program: Program, numbers: dict[str, int], first: Ints) -> Iterator[Ints]:
    """Rows of source and target neuron (both numbered through), port, delay, weight."""
    for one in program.synapses:
        targets = np.repeat(np.arange(len(one.starts) - 1), np.diff(one.starts))
        same = np.ones(len(one.weights), np.int64)
        yield np.stack(
            [
                first[numbers[one.source]] + one.sources,
                first[numbers[one.target]] + targets,
                same * one.port,
                one.waits,
                one.weights,
            ],
            1,
        )


def _names(program: Program, first: Ints) -> tuple[Ints, Ints]:
    """Process and index of every neuron that is numbered through."""
    sizes = np.diff(first)
    process = np.repeat(np.arange(len(program.processes)), sizes)
    index = np.arange(first[-1]) - first[process]
    return process, index


def _core(core: int, table: Ints, core_of: Ints, pairs: Ints, names: Ints) -> CoreContents:
    own = np.flatnonzero(core_of == core)
    axons, axon = np.unique(table[:, 0], return_inverse=True)
    synapses = np.column_stack([axon.reshape(-1), np.searchsorted(own, table[:, 1]), table[:, 2:]])
    sent = pairs[core_of[pairs[:, 0]] == core]
    routes = np.column_stack([np.searchsorted(own, sent[:, 0]), sent[:, 1]])
    return CoreContents(names[own], names[axons], synapses, routes)


def core_files(program: Program, mapping: Mapping) -> dict[str, bytes]:
    """``cores.json`` and ``cores.npz``: which core is where, and what it holds; the same bytes each time."""
    from spikeloom.targets.loihi.lava import npz

    contents = core_contents(program, mapping)
    arrays: dict[str, NDArray[np.int64]] = {
        f"{number}/{name}": getattr(one, name)
        for number, one in enumerate(contents)
        for name in ("neurons", "axons", "synapses", "routes")
    }
    document = {
        "version": VERSION,
        "chip": mapping.chip.name,
        "placement": "advisory: Intel's compiler decides which core a neuron is on",
        "processes": [one.name for one in program.processes],
        "cores": [
            {"chip": one.chip, "slot": one.slot, "column": one.column, "row": one.row}
            for one in mapping.cores
        ],
    }
    return {
        "cores.json": (json.dumps(document, indent=1, sort_keys=True) + "\n").encode(),
        "cores.npz": npz(arrays),
    }
