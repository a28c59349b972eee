"""The integer neuron against its equations written out for one neuron in plain Python."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.compiler.graph.kinds import REAL, SPIKES, Type, current, levels
from spikeloom.compiler.graph.op import RuleBrokenError
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from tests.operation_cases import Case, cases, random_values

NEURONS = cases("integer_neuron", integer=True)
SEEDS = st.integers(0, 2**32 - 1)


def _leak(value: int, decay: int) -> int:
    """value * (4096 - decay) / 4096 without its fraction."""
    scaled = abs(value) * (4096 - decay) // 4096
    return scaled if value >= 0 else -scaled


def _run_alone(op: IntegerNeuron, at: tuple[int, ...], inputs: list[int]) -> Iterator[tuple[int, int, int]]:
    """Spike, v before the reset and v after it of one neuron, from rest."""

    def own(array: Any, shape: tuple[int, ...]) -> int:
        return int(np.broadcast_to(array, shape)[at])

    shape = tuple(n + 1 for n in at)
    shape = tuple(max(n, m) for n, m in zip(shape, op.theta.shape[1:], strict=True))
    thetas = [own(theta, shape) for theta in op.theta]
    bias = own(op.bias, shape)
    step_down = None if op.reset_by is None else own(op.reset_by, shape)
    u = v = 0
    for x in inputs:
        drive = x * 2**op.fraction_bits
        u = drive if op.current_decay is None else _leak(u, op.current_decay) + drive
        v = _leak(v, op.decay) + u + bias
        before = v
        spike = sum(v > theta for theta in thetas)
        if spike:
            v = 0 if step_down is None else v - spike * step_down
        yield spike, before, v


def _run_layer(op: IntegerNeuron, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spikes and potentials after the reset, [steps, batch, ...], from rest."""
    x = Type(inputs.shape[2:], SPIKES)
    state = {name: np.broadcast_to(v, inputs.shape[1:]).copy() for name, v in op.initial(x).items()}
    spikes, potentials = [], []
    for step in inputs:
        (s,), state = op.step((step,), state)
        spikes.append(s)
        potentials.append(state["v"])
    return np.stack(spikes), np.stack(potentials)


@settings(max_examples=60)
@given(NEURONS, SEEDS)
def test_each_neuron_follows_its_equations(case: Case, seed: int) -> None:
    op, (x,) = case.op, case.types
    assert isinstance(op, IntegerNeuron)
    inputs = random_values(np.random.default_rng(seed), x, batch=8)[:, None]  # 8 steps of a sample
    spikes, potentials = _run_layer(op, inputs)
    for at in np.ndindex(*x.shape):
        alone = list(_run_alone(op, at, inputs[(slice(None), 0, *at)].tolist()))
        assert [spike for spike, _, _ in alone] == spikes[(slice(None), 0, *at)].tolist()
        assert [after for _, _, after in alone] == potentials[(slice(None), 0, *at)].tolist()


def test_cases_above_reach_every_kind_of_neuron() -> None:
    seen: set[tuple[bool, bool, bool]] = set()

    @settings(max_examples=60)
    @given(NEURONS)
    def look(case: Case) -> None:
        assert isinstance(case.op, IntegerNeuron)
        seen.add((case.op.reset == "soft", case.op.current_decay is None, case.op.levels > 1))

    look()
    assert seen == set(product((False, True), repeat=3))


# --- bounds ----------------------------------------------------------------------------------------------


def _reachable(op: IntegerNeuron, low: int, high: int, steps: int) -> set[int]:
    """Every u and v of a single neuron that some sequence of inputs leads to, by exhaustion."""
    states, seen = {(0, 0)}, {0}
    for _ in range(steps):
        following = set()
        for (u, v), x in product(states, range(low, high + 1)):
            drive = x * 2**op.fraction_bits
            u = drive if op.current_decay is None else _leak(u, op.current_decay) + drive
            v = _leak(v, op.decay) + u + int(op.bias[0])
            seen |= {u, v}
            if spike := int((v > op.theta[:, 0]).sum()):
                v = 0 if op.reset_by is None else v - spike * int(op.reset_by[0])
            seen.add(v)
            following.add((u if op.current_decay is not None else 0, v))
        states = following
    return seen


@st.composite
def small_neurons(draw: st.DrawFn) -> tuple[IntegerNeuron, int, int, int]:
    """A neuron, its input's interval and a number of steps, few enough to try every sequence."""
    number = st.integers
    low = draw(number(-2, 1))
    high = draw(number(low, 2))
    soft = draw(st.booleans())
    steps = draw(number(1, 7))
    op = IntegerNeuron(
        theta=np.sort(np.array(draw(st.lists(number(0, 12), min_size=1, max_size=3))))[:, None],
        bias=np.array([draw(number(-3, 3))]),
        decay=draw(st.sampled_from([0, 0, 500, 2048, 3500, 4096])),
        fraction_bits=draw(number(0, 2)),
        current_decay=draw(st.sampled_from([None, None, 1024, 4096])),
        reset="soft" if soft else "hard",
        reset_by=np.array([draw(number(1, 15))]) if soft else None,
        horizon=steps,
    )
    return op, low, high, steps


@settings(max_examples=150)
@given(small_neurons())
def test_no_sequence_leads_outside_of_the_bounds(drawn: tuple[IntegerNeuron, int, int, int]) -> None:
    op, low, high, steps = drawn
    bound_low, bound_high = op.potential_bounds(Type((1,), current(low, high)))
    seen = _reachable(op, low, high, steps)
    assert bound_low <= min(seen)
    assert max(seen) <= bound_high


