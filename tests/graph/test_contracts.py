"""Figures with their source, numeric profiles, and targets found by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from spikeloom.compiler.graph import target as targets
from spikeloom.compiler.graph.figure import ORIGINS, Figure
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.graph.source import NOWHERE, Source
from spikeloom.compiler.graph.target import find_target, target_names
from spikeloom.errors import InputError

TABLE: dict[str, Any] = {"value": 2, "low": 1, "high": 4.5, "unit": "J", "origin": "fitted", "source": "us"}


def test_a_figure_of_a_table() -> None:
    figure = Figure.from_table("e", TABLE)
    assert figure == Figure(1.0, 2.0, 4.5, "J", "fitted", "us")
    assert figure.to_json() == {
        "low": 1.0, "nominal": 2.0, "high": 4.5, "unit": "J", "origin": "fitted", "source": "us"
    }  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
def test_every_origin_is_taken(origin: str) -> None:
    assert Figure.from_table("e", {**TABLE, "origin": origin}).origin == origin


@pytest.mark.parametrize(
    "change",
    [{"value": 5}, {"low": 3}, {"high": "much"}, {"origin": "guessed"}, {"source": ""}, {"value": None}],
    ids=str,
)
def test_a_figure_without_band_or_source_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="SL0604 energy"):
        Figure.from_table("energy", {**TABLE, **change})


@pytest.mark.parametrize("field", ["value", "unit", "origin", "source"])
def test_a_figure_that_lacks_a_field_is_refused(field: str) -> None:
    with pytest.raises(InputError, match="SL0604"):
        Figure.from_table("e", {key: value for key, value in TABLE.items() if key != field})


@pytest.mark.parametrize(("bits", "largest"), [(2, 1), (4, 7), (8, 127)])
def test_weights_are_symmetric(bits: int, largest: int) -> None:
    assert NumericProfile("p", weight_bits=bits).largest_weight == largest


def test_a_profile_as_json_makes_the_same_profile() -> None:
    profile = NumericProfile("p", fraction_bits=7, threshold_groups=8)
    assert NumericProfile(**profile.to_json()) == profile


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (Source("a.b", "m.py", 3), "a.b (m.py:3)"),
        (Source("a.b"), "a.b"),
        (Source("", "m.py", 3), "m.py:3"),
        (NOWHERE, "the compiler"),
    ],
)
def test_sources_as_text(source: Source, text: str) -> None:
    assert str(source) == text


def test_an_unknown_target_names_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"SL0601 abacus: no such target") as caught:
        find_target("abacus")
    assert caught.value.problems[0].wanted == " or ".join(target_names())
    assert caught.value.exit_status == 4


def test_a_target_of_two_packages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def entries(group: str, name: str) -> EntryPoints:
        return EntryPoints(EntryPoint(name, value, group) for value in ("one:target", "two:target"))

    monkeypatch.setattr(targets, "entry_points", entries)
    with pytest.raises(InputError, match="several packages: one:target, two:target"):
        find_target("chip")


def test_a_target_installed_twice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an editable installation beside another, whose metadata both name it."""

    def entries(group: str, name: str) -> EntryPoints:
        return EntryPoints([EntryPoint(name, "builtins:dict", group)] * 2)

    monkeypatch.setattr(targets, "entry_points", entries)
    assert find_target("chip") == {}  # type: ignore[comparison-overlap]
