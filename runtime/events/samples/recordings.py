"""Samples from event recordings."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple

from spikeloom.errors import InputError, Problem, counted
from spikeloom.runtime.events.formats import items_of, recording_suffix, require_known, suffixes
from spikeloom.runtime.events.framer import frames_of
from spikeloom.runtime.events.labels import labels_of
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples.sample import Sample, Samples
from spikeloom.runtime.events.samples.shapes import wrong_recipe

_NOT_FROM_FOLDERS = (".csv",)
_SETS = (".h5", ".hdf5")


def recordings(
    path: Path | str,
    recipe: FrameRecipe,
    labels: Path | str | None = None,
    strict: bool = True,
    shape: Sequence[int] | None = None,
) -> Samples:
    """Event recordings as samples, uint8 [T, 2, H, W] by the recipe.

    An HDF5 file that holds several recordings (SHD, SSC, N-TIDIGITS) stands for them all, in its order and
    with its labels.

    Args:
        path: a file, a folder (all recordings in it and below, in natural order: 2.bs2 before 10.bs2;
            other files, and those in .csv, are passed over) or a glob pattern.
        recipe: how events become frames.
        labels: a table as :func:`~spikeloom.runtime.events.labels.read_labels` reads it, or «folders».
        strict: refuse damaged recordings rather than drop what is bad.
        shape: the frames [T, ...] that the network takes, if they are to be compared with the recipe's.

    Raises:
        InputError: SL0101 there are no recordings, SL0106 a file is of no known format, SL0111 the
            recipe's frames are not the network's, SL0120 the labels do not fit the recordings; when a
            sample is made, as :func:`~spikeloom.runtime.events.formats.open_events`.
    """
    problems = wrong_recipe(str(path), recipe, shape)
    root, files = _find(str(path))
    problems += [problem for file in files for problem in _unknown_format(file)]
    if problems:
        raise InputError(problems)
    folder = root if Path(path).is_dir() else None
    known = labels_of(files, labels, folder) if labels is not None else [None] * len(files)
    sources = [source for file, label in zip(files, known, strict=True) for source in _sources(file, label)]
    return _Recordings(root, sources, recipe, strict)


class _Source(NamedTuple):
    """A recording: its file, which of several in it, its name there, and its class."""

    file: Path
    item: int | None
    name: str
    label: int | None


def _sources(file: Path, label: int | None) -> list[_Source]:
    """The recordings of a file.

    Raises:
        InputError: SL0120, a table labels a file of several recordings; SL0101, SL0108 it cannot be read.
    """
    found = items_of(file) if recording_suffix(file) in _SETS else []
    if not found:
        return [_Source(file, None, "", label)]
    if label is not None:
        what = f"has one label for {counted(len(found), 'recording')}"
        raise InputError.of("SL0120", file, what, remedy="such files bring their own labels")
    return [_Source(file, index, f"[{item.name}]", item.label) for index, item in enumerate(found)]


class _Recordings(Samples):
    def __init__(self, root: Path, sources: Sequence[_Source], recipe: FrameRecipe, strict: bool) -> None:
        self.names = [_readable(source.file.relative_to(root)) + source.name for source in sources]
        self._sources = sources
        self._recipe = recipe
        self._strict = strict

    def _sample(self, index: int) -> Sample:
        source = self._sources[index]
        frames, report = frames_of(source.file, self._recipe, self._strict, item=source.item)
        return Sample(self.names[index], frames, source.label, report)


def _readable(path: Path) -> str:
    """A path as text that every encoding of Unicode takes; names of files may be any bytes."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def _find(path: str) -> tuple[Path, list[Path]]:
    """The recordings that a path means, in natural order, and the folder that their names start from."""
    root = Path(path)
    files = _below(root) if root.is_dir() else _matching(path)
    if not files:
        missing = not root.exists() and not has_magic(path)
        what = ("does not exist: " if missing else "") + "there are no recordings here"
        raise InputError.of("SL0101", path, what, wanted="files ending in " + ", ".join(suffixes()))
    if not root.is_dir():
        root = Path(os.path.commonpath([file.parent for file in files]))
    return root, sorted(files, key=lambda file: _natural(file.relative_to(root).as_posix()))


def _matching(pattern: str) -> list[Path]:
    """The file of that name, or what the pattern matches: each file, and all recordings in each folder."""
    if Path(pattern).exists():
        return [Path(pattern)]
    matches = [Path(match) for match in glob(pattern, recursive=True)]  # noqa: PTH207 - may be absolute
    found = [file for match in matches for file in (_below(match) if match.is_dir() else [match])]
    return list(dict.fromkeys(found))


def _below(folder: Path) -> list[Path]:
    """The event files in a folder and its sub-folders, hidden files left out."""
    known = set(suffixes()) - set(_NOT_FROM_FOLDERS)
    return [
        Path(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if not name.startswith(".") and recording_suffix(name) in known
    ]


def _natural(name: str) -> tuple[list[str | int], str]:
    """A key that sorts runs of digits by their value."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def _unknown_format(file: Path) -> Sequence[Problem]:
    try:
        require_known(file)
    except InputError as error:
        return error.problems
    return ()
