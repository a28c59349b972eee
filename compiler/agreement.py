"""How an integer network compares with the trained one in PyTorch.

Two measures. *Free running*: both run alone from the same frames; spikes and predictions are
compared and every difference is counted, since one early difference makes many. *Oracle*: the
user's own module in float64, its weights replaced by the rounded ones and nothing folded, is
forced at every step to the membrane potentials and spikes of the integer network; each weight,
potential, spike and output that differs must lie within the rounding bound that the quantizer
declared, or the compiler is wrong.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.op import Array, Op
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.batch_norm import BatchNorm
from spikeloom.compiler.graph.ops.embedding import Embedding
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.passes.fold_affine import per_channel
from spikeloom.compiler.quantize.quantize import Quantized
from spikeloom.errors import InternalError, Problem

if TYPE_CHECKING:
    from torch import Tensor, nn

    from spikeloom.compiler.frontends.torch.capture import Capture

FLOAT_NOISE = 1e-3
"""State units by which float64 sums may be off; a bound is some 1 to 50 units."""


@dataclass(frozen=True)
class LayerAgreement:
    """Spikes of one layer that differ from the trained network, out of ``cells``."""

    layer: str
    cells: int
    flips: int
    rate_trained: float
    rate_integer: float


@dataclass(frozen=True)
class Agreement:
    """Free-running comparison.

    Attributes:
        samples, steps: how many were compared.
        predictions: samples on which both predict the same class.
        layers: per neuron layer.
    """

    samples: int
    steps: int
    predictions: int
    layers: tuple[LayerAgreement, ...]

    def to_json(self) -> dict[str, Any]:
        """The comparison as a JSON object."""
        layers = [vars(layer) for layer in self.layers]
        return {
            "samples": self.samples,
            "steps": self.steps,
            "predictions": self.predictions,
            "layers": layers,
        }


@dataclass(frozen=True)
class OracleResult:
    """Outcome of a comparison decision by decision: a cell is a neuron in a time step, ``differing`` differ.

    Attributes:
        shares: by layer, the share of cells that differ; empty where they are not told apart.
    """

    samples: int
    steps: int
    cells: int
    differing: int
    shares: Mapping[str, float] = field(default_factory=dict)


def compare_free_running(
    output: Array, spikes: Mapping[str, Array], graph: Graph, frames: Array
) -> Agreement:
    """Run the integer network and compare with what eager PyTorch gave.

    Args:
        output: [steps, samples, classes] of eager PyTorch, or [1, samples, classes] for all steps.
        spikes: of each neuron layer, [steps, samples, ...] of eager PyTorch.
        graph: the integer graph; its layers may be late.
        frames: [steps, samples, ...], as many as it runs.
    """
    interpreter = Interpreter(graph)
    interpreter.reset(frames.shape[1])
    evidence: Array = np.zeros(output.shape[1:], np.int64)
    flips = dict.fromkeys(spikes, 0)
    fired = dict.fromkeys(spikes, 0)
    wanted = {*spikes, graph.outputs[0]}
    for step, frame in enumerate(frames):
        values = interpreter.step(frame, keep=wanted)
        answer = values[graph.outputs[0]]
        evidence = answer if graph.answers_at_the_end else evidence + answer
        for name, trained in spikes.items():
            at = step - graph.lateness[name]
            if 0 <= at < len(trained):
                real = values[name] * graph.units[name].scale
                flips[name] += int((np.abs(real - trained[at].reshape(real.shape)) > 1e-6).sum())
                fired[name] += int((values[name] != 0).sum())
    layers = tuple(
        LayerAgreement(name, s.size, flips[name], float((s != 0).mean()), fired[name] / s.size)
        for name, s in spikes.items()
    )
    flat = evidence.reshape(len(evidence), -1)
    same = flat.argmax(1) == output.sum(0).reshape(len(flat), -1).argmax(1)
    return Agreement(frames.shape[1], len(frames), int(same.sum()), layers)


def can_ask_oracle(capture: Capture, quantized: Quantized) -> bool:
    """Whether the bound of :func:`ask_oracle` holds for a network.

    Its weights must be parameters of the model, and no product of several; its input whole numbers, and no
    value may be rounded between the weights and a neuron, nor in a table.
    """
    rounds = any(isinstance(node.op, Rescale) for node in quantized.graph.nodes)
    tables = [node.output for node in quantized.graph.nodes if isinstance(node.op, Embedding)]
    units = [quantized.graph.units[name] for name in (*quantized.graph.inputs, *tables)]
    whole = all(np.all(unit.scale == 1) and np.all(unit.offset == 0) for unit in units)
    stored = all(
        grid.layer in capture.weights
        and _weight(quantized.graph, grid.layer).shape == _weight(capture.graph, grid.layer).shape
        for grid in quantized.grids
    )
    plain = all(_is_plain(node.op) for node in capture.graph.neurons())
    plain = plain and all(
        hasattr(capture.model.get_submodule(node.name), "v_threshold") for node in capture.graph.neurons()
    )
    return capture.steppable and whole and stored and plain and not rounds


def _is_plain(op: Op) -> bool:
    """Whether a neuron has one potential, which reaches its threshold and loses that."""
    if not isinstance(op, Neuron) or op.levels != 1 or op.memoryless:
        return False
    return op.current_decay is None and op.reset_by is None and not op.strict


def teacher_forced(canonical: Graph, quantized: Quantized, frames: Array, real: Array) -> OracleResult:
    """Compare every decision of every neuron with the float64 graph on the trained weights.

    At every step each neuron of the float64 network starts from the integer network's membrane, and its
    spikes are replaced by the integer network's before they go on: what differs is the error of this
    layer's own rounding and of whatever is rounded since the last neuron layer.

    Args:
        canonical: the graph that was quantized.
        quantized: made from it.
        frames: bytes [steps, samples, ...].
        real: their real values.
    """
    integer, trained = Interpreter(quantized.graph), Interpreter(canonical)
    for interpreter in (integer, trained):
        interpreter.reset(frames.shape[1])
    layers = {node.name for node in canonical.neurons()}
    units = {name: _state_units(quantized, name) for name in layers}
    taught = _Taught(trained.state, units)
    trained.state = taught
    cells, differing = dict.fromkeys(layers, 0), dict.fromkeys(layers, 0)
    for frame, decoded in zip(frames, real, strict=True):
        taught.before = dict(integer.state)
        forced = _Forced(quantized.graph)
        for name, spikes in integer.values(frame):
            if name in layers:
                forced.keep(name, spikes)
        for name, decided in trained.values(decoded, forced=forced):
            if name in layers:
                cells[name] += decided.size
                differing[name] += int((~np.isclose(decided, forced[name])).sum())
                taught.forget(name)
    shares = {name: differing[name] / cells[name] for name in layers}
    return OracleResult(frames.shape[1], len(frames), sum(cells.values()), sum(differing.values()), shares)


class _Taught(dict[str, Array]):
    """States of the float64 network: those of neurons are the integer network's, made when they are read.

    Held all at once, the states of a large network take more memory than its weights.
    """

    def __init__(self, own: Mapping[str, Array], units: Mapping[str, Mapping[str, Array]]) -> None:
        self._units = {
            f"{layer}/{state}": unit for layer, of_layer in units.items() for state, unit in of_layer.items()
        }
        self._of_layer = {layer: [f"{layer}/{state}" for state in states] for layer, states in units.items()}
        self.before: Mapping[str, Array] = {}
        super().__init__((name, array) for name, array in own.items() if name not in self._units)

    def __missing__(self, name: str) -> Array:
        taught: Array = self.before[name] * self._units[name]
        return taught

    def forget(self, layer: str) -> None:
        """Drop what a layer's own step made of its states."""
        for name in self._of_layer[layer]:
            self.pop(name, None)


