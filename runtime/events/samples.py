"""Samples for a network, from recordings, arrays or a data set: each a sequence of frames, maybe labelled."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from glob import glob, has_magic
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.op import Array
from spikeloom.errors import InputError, Problem, counted
from spikeloom.factories import load_factory
from spikeloom.runtime.events.check import Check, leniently, strictly
from spikeloom.runtime.events.convert import Encoder, to_events, to_frames, to_labels
from spikeloom.runtime.events.formats import items_of, recording_suffix, require_known, suffixes
from spikeloom.runtime.events.framer import Framer, extent_of, frames_of
from spikeloom.runtime.events.labels import labels_of
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.stream import Chunk, DropReport, Events

_BAD_SAMPLES = 20
_NAMED = 5  # arrays of a file without the one that is wanted
_OTHER_FRAMES = "correct the recipe, or the input shape of the model"
_NOT_FROM_FOLDERS = (".csv",)
_SETS = (".h5", ".hdf5")


@dataclass(frozen=True, eq=False)
class Sample:
    """One input of the network.

    Attributes:
        name: unique within its source.
        frames: [T, ...], one frame a time step: uint8, or wider where they hold tokens.
        label: its class, or None.
        report: what was dropped while the frames were made.
    """

    name: str
    frames: Array
    label: int | None = None
    report: DropReport = field(default_factory=DropReport)


class Samples(ABC):
    """Samples in a fixed order, each made when it is asked for; its errors are raised then.

    Attributes:
        names: the samples' names, known without making them.
    """

    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return self._sample(range(len(self))[index])

    def __iter__(self) -> Iterator[Sample]:
        return self.at(range(len(self)))

    def at(self, indices: Sequence[int]) -> Iterator[Sample]:
        """The samples at these indices, in this order.

        Raises:
            InputError: a sample cannot be made; those after it are made too, to name what is wrong with
                them all, until :data:`_BAD_SAMPLES` are bad.
        """
        for place, index in enumerate(indices):
            try:
                sample = self[index]
            except InputError as error:
                raise self._all(error, indices[place + 1 :]) from error
            yield sample

    def _all(self, error: InputError, indices: Sequence[int]) -> InputError:
        """The error of a sample, with what is wrong with the samples after it."""
        problems = [*error.problems]
        bad = 1
        for place, index in enumerate(indices):
            if bad == _BAD_SAMPLES:
                what = f"{counted(len(indices) - place, 'more sample')} not looked at"
                problems.append(Problem(problems[-1].code, self.names[index], what))
                break
            try:
                self[index]
            except InputError as another:
                problems += another.problems
                bad += 1
        return InputError(problems)

    def followed_by(self, empty: Array) -> Samples:
        """The same samples, each with these empty frames [n, ...] behind it, on which a network runs on."""
        return _Followed(self, empty) if len(empty) else self

    @abstractmethod
    def _sample(self, index: int) -> Sample:
        """Make the sample at ``index``, 0 ≤ index < len(self)."""


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
    problems = _wrong_recipe(str(path), recipe, shape)
    root, files = _find(str(path))
    problems += [problem for file in files for problem in _unknown_format(file)]
    if problems:
        raise InputError(problems)
    folder = root if Path(path).is_dir() else None
    known = labels_of(files, labels, folder) if labels is not None else [None] * len(files)
    sources = [source for file, label in zip(files, known, strict=True) for source in _sources(file, label)]
    return _Recordings(root, sources, recipe, strict)


def arrays(path: Path | str, shape: Sequence[int], encode: Encoder = to_frames) -> Samples:
    """The samples of an .npz file: ``x`` [N, T, ...], or [N, ...] shown at each of the T steps; ``y`` [N].

    An .npy file holds x alone.

    Args:
        path: the file; ``y``, the labels, may be absent. It is read whole.
        shape: the frames [T, ...] that the network takes.
        encode: from what stands in the file to bytes; by default they must be bytes already.

    Raises:
        InputError: SL0121 the file cannot be read, has no ``x``, or holds values that are not whole
            numbers from 0 to 255 (in ``y``: from 0); SL0111 its shape is not the network's.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     np.savez(Path(folder) / "a.npz", x=np.ones((3, 5, 2, 4, 4)), y=[0, 1, 0])
    ...     [sample.label for sample in arrays(Path(folder) / "a.npz", (5, 2, 4, 4))]
    [0, 1, 0]
    """
    x, y = read_arrays(Path(path))
    problems = _wrong_shape(f"{path}, x", x.shape[1:], shape)
    if y is not None and y.shape != (len(x),):
        what, wanted = "labels and samples differ in number", f"y of shape [{len(x)}]"
        problems.append(Problem("SL0121", str(path), what, wanted, str(list(y.shape))))
    if problems:
        raise InputError(problems)
    return _Arrays(
        Path(path).name,
        encode(x, f"{path}, x"),
        None if y is None else to_labels(y, f"{path}, y"),
        tuple(shape),
    )


def dataset(
    spec: str,
    recipe: FrameRecipe | None,
    shape: Sequence[int],
    strict: bool = True,
    encode: Encoder = to_frames,
) -> Samples:
    """The samples of a data set in the manner of torch: ``len(d)`` and ``d[i]`` giving a pair (x, y).

    ``x`` is an array or tensor of frames [T, ...] or of one frame [...] shown at each step, or a
    structured array of events with fields t (microseconds), x, y, p; events become frames by the
    recipe. ``y`` is a class or None.

    Args:
        spec: «FILE.py:factory», the factory taking no arguments.
        recipe: how events become frames; None if there are none.
        shape: the frames [T, ...] that the network takes.
        strict: refuse damaged events rather than drop what is bad.
        encode: from the frames of an item to bytes; by default they must be bytes already.

    Raises:
        InputError: SL0201 there is no such factory, SL0121 it gives no data set; when a sample is
            made, SL0121 an item is not as said above, SL0111 its frames are not of the network's
            shape, SL0102, SL0104, SL0105 its events are damaged.
    """
    factory, _ = load_factory(spec)
    try:
        items = factory()
        length = len(items)
    except Exception as error:  # a user's code may raise anything
        raise InputError.of("SL0121", spec, f"gives no data set: {_named(error)}") from error
    if length < 1 or not hasattr(items, "__getitem__"):
        raise InputError.of("SL0121", spec, "gives no data set", wanted="items by index, at least one")
    return _Dataset(spec, items, length, recipe, tuple(shape), strict, encode)


class _Followed(Samples):
    def __init__(self, samples: Samples, empty: Array) -> None:
        self.names = samples.names
        self._samples, self._empty = samples, empty

    def _sample(self, index: int) -> Sample:
        sample = self._samples[index]
        return replace(sample, frames=np.concatenate([sample.frames, self._empty]))


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


class _Arrays(Samples):
    def __init__(self, name: str, x: Array, y: NDArray[np.int64] | None, shape: tuple[int, ...]) -> None:
        self.names = [f"{name}[{index}]" for index in range(len(x))]
        self._x = x
        self._y = y
        self._shape = shape

    def _sample(self, index: int) -> Sample:
        label = None if self._y is None else int(self._y[index])
        return Sample(self.names[index], _at_each_step(self._x[index], self._shape), label)


class _Dataset(Samples):
    def __init__(
        self,
        spec: str,
        items: Any,
        length: int,
        recipe: FrameRecipe | None,
        shape: tuple[int, ...],
        strict: bool,
        encode: Encoder,
    ) -> None:
        name = spec.rpartition(":")[2]
        self.names = [f"{name}[{index}]" for index in range(length)]
        self._spec = spec
        self._items = items
        self._recipe = recipe
        self._shape = shape
        self._strict = strict
        self._encode = encode

    def _sample(self, index: int) -> Sample:
        where = f"{self._spec}, item {index}"
        x, y = self._pair(index, where)
        label = None if y is None else _label(y, where)
        if x.dtype.names:
            frames, report = self._framed(x, where)
            return Sample(self.names[index], frames, label, report)
        if problems := _wrong_shape(where, x.shape, self._shape):
            raise InputError(problems)
        return Sample(self.names[index], _at_each_step(self._encode(x, where), self._shape), label)

    def _pair(self, index: int, where: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
        try:
            x, y = self._items[index]
            return np.asarray(x), None if y is None else np.asarray(y)
        except Exception as error:  # a user's code may raise anything
            raise InputError.of(
                "SL0121", where, f"gives no pair (x, y) of arrays: {_named(error)}"
            ) from error

    def _framed(self, x: NDArray[Any], where: str) -> tuple[NDArray[np.uint8], DropReport]:
        if self._recipe is None:
            raise InputError.of("SL0121", where, "gives events, but no recipe says how they become frames")
        if problems := _wrong_recipe(where, self._recipe, self._shape):
            raise InputError(problems)
        check = Check(self._recipe.geometry)
        chunk = Chunk(to_events(x, where))
        checked: Iterator[Events] = (
            strictly([chunk], check, where) if self._strict else leniently([chunk], check)
        )
        parts = list(checked)
        framer = Framer(self._recipe, extent_of(parts, self._recipe.field_of_view))
        frames = [frame for events in parts for frame in framer.push(events)] + framer.finish()
        return np.stack(frames), check.report + framer.report


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


def read_arrays(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The arrays x, with one sample at least, and y (or None) of an .npz file; an .npy file holds x alone.

    Raises:
        InputError: SL0121, the file cannot be read or has no x.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            named = {"x": archive} if isinstance(archive, np.ndarray) else archive
            content = {key: named[key] for key in ("x", "y") if key in named}
            found = ", ".join([*named][:_NAMED]) + (", ..." if len([*named]) > _NAMED else "")
    except OSError as error:
        raise InputError.of("SL0121", path, f"cannot be read: {error.strerror or error}") from error
    except Exception as error:  # NumPy and zipfile raise a dozen kinds of exception on damaged files
        raise InputError.of(
            "SL0121", path, f"is no .npz or .npy file of plain arrays: {_named(error)}"
        ) from error
    x = content.get("x")
    if x is None or x.ndim < 1 or not x.size:
        got = found if x is None else f"x of shape {list(x.shape)}"
        raise InputError.of("SL0121", path, "holds no samples", wanted="an array x [N, ...]", got=got)
    return x, content.get("y")


def _at_each_step(frames: Array, shape: tuple[int, ...]) -> Array:
    """Frames [T, ...] as they are; a single frame [...] T times."""
    return np.ascontiguousarray(np.broadcast_to(frames, shape))


def _wrong_shape(where: str, got: Sequence[int], shape: Sequence[int]) -> list[Problem]:
    steps, frame = list(shape), list(shape[1:])
    if list(got) in (steps, frame) and got:  # a single number is no frame to be shown at each step
        return []
    wanted = f"{steps} [T, ...]" + f" or one frame {frame}" * bool(frame)
    what = "a sample has not the shape that the network takes"
    return [Problem("SL0111", where, what, wanted, str(list(got)))]


def _wrong_recipe(where: str, recipe: FrameRecipe, shape: Sequence[int] | None) -> list[Problem]:
    got = list(recipe.sequence_shape)
    if shape is None or got == list(shape):
        return []
    what = "the recipe's frames have not the shape that the network takes"
    return [Problem("SL0111", where, what, str(list(shape)), str(got), _OTHER_FRAMES)]


def _label(y: NDArray[Any], where: str) -> int:
    if y.size != 1:
        got = f"shape {list(y.shape)}"
        raise InputError.of("SL0121", where, "the label is no class", wanted="one number", got=got)
    return int(to_labels(y.reshape(1), f"{where}, label")[0])


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
