"""The files of each core: together they are the program, and none holds more than the mapping says."""

from __future__ import annotations

import io
import json
from collections import Counter

import numpy as np
import pytest

from spikeloom.compiler.mapping.partition import map_network
from spikeloom.compiler.mapping.placement import Mapping
from spikeloom.targets.loihi import loihi1, loihi2
from spikeloom.targets.loihi.cores import core_contents, core_files
from spikeloom.targets.loihi.program import Program
from spikeloom.targets.loihi.target import Loihi
from tests.targets.loihi.test_loihi1 import picture


@pytest.fixture(params=[loihi1(), loihi2()], ids=["loihi1", "loihi2"])
def mapped(request: pytest.FixtureRequest) -> tuple[Program, Mapping]:
    """A convolution of 256 neurons, on cores that hold 100 at most."""
    target: Loihi = request.param
    graph = picture()
    chip = target.chip()
    small = tuple(
        type(limit)(**{**vars(limit), "value": 100}) if limit.name == "neurons" else limit
        for limit in chip.limits
    )
    return target.program(graph), map_network(
        target.lower(graph), type(chip)(**{**vars(chip), "limits": small})
    )


def synapses_of(program: Program) -> Counter[tuple[str, int, str, int, int, int, int]]:
    found: Counter[tuple[str, int, str, int, int, int, int]] = Counter()
    for one in program.synapses:
        targets = np.repeat(np.arange(len(one.starts) - 1), np.diff(one.starts))
        for source, target, weight in zip(one.sources, targets, one.weights, strict=True):
            found[one.source, int(source), one.target, int(target), one.port, one.delay, int(weight)] += 1
    return found


def test_the_cores_together_are_the_program(mapped: tuple[Program, Mapping]) -> None:
    program, mapping = mapped
    names = [one.name for one in program.processes]
    cores = core_contents(program, mapping)
    assert len(cores) == len(mapping.cores) >= 3
    found: Counter[tuple[str, int, str, int, int, int, int]] = Counter()
    for core in cores:
        for axon, neuron, port, delay, weight in core.synapses.tolist():
            (source, i), (target, j) = core.axons[axon].tolist(), core.neurons[neuron].tolist()
            found[names[source], i, names[target], j, port, delay, weight] += 1
    assert found == synapses_of(program)


def test_each_core_holds_its_neurons_and_sends_to_those_who_read(mapped: tuple[Program, Mapping]) -> None:
    program, mapping = mapped
    cores = core_contents(program, mapping)
    names = [one.name for one in program.processes]
    for number, core in enumerate(cores):
        assert len(core.neurons) == mapping.cores[number].uses["neurons"] <= 100
        for process, index in core.neurons.tolist():
            assert mapping.cores_of(names[process]).ravel()[index] == number
        assert not len(core.routes)  # nobody reads the last layer
        assert {names[process] for process, _ in core.axons.tolist()} == {"x"}


def test_the_files_say_the_same_and_are_the_same_each_time(mapped: tuple[Program, Mapping]) -> None:
    program, mapping = mapped
    files = core_files(program, mapping)
    assert files == core_files(program, mapping)
    document = json.loads(files["cores.json"])
    assert len(document["cores"]) == len(mapping.cores)
    assert document["placement"].startswith("advisory")
    arrays = np.load(io.BytesIO(files["cores.npz"]), allow_pickle=False)
    for number, core in enumerate(core_contents(program, mapping)):
        assert (arrays[f"{number}/synapses"] == core.synapses).all()
        assert (arrays[f"{number}/neurons"] == core.neurons).all()
