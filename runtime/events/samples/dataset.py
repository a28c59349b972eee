"""Samples from a data set in the manner of torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.errors import InputError
from spikeloom.factories import load_factory
from spikeloom.runtime.events.check import Check, leniently, strictly
from spikeloom.runtime.events.convert import Encoder, to_events, to_frames, to_labels
from spikeloom.runtime.events.framer import Framer, extent_of
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples.sample import Sample, Samples
from spikeloom.runtime.events.samples.shapes import at_each_step, wrong_recipe, wrong_shape
from spikeloom.runtime.events.stream import Chunk, DropReport, Events


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
        if problems := wrong_shape(where, x.shape, self._shape):
            raise InputError(problems)
        return Sample(self.names[index], at_each_step(self._encode(x, where), self._shape), label)

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
        if problems := wrong_recipe(where, self._recipe, self._shape):
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


def _label(y: NDArray[Any], where: str) -> int:
    if y.size != 1:
        got = f"shape {list(y.shape)}"
        raise InputError.of("SL0121", where, "the label is no class", wanted="one number", got=got)
    return int(to_labels(y.reshape(1), f"{where}, label")[0])


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
