"""Freed memory goes back to the system between stages, so that their peaks do not add up."""

from __future__ import annotations

import ctypes
import gc
import sys

import numpy as np

from spikeloom.compiler.graph.graph import Graph

LARGE = 2**25
"""Bytes of weights from which the peaks of stages are worth the time: collecting visits all objects."""


def give_back(graph: Graph | None) -> None:
    """Between two stages of a large network, collect cycles, and let glibc return the pages that it keeps.

    Arrays of some megabytes are freed into the heap of the process, which grows by every stage otherwise.
    """
    if graph is None or _bytes(graph) < LARGE:
        return
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def _bytes(graph: Graph) -> int:
    arrays = (array for node in graph.nodes for array in vars(node.op).values())
    return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
