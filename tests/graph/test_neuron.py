"""The trained neuron against SpikingJelly's, step by step in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron as spikingjelly

from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.ops.neuron import Neuron

SHAPE = (50,)
STEPS = 40


def _lif(tau: float, v_reset: float | None, decay_input: bool, threshold: float) -> Neuron:
    rest = v_reset or 0.0
    return Neuron(
        decay=1 - 1 / tau,
        gain=1 / tau if decay_input else 1.0,
        threshold=threshold,
        drift=rest / tau,
        reset="soft" if v_reset is None else "hard",
        v_reset=rest,
    )


def _spikes_and_potentials(op: Neuron, currents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = Type(SHAPE, REAL)
    state = {name: np.broadcast_to(v, (1, *SHAPE)) for name, v in op.initial(x).items()}
    spikes, potentials = [], []
    for current in currents:
        (s,), state = op.step((current[None],), state)
        spikes.append(s[0])
        potentials.append(state["v"][0])
    return np.stack(spikes), np.stack(potentials)


def _spikingjelly(node: Any, currents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    node = node.double().eval()
    spikes, potentials = [], []
    for current in torch.from_numpy(currents):
        spikes.append(node(current).numpy())
        potentials.append(node.v.numpy().copy())
    return np.stack(spikes), np.stack(potentials)


@pytest.mark.parametrize("v_reset", [None, 0.0, 0.25, -0.6])
@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("tau", [1.3, 2.0, 8.0])
def test_lif_is_that_of_spikingjelly(tau: float, v_reset: float | None, decay_input: bool) -> None:
    currents = np.random.default_rng(0).normal(0.8, 1.2, (STEPS, *SHAPE)) * (tau if decay_input else 1)
    op = _lif(tau, v_reset, decay_input, threshold=0.9)
    node = spikingjelly.LIFNode(tau=tau, decay_input=decay_input, v_threshold=0.9, v_reset=v_reset)
    _compare(op, node, currents)


@pytest.mark.parametrize("v_reset", [None, 0.0, 0.25, -0.6])
def test_if_is_that_of_spikingjelly(v_reset: float | None) -> None:
    currents = np.random.default_rng(1).normal(0.2, 0.5, (STEPS, *SHAPE))
    reset = "soft" if v_reset is None else "hard"
    op = Neuron(1.0, 1.0, 0.9, reset=reset, v_reset=v_reset or 0.0)  # type: ignore[arg-type]
    _compare(op, spikingjelly.IFNode(v_threshold=0.9, v_reset=v_reset), currents)


def _compare(op: Neuron, node: Any, currents: np.ndarray) -> None:
    spikes, potentials = _spikes_and_potentials(op, currents)
    wanted, wanted_potentials = _spikingjelly(node, currents)
    assert 0.05 < wanted.mean() < 0.95
    np.testing.assert_array_equal(spikes, wanted)
    np.testing.assert_allclose(potentials, wanted_potentials, rtol=1e-12, atol=1e-12)


def test_it_fires_at_the_threshold_itself() -> None:
    (spikes,), _ = Neuron(0.5, 0.5, 1.0).step((np.array([[2.0, 2.0 - 1e-15]]),), {"v": np.zeros((1, 2))})
    assert spikes.tolist() == [[1.0, 0.0]]


def test_it_starts_at_its_resting_potential() -> None:
    x = Type((2,), REAL)
    assert Neuron(0.5, 0.5, 1.0, v_reset=-0.5).initial(x)["v"].tolist() == [-0.5, -0.5]
    assert Neuron(0.5, 0.5, 1.0, reset="soft").initial(x)["v"].tolist() == [0, 0]
