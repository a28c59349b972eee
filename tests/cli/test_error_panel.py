"""What an error looks like on a terminal; elsewhere it is one line a problem (tests/cli/terminal.py)."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from spikeloom.cli import console
from spikeloom.errors import CODES, Problem

WIDTH = 60
WIDE = Problem("SL0504", "blocks.3.attn.q", "weight is too wide", "8 bits", "11 bits", "try --bits 8")
PLACE = Problem("SL0701", "a/very/long/path/" + "x" * 80 + ".loom", "there is no such bundle")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal of 60 columns shows."""
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=WIDTH, no_color=True, highlight=False)
    monkeypatch.setattr(console, "errors", terminal)
    return screen


def plain(screen: io.StringIO) -> str:
    """What is on the screen, without the codes of its style."""
    return Text.from_ansi(screen.getvalue()).plain


def lines(screen: io.StringIO) -> list[str]:
    """The lines without their frame."""
    return [line.strip(" │") for line in plain(screen).splitlines()]


def test_each_field_has_a_line_under_the_code_and_its_meaning(shown: io.StringIO) -> None:
    console.show_problems([WIDE])
    title, *fields, _ = lines(shown)
    assert title.strip("╭─╮… ") in f"SL0504 {CODES['SL0504'].meaning}"  # cut off where the terminal ends
    assert [line.split(maxsplit=1) for line in fields] == [
        ["where", "blocks.3.attn.q"],
        ["what", "weight is too wide"],
        ["wanted", "8 bits"],
        ["got", "11 bits"],
        ["next", "try --bits 8"],
    ]


def test_a_long_path_is_folded_and_loses_nothing(shown: io.StringIO) -> None:
    console.show_problems([PLACE])
    found = lines(shown)
    assert all(len(line) <= WIDTH for line in found)
    assert PLACE.where in "".join(line.removeprefix("where").strip() for line in found)
    assert not any(line.startswith(("wanted", "got")) for line in found)


def test_problems_of_one_code_share_a_panel(shown: io.StringIO) -> None:
    console.show_problems([WIDE, PLACE, WIDE])
    assert plain(shown).count("SL0504") == plain(shown).count("SL0701") == 1
    assert plain(shown).count(WIDE.what) == 2


def test_a_name_cannot_steer_the_terminal(shown: io.StringIO) -> None:
    console.show_problems([Problem("SL0701", "evil\x1b]0;title\x07[bold]", "there is no such bundle")])
    assert "\x1b]0;" not in shown.getvalue()
    assert "[bold]" in plain(shown)