class _Forced(Mapping[str, Array]):
    """The real values of the integer network's spikes, made of small integers when they are read."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._spikes: dict[str, Array] = {}

    def keep(self, name: str, spikes: Array) -> None:
        """Enter the spikes of a layer."""
        narrowest = np.result_type(*map(np.min_scalar_type, self._graph.types[name].kind.bounds))
        self._spikes[name] = spikes.astype(narrowest)

    def __getitem__(self, name: str) -> Array:
        spikes, unit = self._spikes[name].astype(np.int64), self._graph.units[name]
        real: Array = spikes * unit.scale + unit.offset
        return real

    def __iter__(self) -> Iterator[str]:
        return iter(self._spikes)

    def __len__(self) -> int:
        return len(self._spikes)


def _state_units(quantized: Quantized, layer: str) -> dict[str, Array]:
    """The real value of one unit of each state of a neuron layer."""
    op = quantized.graph.node(layer).op
    if isinstance(op, EquationNeuron):
        return dict.fromkeys(op.program.states, np.array(2.0**-op.fraction_bits))
    if isinstance(op, IntegerNeuron | RecurrentNeuron):
        names = ("v",) if op.current_decay is None else ("u", "v")
        spikes = ("s", "earlier") if isinstance(op, RecurrentNeuron) else ()
        return dict.fromkeys(names, quantized.bounds[layer].unit) | dict.fromkeys(spikes, np.ones(()))
    return {}


def ask_oracle(capture: Capture, quantized: Quantized, frames: Array) -> OracleResult:
    """Compare every decision of every neuron with float64 PyTorch on the rounded weights.

    Args:
        capture: of the trained model.
        quantized: made from it.
        frames: [steps, samples, ...].

    Raises:
        InternalError: SL0506, a weight, potential, spike or output differs outside of its bound; the
            first of each layer.
    """
    import torch

    from spikeloom.compiler.frontends.torch.eager import as_step, first_tensor, watching
    from spikeloom.compiler.frontends.torch.neurons import reset_states

    model = rounded_model(capture, quantized)
    reset_states(model)
    integer = Interpreter(quantized.graph)
    integer.reset(frames.shape[1])
    judge = _Judge(quantized, integer)
    with torch.no_grad(), watching(model, judge.after, judge.before):
        for step, frame in enumerate(frames):
            judge.advance(step, frame)
            result = model(as_step(torch.from_numpy(frame).double(), capture.input_shape))
            judge.output(first_tensor(result).numpy())
    if judge.problems:
        raise InternalError(judge.problems.values())
    return OracleResult(frames.shape[1], len(frames), judge.cells, judge.differing)


class _Judge:
    """Forces a float64 model to the integer network's states, and judges its potentials and spikes."""

    def __init__(self, quantized: Quantized, integer: Interpreter) -> None:
        self._graph = quantized.graph
        self._bounds = quantized.bounds
        self._integer = integer
        self._before: dict[str, Array] = {}
        self._values: Mapping[str, Array] = {}
        self._step = 0
        self.cells = self.differing = 0
        self.problems: dict[str, Problem] = {}

    def advance(self, step: int, frame: Array) -> None:
        """Step the integer network; its potentials before and after the step are kept."""
        self._step = step
        self._before = dict(self._integer.state)
        self._values = self._integer.step(frame, keep={*self._bounds, *self._graph.outputs})

    def before(self, path: str, module: Any, x: Tensor) -> None:
        """Put the integer network's potential into a neuron."""
        import torch

        if path in self._bounds:  # nothing reads the other layers
            potential = self._before[f"{path}/v"] * self._bounds[path].unit + _rest(module)
            own = getattr(module.v, "shape", ())  # a neuron that runs on over samples has no axis for them
            shape = own if math.prod(own) == potential.size else potential.shape
            module.v = torch.from_numpy(np.ascontiguousarray(potential)).reshape(shape)

    def after(self, path: str, module: Any, spikes: Tensor) -> Tensor | None:
        """Judge a layer, and replace its spikes by the integer network's."""
        import torch

        if path not in self._bounds:
            return None
        fired = self._values[path]
        trained = spikes.numpy().reshape(fired.shape)
        unit = self._bounds[path].unit
        exact = (module.v.numpy() - _rest(module)) / unit
        threshold = (float(module.v_threshold) - _rest(module)) / unit
        self._judge(path, fired, trained, exact, threshold)
        self.cells += fired.size
        self.differing += int((fired != trained).sum())
        return torch.from_numpy(fired.astype(np.float64)).reshape(spikes.shape)

    def output(self, exact: Array) -> None:
        """Judge the network's output: only a bias is rounded between the last spikes and it."""
        name = self._graph.outputs[0]
        unit = self._graph.units[name]
        integer = self._values[name]
        difference = np.abs((exact.reshape(integer.shape) - unit.offset) / unit.scale - integer)
        self._report(name, difference - 0.5 - FLOAT_NOISE, "integers")

    def _judge(self, path: str, fired: Array, trained: Array, exact: Array, threshold: Array) -> None:
        """Compare potentials where both decide alike; where one fired, its own is gone."""
        bound = self._bounds[path]
        integer = self._integer.state[f"{path}/v"]
        slack = bound.leak * np.abs(self._before[f"{path}/v"]) + FLOAT_NOISE
        alike = np.abs(exact - integer) - bound.potential - fired * bound.reset
        only_integer = threshold - exact - bound.decision
        only_trained = np.maximum(
            threshold - integer - bound.potential, integer - (threshold + bound.threshold - 1)
        )
        excess = np.where(fired == trained, alike, np.where(fired > trained, only_integer, only_trained))
        self._report(path, excess - slack, "state units")

    def _report(self, name: str, excess: Array, unit: str) -> None:
        if excess.max() > 0 and name not in self.problems:
            sample, *at = map(int, np.unravel_index(excess.argmax(), excess.shape))
            self.problems[name] = Problem(
                "SL0506",
                f"{name}{at}",
                f"sample {sample}, step {self._step}: {excess.max():.3g} {unit} outside of the bound",
            )


