"""The frame recipe: how a stream of events becomes the frames that a network was trained on.

Frameworks disagree on it under their default settings (origin of time, incomplete windows, counts or
bits), so a compiled network carries its recipe with it, as ``recipe.json``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from spikeloom.errors import InputError, Problem
from spikeloom.runtime.events.stream import MAX_SIDE, Geometry

COUNT_LIMIT = 255
_MAX_STEPS = 65535
_MAX_DURATION_US = 2**31 - 1
_MAX_EVENTS = 2**31 - 1
_CLIP = re.compile(r"clip\(([1-9]\d{0,2})\)")

OFFLINE = {
    "number": "frames of equal event numbers need the number of events of the whole recording",
    "time": "frames that divide the recording's length need its last event",
}
"""The kinds that cannot be streamed, and why."""

_OWN_KEYS = {
    "fixed_duration": ("duration_us", "origin"),
    "event_count": ("events",),
    "number": (),
    "time": (),
}
_NEEDED = {"fixed_duration": "duration_us", "event_count": "events"}


class _Rule(NamedTuple):
    """What a field of a recipe may hold."""

    wanted: str
    holds: Callable[[Any], bool]


def _whole_number(highest: int) -> _Rule:
    return _Rule(f"a whole number from 1 to {highest}", lambda v: type(v) is int and 1 <= v <= highest)


def _one_of(*choices: str) -> _Rule:
    return _Rule(" or ".join(f'"{choice}"' for choice in choices), lambda v: v in choices)


def _is_value(value: object) -> bool:
    if not isinstance(value, str):
        return False
    clip = _CLIP.fullmatch(value)
    return value in ("binary", "count") or (clip is not None and int(clip[1]) <= COUNT_LIMIT)


def _is_polarity(value: object) -> bool:
    return isinstance(value, list | tuple) and tuple(value) in (("off", "on"), ("on", "off"))


_RULES = {
    "kind": _one_of(*_OWN_KEYS),
    "width": _whole_number(MAX_SIDE),
    "height": _whole_number(MAX_SIDE),
    "steps": _whole_number(_MAX_STEPS),
    "duration_us": _whole_number(_MAX_DURATION_US),
    "events": _whole_number(_MAX_EVENTS),
    "origin": _one_of("absolute", "first_event"),
    "boundary": _one_of("half_open"),
    "empty": _one_of("zero"),
    "late": _one_of("drop"),
    "tail": _one_of("drop", "last_frame"),
    "incomplete": _one_of("emit", "drop"),
    "value": _Rule(f'"binary", "count" or "clip(k)" with k from 1 to {COUNT_LIMIT}', _is_value),
    "polarity": _Rule('["off", "on"] or ["on", "off"]', _is_polarity),
    "reset": _one_of("per_sample"),
    "flush": _Rule(
        f"a whole number from 0 to {_MAX_STEPS}", lambda v: type(v) is int and 0 <= v <= _MAX_STEPS
    ),
}


@dataclass(frozen=True, kw_only=True)
class FrameRecipe:
    """How the N events of a recording, from t₀ to t₁, are counted into T frames.

    Frame i counts, by its kind,
    - «fixed_duration»: the events with i·d ≤ t - origin < (i+1)·d;
    - «event_count»: the events n·i to n·(i+1) - 1, in their order;
    - «number»: the same with n = ⌊N / T⌋, so that it needs the end of the recording;
    - «time»: the events with i·d ≤ t - t₀ < (i+1)·d where d = ⌊(t₁ - t₀) / T⌋ microseconds; so does this.

    SpikingJelly's `split_by="number"` and `split_by="time"` are these kinds with the tail in the last frame
    (it refuses recordings that leave a frame empty), tonic's `n_event_bins` and `n_time_bins` with the
    tail dropped. SpikingJelly's fixed duration is «fixed_duration» from the first event with the tail in the
    last of its ⌈(t₁ - t₀) / d⌉ frames; tonic's `time_window` and `event_count` give incomplete frames up.

    Attributes:
        width, height: the sensor in pixels.
        steps: frames a sample, T.
        duration_us: the length d of each frame in microseconds; of kind «fixed_duration».
        events: the number n of events of each frame; of kind «event_count».
        kind: which of the above.
        origin: where frame 0 begins: «absolute» at time 0, «first_event» at the first event.
        boundary: «half_open», an event on a boundary belongs to the later frame.
        empty: «zero», a frame without events is all zeros.
        late: «drop», events of a frame that is already finished are dropped and counted.
        tail: events after the last frame: «drop», they are dropped and counted; «last_frame», it takes
            them too.
        incomplete: the frame that is begun when the recording ends, unless it is the first: «emit», it
            is given as it is; «drop», it is given empty, and its events are counted as tail.
        value: what a pixel holds: «binary» (1 where there was any event), «count» (saturating at 255;
            what it loses is counted), «clip(k)» (the count, at most k).
        polarity: the order of the two channels.
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
    kind: str = "fixed_duration"
    origin: str = "absolute"
    boundary: str = "half_open"
    empty: str = "zero"
    late: str = "drop"
    tail: str = "drop"
    incomplete: str = "emit"
    value: str = "binary"
    polarity: tuple[str, str] = ("off", "on")
    reset: str = "per_sample"
    flush: int = 0

    def __post_init__(self) -> None:
        if problems := _problems("recipe", self.to_json()):
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
    def shape(self) -> tuple[int, int, int]:
        """The shape of one frame: (2, height, width)."""
        return (2, self.height, self.width)

    @property
    def sequence_shape(self) -> tuple[int, int, int, int]:
        """The shape of one sample: (steps, 2, height, width)."""
        return (self.steps, *self.shape)

    @property
    def empty_byte(self) -> int:
        """What an empty frame holds."""
        return 0

    @property
    def max_value(self) -> int:
        """The largest value that a pixel can take."""
        clip = _CLIP.fullmatch(self.value)
        if clip:
            return int(clip[1])
        return 1 if self.value == "binary" else COUNT_LIMIT

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
        """The recipe as a JSON object with the attributes as keys."""
        given = {key: value for key, value in asdict(self).items() if value is not None}
        return given | {"polarity": list(self.polarity)}


