"""Correction after rounding: biases and thresholds that make up for it, within bounds that are declared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikeloom.compiler.agreement import ask_oracle, can_ask_oracle
from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.verify import verify
from spikeloom.compiler.quantize import correct as correction
from spikeloom.compiler.quantize.correct import correct
from spikeloom.compiler.quantize.sequences import run_sequence
from tests.integer_networks import NAMES, PROFILES, canonical, capture_of, frames_of, quantized


def _spikes(graph: Graph, frames: Array) -> dict[str, Array]:
    run = Interpreter(graph)
    run.reset(frames.shape[1])
    steps = [run.step(frame) for frame in frames]
    return {node.name: np.stack([values[node.output] for values in steps]) for node in graph.neurons()}


def _flips(graph: Graph, name: str) -> float:
    trained, integer = (_spikes(g, frames_of(name)) for g in (canonical(name)[0], graph))
    return float(np.mean([(trained[layer] != integer[layer]).mean() for layer in trained]))


@pytest.mark.parametrize("name", NAMES)
def test_a_sequence_is_the_steps_one_after_the_other(name: str) -> None:
    for graph in (canonical(name)[0], quantized(name).graph):
        whole, steps = run_sequence(graph, frames_of(name)), _spikes(graph, frames_of(name))
        for layer, spikes in steps.items():
            np.testing.assert_array_equal(whole[layer], spikes)


@pytest.mark.parametrize("bits", [2, 3])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_fewer_spikes_differ_than_before(name: str, profile: str, bits: int) -> None:
    before = quantized(name, profile, bits)
    frames = frames_of(name)
    after, made = correct(canonical(name)[0], before, PROFILES[profile](bits), frames, frames)
    assert [one.layer for one in made] == [node.name for node in before.graph.neurons()]
    fewer = any(one.bias or one.threshold for one in made)
    assert fewer or name == "BatchFirst"  # whose only layer takes spikes times whole numbers
    assert _flips(after.graph, name) <= _flips(before.graph, name) * (1 if not fewer else 0.999)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_it_stays_on_the_grid(name: str, profile: str) -> None:
    grid, frames = PROFILES[profile](4), frames_of(name)
    result, _ = correct(canonical(name)[0], quantized(name, profile, 4), grid, frames, frames)
    verify(result.graph)
    limit = 2 ** (grid.bias_mantissa_bits - 1) - 1
    for node in result.graph.nodes:
        if isinstance(node.op, IntegerNeuron):
            assert not (node.op.theta % grid.threshold_step).any()
            assert any(
                not (node.op.bias % 2**e).any() and (np.abs(node.op.bias) >> e).max() <= limit
                for e in range(2**grid.bias_exponent_bits)
            )


@pytest.mark.parametrize("name", NAMES)
def test_what_is_corrected_is_in_the_bounds(name: str) -> None:
    """The oracle judges every decision by them."""
    found, frames = capture_of(name), frames_of(name)
    result, _ = correct(canonical(name)[0], quantized(name, "onnx", 4), PROFILES["onnx"](4), frames, frames)
    assert can_ask_oracle(found, result)
    assert ask_oracle(found, result, frames).cells > 0


@pytest.mark.parametrize("profile", PROFILES)
def test_each_weight_goes_up_or_down(profile: str) -> None:
    name, frames = "spikformer", frames_of("spikformer")
    trained, before = canonical(name)[0], quantized(name, profile, 3)
    after, _ = correct(trained, before, PROFILES[profile](3), frames, frames)
    assert any(grid.together for grid in after.grids)
    for grid in after.grids:
        whole, real = (graph.node(grid.layer).op for graph in (after.graph, trained))
        assert isinstance(whole, (Convolution, Linear))
        assert isinstance(real, (Convolution, Linear))
        steps = after.steps[grid.layer].reshape(-1, *(1,) * (real.weight.ndim - 1))
        apart = np.abs(whole.weight - np.clip(real.weight / steps, -3, 3))
        assert apart.max() < (1 if grid.together else 0.5 + 1e-9)
        assert np.abs(whole.weight).max() == grid.largest


def test_weights_with_which_more_spikes_differ_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def worse(weight: Array, products: Array, limit: int) -> Array:
        return (
            np.where(np.rint(weight) > weight, np.floor(weight), np.ceil(weight))
            .clip(-limit, limit)
            .astype(np.int8)
        )

    monkeypatch.setattr(correction, "round_together", worse)
    name, frames = "Convolutional", frames_of("Convolutional")
    before = quantized(name, "onnx", 3)
    after, _ = correct(canonical(name)[0], before, PROFILES["onnx"](3), frames, frames)
    assert not any(grid.together for grid in after.grids)
    for grid in before.grids:
        kept, was = (graph.node(grid.layer).op for graph in (after.graph, before.graph))
        assert isinstance(kept, (Convolution, Linear))
        assert isinstance(was, (Convolution, Linear))
        np.testing.assert_array_equal(kept.weight, was.weight)


def test_a_shift_of_all_biases_is_found_and_undone() -> None:
    name, frames = "Convolutional", frames_of("Convolutional")
    good = quantized(name)
    nodes = tuple(
        replace(node, op=replace(node.op, bias=node.op.bias + 500))
        if isinstance(node.op, IntegerNeuron)
        else node
        for node in good.graph.nodes
    )
    shifted = replace(good, graph=good.graph.replace(nodes=nodes))
    result, _ = correct(canonical(name)[0], shifted, PROFILES["onnx"](8), frames, frames)
    assert _flips(shifted.graph, name) > 3 * _flips(good.graph, name)
    assert _flips(result.graph, name) <= _flips(good.graph, name)
    first, now = (graph.node("lif1").op for graph in (good.graph, result.graph))
    assert isinstance(first, IntegerNeuron)
    assert isinstance(now, IntegerNeuron)
    assert np.abs(now.bias - first.bias).max() < 60


def test_no_potential_may_overflow_for_it() -> None:
    """With a state of just the width that holds the bound, a bias that would leave it is not taken."""
    name, frames = "Convolutional", frames_of("Convolutional")
    result = quantized(name, "onnx", 2)
    nodes = []
    for node in result.graph.nodes:
        if isinstance(node.op, IntegerNeuron):
            low, high = node.op.potential_bounds(result.graph.types[node.inputs[0]])
            tight = replace(node.op, state_bits=max(-low, high).bit_length() + 1)
            node = replace(node, op=tight)
        nodes.append(node)
    tight_graph = result.graph.replace(nodes=tuple(nodes))
    after, _ = correct(
        canonical(name)[0], replace(result, graph=tight_graph), PROFILES["onnx"](2), frames, frames
    )
    verify(after.graph)
