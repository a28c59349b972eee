"""Numbers that lava-dl fixes, and those of a layer's neurons and synapses as it stores them."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.frontends.netx.file import NetxLayer
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE
from spikeloom.errors import counted

SHIFT = 6
"""Lava shifts sums, thresholds and (netx) biases left by so many digits: ``state_exp`` and ``bias_exp``."""
SPIKE_SHIFT = 6
"""Binary digits of a sigma-delta message below one: netx's ``spike_exp``, where it is not said."""
SILENT = 2**17 - 1
"""The threshold of neurons that are there to be read: the largest that the register holds."""
STATE_BITS = 24
LONGEST_DELAY = 62
MESSAGE_BITS = 16
ZERO_BYTE = 128
"""What stands for 0 in the bytes of a sigma-delta network's input, which may be negative."""
LEAST, LARGEST = -256, 254
LIF = ("LOIHI", "CUBA")
SDNN = "SDNN"


def kind_of(layer: NetxLayer) -> str:
    """The neurons of a layer: «LIF», «SDNN», or as the file calls them."""
    name = str(layer.neuron.get("type", "none"))
    return "LIF" if name in LIF else name


def only_read(layer: NetxLayer) -> bool:
    """Whether the neurons of a layer neither leak nor fire: their potential is the answer."""
    if kind_of(layer) != "LIF":
        return "sigma_output" in layer.neuron
    neuron = layer.neuron
    return (
        int(neuron["vThMant"]) == SILENT
        and int(neuron.get("vDecay", 0)) == 0
        and int(neuron.get("iDecay", DECAY_ONE)) == DECAY_ONE
        and not biases(layer).any()
    )


def biases(layer: NetxLayer) -> Array:
    """One for each channel, or one for all."""
    stored: Array = np.rint(layer.values.get("bias", np.zeros(1))).astype(np.int64).reshape(-1)
    return stored


def stored_weights(layer: NetxLayer, name: str = "weight") -> Array:
    """Weights of a layer as netx gives them to Lava's synapses.

    Those of dense layers are clipped to -256..254 where signs are mixed; convolutions keep all.
    """
    stored: Array = np.rint(layer.values[name]).astype(np.int64)
    if layer.type == "conv":
        return stored.reshape(stored.shape[:4])
    rows = int(np.prod(layer.values["shape"])) if "shape" in layer.values else len(stored)
    stored = stored.reshape(rows, -1)
    return np.clip(stored, LEAST, LARGEST) if stored.min() < 0 < stored.max() else stored


def is_complex(layer: NetxLayer) -> bool:
    """Whether a layer has weights for the real and for the imaginary axis."""
    return "weight/real" in layer.values


def is_resonator(layer: NetxLayer) -> bool:
    """Whether its neurons are resonators: netx asks for no more than these letters."""
    return "RF" in kind_of(layer)


def turn(layer: NetxLayer) -> tuple[int, int]:
    """Cosine and sine of a resonator as Lava's process holds them, in parts of 4096.

    netx makes a period and a decay of the file's registers, and Lava makes registers of these again,
    dropping fractions; so here, in the same floating point.
    """
    real, imaginary = (int(layer.neuron[name]) / DECAY_ONE for name in ("cosDecay", "sinDecay"))
    left = 1 - (1 - np.sqrt(imaginary**2 + real**2))
    period = 1 / (np.arctan2(imaginary, real) / 2 / np.pi)
    angle = np.pi * 2 * 1 / period
    return int(left * np.cos(angle) * DECAY_ONE), int(left * np.sin(angle) * DECAY_ONE)


def narrow(weights: Array) -> Array:
    """In bytes, or in two where a weight needs them."""
    return weights.astype(np.int8 if np.abs(weights).max(initial=0) < 128 else np.int16)


def halved(weights: Array) -> tuple[Array, int]:
    """Weights, and the fraction digits of the neurons behind them: even ones are halved for one more."""
    if (weights & 1).any():
        return weights.astype(np.int16), SHIFT
    return narrow(weights >> 1), SHIFT + 1


def delays(layer: NetxLayer, outputs: int, inputs: int) -> Array | None:
    """Steps [outputs, inputs] or with axes of one by which what arrives is late; None if nothing is.

    netx takes an axis of as many delays as there are outputs for theirs, else for those of the inputs, and
    clips them at 62.

    Raises:
        ValueError: they fit neither.
    """
    if "delay" not in layer.values:
        return None
    steps = np.clip(layer.values["delay"].astype(np.int64), 0, LONGEST_DELAY)
    if not steps.any():
        return None
    if steps.size == 1:
        return steps.reshape(1, 1)
    if steps.size == outputs:
        return steps.reshape(outputs, 1)
    if steps.size == inputs:
        return steps.reshape(1, inputs)
    if steps.shape == (outputs, inputs):
        return steps
    wanted = f"{counted(outputs, 'neuron')} nor {counted(inputs, 'input')}"
    raise ValueError(f"delays {steps.shape} fit neither {wanted}")
