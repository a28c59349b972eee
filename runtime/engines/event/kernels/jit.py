"""How kernels are compiled: without the lock of Python, and kept on disk between processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Decorator: machine code at the first call with new types of arguments."""
    return _compiled(function, part=False)


def within(function: Kernel) -> Kernel:
    """Decorator of a part of kernels: its code becomes part of theirs, so that a call costs nothing."""
    return _compiled(function, part=True)


def _compiled(function: Kernel, part: bool) -> Kernel:
    try:
        kernel: Any = numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=part)(function)
    except RuntimeError:  # no folder can be written to keep the code in
        kernel = numba.njit(nogil=True, error_model="numpy", forceinline=part)(function)
    compiled_kernel: Kernel = kernel
    return compiled_kernel
