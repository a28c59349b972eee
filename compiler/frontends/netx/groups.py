"""The group ``neuron`` of a layer, of the operation that its neurons are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spikeloom.compiler.frontends.netx.registers import MESSAGE_BITS, SHIFT, SILENT, SPIKE_SHIFT, ZERO_BYTE
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE, IntegerNeuron
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.sigma_delta import SigmaDelta

STEP = 1 << SHIFT
CODE_STEP = 1 << (SHIFT + SPIKE_SHIFT)
DELTA_BIAS = -ZERO_BYTE << (SHIFT + SPIKE_SHIFT)


@dataclass(frozen=True)
class Group:
    """Neurons as a file holds them.

    Attributes:
        digits: by which weights are shifted left when they are stored.
        registers: what the group holds.
        bias: of the layer.
        faults: what netx cannot hold, with what was got.
    """

    digits: int
    registers: dict[str, Any]
    bias: Array
    faults: tuple[tuple[str, str], ...] = ()


def summing(codes: bool) -> Group:
    """Of neurons that are only read: LIF that never fire, or where changes arrive the sum of these."""
    if codes:
        return Group(0, _coding(0) | {"sigma_output": True}, np.zeros(1))
    return Group(1, _lif(SILENT, 0, DECAY_ONE), np.zeros(1))


def firing(op: IntegerNeuron | RecurrentNeuron) -> Group:
    """Of LIF neurons."""
    thresholds = np.unique(op.theta)
    faults = []
    if len(op.theta) > 1 or op.reset != "hard":
        faults.append(("has graded spikes or a soft reset", ""))
    if isinstance(op, RecurrentNeuron) and (op.wait > 1 or op.weight.ndim != 2):
        faults.append(("has spikes that come back after more than one step, or not through a matrix", ""))
    if len(thresholds) > 1 or thresholds[0] % STEP or thresholds[0] >= SILENT * STEP:
        got = ", ".join(map(str, thresholds[:4]))
        faults.append(("has several thresholds, or one off the grid", got))
    if (op.bias % STEP).any():
        faults.append((f"has biases that are no multiples of {STEP}", ""))
    if op.fraction_bits not in (SHIFT, SHIFT + 1):
        faults.append(("has other than six or seven fraction digits", str(op.fraction_bits)))
    current = DECAY_ONE if op.current_decay is None else op.current_decay
    registers = _lif(int(thresholds[0]) // STEP, op.decay, current)
    return Group(op.fraction_bits - SHIFT, registers, op.bias.reshape(-1) // STEP, tuple(faults))


def coding(op: SigmaDelta, reads_input: bool) -> Group:
    """Of sigma-delta neurons, or of the delta encoder that reads the input."""
    faults = []
    if op.threshold % CODE_STEP or (op.bias % CODE_STEP).any():
        faults.append((f"has a threshold or biases that are no multiples of {CODE_STEP}", ""))
    if op.output_shift != SHIFT or op.limit != 2 ** (MESSAGE_BITS - 1) - 1:
        faults.append(("has messages of another unit or width", ""))
    wanted = (False, False, SHIFT + SPIKE_SHIFT) if reads_input else (True, True, op.input_shift)
    if (op.integrates, op.rectifies, op.input_shift) != wanted or (
        reads_input and (op.bias != DELTA_BIAS).any()
    ):
        faults.append(("codes something else than an input of bytes around 128, or a rectified sum", ""))
    bias = np.zeros(1) if reads_input else op.bias.reshape(-1) // CODE_STEP
    return Group(
        0 if reads_input else op.input_shift, _coding(op.threshold // CODE_STEP), bias, tuple(faults)
    )


def _lif(threshold: int, decay: int, current_decay: int) -> dict[str, Any]:
    return {
        "type": "LOIHI", "vThMant": threshold, "vDecay": decay, "iDecay": current_decay, "refDelay": 1,
        "wgtExp": 0, "gradedSpike": False,
    }  # fmt: skip


def _coding(threshold: int) -> dict[str, Any]:
    return {"type": "SDNN", "activation": "relu", "vThMant": threshold}
