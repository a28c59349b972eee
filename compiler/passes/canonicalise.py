"""The canonical form: what the quantizer takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spikeloom.compiler.graph.graph import Graph, Stage
from spikeloom.compiler.graph.ops.batch_norm import BatchNorm
from spikeloom.compiler.graph.ops.mean import Mean
from spikeloom.compiler.graph.passes import Pass, PassResult
from spikeloom.compiler.passes.fold_affine import FoldAffine
from spikeloom.compiler.passes.lower_batch_norm import LowerBatchNorm
from spikeloom.compiler.passes.mean_to_sum import MeanToSum
from spikeloom.compiler.passes.merge_reshapes import MergeReshapes
from spikeloom.compiler.passes.part_feedback import PartFeedback
from spikeloom.compiler.passes.shift_reset import ShiftReset
from spikeloom.errors import InternalError, Problem


@dataclass(frozen=True)
class DeclareCanonical(Pass):
    """Check that no batch norm, mean or resting potential is left, and say so."""

    name: ClassVar[str] = "declare-canonical"
    needs: ClassVar[Stage] = Stage.CAPTURED
    gives: ClassVar[Stage] = Stage.CANONICAL

    def apply(self, graph: Graph) -> PassResult:
        """Change the stage.

        Raises:
            InternalError: SL0402, a pass before this one was left out.
        """
        left = [node for node in graph.nodes if isinstance(node.op, (BatchNorm, Mean))]
        left += [node for node in graph.nodes if getattr(node.op, "v_reset", 0) != 0]
        if left:
            raise InternalError([Problem("SL0402", node.name, f"{node.op.name} is left") for node in left])
        return PassResult(graph.replace(stage=Stage.CANONICAL), True)


CANONICALISE: tuple[Pass, ...] = (
    LowerBatchNorm(),
    MeanToSum(),
    PartFeedback(),
    FoldAffine(),
    ShiftReset(),
    MergeReshapes(),
    DeclareCanonical(),
)
"""The passes from a captured graph to a canonical one, in order."""
