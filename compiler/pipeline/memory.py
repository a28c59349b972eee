"""Freed memory goes back to the system between stages, so that their peaks do not add up."""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back() -> None:
    """Collect cycles, and let glibc return the pages that it keeps for later; elsewhere, only collect.

    Arrays of some megabytes are freed into the heap of the process, which grows by every stage otherwise.
    """
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
