"""Neurons: scales become thresholds and biases."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.graph import Node, Unit
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.quantize.rule import rule
from spikeloom.compiler.quantize.thresholds import quantize_neuron
from spikeloom.compiler.quantize.walk import (
    Walk,
)
from spikeloom.errors import UnsupportedError


@rule(Neuron)
def neuron(walk: Walk, op: Neuron, node: Node) -> None:
    """Its threshold and bias on the grid of its input; where they do not fit, the input gets another."""
    name, unit = walk.names[node.inputs[0]], walk.unit(node.inputs[0])
    decays_with_the_current = op.current_decay is not None and np.any(unit.offset != 0)
    if (unit.scale <= 0).any() or decays_with_the_current or _spreads_thresholds(walk, node, unit):
        name, unit = walk.streamed(node, node.inputs[0])
    layers = walk.layers_before(node)
    if walk.wide.intersection(layers) and walk.profile.rescales:
        name, unit = walk.ranged(node, node.inputs[0])
    try:
        integer, bound = quantize_neuron(node.name, op, unit, walk.profile, walk.horizon)
    except UnsupportedError as error:
        if walk.can_be_coarser(node):
            walk.overflow(node, error.problems[0].what)  # a coarser step makes biases and thresholds smaller
            return
        if layers or not walk.profile.rescales:
            raise
        name, unit = walk.ranged(node, node.inputs[0])  # a product of products counts too finely
        integer, bound = quantize_neuron(node.name, op, unit, walk.profile, walk.horizon)
    fault = walk.overflows(integer, name)
    if fault and walk.profile.rescales and not layers:
        name, unit = walk.ranged(node, node.inputs[0])
        integer, bound = quantize_neuron(node.name, op, unit, walk.profile, walk.horizon)
        fault = walk.overflows(integer, name)
    if fault and decays_with_the_current and walk.profile.rescales:
        # what arrives was rescaled already: coarser steps of the layer before it would change nothing
        limit = walk.profile.stream_limit // 2
        name, unit = walk.rescaled(node, node.inputs[0], 2 * float(unit.scale.reshape(())), limit)
        integer, bound = quantize_neuron(node.name, op, unit, walk.profile, walk.horizon)
        fault = walk.overflows(integer, name)
    if fault:
        walk.overflow(node, fault)
        return
    walk.bounds[node.name] = bound
    walk.append(node, integer, [name], Unit(np.array(1 / op.divisor), np.zeros(())))


def _spreads_thresholds(walk: Walk, neuron: Node, unit: Unit) -> bool:
    """Whether channels count in units of their own, and the target has few thresholds a population."""
    few = walk.profile.threshold_groups is not None and walk.profile.rescales
    return few and unit.scale.size > 1 and not walk.layers_before(neuron)
