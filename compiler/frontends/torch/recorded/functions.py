"""Which functions a recording may name: those that compute a tensor from tensors, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

SPACES: dict[str, Any] = {
    "torch": torch,
    "torch.Tensor": torch.Tensor,
    "torch.nn.functional": torch.nn.functional,
    "torch.fft": torch.fft,
    "torch.special": torch.special,
    "torch.linalg": torch.linalg,
    "torch._C._nn": torch._C._nn,
}

_NAMES = """
    abs adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool2d add addcdiv addcmul addmm amax amin
    argmax avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bmm bool broadcast_to cat ceil chunk
    clamp clamp_max clamp_min clip clone concat contiguous conv1d conv2d conv3d conv_transpose2d copy
    cos cpu cumsum detach diagonal div divide dot double dropout dropout1d dropout2d dropout3d einsum
    elu embedding eq erf exp expand expand_as expm1 feature_dropout fft fill flatten flip float floor
    floor_divide full_like gather ge gelu group_norm gt half hardtanh hstack ifft index_select
    instance_norm int interpolate irfft layer_norm le leaky_relu linear log log1p log_softmax
    logical_and logical_not logical_or long lt masked_fill matmul max max_pool1d max_pool2d max_pool3d
    maximum mean min minimum mish mm movedim mul multiply mv narrow ne neg negative new_full new_ones
    new_zeros norm normalize ones_like outer pad permute pixel_shuffle pixel_unshuffle pow prod
    reciprocal relu relu6 remainder repeat repeat_interleave reshape reshape_as rfft roll round rsqrt
    rsub scaled_dot_product_attention select selu sigmoid sign silu sin softmax softplus split
    split_with_sizes sqrt square squeeze stack std sub subtract sum swapaxes swapdims t tanh
    tensor_split tile to transpose tril triu true_divide type type_as unbind unflatten unfold unsqueeze
    upsample upsample_nearest upsample_nearest2d var view view_as vstack where zero zeros_like __abs__
    __add__ __and__ __div__ __eq__ __floordiv__ __ge__ __getitem__ __gt__ __iadd__ __imul__ __invert__
    __isub__ __itruediv__ __le__ __lt__ __matmul__ __mod__ __mul__ __ne__ __neg__ __or__ __pow__
    __radd__ __rdiv__ __rmatmul__ __rmul__ __rpow__ __rsub__ __rtruediv__ __setitem__ __sub__
    __truediv__
"""
TENSOR_FUNCTIONS = frozenset(_NAMES.split())
"""By the last part of their names; with an underscore behind it, the same in place."""

ATTRIBUTES = frozenset({"T", "mT", "data", "real", "imag"})


def find_function(name: str) -> Callable[..., Any] | None:
    """The function of that name; None where it is not one of these, or this PyTorch has none.

    >>> find_function("torch.nn.functional.relu") is torch.nn.functional.relu
    True
    >>> find_function("torch.load") is None
    True
    """
    space, _, last = name.rpartition(".")
    if last == "__get__":
        space, _, attribute = space.rpartition(".")
        known = space == "torch.Tensor" and attribute in ATTRIBUTES
        return getattr(torch.Tensor, attribute).__get__ if known else None
    stem = last if last.startswith("__") else last.removesuffix("_")
    if stem not in TENSOR_FUNCTIONS or space not in SPACES:
        return None
    found = getattr(SPACES[space], last, None)
    return found if callable(found) else None
