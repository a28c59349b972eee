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
_CLIP = re.compile(r"clip\(([1-9]\d{0,2})\)")

_OFFLINE = {
    "number": "frames of equal event numbers need the number of events of the whole recording",
    "time": "frames that divide the recording's length need its last event",
}


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
    "kind": _one_of("fixed_duration"),
    "width": _whole_number(MAX_SIDE),
    "height": _whole_number(MAX_SIDE),
    "steps": _whole_number(_MAX_STEPS),
    "duration_us": _whole_number(_MAX_DURATION_US),
    "origin": _one_of("absolute", "first_event"),
    "boundary": _one_of("half_open"),
    "empty": _one_of("zero"),
    "late": _one_of("drop"),
    "tail": _one_of("drop"),
    "value": _Rule(f'"binary", "count" or "clip(k)" with k from 1 to {COUNT_LIMIT}', _is_value),
    "polarity": _Rule('["off", "on"] or ["on", "off"]', _is_polarity),
    "reset": _one_of("per_sample"),
    "flush": _Rule(
        f"a whole number from 0 to {_MAX_STEPS}", lambda v: type(v) is int and 0 <= v <= _MAX_STEPS
    ),
}


@dataclass(frozen=True, kw_only=True)
class FrameRecipe:
    """Frames of fixed duration: frame i counts the events with i·d ≤ t - origin < (i+1)·d.

    Attributes:
        width, height: the sensor in pixels.
        steps: frames a sample, T.
        duration_us: the length d of each frame in microseconds.
        kind: «fixed_duration».
        origin: where frame 0 begins: «absolute» at time 0, «first_event» at the first event.
        boundary: «half_open», an event on a boundary belongs to the later frame.
        empty: «zero», a frame without events is all zeros.
        late: «drop», events of a frame that is already finished are dropped and counted.
        tail: «drop», events after the last frame are dropped and counted.
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
    duration_us: int
    kind: str = "fixed_duration"
    origin: str = "absolute"
    boundary: str = "half_open"
    empty: str = "zero"
    late: str = "drop"
    tail: str = "drop"
    value: str = "binary"
    polarity: tuple[str, str] = ("off", "on")
    reset: str = "per_sample"
    flush: int = 0

    def __post_init__(self) -> None:
        if problems := _problems("recipe", asdict(self)):
            raise InputError(problems)

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
        return asdict(self) | {"polarity": list(self.polarity)}


def _recipe(where: str, content: Mapping[str, Any]) -> FrameRecipe:
    if problems := _problems(where, content):
        raise InputError(problems)
    return FrameRecipe(**{**content, **_tuples(content)})


def _tuples(content: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {key: tuple(value) for key, value in content.items() if isinstance(value, list)}


def _problems(where: str, content: Mapping[str, Any]) -> list[Problem]:
    kind = content.get("kind", "fixed_duration")
    if isinstance(kind, str) and kind in _OFFLINE:
        return [_offline(where, kind)]
    problems = [_unknown(where, str(key)) for key in content if key not in _RULES]
    for field in fields(FrameRecipe):
        rule = _RULES[field.name]
        if field.name not in content:
            if field.default is MISSING:
                problems.append(Problem("SL0110", where, f"{field.name} is missing", rule.wanted))
        elif not rule.holds(content[field.name]):
            got = repr(content[field.name])
            problems.append(Problem("SL0110", where, f"{field.name} is malformed", rule.wanted, got))
    return problems


def _unknown(where: str, key: str) -> Problem:
    near = get_close_matches(key, _RULES, n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]}?" if near else "known keys: " + ", ".join(_RULES)
    return Problem("SL0110", where, f"{key!r} is not a key of a recipe", remedy=remedy)


def _offline(where: str, kind: str) -> Problem:
    return Problem(
        "SL0110",
        where,
        f'kind "{kind}" cannot be streamed: {_OFFLINE[kind]}',
        wanted='"fixed_duration"',
        remedy="train with frames of fixed duration, or make the frames yourself and pass them as arrays",
    )
