"""Rules from NIR's nodes to operations of ours, one family a file."""

from __future__ import annotations

from spikeloom.compiler.frontends.nir.rules.delay import delay
from spikeloom.compiler.frontends.nir.rules.ends import input_, output
from spikeloom.compiler.frontends.nir.rules.flatten import flatten_
from spikeloom.compiler.frontends.nir.rules.leaky import (
    current_based_integrator,
    integrator,
    leaky_integrator,
)
from spikeloom.compiler.frontends.nir.rules.pooling import pool
from spikeloom.compiler.frontends.nir.rules.spiking import (
    current_based,
    integrate_and_fire,
    leaky_integrate_and_fire,
    threshold_,
)
from spikeloom.compiler.frontends.nir.rules.weights import convolution, linear, scale
from spikeloom.compiler.frontends.nir.walk import Rule

RULES: dict[str, Rule] = {
    "Affine": linear,
    "AvgPool2d": pool,
    "Conv1d": convolution,
    "Conv2d": convolution,
    "CubaLI": current_based_integrator,
    "CubaLIF": current_based,
    "Delay": delay,
    "Flatten": flatten_,
    "I": integrator,
    "IF": integrate_and_fire,
    "Input": input_,
    "LI": leaky_integrator,
    "LIF": leaky_integrate_and_fire,
    "Linear": linear,
    "Output": output,
    "Scale": scale,
    "SumPool2d": pool,
    "Threshold": threshold_,
}
"""Rules by NIR's names of nodes: all of NIR 1.0."""
