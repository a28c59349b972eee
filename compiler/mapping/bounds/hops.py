"""How few hops any placement of some tiles can need."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.mapping.chip import Mesh
from spikeloom.compiler.mapping.placing.graph import Talk


def least_hops(talk: Talk, mesh: Mesh) -> float:
    """Hops a step that no placement of these tiles can do without.

    At a core's own router there are c - 1 other cores, at a distance of d routers at most 4 d c. So the cores
    that it talks to most lie at these distances at best. Each message is counted at both of its ends, hence
    half of the sum. Every core has the best place in the middle here, so that the bound is out of reach.

    >>> from spikeloom.compiler.mapping.placing.graph import talk_of
    >>> star = talk_of(np.array([[0, n] for n in range(1, 6)]), np.ones(5), 6)
    >>> least_hops(star, Mesh(8, 8, 1, 64))  # 4 cores at 1 and one at 2; from the other ends, 5 at 1
    5.5
    """
    weight = talk.sent + talk.received
    owner = talk.owner
    order = np.lexsort((-weight, owner))
    rank = np.arange(len(order)) - talk.first[:-1][owner]
    reach = np.arange(2 * int(np.sqrt(talk.cores)) + 3)
    nearer = mesh.cores_per_router - 1 + 2 * mesh.cores_per_router * reach * (reach + 1)
    return float((weight[order] * np.searchsorted(nearer, rank, side="right")).sum() / 2)
