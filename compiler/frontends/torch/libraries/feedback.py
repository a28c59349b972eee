"""The weights by which the spikes of a layer come back to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.libraries.library import NotTakenError, SpikingNeuron
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.feedback_neuron import FeedbackNeuron
from spikeloom.compiler.graph.ops.neuron import Neuron

PROBES = torch.linspace(-3.0, 5.0, 33, dtype=torch.float64)


def looped(
    neuron: SpikingNeuron, weight: Array, ahead: Array | None = None, bias: Array | None = None
) -> FeedbackNeuron:
    """Neurons with a way back of one step.

    Raises:
        NotTakenError: they are no plain neurons.
    """
    if not isinstance(neuron, Neuron):
        raise NotTakenError("spikes that come back to neurons with equations of their own")
    try:
        return FeedbackNeuron.of(neuron, weight, ahead, bias)
    except ValueError as error:
        raise NotTakenError(str(error)) from error


def stored(parameter: Tensor | None) -> Array | None:
    """A parameter in float64, if it is there."""
    return None if parameter is None else parameter.detach().double().cpu().numpy()


def own_weight(value: Any) -> Array:
    """What a neuron's own spikes are to it: one number, or one for each.

    Raises:
        NotTakenError: it has two axes, as a matrix has.
    """
    weight: Array = torch.as_tensor(value).detach().double().cpu().numpy()
    if weight.size == 1:
        return weight.reshape(())
    if weight.ndim == 2:
        raise NotTakenError(f"weights {weight.shape} of neurons to themselves, of two axes")
    return weight


def weight_of_sum(function: Callable[[Tensor, Tensor], Tensor]) -> Array:
    """The w of a function of (spikes, input) that is w * spikes + input.

    Raises:
        NotTakenError: it is another.

    >>> float(weight_of_sum(lambda y, x: x - 0.5 * y))
    -0.5
    """
    with torch.no_grad():
        silent, fired = (function(torch.full_like(PROBES, spike), PROBES) for spike in (0.0, 1.0))
    back = (fired - silent).numpy()
    if not torch.equal(silent, PROBES) or np.ptp(back) > 1e-12:
        raise NotTakenError("an element-wise function that is not a weight times spikes plus the input")
    return np.array(np.median(back))


def chained(container: Any, *, inputs: int) -> tuple[nn.Module, Array, Array, Array | None]:
    """The neuron at the end of linear layers in a row, and what they are to the input and to its spikes.

    Args:
        container: SpikingJelly's ``LinearRecurrentContainer``: ``rc`` takes both, ``sub_module`` ends with
            the neuron.
        inputs: how many of the columns of ``rc`` are of the input; the rest are of the spikes.

    Returns:
        The neuron, weights [n, inputs] and [n, n], and the bias.

    Raises:
        NotTakenError: other layers stand between.
    """
    *layers, neuron = _in_a_row(container.sub_module)
    linear: list[Any] = [container.rc, *layers]
    if strange := [type(layer).__name__ for layer in linear if not isinstance(layer, nn.Linear)]:
        raise NotTakenError(f"{' and '.join(strange)} between its weights and its neurons")
    weight, bias = np.eye(len(container.rc.weight[0])), np.zeros(len(container.rc.weight[0]))
    for layer in linear:
        own = stored(layer.bias)
        matrix = layer.weight.detach().double().cpu().numpy()
        weight, bias = matrix @ weight, matrix @ bias + (0.0 if own is None else own)
    return neuron, weight[:, :inputs], weight[:, inputs:], bias if bias.any() else None


def _in_a_row(module: nn.Module) -> list[nn.Module]:
    if not isinstance(module, nn.Sequential):
        return [module]
    return [layer for part in module for layer in _in_a_row(part)]
