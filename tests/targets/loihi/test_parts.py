"""Networks cut into their layers, each driven by what the layers before it sent."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from docs.full_size import spikformer
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.errors import UnsupportedError
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.targets.loihi import loihi2, parts
from spikeloom.targets.loihi.assemble import assemble_part
from spikeloom.targets.loihi.engine import Chip
from spikeloom.targets.loihi.lower import Lowered
from spikeloom.targets.loihi.parts import LavaPartsEngine, Part, part_files, parts_of
from spikeloom.targets.loihi.program import Program
from tests.random_networks import RandomNetwork
from tests.targets.loihi.test_engine import arranged, made

STREAMED = (4, 8)  # by rows, by memory
LOOP = 17


def lowered_of(seed: int) -> tuple[RandomNetwork, Lowered]:
    net = arranged(made(seed)[0])
    return net, loihi2()._lowered(net.graph)


def end_of(program: Program, files: dict[str, bytes], steps: int) -> np.ndarray:
    """What the end of a part sends on the chip, by network step, fed with its file of inputs."""
    with np.load(io.BytesIO(files["frames.npz"])) as given:
        fed = {
            name.removeprefix("frames/"): given[name] for name in given.files if name.startswith("frames/")
        }
    chip = Chip(program)
    chip.reset(1)
    end, sent = program.process(program.output), []
    for step in range(end.depth + steps * program.steps):
        fresh = {one.name: chip.rest(one) for one in program.processes if one.has_state and one.depth == step}
        messages = chip.step(
            {name: rows[step][:, None].astype(np.int64) for name, rows in fed.items()}, fresh
        )
        sent.append(messages[end.name][:, 0])
    by_step: np.ndarray = np.stack(sent[end.depth :]).reshape(steps, program.steps, -1).sum(1)
    return by_step


@pytest.mark.parametrize("seed", [0, 1, 2, 3, *STREAMED, LOOP, 54])
def test_every_part_gives_what_the_graph_gives(seed: int) -> None:
    """One sample, on our own chip; what drives a part is the graph's, at the depths of the whole."""
    net, lowered = lowered_of(seed)
    frames = net.frames[:, :1]
    run = Interpreter(net.graph)
    run.reset(1)
    values = [run.step(frame) for frame in frames]
    recorded = parts._recorded(net.graph, lowered, frames)
    for part in parts_of(lowered):
        program = assemble_part(lowered, part.inner, part.sources, part.end)
        start = min(lowered.timing.depth[name] for name in part.sources)
        assert start + program.process(part.end).depth == lowered.timing.depth[part.end]
        origin = lowered.origins.get(part.end)
        if origin is None:
            continue  # a readout, whose constants the host adds
        wanted = np.stack([step[origin.output].ravel() for step in values])
        files = part_files(program, recorded)
        assert (end_of(program, files, len(frames)) == wanted).all(), part.end


def test_parts_are_small_and_cover_the_network() -> None:
    _, lowered = lowered_of(54)
    found = parts_of(lowered)
    assert {name for part in found for name in (*part.inner, *part.sources)} == {
        one.name for one in lowered.network.populations
    }
    layers = {part.end for part in found}
    assert all(set(part.inner) & layers == {part.end} for part in found)
    assert max(len(part.inner) for part in found) < len(lowered.network.populations) / 2


def test_a_part_that_lava_cannot_hold_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Spikformer-4-384 the convolutions of the stem are more than Lava is given; nothing is expanded."""
    monkeypatch.setattr("spikeloom.targets.loihi.lava.find_worker", lambda: Path("python"))
    target = loihi2()
    graph = target.arrange(spikformer())
    with pytest.raises(UnsupportedError, match=r"SL0603 stage\d\.lif: is too large a part for Lava"):
        target.engines()["lava-parts"](graph, {})


@pytest.mark.lava
@pytest.mark.parametrize("seed", [STREAMED[1], LOOP, 54])
def test_lava_agrees_part_by_part(seed: int, lava: Path) -> None:
    net, lowered = lowered_of(seed)
    engines = {"reference": ReferenceEngine(net.graph), "lava-parts": LavaPartsEngine(lowered, net.graph)}
    result = compare_engines(engines, [(net.graph.name, net.frames)])  # type: ignore[arg-type]
    assert not result.mismatches, result.first


def test_the_part_of_a_first_layer_is_driven_by_the_input() -> None:
    _, lowered = lowered_of(0)
    first = parts_of(lowered)[0]
    assert first == Part(first.end, first.inner, ("frames",))
    program = assemble_part(lowered, first.inner, first.sources, first.end)
    assert program.process("frames").depth == 0
