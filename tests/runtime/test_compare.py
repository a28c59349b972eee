"""Engines side by side: whatever an engine does wrong is counted, and the first fault is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeloom.compiler.graph.engine import Engine, Trace
from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.compare import Divergence, compare_engines
from spikeloom.runtime.engines.reference import ReferenceEngine
from tests.tiny_network import tiny_network

FRAMES = np.random.default_rng(0).integers(0, 2, (6, 4, 2, 6)).astype(np.uint8)
NEURONS = 24 + 12


class Faulty(ReferenceEngine):
    """The reference, with spikes or outputs changed on the way out.

    Args:
        faults: what to add, by layer (or "output") and index [step, sample, ...] since the reset.
    """

    def __init__(self, faults: Mapping[tuple[Any, ...], int]) -> None:
        super().__init__(tiny_network())
        self._faults = faults
        self._steps = 0

    def reset(self, batch: int) -> None:
        super().reset(batch)
        self._steps = 0

    def run(self, frames: NDArray[np.uint8]) -> Trace:
        trace = super().run(frames)
        for (layer, step, sample, *neuron), amount in self._faults.items():
            array: Array = trace.output if layer == "output" else trace.spikes[layer]
            if 0 <= step - self._steps < len(frames) and sample < frames.shape[1]:
                array[(step - self._steps, sample, *neuron)] += amount
        self._steps += len(frames)
        return trace


class Forgetful(ReferenceEngine):
    """Starts every call from rest, as some runtimes silently do."""

    def run(self, frames: NDArray[np.uint8]) -> Trace:
        self.reset(frames.shape[1])
        return super().run(frames)


def _engines(**others: Engine) -> dict[str, Engine]:
    return {"reference": ReferenceEngine(tiny_network()), **others}


def test_engines_that_agree() -> None:
    other = ReferenceEngine(tiny_network())
    result = compare_engines(_engines(other=other), [("a", FRAMES), ("b", FRAMES[:, :1])])
    assert (result.samples, result.mismatches, result.first) == (5, 0, None)
    assert result.cells == 6 * 5 * (NEURONS + 2)
    assert result.layers == {"lif1": 0, "lif2": 0, "output": 0}
    assert "first" not in result.to_json()
    assert result.to_json()["cells"] == result.cells


@pytest.mark.parametrize("step", [0, 2, 3, 5])
@pytest.mark.parametrize(("layer", "neuron"), [("lif1", (3, 5)), ("lif2", (0, 1)), ("output", (1,))])
def test_a_single_wrong_number_is_found_and_named(layer: str, neuron: tuple[int, ...], step: int) -> None:
    engine = Faulty({(layer, step, 2, *neuron): 1})
    result = compare_engines(_engines(faulty=engine), [(["a", "b", "c", "d"], FRAMES)])
    trace = ReferenceEngine(tiny_network())
    trace.reset(4)
    whole = trace.run(FRAMES)
    right = int((whole.output if layer == "output" else whole.spikes[layer])[(step, 2, *neuron)])
    assert result.mismatches == 1
    assert result.layers is not None
    assert result.layers[layer] == 1
    assert result.first == Divergence("faulty", "c", step, layer, neuron, right, right + 1)
    document = result.to_json()
    assert document["first"]["sample"] == "c"
    assert document["first"]["layer"] == layer


def test_the_first_divergence_is_the_earliest_step_then_the_earliest_layer() -> None:
    late = {("lif1", 4, 0, 0, 0): 1, ("lif1", 3, 1, 0, 0): 1}
    early = {("lif2", 1, 3, 1, 1): 1, ("output", 1, 0, 0): 1, ("lif2", 1, 2, 1, 5): 1}
    result = compare_engines(_engines(faulty=Faulty({**late, **early})), [("recording", FRAMES)])
    assert result.mismatches == 5
    assert result.layers == {"lif1": 2, "lif2": 2, "output": 1}
    assert result.first is not None
    assert (result.first.step, result.first.layer, result.first.neuron) == (1, "lif2", (1, 5))
    assert result.first.sample == "recording"


def test_the_first_divergence_is_of_the_first_batch_that_has_one() -> None:
    engine = Faulty({("lif1", 0, 3, 0, 0): 1})  # batches of fewer samples have no such sample
    batches = [("one", FRAMES[:, :2]), ("two", FRAMES), ("three", FRAMES)]
    result = compare_engines(_engines(faulty=engine), batches)
    assert result.mismatches == 2
    assert result.first is not None
    assert result.first.sample == "two"


def test_an_engine_that_loses_its_state_between_calls_is_found() -> None:
    engine = Forgetful(tiny_network())
    engine.reset(4)
    assert (engine.run(FRAMES).output == _reference_output()).all()  # in a single call it is right
    result = compare_engines(_engines(forgetful=engine), [("a", FRAMES)])
    assert result.mismatches > 0
    assert result.first is not None
    assert (result.first.engine, result.first.step) == ("forgetful", 3)  # where the second call begins


def _reference_output() -> Array:
    engine = ReferenceEngine(tiny_network())
    engine.reset(4)
    return engine.run(FRAMES).output


def test_every_engine_is_compared_with_the_first() -> None:
    wrong = Faulty({("lif1", 0, 0, 0, 0): 1})
    good = ReferenceEngine(tiny_network())
    result = compare_engines(_engines(good=good, wrong=wrong), [("a", FRAMES)])
    assert result.engines == ("reference", "good", "wrong")
    assert result.cells == 2 * 6 * 4 * (NEURONS + 2)
    assert result.mismatches == 1
    assert result.first is not None
    assert result.first.engine == "wrong"


def test_a_recording_of_one_step() -> None:
    result = compare_engines(_engines(faulty=Faulty({("output", 0, 0, 0): 5})), [("a", FRAMES[:1])])
    assert result.mismatches == 1


def test_an_engine_compared_with_itself_alone_compares_nothing() -> None:
    result = compare_engines(_engines(), [("a", FRAMES)])
    assert (result.samples, result.cells, result.mismatches) == (4, 0, 0)
