from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.errors import CODES, InputError
from spikeloom.runtime.events.recipe import FrameRecipe, require_streamable
from spikeloom.runtime.events.stream import Geometry

EXAMPLE = Path(__file__).parents[2] / "examples/nmnist/recipe.toml"
MINIMAL: dict[str, Any] = {"width": 34, "height": 34, "steps": 5, "duration_us": 60_000}
KEYS = sorted(FrameRecipe(**MINIMAL).to_json())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


def problems(content: dict[str, Any]) -> list[str]:
    with pytest.raises(InputError) as raised:
        FrameRecipe.from_json(content, "r.json")
    assert {problem.code for problem in raised.value.problems} == {"SL0110"}
    return [str(problem) for problem in raised.value.problems]


def test_the_example() -> None:
    recipe = FrameRecipe.from_toml(EXAMPLE)
    assert recipe == FrameRecipe(**MINIMAL)
    assert recipe.sequence_shape == (5, 2, 34, 34)
    assert recipe.shape == (2, 34, 34)
    assert recipe.geometry == Geometry(34, 34)


@pytest.mark.parametrize(
    ("value", "largest"), [("binary", 1), ("count", 255), ("clip(1)", 1), ("clip(4)", 4), ("clip(255)", 255)]
)
def test_the_largest_value(value: str, largest: int) -> None:
    assert FrameRecipe(**MINIMAL, value=value).max_value == largest


@pytest.mark.parametrize("value", ["clip", "clip(0)", "clip(256)", "clip(-1)", "clip(03)", "sum", 3, True])
def test_a_value_that_is_none(value: object) -> None:
    [problem] = problems({**MINIMAL, "value": value})
    assert (
        f'value is malformed (wanted "binary", "count" or "clip(k)" with k from 1 to 255, got {value!r})'
        in problem
    )


def test_json_holds_every_field_and_comes_back() -> None:
    recipe = FrameRecipe(
        width=8,
        height=9,
        steps=3,
        duration_us=7,
        origin="first_event",
        value="clip(3)",
        polarity=("on", "off"),
    )
    text = json.dumps(recipe.to_json())
    assert FrameRecipe.from_json(json.loads(text)) == recipe
    assert json.loads(text)["polarity"] == ["on", "off"]


def test_all_faults_of_a_recipe_are_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        'width = 0\nsteps = 2.0\nduration_us = true\norigen = "absolute"\npolarity = ["on"]\nzzz = 1\n'
    )
    with pytest.raises(InputError) as raised:
        FrameRecipe.from_toml(path)
    found = [(problem.what, problem.got, problem.remedy) for problem in raised.value.problems]
    assert found[0] == ("'origen' is not a key of a recipe", "", "did you mean origin?")
    mend = CODES["SL0110"].remedy
    assert found[1][0] == "'zzz' is not a key of a recipe"
    assert found[1][2].startswith("known keys: kind, width, height")
    assert found[2:] == [
        ("width is malformed", "0", mend),
        ("height is missing", "", mend),
        ("steps is malformed", "2.0", mend),
        ("duration_us is malformed", "True", mend),
        ("polarity is malformed", "['on']", mend),
    ]


@pytest.mark.parametrize(("kind", "reason"), [("number", "number of events"), ("time", "last event")])
def test_kinds_that_need_the_end_of_a_recording_are_not_streamed(kind: str, reason: str) -> None:
    recipe = FrameRecipe(width=34, height=34, steps=5, kind=kind)
    assert FrameRecipe.from_json(recipe.to_json()) == recipe
    with pytest.raises(InputError, match=f'SL0110 x.loom: kind "{kind}" cannot be streamed: .*{reason}'):
        require_streamable(recipe, "x.loom")


def test_each_kind_has_keys_of_its_own() -> None:
    sides = {"width": 3, "height": 3, "steps": 2}
    assert problems({**sides, "kind": "event_count"}) == [
        "SL0110 r.json: events is missing (wanted a whole number from 1 to 2147483647); "
        + CODES["SL0110"].remedy
    ]
    assert problems(sides) == [
        "SL0110 r.json: duration_us is missing (wanted a whole number from 1 to 2147483647); "
        + CODES["SL0110"].remedy
    ]
    for kind, key in (("number", "duration_us"), ("time", "events"), ("event_count", "duration_us")):
        found = problems({**sides, "events": 5, **{"kind": kind, key: 9}})
        assert f'{key} does not belong to a recipe of kind "{kind}"' in found[0]


def test_another_kind_is_malformed() -> None:
    assert problems({**MINIMAL, "kind": "voxel"}) == [
        'SL0110 r.json: kind is malformed (wanted "fixed_duration" or "event_count" or "number" or "time", '
        f"got 'voxel'); {CODES['SL0110'].remedy}"
    ]


@pytest.mark.parametrize("key", ["boundary", "empty", "late", "tail", "reset", "origin"])
def test_a_choice_that_is_not_offered(key: str) -> None:
    [problem] = problems({**MINIMAL, key: "sometimes"})
    assert f"{key} is malformed" in problem
    assert "got 'sometimes'" in problem


def test_the_constructor_checks_too() -> None:
    with pytest.raises(InputError, match="SL0110 recipe: steps is malformed"):
        FrameRecipe(width=1, height=1, steps=0, duration_us=1)


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"width = ", "is not TOML"), (b"\xff\xfe", "is not TOML"), (None, "cannot be read")],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, content: bytes | None, what: str) -> None:
    path = tmp_path / "recipe.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"SL0110 .*{what}"):
        FrameRecipe.from_toml(path)


@pytest.mark.parametrize("content", [None, [], "x", 3])
def test_json_that_is_no_object(content: Any) -> None:
    with pytest.raises(InputError, match=r"SL0110 .*not a JSON object"):
        FrameRecipe.from_json(content)


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), JSON, max_size=6), st.booleans())
def test_any_json_is_a_recipe_or_an_input_error(changes: dict[str, Any], on_top: bool) -> None:
    content = {**MINIMAL, **changes} if on_top else changes
    try:
        recipe = FrameRecipe.from_json(content)
    except InputError:
        return
    assert FrameRecipe.from_json(recipe.to_json()) == recipe
