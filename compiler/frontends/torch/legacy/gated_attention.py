"""Functions with the names of ``fla.ops.gla`` and its neighbours, on a processor, one token after the other.

Tensors are [B, heads, T, K], or [B, T, heads, K] with ``head_first=False``, as flash-linear-attention has
them since version 0.3. Kernels of several tokens at once (``chunk``) compute the same function.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikeloom.compiler.frontends.torch.gated import gated_state
from spikeloom.errors import InputError


def fused_recurrent_gla(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gk: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    head_first: bool = True,
    **options: Any,
) -> tuple[Tensor, None]:
    """S <- exp(gk) S + k v' ;  o = scale q S, from an empty state; the scale is 1/sqrt(K) if it is not given.

    Raises:
        InputError: SL0205, a state is handed in, or an option is set that is not known.
    """
    known = ("output_final_state", "use_qk_l2norm_in_kernel", "reverse")
    unset = (name for name, value in options.items() if value is None or value is False)
    odd = sorted(set(options) - set(known).intersection(unset))
    if initial_state is not None or odd:
        raise InputError.of(
            "SL0205",
            "fla.ops.gla",
            f"is called with {', '.join(odd) or 'an initial state'}, which is not stood in for",
            remedy="call it on the whole sequence, or install flash-linear-attention",
        )
    if not head_first:
        q, k, v, gk = (x.transpose(1, 2) for x in (q, k, v, gk))
    factor = q.shape[-1] ** -0.5 if scale in (None, -1) else scale
    o: Tensor = gated_state(q * factor, k, v, torch.exp(gk))
    return (o if head_first else o.transpose(1, 2)), None


chunk_gla = fused_chunk_gla = naive_recurrent_gla = fused_recurrent_gla
