"""How kernels are compiled: without the lock of Python, and kept on disk between processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Decorator: machine code at the first call with new types of arguments."""
    try:
        kernel: Any = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # no folder can be written to keep the code in
        kernel = numba.njit(nogil=True, error_model="numpy")(function)
    compiled_kernel: Kernel = kernel
    return compiled_kernel
