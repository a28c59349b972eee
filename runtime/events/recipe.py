"""The frame recipe: how a stream of events becomes the frames that a network was trained on.

Frameworks disagree on it under their default settings (origin of time, incomplete windows, counts or
bits), so a compiled network carries its recipe with it, as ``recipe.json``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.errors import InputError
from spikeloom.runtime.events.field_of_view import FieldOfView, field_of_view
from spikeloom.runtime.events.recipe_rules import CLIP, COUNT_LIMIT, foreign, problems_of
from spikeloom.runtime.events.stream import Geometry

SIGNED_ZERO = 128
"""The byte that stands for 0 where a channel holds on minus off."""

FEATURES = ("x", "y", "t", "p")
"""The rows of a cloud of points."""

OFFLINE = {
    "number": "frames of equal event numbers need the number of events of the whole recording",
    "time": "frames that divide the recording's length need its last event",
}
"""The kinds that cannot be streamed, and why."""


@dataclass(frozen=True, kw_only=True)
class FrameRecipe:
    """How the N events of a recording, from t₀ to t₁, become T frames of bytes.

    The sensor is cropped and downsampled first (:mod:`~spikeloom.runtime.events.field_of_view`); events
    outside the crop are counted as `cropped` and take no part in what follows, N, t₀ and t₁ included.

    Frame i is made of, by its kind,
    - «fixed_duration»: the events with i·d ≤ t - origin < (i+1)·d;
    - «event_count»: the events n·i to n·(i+1) - 1, in their order;
    - «number»: the same with n = ⌊N / T⌋, so that it needs the end of the recording;
    - «time»: the events with i·d ≤ t - t₀ < (i+1)·d where d = ⌊(t₁ - t₀) / T⌋ microseconds; so does this.

    SpikingJelly's `split_by="number"` and `split_by="time"` are these kinds with the tail in the last frame
    (it refuses recordings that leave a frame empty), tonic's `n_event_bins` and `n_time_bins` with the
    tail dropped. SpikingJelly's fixed duration is «fixed_duration» from the first event with the tail in the
    last of its ⌈(t₁ - t₀) / d⌉ frames; tonic's `time_window` and `event_count` give incomplete frames up.

    What a frame holds is said by ``frame``: numbers of events for any kind, and for kinds of equal time also
    time surfaces, voxel grids and clouds of points, whose equations stand in the modules of these names.

    Attributes:
        width, height: the sensor in pixels.
        steps: frames a sample, T.
        duration_us: the length d of each frame in microseconds; of kind «fixed_duration».
        events: the number n of events of each frame; of kind «event_count».
        crop: the part of the sensor that is used, [x, y, width, height], or [width, height] in its middle.
        downsample: pixels of the sensor for one of the frame, along each axis: a whole number or a fraction
            below 1 (frame pixels for one of the sensor), or one for each axis [x, y].
        kind: which of the above.
        frame: «counts», «time_surface», «voxel_grid» or «points».
        origin: where frame 0 begins: «absolute» at time 0, «first_event» at the first event.
        boundary: «half_open», an event on a boundary belongs to the later frame.
        empty: «zero», a frame without events is all zeros; a time surface goes on to fade.
        late: «drop», events of a frame that is already finished are dropped and counted.
        tail: events after the last frame: «drop», they are dropped and counted; «last_frame», it takes
            them too.
        incomplete: the frame that is begun when the recording ends, unless it is the first: «emit», it
            is given as it is; «drop», it is given empty, and its events are counted as tail.
        value: what a pixel of counts holds: «binary» (1 where there was any event), «count» (saturating at
            255; what it loses is counted), «clip(k)» (the count, at most k).
        levels: into how many levels 1.0 is cut: the largest value of a time surface, and what an event
            weighs in a voxel grid.
        tau_us: time constant of a time surface in microseconds.
        last_event: where a voxel grid of kind «time» has its last event: «last_bin» or «after_last_bin».
        points: of a cloud.
        seed: of the drawing of points.
        polarity: the channels in their order; ["on-off"] is a single one, for voxel grids.
        reset: «per_sample», the network's state is reset before each sample.
        flush: empty frames after the last, on which a network that looks ahead or goes on runs to its end;
            the compiler sets it.

    Raises:
        InputError: SL0110, all malformed fields at once.

    >>> recipe = FrameRecipe(width=34, height=34, steps=5, duration_us=60_000, value="clip(3)")
    >>> recipe.shape, recipe.max_value
    ((2, 34, 34), 3)
    >>> FrameRecipe.from_json(recipe.to_json()) == recipe
    True
    """

    width: int
    height: int
    steps: int
    duration_us: int | None = None
    events: int | None = None
    crop: tuple[int, ...] | None = None
    downsample: float | tuple[float, float] = 1
    kind: str = "fixed_duration"
    frame: str = "counts"
    origin: str = "absolute"
    boundary: str = "half_open"
    empty: str = "zero"
    late: str = "drop"
    tail: str = "drop"
    incomplete: str = "emit"
    value: str = "binary"
    levels: int | None = None
    tau_us: int | None = None
    last_event: str = "last_bin"
    points: int | None = None
    seed: int = 0
    polarity: tuple[str, ...] = ("off", "on")
    reset: str = "per_sample"
    flush: int = 0

    def __post_init__(self) -> None:
        if problems := problems_of("recipe", self.to_json(), _DEFAULTS):
            raise InputError(problems)

    @property
    def offline(self) -> str:
        """Why these frames cannot be made while the events come in; empty if they can."""
        return OFFLINE.get(self.kind, "")

    @property
    def geometry(self) -> Geometry:
        """The sensor."""
        return Geometry(self.width, self.height)

    @property
    def field_of_view(self) -> FieldOfView:
        """Where in a frame the sensor's pixels are."""
        return field_of_view(self.width, self.height, self.crop, self.downsample)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one frame: (channels, height, width), or (4, points)."""
        if self.points is not None:
            return (len(FEATURES), self.points)
        view = self.field_of_view
        return (len(self.polarity), view.height, view.width)

    @property
    def sequence_shape(self) -> tuple[int, ...]:
        """The shape of one sample: (steps, *shape)."""
        return (self.steps, *self.shape)

    @property
    def scale(self) -> float:
        """The real value of one level: 1 for numbers of events."""
        if self.frame == "points":
            return 1 / COUNT_LIMIT
        return 1.0 if self.levels is None else 1 / self.levels

    @property
    def zero(self) -> int:
        """The byte that stands for 0.0."""
        return SIGNED_ZERO if len(self.polarity) == 1 else 0

    @property
    def empty_byte(self) -> int:
        """What an empty frame holds."""
        return self.zero

    @property
    def max_value(self) -> int:
        """The largest value that a pixel can take."""
        if self.frame == "time_surface" and self.levels is not None:
            return self.levels
        clip = CLIP.fullmatch(self.value)
        if clip:
            return int(clip[1])
        return 1 if self.frame == "counts" and self.value == "binary" else COUNT_LIMIT

    def decode(self, levels: NDArray[Any]) -> NDArray[Any]:
        """The real values that the network takes for bytes: scale * (byte - zero)."""
        if (self.scale, self.zero) == (1.0, 0):
            return levels
        real: NDArray[np.float64] = self.scale * (levels.astype(np.float64) - self.zero)
        return real

    @classmethod
    def from_toml(cls, path: Path | str) -> FrameRecipe:
        """Read a recipe from a TOML file whose keys are the attributes.

        Raises:
            InputError: SL0110, the file is missing or no TOML, or all malformed fields at once.
        """
        try:
            content = tomllib.loads(Path(path).read_text("utf-8"))
        except OSError as error:
            raise InputError.of("SL0110", path, f"cannot be read: {error.strerror}") from error
        except ValueError as error:  # tomllib.TOMLDecodeError and UnicodeDecodeError
            raise InputError.of("SL0110", path, f"is not TOML: {error}") from error
        return _recipe(str(path), content)

    @classmethod
    def from_json(cls, content: Mapping[str, Any], where: str = "recipe.json") -> FrameRecipe:
        """The recipe of a JSON object as :meth:`to_json` gives it.

        Raises:
            InputError: SL0110, all malformed fields at once.
        """
        if not isinstance(content, Mapping):
            raise InputError.of("SL0110", where, "is not a JSON object", got=type(content).__name__)
        return _recipe(where, content)

    def to_json(self) -> dict[str, Any]:
        """The recipe as a JSON object with the attributes as keys, less those of other recipes."""
        content = asdict(self)
        chosen = {key: content[key] for key in ("kind", "frame")}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in content.items()
            if value is not None and (value != _DEFAULTS[key] or not foreign(key, chosen))
        }


_DEFAULTS = {field.name: field.default for field in fields(FrameRecipe)}


def _recipe(where: str, content: Mapping[str, Any]) -> FrameRecipe:
    if problems := problems_of(where, content, _DEFAULTS):
        raise InputError(problems)
    return FrameRecipe(**{**content, **_tuples(content)})


def _tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) for key, value in content.items() if isinstance(value, list)}


def require_streamable(recipe: FrameRecipe, where: str) -> None:
    """Refuse to stream frames that need the end of the recording.

    Raises:
        InputError: SL0110, its kind cannot be streamed.
    """
    if recipe.offline:
        raise InputError.of(
            "SL0110",
            where,
            f'kind "{recipe.kind}" cannot be streamed: {recipe.offline}',
            wanted='"fixed_duration"' + (' or "event_count"' if recipe.frame == "counts" else ""),
            remedy="run whole recordings instead, or train with frames that can be streamed",
        )
