"""Samples from arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.op import Array
from spikeloom.errors import InputError, Problem
from spikeloom.runtime.events.convert import Encoder, to_frames, to_labels
from spikeloom.runtime.events.samples.sample import Sample, Samples
from spikeloom.runtime.events.samples.shapes import at_each_step, wrong_shape

_NAMED = 5  # arrays of a file without the one that is wanted


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
    problems = wrong_shape(f"{path}, x", x.shape[1:], shape)
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
            "SL0121", path, f"is no .npz or .npy file of plain arrays: {type(error).__name__}: {error}"
        ) from error
    x = content.get("x")
    if x is None or x.ndim < 1 or not x.size:
        got = found if x is None else f"x of shape {list(x.shape)}"
        raise InputError.of("SL0121", path, "holds no samples", wanted="an array x [N, ...]", got=got)
    return x, content.get("y")


class _Arrays(Samples):
    def __init__(self, name: str, x: Array, y: NDArray[np.int64] | None, shape: tuple[int, ...]) -> None:
        self.names = [f"{name}[{index}]" for index in range(len(x))]
        self._x = x
        self._y = y
        self._shape = shape

    def _sample(self, index: int) -> Sample:
        label = None if self._y is None else int(self._y[index])
        return Sample(self.names[index], at_each_step(self._x[index], self._shape), label)
