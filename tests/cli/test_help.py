"""What --help shows: every option once, under a heading, in whole words on a narrow terminal."""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import is_dataclass
from typing import get_type_hints

import pytest
import typer

from spikeloom.cli import app
from spikeloom.cli.calibration import CalibrationOptions
from spikeloom.cli.model import ModelOptions
from spikeloom.cli.network import BELONGS, NetworkOptions
from spikeloom.cli.rounding import RoundingOptions
from spikeloom.cli.sources import SampleOptions
from tests.cli.terminal import spikeloom

COMMANDS = sorted(command.name or "" for command in app.registered_commands)
GROUPS = (CalibrationOptions, ModelOptions, NetworkOptions, RoundingOptions, SampleOptions)
HEADINGS = {
    "check": {"What it is calibrated on", "The model", "Files of NIR and ONNX"},
    "compile": {
        "What it is calibrated on",
        "The model",
        "Rounding",
        "Files of NIR and ONNX",
        "The chip",
        "Stages",
    },
    "quantize": {"What it is calibrated on", "The model", "Rounding"},
    "run": {"The samples"},
    "diff": {"The samples", "The model"},
}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_narrow_terminal(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    told = spikeloom(command, "--help").out
    assert max(map(len, told.splitlines())) <= 80
    assert "…" not in told


@pytest.mark.parametrize("command", HEADINGS)
def test_options_stand_under_the_heading_of_their_group(command: str) -> None:
    parameters = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    panels = {getattr(one, "rich_help_panel", None) for one in parameters} - {None}
    assert panels == HEADINGS[command]


OTHER_MEANING = {("bench", "samples"), ("check", "bits"), ("stream", "state"), ("stream", "strict")}
"""How many, one width only, a file of states, and of one recording."""


def test_an_option_is_written_once() -> None:
    """A command that declares what a group has would show another help, or another default."""
    shared = {name for group in GROUPS for name in group.__dataclass_fields__}
    for command in app.registered_commands:
        assert command.callback is not None
        own = get_type_hints(inspect.unwrap(command.callback))
        names = {(command.name, name) for name, kind in own.items() if not is_dataclass(kind)}
        assert {one for one in names if one[1] in shared} <= OTHER_MEANING


def test_no_two_groups_of_a_command_have_the_same_option() -> None:
    for command in typer.main.get_command(app).commands.values():  # type: ignore[attr-defined]
        names = Counter(name for one in command.params for name in one.opts)
        assert {name for name, count in names.items() if count > 1} == set(), command.name


def test_what_is_for_some_networks_only_are_options() -> None:
    fields = {*ModelOptions.__dataclass_fields__, *NetworkOptions.__dataclass_fields__}
    assert set(BELONGS) == fields - {"steps"}


def test_every_command_stands_under_a_heading() -> None:
    assert all(isinstance(command.rich_help_panel, str) for command in app.registered_commands)
