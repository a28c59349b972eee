"""Executions of NIR: the traces that simulators published for one neuron, and equations computed by hand."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeloom.compiler.frontends.nir.file import NirGraph, NirNode, read_nir
from spikeloom.compiler.frontends.nir.lower import lower_nir
from spikeloom.compiler.frontends.nir.rules import RULES
from spikeloom.compiler.frontends.nir.semantics import PRESETS, preset
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import REAL, SPIKES, Type
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.errors import UnsupportedError

PAPER = "conformance/nir_paper"
THRESHOLD = 0.1

# trace: preset, file, time step, what the trace counts potentials in, spikes
PUBLISHED: dict[str, tuple[str, str, float, list[int]]] = {
    "lava_cpu_float": ("lava", "lif_norse.nir", 1.0, [461, 511, 711, 761]),
    "nengo": ("nengo", "lif_norse.nir", 1 / THRESHOLD, [460, 510, 710, 760]),
    "norse": ("norse", "lif_norse.nir", 1.0, [460, 510, 710, 760]),
    "rockpool": ("rockpool", "lif_rockpool.nir", 1.0, [450, 500, 710, 760]),
    "sinabs": ("sinabs", "lif_norse.nir", 1.0, [450, 500, 710, 760]),
    "snntorch": ("snntorch", "lif_norse.nir", 25.0, [460, 510, 710, 760]),
    "spinnaker2": ("spinnaker2", "lif_norse.nir", 25.0, [460, 510, 710, 760]),
    "spyx": ("spyx", "lif_norse.nir", 1.0, [461, 511, 711, 761]),
}


def _run(nir: NirGraph, name: str, dt: float, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spikes and potentials [steps], those of the only neuron."""
    graph = lower_nir(nir, preset(name, dt), REAL)
    (neuron,) = graph.neurons()
    run = Interpreter(graph)
    run.reset(1)
    spikes, potentials = [], []
    for x in inputs:
        values = run.step(np.array([[x]]))
        spikes.append(values[graph.outputs[0]][0, 0])
        fired = values[neuron.name][0, 0] * getattr(neuron.op, "subtracted", 0) * preset(name).late
        potentials.append(run.state[f"{neuron.name}/v"][0, 0] + fired)  # spyx records before the reset
    return np.array(spikes), np.array(potentials)


@pytest.mark.parametrize("trace", PUBLISHED)
def test_published_traces_are_reproduced(trace: str, data: Path) -> None:
    """Every spike; potentials within the rounding of float32, in which the simulators computed."""
    name, file, unit, fired = PUBLISHED[trace]
    inputs, potentials, spikes = np.loadtxt(data / PAPER / f"lif_{trace}.csv", delimiter=",").T
    nir = read_nir(data / PAPER / file)
    if trace == "spinnaker2":  # its weights are integers: 1 times 102.02 is rounded to 102
        inputs = inputs * 102 / 102.02
    ours, reached = _run(nir, name, 1e-4, inputs)
    assert np.flatnonzero(ours).tolist() == fired
    np.testing.assert_array_equal(ours, spikes)
    np.testing.assert_allclose(reached * unit, potentials, rtol=1e-6, atol=1e-7 * unit)


def test_every_trace_has_another_preset_that_fails_it(data: Path) -> None:
    """The traces tell executions apart: one preset does not pass for another."""
    inputs, potentials, _ = np.loadtxt(data / PAPER / "lif_norse.csv", delimiter=",").T
    nir = read_nir(data / PAPER / "lif_norse.nir")
    apart = {
        name: np.abs(_run(nir, name, 1e-4, inputs)[1] - potentials).max()
        for name in PRESETS
        if name != "norse"
    }
    assert {name for name, difference in apart.items() if difference < 1e-6} == {
        "nir", "snntorch", "spinnaker2",
    }  # fmt: skip


