"""From an ONNX file to a graph of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spikeloom.compiler.frontends.onnx.file import OnnxNetwork, OnnxNode
from spikeloom.compiler.frontends.onnx.prove import prove
from spikeloom.compiler.frontends.onnx.recognise import Recognised, recognise
from spikeloom.compiler.frontends.onnx.regions import NoNeuronError, Region, find_region
from spikeloom.compiler.frontends.onnx.rules import RULES
from spikeloom.compiler.frontends.onnx.states import Step, find_step
from spikeloom.compiler.frontends.onnx.unroll import roll_up
from spikeloom.compiler.frontends.onnx.walk import NotExpressibleError, Walk
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.errors import InternalError, Problem, UnsupportedError


def lower_onnx(
    network: OnnxNetwork,
    name: str,
    time_axis: int | None,
    states: Mapping[str, str] | None = None,
    steps: int = 0,
) -> Graph:
    """Make a graph at stage CAPTURED, and prove it equal to the file.

    Args:
        network: as it was read.
        name: of the graph.
        time_axis: of the input, for a network with its time steps unrolled; None for one of a single step,
            whose states are inputs and outputs.
        states: which output is the next step's input, where their names do not tell it.
        steps: time steps of a sample, for sums without a leak; an unrolled network has its own.

    Raises:
        UnsupportedError: SL0302, everything without a counterpart; SL0304, a state is no neuron; SL0306, the
            graph answers otherwise than the file.
    """
    if time_axis is None:
        step = find_step(network, states or {}, name)
    else:
        step = roll_up(network, time_axis, name)
        steps = network.shapes[network.inputs[0]][time_axis]
    graph, starts = lower_step(step, name, steps)
    prove(graph, step, network, time_axis, starts, name)
    return graph


def lower_step(step: Step, name: str, steps: int) -> tuple[Graph, dict[str, float]]:
    """The graph of one time step, and where its states start: neurons at their rest.

    Raises:
        UnsupportedError: SL0302, SL0304, as :func:`lower_onnx` says.
    """
    found, problems = _neurons(step, steps)
    network = step.network
    batch = network.shapes[step.x][0]
    walk = Walk(GraphBuilder(name, Stage.CAPTURED), network.constants, network.shapes, batch)
    kind = Type(tuple(network.shapes[step.x][1:]), REAL)
    walk.values[step.x] = walk.builder.input(step.called or step.x, kind)
    within = {id(node): unit for unit in found for node in unit.region.nodes}
    done: set[int] = set()
    for node in step.nodes:
        unit = within.get(id(node))
        if unit is None:
            problems += _visit(walk, node)
        elif id(unit) not in done and unit.region.x in walk.values:
            done.add(id(unit))
            problems += _place(walk, unit, steps)
    if not problems and step.y not in walk.values:
        problems.append(Problem("SL0302", name, f"its output {step.y} depends on no input"))
    if problems:
        raise UnsupportedError(problems)
    walk.builder.output(walk.values[step.y])
    starts = {
        unit.region.state: unit.found.op.initial_potential
        for unit in found
        if isinstance(unit.found.op, Neuron)
    }
    return walk.builder.build(), starts


@dataclass(frozen=True)
class _Unit:
    """A state and what it was recognised as."""

    region: Region
    found: Recognised


def _neurons(step: Step, steps: int) -> tuple[list[_Unit], list[Problem]]:
    units, problems = [], []
    for state in step.states:
        try:
            region = find_region(step, state)
            found = recognise(region)
            if found.op is None and not steps:
                raise NoNeuronError("a sum without end: say the number of time steps with --steps")
            units.append(_Unit(region, found))
        except NoNeuronError as error:
            problems.append(Problem("SL0304", state, str(error)))
    return units, problems


def _place(walk: Walk, unit: _Unit, steps: int) -> list[Problem]:
    region, found = unit.region, unit.found
    name = region.fired or region.after
    try:
        walk.shape(region.x)
    except NotExpressibleError as error:
        return [Problem("SL0302", region.state, str(error))]
    x = walk.values[region.x]
    node = OnnxNode(name, "", (), (name,))
    if (found.gain, found.offset) != (1.0, 0.0):
        x = walk.add(node, Affine(np.array(found.gain), np.array(found.offset)), x)
    op: Neuron | LeakySum | Accumulate = Accumulate(steps) if found.op is None else found.op
    walk.values[name] = walk.values[region.after] = walk.add(node, op, x)
    return []


def _visit(walk: Walk, node: OnnxNode) -> list[Problem]:
    """Lower one node; one that follows a node that failed is only looked up."""
    where = f"{node.name} ({node.op})"
    if node.op not in RULES:
        return [Problem("SL0302", where, "has no counterpart", wanted=", ".join(sorted(RULES)))]
    if any(name not in walk.values and name not in walk.constants for name in node.used):
        return []
    try:
        walk.values[node.outputs[0]] = RULES[node.op](walk, node)
    except (NotExpressibleError, InternalError) as error:
        what = error.problems[0].what if isinstance(error, InternalError) else str(error)
        return [Problem("SL0302", where, what)]
    return []
