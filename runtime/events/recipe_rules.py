"""What the keys of a frame recipe may hold, and which of them belong together."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from difflib import get_close_matches
from typing import Any, NamedTuple

from spikeloom.errors import Problem
from spikeloom.runtime.events.stream import MAX_SIDE

COUNT_LIMIT = 255
CLIP = re.compile(r"clip\(([1-9]\d{0,2})\)")

TIMED = ("fixed_duration", "time")
"""The kinds that cut a recording by time."""

_KINDS = ("fixed_duration", "event_count", "number", "time")
_FRAMES = ("counts", "time_surface", "voxel_grid", "points")
_MAX_STEPS = 65535
_MOST = 2**31 - 1


class _Rule(NamedTuple):
    """What a key may hold."""

    wanted: str
    holds: Callable[[Any], bool]


class _Owner(NamedTuple):
    """The recipes that a key belongs to: those with one of these choices for another key."""

    key: str
    choices: tuple[str, ...]


def _is_whole(value: object, lowest: int, highest: int) -> bool:
    return type(value) is int and lowest <= value <= highest


def _whole_number(highest: int, lowest: int = 1) -> _Rule:
    return _Rule(f"a whole number from {lowest} to {highest}", lambda v: _is_whole(v, lowest, highest))


def _one_of(*choices: str) -> _Rule:
    return _Rule(" or ".join(f'"{choice}"' for choice in choices), lambda v: v in choices)


def _is_value(value: object) -> bool:
    if not isinstance(value, str):
        return False
    clip = CLIP.fullmatch(value)
    return value in ("binary", "count") or (clip is not None and int(clip[1]) <= COUNT_LIMIT)


def _is_polarity(value: object) -> bool:
    return isinstance(value, list | tuple) and tuple(value) in (("off", "on"), ("on", "off"), ("on-off",))


def _is_crop(value: object) -> bool:
    if not isinstance(value, list | tuple) or len(value) not in (2, 4):
        return False
    *corner, width, height = value
    return all(_is_whole(v, 0, MAX_SIDE) for v in corner) and all(
        _is_whole(v, 1, MAX_SIDE) for v in (width, height)
    )


def _is_downsample(value: object) -> bool:
    factors = value if isinstance(value, list | tuple) and len(value) == 2 else [value]
    return all(_is_whole(f, 1, MAX_SIDE) or (type(f) is float and 0 < f < 1) for f in factors)


RULES = {
    "kind": _one_of(*_KINDS),
    "width": _whole_number(MAX_SIDE),
    "height": _whole_number(MAX_SIDE),
    "steps": _whole_number(_MAX_STEPS),
    "duration_us": _whole_number(_MOST),
    "events": _whole_number(_MOST),
    "crop": _Rule("[width, height] or [x, y, width, height] in pixels", _is_crop),
    "downsample": _Rule("a whole number, a fraction below 1, or two of them [x, y]", _is_downsample),
    "origin": _one_of("absolute", "first_event"),
    "boundary": _one_of("half_open"),
    "empty": _one_of("zero"),
    "late": _one_of("drop"),
    "tail": _one_of("drop", "last_frame"),
    "incomplete": _one_of("emit", "drop"),
    "frame": _one_of(*_FRAMES),
    "value": _Rule(f'"binary", "count" or "clip(k)" with k from 1 to {COUNT_LIMIT}', _is_value),
    "levels": _whole_number(COUNT_LIMIT),
    "tau_us": _whole_number(_MOST),
    "last_event": _one_of("last_bin", "after_last_bin"),
    "points": _whole_number(_MAX_STEPS),
    "seed": _whole_number(_MOST, lowest=0),
    "polarity": _Rule('["off", "on"], ["on", "off"] or ["on-off"]', _is_polarity),
    "reset": _one_of("per_sample"),
    "flush": _whole_number(_MAX_STEPS, lowest=0),
}

OWNERS = {
    "duration_us": _Owner("kind", ("fixed_duration",)),
    "events": _Owner("kind", ("event_count",)),
    "value": _Owner("frame", ("counts",)),
    "levels": _Owner("frame", ("time_surface", "voxel_grid")),
    "tau_us": _Owner("frame", ("time_surface",)),
    "last_event": _Owner("frame", ("voxel_grid",)),
    "points": _Owner("frame", ("points",)),
    "seed": _Owner("frame", ("points",)),
}
"""The keys that not every recipe has. Those without a default must be there in the recipes that have them."""


def problems_of(where: str, content: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[Problem]:
    """All that is wrong with a recipe; ``defaults`` are those of its keys, MISSING where there is none."""
    problems = [_unknown(where, str(key)) for key in content if key not in RULES]
    chosen = {key: content.get(key, defaults[key]) for key in ("kind", "frame")}
    for key, default in defaults.items():
        problems += _problems_of_key(where, key, content, default, chosen)
    return problems or _disagreements(where, {**defaults, **content})


def foreign(key: str, chosen: Mapping[str, Any]) -> bool:
    """Whether a key belongs to other recipes than those with these choices."""
    owner = OWNERS.get(key)
    return owner is not None and chosen[owner.key] not in owner.choices


def _problems_of_key(
    where: str, key: str, content: Mapping[str, Any], default: Any, chosen: Mapping[str, Any]
) -> list[Problem]:
    rule, owner = RULES[key], OWNERS.get(key)
    choice = "" if owner is None else chosen[owner.key]
    if owner is not None and not RULES[owner.key].holds(choice):
        return []  # nobody knows whether it belongs here
    if key not in content:
        needed = default is MISSING or (default is None and owner is not None and not foreign(key, chosen))
        return [Problem("SL0110", where, f"{key} is missing", rule.wanted)] if needed else []
    if owner is not None and foreign(key, chosen):
        what = f'{key} does not belong to a recipe of {owner.key} "{choice}"'
        return [Problem("SL0110", where, what, remedy="leave it out")]
    if not rule.holds(content[key]):
        return [Problem("SL0110", where, f"{key} is malformed", rule.wanted, repr(content[key]))]
    return []


def _disagreements(where: str, content: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with keys that are sound by themselves."""
    problems = []
    frame = content["frame"]
    if frame != "counts" and content["kind"] not in TIMED:
        what = f'frame "{frame}" needs frames of equal time'
        wanted = " or ".join(f'kind "{kind}"' for kind in TIMED)
        problems.append(Problem("SL0110", where, what, wanted, f'kind "{content["kind"]}"'))
    if frame != "counts" and content["tail"] != "drop":
        what = f'frame "{frame}" has no place for events after its end'
        problems.append(Problem("SL0110", where, what, 'tail "drop"', f'tail "{content["tail"]}"'))
    if frame == "voxel_grid" and content["incomplete"] != "emit":
        what = "a frame of a voxel grid shares events with the one before"
        problems.append(Problem("SL0110", where, what, 'incomplete "emit"', 'incomplete "drop"'))
    if frame != "voxel_grid" and len(content["polarity"]) == 1:
        what = f'polarity ["on-off"] does not belong to a recipe of frame "{frame}"'
        problems.append(Problem("SL0110", where, what, remedy='["off", "on"] gives a channel for each'))
    return problems + _crop_problems(where, content)


def _crop_problems(where: str, content: Mapping[str, Any]) -> list[Problem]:
    if content["crop"] is None:
        return []
    *corner, width, height = content["crop"]
    x, y = corner or (0, 0)
    if x + width <= content["width"] and y + height <= content["height"]:
        return []
    got, wanted = str(list(content["crop"])), f"within {content['width']}×{content['height']} pixels"
    return [Problem("SL0110", where, "the crop reaches beyond the sensor", wanted, got)]


def _unknown(where: str, key: str) -> Problem:
    near = get_close_matches(key, RULES, n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]}?" if near else "known keys: " + ", ".join(RULES)
    return Problem("SL0110", where, f"{key!r} is not a key of a recipe", remedy=remedy)