@pytest.mark.parametrize("decay", [1, 100, 2048, 4095, 4096])
@pytest.mark.parametrize("current_decay", [None, 512])
def test_bounds_of_a_leaky_neuron_hold_for_ever_and_are_near(decay: int, current_decay: int | None) -> None:
    op = IntegerNeuron(np.array([[10**9]]), np.array([0]), decay, 4, current_decay, state_bits=40)
    low, high = op.potential_bounds(Type((1,), current(-7, 5)))
    for x, bound in ((5, high), (-7, low)):
        reached = [v for _, v, _ in _run_alone(op, (0,), [x] * 30_000)][-1]
        assert abs(reached) <= abs(bound) <= abs(reached) * 1.001 + 4


def test_bounds_of_a_neuron_without_leak_grow_with_its_horizon() -> None:
    def bounds(horizon: int) -> tuple[int, int]:
        op = IntegerNeuron(np.array([[100]]), np.array([-2]), 0, 6, state_bits=24, horizon=horizon)
        return op.potential_bounds(Type((1,), current(-3, 2)))

    assert bounds(1) == (-194, 128)  # the current itself is up to 128, the potential 126
    assert bounds(10) == (-1940, 100 + 126)  # a spike takes what is above 100


def test_bounds_are_those_of_the_neuron_with_the_highest_threshold() -> None:
    op = IntegerNeuron(np.array([[5, 1000]]), np.array([0]), 0, 6)
    assert op.potential_bounds(Type((2,), SPIKES)) == (0, 1064)


def test_a_neuron_that_neither_leaks_nor_is_reset_has_no_bound() -> None:
    op = IntegerNeuron(np.array([[100]]), np.array([0]), 0, 6, state_bits=24)
    with pytest.raises(RuleBrokenError, match="has no bound"):
        op.infer(Type((1,), current(-1, 1)))
    with pytest.raises(RuleBrokenError, match="16-bit state"):
        replace(op, state_bits=16).infer(Type((1,), current(-1, 1)))
    # its spikes bound it from above, so that without negative input there is nothing to refuse
    assert op.potential_bounds(Type((1,), SPIKES)) == (0, 164)


@pytest.mark.parametrize(("state_bits", "fits"), [(8, False), (9, True)])
def test_the_state_must_hold_the_bounds(state_bits: int, fits: bool) -> None:
    """An input of 1 is 128 state units: one more than 8 bits with sign hold."""
    op = IntegerNeuron(np.array([[100]]), np.array([0]), 4096, 7, state_bits=state_bits)
    if fits:
        assert op.infer(Type((1,), SPIKES)) == (Type((1,), SPIKES),)
    else:
        with pytest.raises(RuleBrokenError, match="8-bit state"):
            op.infer(Type((1,), SPIKES))


def test_the_current_must_fit_the_state_too() -> None:
    """A current that keeps three quarters grows to four times its drive of 64."""
    op = IntegerNeuron(np.array([[10]]), np.array([0]), 4096, 6, state_bits=8)
    assert op.potential_bounds(Type((1,), SPIKES)) == (0, 64)
    with pytest.raises(RuleBrokenError, match="8-bit state"):
        replace(op, current_decay=1024).infer(Type((1,), SPIKES))


# --- the rest of its rule ----------------------------------------------------------------------------------

GOOD = IntegerNeuron(np.array([[4], [9]]), np.array([0]), 2048, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"theta": np.array([[4.0], [9.0]])},
        {"bias": np.array([0.5])},
        {"theta": np.array([[-1], [9]])},
        {"theta": np.array([[9], [4]])},
        {"theta": np.array([[4, 4]])},
        {"bias": np.array([0, 0])},
        {"bias": np.array([[0], [0]])},
        {"reset": "soft"},
        {"reset": "never"},
        {"decay": -1},
        {"decay": 4097},
        {"current_decay": 4097},
        {"fraction_bits": -1},
        {"horizon": -1},
        {"reset_by": np.array([5])},
        {"reset": "soft", "reset_by": np.array([0])},
        {"reset": "soft", "reset_by": np.array([5.0])},
        {"reset": "soft", "reset_by": np.array([5, 5])},
    ],
    ids=str,
)
def test_parameters_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RuleBrokenError):
        replace(GOOD, **changes).infer(Type((3,), SPIKES))


def test_real_inputs_are_refused() -> None:
    with pytest.raises(RuleBrokenError, match="integers"):
        GOOD.infer(Type((3,), REAL))


def test_levels_and_states() -> None:
    x = Type((3,), SPIKES)
    assert GOOD.infer(x) == (Type((3,), levels(2)),)
    assert set(GOOD.states(x)) == {"v"}
    assert set(replace(GOOD, current_decay=100).states(x)) == {"u", "v"}
    assert replace(GOOD, state_bits=24).states(x)["v"].kind.bounds == (-(2**23) + 1, 2**23 - 1)


def test_a_spike_needs_more_than_theta() -> None:
    op = IntegerNeuron(np.array([[64]]), np.array([0]), 4096, 6)
    assert [s for s, _, _ in _run_alone(op, (0,), [1, 2])] == [0, 1]
    assert _run_layer(op, np.array([1, 2])[:, None, None])[0].ravel().tolist() == [0, 1]
