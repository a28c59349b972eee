"""What no file of the project may contain."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SECTIONS = ("work", "opt", "root", "home", "mnt", "srv", "Users")
MACHINE_PATH = re.compile(r"(?<![\w.~*<>}\])/-])/(?:" + "|".join(SECTIONS) + r")/\w")
LEFT_UNDONE = re.compile(r"\b(?:TODO|FIXME|XXX)\b")
NO_NAME_FOR_A_ROOM = {"utils", "util", "helpers", "helper", "common", "misc"}


@pytest.fixture(scope="module")
def tracked(root: Path) -> list[Path]:
    """The files that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = {root / name for name in listed.stdout.split("\0") if name}
    return sorted(path for path in paths if path.is_file() and not path.is_symlink())


def lines(paths: list[Path]) -> Iterator[tuple[str, str]]:
    """Each line of each text file, with its place."""
    for path in paths:
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode("utf-8").splitlines(), 1):
            yield f"{path.name}:{number}", line


def test_the_patterns_catch_what_they_are_for() -> None:
    planted = [f'open("/{name}/x.bin")' for name in SECTIONS]
    assert all(MACHINE_PATH.search(line) for line in planted)
    assert not MACHINE_PATH.search("see https://example.org/home/page and docs/root/x")


def test_no_file_names_a_path_of_somebodys_machine(tracked: list[Path]) -> None:
    assert not [place for place, line in lines(tracked) if MACHINE_PATH.search(line)]


def test_nothing_is_left_undone(tracked: list[Path]) -> None:
    own = Path(__file__)
    found = [place for place, line in lines([p for p in tracked if p != own]) if LEFT_UNDONE.search(line)]
    assert not found


def test_every_file_is_named_for_what_it_holds(tracked: list[Path], root: Path) -> None:
    parts = {part for path in tracked for part in path.relative_to(root).with_suffix("").parts}
    assert not parts & NO_NAME_FOR_A_ROOM


def test_links_between_pages_lead_somewhere(tracked: list[Path]) -> None:
    link = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:|#)([^)#\s]+)")
    broken = [
        f"{page.name}: {target}"
        for page in tracked
        if page.suffix == ".md"
        for target in link.findall(page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not broken
