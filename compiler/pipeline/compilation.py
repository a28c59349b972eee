"""A network on its way to a bundle: what went in, and the result of each stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from spikeloom.compiler.agreement import (
    Agreement,
)
from spikeloom.compiler.bundle import Bundle
from spikeloom.compiler.graph.graph import Graph, Unit
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.layer_report import LayerReport, report_layers
from spikeloom.compiler.ledger import Ledger
from spikeloom.compiler.mapping.explanation import Explanation
from spikeloom.compiler.mapping.lowering_cost import LoweringCost
from spikeloom.compiler.mapping.placement import Mapping as ChipMapping
from spikeloom.compiler.pipeline.chains import ChainChoice
from spikeloom.compiler.quantize.activity import Activity
from spikeloom.compiler.quantize.correct import Correction
from spikeloom.compiler.quantize.quantize import Quantized
from spikeloom.compiler.quantize.sensitivity import Sensitivity
from spikeloom.runtime.events.array_recipe import Recipe

if TYPE_CHECKING:
    from spikeloom.compiler.frontends.torch.capture import Capture
    from spikeloom.compiler.training.network import PreparedNetwork


@dataclass(frozen=True)
class Inputs:
    """Calibration samples as the network takes them.

    Attributes:
        recipe: what a byte of the input means.
        frames: bytes (or tokens) [steps, samples, ...], and then the empty ones on which the network runs on.
        trial: how many of the samples the stages are compared on.
    """

    recipe: Recipe
    frames: Array
    trial: int

    @property
    def horizon(self) -> int:
        """Time steps between resets."""
        return self.recipe.steps + self.recipe.flush

    @property
    def unit(self) -> Unit:
        """What the bytes mean."""
        scale = self.recipe.scale
        return Unit(np.array(scale), np.array(0.0 - scale * self.recipe.zero))

    @property
    def real(self) -> Array:
        """The real values of the bytes."""
        return self.recipe.decode(self.frames)

    @property
    def trial_frames(self) -> Array:
        """The bytes of the samples that the stages are compared on."""
        return self.frames[:, : self.trial]

    @property
    def trial_real(self) -> Array:
        """Their real values, in float32 as PyTorch takes them."""
        real: Array = self.real[:, : self.trial].astype(np.float32)
        return real

    @property
    def trial_samples(self) -> Array:
        """The same without the empty frames after the samples."""
        return self.trial_real[: len(self.frames) - self.recipe.flush]


@dataclass
class Compilation:
    """A network on its way to a bundle: the result of each stage that has run.

    Attributes:
        capture: of a PyTorch model; None for a network that came as a graph.
        captured: the graph of one time step, as trained.
        chains: what became of chains of convolutions.
        lowering: what the chip's target made of the graph, where it tells.
    """

    prepared: PreparedNetwork | None = None
    capture: Capture | None = None
    captured: Graph | None = None
    canonical: Graph | None = None
    chains: tuple[ChainChoice, ...] = ()
    activity: Activity | None = None
    sensitivity: tuple[Sensitivity, ...] = ()
    quantized: Quantized | None = None
    corrections: tuple[Correction, ...] = ()
    lowering: LoweringCost | None = None
    mapping: ChipMapping | None = None
    explanation: Explanation | None = None
    forced: Mapping[str, float] = field(default_factory=dict)
    agreement: Agreement | None = None
    inputs: Inputs | None = None
    ledger: Ledger = field(default_factory=Ledger)
    bundle: Bundle | None = None

    @property
    def layers(self) -> tuple[LayerReport, ...]:
        """What quantization did to each layer; empty before it was done."""
        if self.canonical is None or self.quantized is None or self.agreement is None:
            return ()
        return report_layers(self.canonical, self.quantized, self.agreement, self.forced)