def test_lava_in_fixed_point(data: Path) -> None:
    """w = 10, dv = 163, du = 4095, vth = 25 (SOURCES.md): every potential and spike, one step later."""
    inputs, potentials, spikes = np.loadtxt(data / PAPER / "lif_lava_cpu_fixed.csv", delimiter=",").T
    op = IntegerNeuron(np.array([25 << 6]), np.array(0), decay=163, fraction_bits=6)
    state = op.initial(Type((1,), SPIKES))
    late = np.concatenate([[0], inputs[:-1]]).astype(np.int64)
    for step, x in enumerate(late):
        (fired,), state = op.step((np.array([[10 * x]]),), state)
        assert (fired.item(), state["v"].item()) == (spikes[step], potentials[step])


def _cuba(count: int = 3) -> dict[str, Any]:
    parameters = {"tau_syn": 4e-4, "tau_mem": 2e-3, "r": 6.0, "v_leak": 0.05, "v_threshold": 0.8, "w_in": 2.0}
    return {name: np.full(count, value) for name, value in parameters.items()}


def _chain(*nodes: NirNode, count: int = 3) -> NirGraph:
    names = ["input", *map(str, range(len(nodes))), "output"]
    ends = {"input": NirNode("Input", {"shape": np.array([count])}), "output": NirNode("Output", {})}
    return NirGraph({**ends, **{str(i): node for i, node in enumerate(nodes)}}, tuple(pairwise(names)))


def _outputs(nir: NirGraph, name: str, inputs: np.ndarray, **options: Any) -> np.ndarray:
    graph = lower_nir(nir, preset(name, **options), REAL, steps=len(inputs))
    run = Interpreter(graph)
    run.reset(1)
    return np.stack([run.step(x[None])[graph.outputs[0]][0] for x in inputs])


INPUTS = (np.random.default_rng(3).random((120, 3)) < 0.5) * np.array([1.0, 0.7, 0.4])


@pytest.mark.parametrize(("name", "fresh", "soft"), [
    ("nir", False, False), ("snntorch", True, False), ("snntorch-subtract", True, True),
])  # fmt: skip
def test_current_based_neurons(name: str, fresh: bool, soft: bool) -> None:
    """Explicit Euler as NIR's reference for CubaLIF writes it: the membrane takes the current before."""
    dt = 1e-4
    p = {key: value[0] for key, value in _cuba().items()}
    current = potential = np.zeros(3)
    wanted = []
    for x in INPUTS:
        before = current
        current = before + dt / p["tau_syn"] * (p["w_in"] * x - before)
        drive = p["r"] * (current if fresh else before)
        potential = potential + dt / p["tau_mem"] * (p["v_leak"] - potential + drive)
        fired = potential > p["v_threshold"]
        potential = potential - fired * p["v_threshold"] if soft else np.where(fired, 0, potential)
        wanted.append(fired)
    assert 5 < np.sum(wanted) < 200
    np.testing.assert_array_equal(_outputs(_chain(NirNode("CubaLIF", _cuba())), name, INPUTS), wanted)


def test_membranes_that_never_fire() -> None:
    dt, rest = 1e-4, np.array([0.0, 0.1, 0.2])
    leaky = {"tau": np.full(3, 1e-3), "r": np.array([1.0, 2.0, 3.0]), "v_leak": rest}
    potential, wanted = np.zeros(3), []
    for x in INPUTS:
        potential = potential + dt / 1e-3 * (rest - potential + leaky["r"] * x)
        wanted.append(potential)
    np.testing.assert_allclose(_outputs(_chain(NirNode("LI", leaky)), "nir", INPUTS), wanted, atol=1e-12)
    total = _outputs(_chain(NirNode("I", {"r": np.full(3, 2.0)})), "nir", INPUTS)
    np.testing.assert_allclose(total, 2 * INPUTS.cumsum(0), atol=1e-12)
    cuba = {key: value for key, value in _cuba().items() if key != "v_threshold"}
    current, potential, wanted = np.zeros(3), np.zeros(3), []
    for x in INPUTS:
        before = current
        current = before + 0.25 * (2.0 * x - before)
        potential = potential + 0.05 * (0.05 - potential + 6.0 * before)
        wanted.append(potential)
    np.testing.assert_allclose(_outputs(_chain(NirNode("CubaLI", cuba)), "nir", INPUTS), wanted, atol=1e-12)


