"""The equivalence ledger: what was compared while a network was compiled, and with what result."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Comparison:
    """One comparison of two executions.

    Attributes:
        stage: what was executed.
        against: what it was compared with.
        samples, steps, cells: how much was compared; a cell is one neuron at one step.
        differing: cells that differ.
        tolerance: ``zero``: differing cells would have stopped the compiler; ``bounded``: each lies
            within a declared bound; ``measured``: agreement is not claimed, only reported.
        detail: more figures, by name.
    """

    stage: str
    against: str
    samples: int
    steps: int
    cells: int
    differing: int
    tolerance: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass
class Ledger:
    """All comparisons of a compilation, in order."""

    comparisons: list[Comparison] = field(default_factory=list)

    def add(self, comparison: Comparison) -> None:
        """Append a comparison."""
        self.comparisons.append(comparison)

    def to_json(self) -> list[dict[str, Any]]:
        """The comparisons as JSON objects."""
        return [asdict(comparison) for comparison in self.comparisons]