def _rest(module: Any) -> float:
    """The potential that the integer network counts from."""
    return 0.0 if module.v_reset is None else float(module.v_reset)


def rounded_model(capture: Capture, quantized: Quantized) -> nn.Module:
    """The user's module in float64 with the rounded weights in place of its own, nothing folded.

    The quantizer rounds weights that contain the constant factors after them, such as a batch norm's;
    they are taken out again.

    Raises:
        InternalError: SL0506, weights that are computed from parameters cannot be put back, or a weight
            is not the trained one rounded.
    """
    import torch

    weights: dict[int, nn.Parameter] = {}
    problems = []
    for grid in quantized.grids:
        if grid.layer not in capture.weights:
            fault = "its weights are no parameter, so the oracle has no place for them"
            problems.append(Problem("SL0506", grid.layer, fault))
            continue
        integers = _weight(quantized.graph, grid.layer).astype(np.float64)
        trained = _weight(capture.graph, grid.layer)
        factor = _factor_after(capture.graph, grid.layer)
        step = _quotient(quantized.steps[grid.layer], factor).reshape(-1, *(1,) * (integers.ndim - 1))
        limit = 2 ** (grid.bits - 1) - 1
        least = -limit - 1 if grid.taken_over else -limit
        apart = np.abs(integers - np.clip(_quotient(trained, step), least, limit))
        if apart.max() > (1 if grid.together else 0.5) + FLOAT_NOISE:
            at = list(map(int, np.unravel_index(apart.argmax(), apart.shape)))
            fault = f"is {apart.max():.3g} steps from the trained one"
            problems.append(Problem("SL0506", f"{grid.layer}, weight {at}", fault))
        replaced = capture.model.get_parameter(capture.weights[grid.layer])
        weights[id(replaced)] = torch.nn.Parameter(torch.from_numpy(integers * step), requires_grad=False)
    if problems:
        raise InternalError(problems)
    for parameter in capture.model.parameters():
        if id(parameter) not in weights:
            weights[id(parameter)] = torch.nn.Parameter(parameter.detach().double(), requires_grad=False)
    return copy.deepcopy(capture.model, weights).double()  # no copy of large weights in float32 in between


def _quotient(a: Array, b: Array) -> Array:
    """The quotient, and 0 where a batch norm multiplies by 0: there any weight would do."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    return np.divide(a, b, out=np.zeros(shape), where=np.broadcast_to(b != 0, shape))


def _weight(graph: Graph, name: str) -> Array:
    op = graph.node(name).op
    assert isinstance(op, (Convolution, Linear))
    return op.weight


def _factor_after(graph: Graph, name: str) -> Array:
    """What the batch norms and scales right after a layer multiply each output channel by."""
    node = graph.node(name)
    factor = np.ones(len(_weight(graph, name)))
    while len(consumers := graph.consumers.get(node.output, ())) == 1 and node.output not in graph.outputs:
        before, node = node, consumers[0]
        op = (
            Affine(*node.op.affine(len(graph.types[before.output].shape)))
            if isinstance(node.op, BatchNorm)
            else node.op
        )
        constants = per_channel(graph.node(name), op, graph) if isinstance(op, Affine) else None
        if constants is None:
            break
        factor = factor * constants[0]
    return factor