def test_delays_and_thresholds() -> None:
    late = _outputs(_chain(NirNode("Delay", {"delay": np.array([0, 2e-4, 5e-4], "f4")})), "nir", INPUTS)
    for neuron, steps in enumerate((0, 2, 5)):
        np.testing.assert_array_equal(late[steps:, neuron], INPUTS[: len(INPUTS) - steps, neuron])
        assert not late[:steps, neuron].any()
    level = np.array([0.5, -0.1, 0.4])
    reached = _outputs(_chain(NirNode("Threshold", {"threshold": level})), "nir", INPUTS)
    np.testing.assert_array_equal(reached, level < INPUTS)
    at = np.tile(level, (2, 1))
    assert not _outputs(_chain(NirNode("Threshold", {"threshold": level})), "nir", at).any()


def test_neurons_fire_above_a_threshold_or_at_it() -> None:
    node = NirNode("IF", {"r": np.ones(3), "v_threshold": np.full(3, 2.0)})
    ones = np.ones((4, 3))
    assert _outputs(_chain(node), "nir", ones)[:, 0].tolist() == [0, 0, 1, 0]
    assert _outputs(_chain(node), "sinabs", ones)[:, 0].tolist() == [0, 1, 0, 1]


def test_pooling_and_flatten() -> None:
    geometry = {"kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([0, 0])}
    x = np.arange(32.0).reshape(2, 4, 4)
    windows = x.reshape(2, 2, 2, 2, 2)
    for kind, wanted in (("SumPool2d", windows.sum((2, 4))), ("AvgPool2d", windows.mean((2, 4)))):
        flat = NirNode("Flatten", {"start_dim": np.int64(0), "end_dim": np.int64(-1)})
        nir = _chain(NirNode(kind, geometry), flat)
        shaped = {**nir.nodes, "input": NirNode("Input", {"shape": np.array([2, 4, 4])})}
        out = _outputs(NirGraph(shaped, nir.edges), "nir", x[None])
        np.testing.assert_allclose(out[0], wanted.reshape(-1))


def test_graphs_within_graphs_are_taken_apart() -> None:
    inner = _chain(NirNode("Scale", {"scale": np.array([1.0, 2.0, 3.0])}))
    outer = _chain(NirNode("Scale", {"scale": np.full(3, 2.0)}))
    nodes = {**outer.nodes, "g": inner}
    nir = NirGraph(nodes, (("input", "0"), ("0", "g"), ("g", "output")))
    assert _outputs(nir, "nir", np.ones((1, 3))).tolist() == [[2.0, 4.0, 6.0]]


def _loop(neuron: NirNode, back: dict[str, NirNode], edges: tuple[tuple[str, str], ...] = ()) -> NirGraph:
    """Neurons 0, and a chain of nodes from them to themselves."""
    plain = _chain(neuron)
    way = ["0", *back, "0"]
    return NirGraph({**plain.nodes, **back}, (*plain.edges, *pairwise(way), *edges))


BACK = np.array([[0.0, 0.3, -0.2], [0.5, -0.4, 0.1], [-0.6, 0.2, 0.3]])
BACK_BIAS = np.array([0.02, -0.01, 0.03])


@pytest.mark.parametrize("wait", [1, 3])
@pytest.mark.parametrize("name", ["nir", "snntorch", "snntorch-subtract", "lava", "spyx"])
def test_spikes_come_back_to_leaky_neurons(name: str, wait: int) -> None:
    """V' = ... + r (x + W s + b): s of the step before, or of earlier ones through a Delay."""
    rule, r, threshold = preset(name), 8.0, np.array([1.0, 0.8, 1.2])
    share = rule.dt / 1e-3
    potential, sent = np.zeros(3), [np.zeros(3)] * wait
    arriving = [np.zeros(3)] * rule.delay + [x + BACK_BIAS for x in INPUTS]
    for x in arriving[: len(INPUTS)]:
        if rule.late:  # the threshold is taken after the leak of the next step
            potential = potential - sent[-1] * threshold / (1 - share)
        potential = potential + share * (r * (x + BACK @ sent[-wait]) - potential)
        fired = potential > threshold
        if not rule.late:
            kept = potential - threshold if rule.reset == "soft" else 0.0
            potential = np.where(fired, kept, potential)
        sent.append(fired.astype(float))
    wanted = np.array(sent[wait:])
    assert 0.05 < wanted.mean() < 0.8
    neuron = NirNode("LIF", {
        "tau": np.full(3, 1e-3), "r": np.full(3, r), "v_leak": np.zeros(3), "v_threshold": threshold,
    })  # fmt: skip
    way = {"w_rec": NirNode("Affine", {"weight": BACK, "bias": BACK_BIAS})}
    late = {"wait": NirNode("Delay", {"delay": np.full(3, (wait - 1) * rule.dt)})} if wait > 1 else {}
    got = _outputs(_loop(neuron, {**late, **way}), name, INPUTS)
    np.testing.assert_array_equal(got[rule.late :], wanted[: len(wanted) - rule.late])


@pytest.mark.parametrize(("name", "fresh"), [("nir", False), ("snntorch", True), ("norse", True)])
def test_spikes_come_back_to_current_based_neurons(name: str, fresh: bool) -> None:
    """The current takes them with the input; a potential that takes the current before, a step later."""
    dt, p = 1e-4, {key: value[0] for key, value in _cuba().items()}
    current = potential = spikes = np.zeros(3)
    wanted = []
    for x in INPUTS:
        before = current
        arriving = x + BACK @ spikes
        current = before + dt / p["tau_syn"] * (p["w_in"] * arriving - before)
        drive = p["r"] * (current if fresh else before)
        potential = potential + dt / p["tau_mem"] * (p["v_leak"] - potential + drive)
        fired = potential > p["v_threshold"]
        potential, spikes = np.where(fired, 0, potential), fired.astype(float)
        wanted.append(fired)
    assert 5 < np.sum(wanted) < 300
    graph = _loop(NirNode("CubaLIF", _cuba()), {"w_rec": NirNode("Linear", {"weight": BACK})})
    np.testing.assert_array_equal(_outputs(graph, name, INPUTS), wanted)


def test_a_layer_within_a_graph_of_its_own_is_the_same() -> None:
    """As nirtorch writes recurrent layers: Input, neurons, weights and Output."""
    neuron, way = NirNode("CubaLIF", _cuba()), NirNode("Linear", {"weight": BACK})
    flat = _loop(neuron, {"w_rec": way})
    shape = {"shape": np.array([3])}
    inner = NirGraph(
        {"input": NirNode("Input", shape), "lif": neuron, "w_rec": way, "output": NirNode("Output", shape)},
        (("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")),
    )
    nodes = {name: node for name, node in flat.nodes.items() if name not in ("0", "w_rec")}
    edges = tuple(edge for edge in flat.edges if "w_rec" not in edge)
    whole = NirGraph({**nodes, "0": inner}, edges)
    np.testing.assert_array_equal(_outputs(whole, "snntorch", INPUTS), _outputs(flat, "snntorch", INPUTS))


def test_neurons_that_drive_themselves_alone() -> None:
    """An edge to itself, and one through a Scale."""
    direct = _loop(NirNode("CubaLIF", _cuba()), {})
    ones = _loop(NirNode("CubaLIF", _cuba()), {"own": NirNode("Scale", {"scale": np.ones(3)})})
    plain = _chain(NirNode("CubaLIF", _cuba()))
    spikes = _outputs(direct, "snntorch", INPUTS)
    np.testing.assert_array_equal(spikes, _outputs(ones, "snntorch", INPUTS))
    assert np.sum(spikes) > np.sum(_outputs(plain, "snntorch", INPUTS))


LINEAR = {"w": NirNode("Linear", {"weight": BACK})}
CYCLES: list[tuple[NirGraph, str]] = [
    (
        _loop(NirNode("CubaLIF", _cuba()), {"t": NirNode("Threshold", {"threshold": np.ones(3)})}),
        "through Thr",
    ),
    (_loop(NirNode("CubaLIF", _cuba()), {"b": NirNode("CubaLIF", _cuba())}), "several layers of neurons"),
    (_loop(NirNode("Scale", {"scale": np.ones(3)}), LINEAR), "no neurons on it"),
    (_loop(NirNode("CubaLIF", _cuba()), LINEAR, (("0", "0"),)), "several ways back"),
    (_loop(NirNode("CubaLIF", _cuba()), LINEAR, (("w", "output"),)), "output stands beside w"),
    (_loop(NirNode("CubaLIF", _cuba()), LINEAR, (("input", "w"),)), "input stands beside w"),
    (
        _loop(NirNode("CubaLIF", _cuba()), {"d": NirNode("Delay", {"delay": np.array([0, 1, 2]) * 1e-4})}),
        "delays that differ",
    ),
]


@pytest.mark.parametrize(("graph", "what"), CYCLES, ids=[what for _, what in CYCLES])
def test_cycles_that_have_no_counterpart_are_named(graph: NirGraph, what: str) -> None:
    with pytest.raises(UnsupportedError, match=f"recurrent connections have no counterpart: .*{what}"):
        lower_nir(graph, preset("nir"), REAL)


def _affine(weight: np.ndarray, bias: np.ndarray) -> dict[str, NirNode]:
    return {"w": NirNode("Affine", {"weight": weight, "bias": bias})}


UNFIT: dict[str, dict[str, NirNode]] = {
    "not square": {"w": NirNode("Linear", {"weight": BACK[:2]})},
    "of fewer neurons": {"w": NirNode("Linear", {"weight": BACK[:2, :2]})},
    "not finite": {"w": NirNode("Linear", {"weight": np.full((3, 3), np.nan)})},
    "no numbers": {"w": NirNode("Linear", {"weight": np.full((3, 3), "a")})},
    "a short bias": _affine(BACK, np.ones(2)),
    "an infinite bias": _affine(BACK, np.full(3, np.inf)),
    "a short scale": {**LINEAR, "s": NirNode("Scale", {"scale": np.ones(2)})},
}


@pytest.mark.parametrize("back", UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_on_the_way_back_is_named(back: dict[str, NirNode]) -> None:
    with pytest.raises(UnsupportedError, match="SL0302"):
        lower_nir(_loop(NirNode("CubaLIF", _cuba()), back), preset("nir"), REAL)


def test_a_delay_of_no_step_may_follow_an_offset() -> None:
    plain = _loop(NirNode("CubaLIF", _cuba()), _affine(BACK, BACK_BIAS))
    late = {"d": NirNode("Delay", {"delay": np.zeros(3)})}
    delayed = _loop(NirNode("CubaLIF", _cuba()), {**_affine(BACK, BACK_BIAS), **late})
    np.testing.assert_array_equal(_outputs(plain, "nir", INPUTS), _outputs(delayed, "nir", INPUTS))


def test_every_node_of_nir_has_a_rule() -> None:
    """The list of NIR 1.0.8 (nir/ir/__init__.py), without graphs, which are taken apart."""
    theirs = """Affine AvgPool2d Conv1d Conv2d CubaLI CubaLIF Delay Flatten I IF Input LI LIF Linear Output
    Scale SumPool2d Threshold"""
    assert set(RULES) == set(theirs.split())