def _recipe(where: str, content: Mapping[str, Any]) -> FrameRecipe:
    if problems := _problems(where, content):
        raise InputError(problems)
    return FrameRecipe(**{**content, **_tuples(content)})


def _tuples(content: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {key: tuple(value) for key, value in content.items() if isinstance(value, list)}


def _problems(where: str, content: Mapping[str, Any]) -> list[Problem]:
    kind = content.get("kind", "fixed_duration")
    own = _OWN_KEYS.get(kind) if isinstance(kind, str) else None
    problems = [_unknown(where, str(key)) for key in content if key not in _RULES]
    for field in fields(FrameRecipe):
        rule = _RULES[field.name]
        needed = field.default is MISSING or (own is not None and _NEEDED.get(str(kind)) == field.name)
        if field.name not in content:
            if needed:
                problems.append(Problem("SL0110", where, f"{field.name} is missing", rule.wanted))
        elif own is not None and field.name in _NEEDED.values() and field.name not in own:
            what = f'{field.name} does not belong to a recipe of kind "{kind}"'
            problems.append(Problem("SL0110", where, what, remedy="leave it out"))
        elif not rule.holds(content[field.name]):
            got = repr(content[field.name])
            problems.append(Problem("SL0110", where, f"{field.name} is malformed", rule.wanted, got))
    return problems


def _unknown(where: str, key: str) -> Problem:
    near = get_close_matches(key, _RULES, n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]}?" if near else "known keys: " + ", ".join(_RULES)
    return Problem("SL0110", where, f"{key!r} is not a key of a recipe", remedy=remedy)


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
            wanted=" or ".join(f'"{kind}"' for kind in _OWN_KEYS if kind not in OFFLINE),
            remedy="run whole recordings instead, or train with frames that can be streamed",
        )
