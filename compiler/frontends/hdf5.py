"""What is refused in an HDF5 file before anything of it is read."""

from __future__ import annotations

from typing import Any

from spikeloom.errors import Problem

LARGEST = 2**31
"""Bytes that all data sets of a file may take together."""


def unsafe(file: Any, where: str, code: str) -> list[Problem]:
    """Links, data kept in other files, and more data than :data:`LARGEST`, under an error code."""
    import h5py

    problems: list[Problem] = []
    total = 0
    groups = [file]
    while groups:
        group = groups.pop()
        for name in group:
            at = f"{where}: {group.name.rstrip('/')}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                problems.append(Problem(code, at, "is a link that leads elsewhere"))
                continue
            item = group[name]
            if isinstance(item, h5py.Group):
                groups.append(item)
                continue
            if item.external or item.is_virtual:
                problems.append(Problem(code, at, "keeps its data in other files"))
            total += (item.size or 0) * max(item.dtype.itemsize, 1)
    if total > LARGEST:
        problems.append(Problem(code, where, "is too large", f"{LARGEST} bytes", f"{total}"))
    return problems
