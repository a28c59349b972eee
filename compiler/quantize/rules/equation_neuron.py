"""Neurons with declared equations, in fixed point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spikeloom.compiler.graph.graph import Node, Unit
from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import RuleBrokenError
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.quantize.rule import rule
from spikeloom.compiler.quantize.walk import (
    PLAIN,
    NoIntegerFormError,
    Walk,
)

STATE_BITS = 26
"""Width of a state without its sign: the product of two states is exact in float64."""
ROOM = 6
"""Binary digits that states have above the largest input, threshold or other constant."""
MOST_FRACTION_BITS = 18
GAIN_BITS = 22
"""Significant binary digits of the factor that brings an input to fixed point."""


@rule(EquationNeuron)
def equations(walk: Walk, op: EquationNeuron, node: Node) -> None:
    """Its program in fixed point."""
    name, unit = walk.names[node.inputs[0]], walk.unit(node.inputs[0])
    peak = walk.activity.peaks[node.inputs[0]] or 1.0
    try:
        integer = _fixed(op, unit, walk.builder.types[name], peak)
    except RuleBrokenError as error:
        raise NoIntegerFormError("SL0503", str(error)) from error
    walk.append(node, integer, [name], PLAIN)


def _fixed(neuron: EquationNeuron, x: Unit, kind: Type, peak: float) -> EquationNeuron:
    """Give a neuron its meaning in integers.

    States get as many binary digits below one as leave room above the largest numbers of the neuron.

    Args:
        neuron: with a float meaning.
        x: what the integers of its input mean.
        kind: the type of its input.
        peak: the largest magnitude of the input on the calibration recordings.

    Raises:
        RuleBrokenError: float64 would not hold every number on the way.
    """
    constants = [float(np.abs(values).max()) for values in neuron.constants.values()]
    largest = max(1.0, peak, *map(abs, neuron.program.numbers()), *constants)
    fraction_bits = int(np.clip(STATE_BITS - ROOM - np.ceil(np.log2(largest)), 0, MOST_FRACTION_BITS))
    factor = np.asarray(x.scale * 2.0**fraction_bits)
    offset = np.asarray(x.offset * 2.0**fraction_bits)
    reach = max(map(abs, kind.kind.bounds)) * float(np.abs(factor).max()) + float(np.abs(offset).max()) + 1
    wanted = GAIN_BITS - int(np.floor(np.log2(max(float(np.abs(factor).max()), 2.0**-60))))
    shift = int(np.clip(wanted, 0, max(0, 51 - int(np.ceil(np.log2(reach))))))
    one = 2.0**shift
    integer = replace(
        neuron,
        fraction_bits=fraction_bits,
        limit=2**STATE_BITS - 1,
        gain=np.asarray(np.rint(factor * one).astype(np.int64)),
        bias=np.asarray(np.rint(offset * one).astype(np.int64)),
        shift=shift,
    )
    integer.infer(kind)
    return integer
