"""A network whose forward pass is the integer graph, and which learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.axes import InputShape, Lead
from spikeloom.compiler.frontends.torch.capture import Capture
from spikeloom.compiler.frontends.torch.neurons import find_neurons
from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node, Unit
from spikeloom.compiler.graph.op import Array, Op
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.graph.verify import verify
from spikeloom.compiler.quantize.activity import Activity
from spikeloom.compiler.quantize.quantize import Quantized
from spikeloom.compiler.quantize.thresholds import RoundingBound
from spikeloom.compiler.quantize.walk import LayerGrid
from spikeloom.compiler.quantize.weights import relative_error
from spikeloom.compiler.training.equations import EquationLayer
from spikeloom.compiler.training.execute import execute
from spikeloom.compiler.training.layers import NeuronLayer, RescaleLayer, WeightLayer
from spikeloom.compiler.training.surrogate import Surrogate, steep_sigmoid
from spikeloom.errors import InternalError, Problem, UnsupportedError
from spikeloom.runtime.events.array_recipe import Recipe
from spikeloom.runtime.events.token_recipe import TokenRecipe


class PreparedNetwork(nn.Module):
    """The integer graph of a network as a PyTorch module: what it computes is what will be compiled.

    Its parameters are real numbers in the units of the trained network: the weights with the batch norms
    folded in, and changes of biases, thresholds and offsets, which begin at zero. Each forward pass rounds
    them onto the target's grid and executes the integer graph in integers; gradients pass every rounding
    straight through, and spikes by the surrogate of the neuron's own class. There is no other state: each
    call computes whole samples, from a reset.

    Attributes:
        target: name of the target.
        captured: the trained network, as it was captured.
        recipe: what the input's integers mean.
        input_shape: axes of the input, as the trained network takes it.
        canonical: the graph of which the integer one was made.
    """

    def __init__(
        self,
        target: str,
        captured: Capture,
        canonical: Graph,
        quantized: Quantized,
        profile: NumericProfile,
        activity: Activity,
        recipe: Recipe,
        surrogate: Surrogate | None = None,
    ) -> None:
        """Begin with what the quantizer made of a network; :func:`spikeloom.prepare` does all of it.

        Args:
            target: name of the target.
            captured: the network.
            canonical: its graph, of which the integer one was made.
            quantized: made from it.
            profile: for which it was made.
            activity: on which it was calibrated.
            recipe: what the input's integers mean.
            surrogate: of spikes, in the place of the surrogates of the network's own neurons.
        """
        super().__init__()
        self.target, self.captured, self.recipe = target, captured, recipe
        self.input_shape: InputShape = captured.input_shape
        self.canonical = canonical
        self._quantized, self._profile, self._activity = quantized, profile, activity
        self._template = quantized.graph
        self._modules_of: dict[str, Any] = dict(find_neurons(captured.model))
        self._trained = {
            node.name: node.op for node in canonical.nodes if isinstance(node.op, (Convolution, Linear))
        }
        self._bits = {grid.layer: grid.bits for grid in quantized.grids}
        self.layers = nn.ModuleDict()
        for node in self._template.nodes:
            if (layer := self._layer(node, surrogate)) is not None:
                self.layers[_key(node.name)] = layer

    def _layer(self, node: Node, surrogate: Surrogate | None) -> nn.Module | None:
        op = node.op
        if isinstance(op, (Convolution, Linear)):
            trained = self._trained[node.name].weight.astype(np.float64)
            steps = self._quantized.steps[node.name]
            return WeightLayer(op, trained, steps, self._bits[node.name])
        if isinstance(op, IntegerNeuron):
            module = self._modules_of.get(node.name)
            chosen = surrogate or getattr(module, "surrogate_function", None) or steep_sigmoid
            detach = bool(getattr(module, "detach_reset", False))
            bound = self._quantized.bounds[node.name]
            return NeuronLayer(op, bound.unit, self._profile, chosen, detach)
        if isinstance(op, EquationNeuron):
            return EquationLayer(op, surrogate or steep_sigmoid)
        if isinstance(op, Rescale):
            unit = self._template.units.get(node.output)  # none inside of an operation that was taken apart
            return RescaleLayer(op, 1.0 if unit is None else float(unit.scale.reshape(())))
        return None

    def forward(self, x: Tensor) -> Tensor:
        """Compute whole samples.

        Args:
            x: as the trained network takes it, [T, B, ...], [B, T, ...] or [B, ...], real; or tokens.

        Returns:
            The answer in the units of the trained network: [T, B, ...] with one for each time step
            ([B, T, ...] if the input is laid out so), or [B, ...] if the network sums over time itself.
        """
        values = self._run(self.encode(x))
        name, dtype = self._template.outputs[0], x.dtype if x.is_floating_point() else torch.float32
        answer = values[name] * self._scale(name) + self._offset(name)
        if self._template.answers_at_the_end:
            return answer[-1].to(dtype)
        answer = answer[self._template.latency :]
        if self.input_shape.lead is Lead.BATCH_TIME:
            answer = answer.transpose(0, 1)
        return answer.to(dtype)

    def spikes(self, x: Tensor) -> dict[str, Tensor]:
        """The spikes [T, B, ...] of each neuron layer by its path, for the input of :meth:`forward`."""
        values = self._run(self.encode(x))
        return {node.name: values[node.output] for node in self._template.neurons()}

    @torch.no_grad()
    def spikes_of(self, frames: Array) -> dict[str, Array]:
        """The same for the integers [T, B, ...] that :meth:`encode` gives, as arrays."""
        values = self._run(torch.from_numpy(frames).float().to(self._device))
        return {node.name: values[node.output].cpu().numpy() for node in self._template.neurons()}

    def encode(self, x: Tensor) -> Tensor:
        """The input's integers [T, B, ...] in float32, with the empty frames that a sample ends with.

        Raises:
            InputError: SL0121, tokens that are not of the vocabulary.
        """
        lead = self.input_shape.lead
        frames = x.transpose(0, 1) if lead is Lead.BATCH_TIME else x
        recipe = self.recipe
        if isinstance(recipe, TokenRecipe):
            recipe.encode(x.detach().cpu().numpy(), "the input of the prepared network")
        levels = ((frames.double() / recipe.scale).round() + recipe.zero).clamp(0, recipe.max_value).float()
        if not lead.has_time:
            levels = levels.expand(recipe.steps, *levels.shape)
        empty = torch.full_like(levels[:1], recipe.empty_byte).expand(recipe.flush, *levels.shape[1:])
        return torch.cat([levels, empty])

    def graph(self) -> Graph:
        """The integer graph as it is now, verified: nothing in it overflows.

        Raises:
            UnsupportedError: SL0503, training has moved a sum or a potential where it may overflow.
        """
        builder = GraphBuilder(self._template.name, self._template.stage, self._template.profile)
        for name in self._template.inputs:
            builder.input(name, self._template.types[name])
        for node in self._template.nodes:
            try:
                builder.add(node.name, self._operation(node), *node.inputs, source=node.source)
            except InternalError as error:
                raise UnsupportedError(_overflow(problem) for problem in error.problems) from error
        for name in self._template.outputs:
            builder.output(name)
        builder.units.update(self._template.units)
        graph = builder.build()
        verify(graph)
        return graph

    def quantized(self) -> Quantized:
        """The integer graph as it is now, and how its numbers are related to the trained ones.

        Raises:
            UnsupportedError: SL0503, as :meth:`graph` says.
        """
        graph = self.graph()
        bounds = {name: self._bound(name, bound) for name, bound in self._quantized.bounds.items()}
        grids = tuple(self._grid(grid) for grid in self._quantized.grids)
        return Quantized(graph, bounds, grids, self._quantized.steps)

    def _run(self, frames: Tensor) -> Mapping[str, Tensor]:
        """Every value [T, B, ...] of the graph."""
        values = {self._template.inputs[0]: frames}
        for node in self._template.nodes:
            inputs = [values[name] for name in node.inputs]
            values.update(zip(node.outputs, self._compute(node, inputs), strict=True))
        return values

    def _compute(self, node: Node, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        if _key(node.name) not in self.layers:
            return execute(node.op, *inputs)
        layer, x = self.layers[_key(node.name)], inputs[0]
        if not isinstance(layer, WeightLayer):
            return (layer(x),)
        return (layer(x.flatten(0, 1)).unflatten(0, x.shape[:2]),)

    def _operation(self, node: Node) -> Op:
        if _key(node.name) not in self.layers:
            return node.op
        layer = self.layers[_key(node.name)]
        assert isinstance(layer, (WeightLayer, NeuronLayer, EquationLayer, RescaleLayer))
        return layer.operation()

    def _scale(self, name: str) -> Tensor:
        return torch.from_numpy(np.array(self._unit(name).scale)).to(self._device)

    def _offset(self, name: str) -> Tensor:
        return torch.from_numpy(np.array(self._unit(name).offset)).to(self._device)

    def _unit(self, name: str) -> Unit:
        return self._template.units[name]

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def _bound(self, name: str, before: RoundingBound) -> RoundingBound:
        """The bound against the numbers that were learned: only their own rounding is in it."""
        if _key(name) not in self.layers:  # a recurrent layer keeps its numbers
            return before
        layer = self.layers[_key(name)]
        assert isinstance(layer, NeuronLayer)
        moved = _change(layer.bias_change, before.unit)
        now, was = layer.operation(), self._template.node(name).op
        assert isinstance(was, IntegerNeuron)
        bias_error = np.abs(now.bias - was.bias - moved)
        theta_error = now.theta[0] - was.theta[0] - _change(layer.threshold_change, before.unit)
        return replace(
            before,
            threshold=before.threshold + theta_error,
            potential=before.potential + bias_error,
            decision=before.decision + bias_error + np.abs(theta_error),
        )

    def _grid(self, before: LayerGrid) -> LayerGrid:
        layer = self.layers[_key(before.layer)]
        assert isinstance(layer, WeightLayer)
        integers = layer.operation().weight.astype(np.int64)
        real = layer.weight.detach().cpu().numpy().astype(np.float64)
        steps = self._quantized.steps[before.layer]
        error = relative_error(real, integers, steps, self._activity.moments[before.layer])
        return replace(before, largest=int(np.abs(integers).max()), error=error)


def _key(name: str) -> str:
    """The name of a node as one of a module."""
    return name.replace(".", "/")


def _change(parameter: Tensor | None, unit: Array) -> Array:
    """What was learned, in state units."""
    if parameter is None:
        return np.zeros(())
    learned: Array = np.asarray(parameter.detach().cpu().numpy().astype(np.float64) / unit)
    return learned


def _overflow(problem: Problem) -> Problem:
    return Problem(
        "SL0503",
        problem.where,
        f"after training, {problem.what}",
        remedy="train with a smaller learning rate, or prepare the trained network anew",
    )
