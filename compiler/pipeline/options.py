"""How to compile, and the stages in order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from spikeloom.compiler.quantize.sensitivity import Budget
from spikeloom.compiler.quantize.weights import Range

if TYPE_CHECKING:
    pass


STAGES = ("capture", "canonical", "integer", "mapped", "bundle")


UNCORRECTED_BITS = 6
"""With so many bits rounding moves next to no spike, and a correction follows the noise of the recordings."""


@dataclass(frozen=True)
class Options:
    """How to compile.

    Attributes:
        target: name of the target.
        bits: width of a weight.
        chips: how many chips of the target may be used.
        seed: of the placement.
        ledger: on how many calibration recordings each stage is compared with the one before.
        stop_after: the last stage to run, one of :data:`STAGES`.
        steps: time steps a sample, where neither a recipe nor the model says it.
        silence: whether neuron layers that never fire in calibration are accepted.
        within: how the ranges of weights, and of values that are rescaled, are chosen.
        correct: whether weights, biases and thresholds are corrected after rounding, on the recordings;
            None: where a weight has fewer than 6 bits.
        budget: if given, each layer has the width that its sensitivity asks for, up to ``bits``.
        attention: how attention is executed, in a word of the target; empty: as it costs the target least.
        repconv: what becomes of chains of convolutions: ``dense``, one convolution; ``chain``; or ``auto``,
            the cheaper where no trained grid is lost (:mod:`~spikeloom.compiler.pipeline.chains`).
    """

    target: str
    bits: int = 8
    chips: int = 1
    seed: int = 0
    ledger: int = 1
    stop_after: str = "bundle"
    steps: int = 0
    silence: bool = False
    within: Range = field(default_factory=Range)
    correct: bool | None = None
    budget: Budget | None = None
    attention: str = ""
    repconv: str = "auto"

    @property
    def corrects(self) -> bool:
        """Whether weights, biases and thresholds are corrected."""
        narrow = self.bits < UNCORRECTED_BITS or self.budget is not None
        return narrow if self.correct is None else self.correct

    def until(self, stage: str) -> Options:
        """The same, with another last stage."""
        return replace(self, stop_after=stage)
