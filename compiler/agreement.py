"""How an integer network compares with the trained one in PyTorch.

Two measures. *Free running*: both run alone from the same frames; spikes and predictions are
compared and every difference is counted, since one early difference makes many. *Oracle*: the
user's own module in float64, its weights replaced by the rounded ones and nothing folded, is
forced at every step to the membrane potentials and spikes of the integer network; each spike that
differs must lie within the rounding bound that the quantizer declared, or the compiler is wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.batch_norm import BatchNorm
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
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
    """Outcome of the oracle: ``differing`` of ``cells`` spikes differ, all within their bound."""

    samples: int
    steps: int
    cells: int
    differing: int


def compare_free_running(
    output: Array, spikes: Mapping[str, Array], graph: Graph, frames: NDArray[np.uint8]
) -> Agreement:
    """Run the integer network and compare with what eager PyTorch gave.

    Args:
        output: [steps, samples, classes] of eager PyTorch.
        spikes: of each neuron layer, [steps, samples, ...] of eager PyTorch.
        graph: the integer graph.
        frames: [steps, samples, ...].
    """
    interpreter = Interpreter(graph)
    interpreter.reset(frames.shape[1])
    evidence: Array = np.zeros(output.shape[1:], np.int64)
    flips = dict.fromkeys(spikes, 0)
    fired = dict.fromkeys(spikes, 0)
    for step, frame in enumerate(frames):
        values = interpreter.step(frame)
        evidence = evidence + values[graph.outputs[0]]
        for name, trained in spikes.items():
            flips[name] += int((values[name] != trained[step]).sum())
            fired[name] += int((values[name] != 0).sum())
    layers = tuple(
        LayerAgreement(name, s.size, flips[name], float((s != 0).mean()), fired[name] / s.size)
        for name, s in spikes.items()
    )
    flat = evidence.reshape(len(evidence), -1)
    same = flat.argmax(1) == output.sum(0).reshape(len(flat), -1).argmax(1)
    return Agreement(frames.shape[1], len(frames), int(same.sum()), layers)


def ask_oracle(capture: Capture, quantized: Quantized, frames: NDArray[np.uint8]) -> OracleResult:
    """Compare every decision of every neuron with float64 PyTorch on the rounded weights.

    Args:
        capture: of the trained model.
        quantized: made from it.
        frames: [steps, samples, ...].

    Raises:
        InternalError: SL0506, a spike differs outside of its bound; the first of each layer.
    """
    import torch

    from spikeloom.compiler.frontends.torch.eager import as_step, watching
    from spikeloom.compiler.frontends.torch.neurons import reset_states

    model = rounded_model(capture, quantized)
    reset_states(model)
    integer = Interpreter(quantized.graph)
    integer.reset(frames.shape[1])
    judge = _Judge(quantized, integer)
    with torch.no_grad(), watching(model, judge.after, judge.before):
        for step, frame in enumerate(frames):
            judge.advance(step, frame)
            model(as_step(torch.from_numpy(frame).double(), capture.input_shape))
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
        self._values = self._integer.step(frame)

    def before(self, path: str, module: Any, x: Tensor) -> None:
        """Put the integer network's potential into a neuron."""
        import torch

        rest = 0.0 if module.v_reset is None else float(module.v_reset)
        potential = self._before[f"{path}/v"] * self._bounds[path].unit + rest
        module.v = torch.from_numpy(np.ascontiguousarray(potential))

    def after(self, path: str, module: Any, spikes: Tensor) -> Tensor:
        """Judge a layer, and replace its spikes by the integer network's."""
        import torch

        fired = self._values[path]
        trained = spikes.numpy().reshape(fired.shape)
        rest = 0.0 if module.v_reset is None else float(module.v_reset)
        bound = self._bounds[path]
        exact = (module.v.numpy() - rest) / bound.unit
        self._judge(path, fired, trained, exact)
        self.cells += fired.size
        self.differing += int((fired != trained).sum())
        return torch.from_numpy(fired.astype(np.float64)).reshape(spikes.shape)

    def _judge(self, path: str, fired: Array, trained: Array, exact: Array) -> None:
        bound = self._bounds[path]
        node = self._graph.node(path)
        assert isinstance(node.op, IntegerNeuron)
        integer = self._integer.state[f"{path}/v"]
        slack = bound.leak * np.abs(self._before[f"{path}/v"]) + FLOAT_NOISE
        threshold = node.op.theta[0] + 1.0
        silent = (fired == 0) & (trained == 0)
        apart = np.where(silent, np.abs(exact - integer) - bound.potential - slack, -1)
        # where one fired, its potential is gone; the other's is still there and must be near
        left = np.where(trained == 0, exact, integer)
        reach = np.where(trained == 0, bound.potential, bound.decision)
        near = np.where(fired != trained, np.abs(threshold - left) - reach - slack, -1)
        worst = np.maximum(apart, near)
        if worst.max() > 0 and path not in self.problems:
            sample, *unit = map(int, np.unravel_index(worst.argmax(), worst.shape))
            self.problems[path] = Problem(
                "SL0506",
                f"{path}{unit}",
                f"sample {sample}, step {self._step}: {worst.max():.3g} state units outside of the bound",
            )


def rounded_model(capture: Capture, quantized: Quantized) -> nn.Module:
    """The user's module in float64 with the rounded weights in place of its own, nothing folded.

    The quantizer rounds weights that contain the batch norm after them; its factor is taken out
    again, from the module's own statistics.

    Raises:
        InternalError: SL0506, weights that are computed from parameters cannot be put back.
    """
    import torch

    model = copy.deepcopy(capture.model).double()
    for name, steps in quantized.steps.items():
        node = quantized.graph.node(name)
        assert isinstance(node.op, (Convolution, Linear))
        if name not in capture.weights:
            raise InternalError.of(
                "SL0506", name, "its weights are no parameter, so the oracle has no place for them"
            )
        factor = steps / (_batch_norm_factor(capture.graph, name) * _input_scale(quantized.graph, name))
        weight = node.op.weight.astype(np.float64) * factor.reshape(-1, *(1,) * (node.op.weight.ndim - 1))
        model.get_parameter(capture.weights[name]).data = torch.from_numpy(weight)
    return model


def _batch_norm_factor(graph: Graph, name: str) -> Array:
    """What a batch norm right after a layer multiplies each output channel by; ones without one."""
    node = graph.node(name)
    ones = np.ones(len(node.op.weight))  # type: ignore[attr-defined]
    consumers = graph.consumers.get(node.output, ())
    if len(consumers) == 1 and isinstance(consumers[0].op, BatchNorm):
        return consumers[0].op.affine(1)[0]
    return ones


def _input_scale(graph: Graph, name: str) -> float:
    """The real value of one integer of a layer's input, which its steps contain."""
    unit = graph.units.get(graph.node(name).inputs[0])
    return 1.0 if unit is None else float(unit.scale.reshape(()))
