"""Captured networks of :mod:`tests.trained_networks` on their way to integers, each made once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.frontends.torch.capture import Capture
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.passes import run_passes
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.passes.canonicalise import CANONICALISE
from spikeloom.compiler.quantize.activity import Activity, measure_activity
from spikeloom.compiler.quantize.quantize import Quantized, quantize
from tests.trained_networks import SMALL, captured, captured_spikformer, spikformer_frames

STEPS = 5
NAMES = ("spikformer", *(network.__name__ for network in SMALL))


def onnx_profile(bits: int = 8) -> NumericProfile:
    """A threshold for every neuron, wide biases and states."""
    return NumericProfile("onnx", bits, fraction_bits=6)


def loihi2_profile(bits: int = 8) -> NumericProfile:
    """Few coarse thresholds, biases as mantissa and exponent, 24 bits of state."""
    return NumericProfile(
        "loihi2",
        bits,
        fraction_bits=7,
        threshold_step=64,
        threshold_bits=17,
        threshold_groups=8,
        bias_mantissa_bits=13,
        bias_exponent_bits=3,
        state_bits=24,
    )


PROFILES = {"onnx": onnx_profile, "loihi2": loihi2_profile}


def capture_of(name: str) -> Capture:
    """The capture of a network by its name."""
    if name == "spikformer":
        return captured_spikformer()
    return captured(next(network for network in SMALL if network.__name__ == name))


def frames_of(name: str, seed: int = 0) -> NDArray[np.uint8]:
    """Frames [steps, samples, ...] on which every layer of the network fires."""
    if name == "spikformer":
        return spikformer_frames(seed)
    return next(network for network in SMALL if network.__name__ == name).frames(seed=seed)


_CANONICAL: dict[str, tuple[Graph, Activity]] = {}
_QUANTIZED: dict[tuple[str, str, int], Quantized] = {}


def canonical(name: str) -> tuple[Graph, Activity]:
    """The canonical graph, and its activity on :func:`frames_of`."""
    if name not in _CANONICAL:
        graph = run_passes(capture_of(name).graph, CANONICALISE)
        _CANONICAL[name] = graph, measure_activity(graph, frames_of(name))
    return _CANONICAL[name]


def quantized(name: str, profile: str = "onnx", bits: int = 8) -> Quantized:
    """The network quantized for a profile of :data:`PROFILES`; not to be changed."""
    if (name, profile, bits) not in _QUANTIZED:
        graph, activity = canonical(name)
        _QUANTIZED[name, profile, bits] = quantize(graph, PROFILES[profile](bits), activity, STEPS)
    return _QUANTIZED[name, profile, bits]
