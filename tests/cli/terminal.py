"""The command line as a test types it: in this process, with its status and all that it printed."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikeloom.cli import main


@dataclass(frozen=True)
class Answer:
    """What a command gave: exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def spikeloom(*arguments: object, expect: int = 0) -> Answer:
    """Run a command line to its end."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = int(stop.code or 0)
    answer = Answer(status, out.getvalue(), err.getvalue())
    assert "Traceback" not in answer.out + answer.err, answer.err
    assert status == expect, f"exit status {status}, wanted {expect}\n{answer.err}{answer.out}"
    return answer


def refused(*arguments: object, status: int = 4, within: Path) -> list[Problem]:
    """Run a command line that must fail, and leave the folder ``within`` as it is.

    Each problem must be a line on standard error and, since ``--json`` is added, an entry of the object
    on standard output.
    """
    before = tree(within)
    answer = spikeloom(*arguments, "--json", expect=status)
    assert tree(within) == before, "something was left behind"
    problems = [Problem(**entry) for entry in answer.json["error"]]
    lines = answer.err.splitlines()
    assert len(lines) == len(problems)
    for line, problem in zip(lines, problems, strict=True):
        assert line.startswith(f"{problem.code} {problem.where}: {problem.what}")
    return problems


@dataclass(frozen=True)
class Problem:
    """An entry of the object that ``--json`` prints for an error."""

    code: str
    where: str
    what: str
    wanted: str
    got: str
    remedy: str


def tree(folder: Path) -> Mapping[str, str]:
    """Every file and folder below a folder with what it holds, but Python's own caches."""
    return {
        path.relative_to(folder).as_posix(): _content(path)
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }


def _content(path: Path) -> str:
    return "folder" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()


def program(*arguments: object, **environment: str) -> list[str]:
    """The command line as a process of its own."""
    return [sys.executable, "-m", "spikeloom", *map(str, arguments)]


def run_program(*arguments: object, cwd: Path | None = None, **environment: str) -> Answer:
    """Run a command line in a process of its own, to its end."""
    done = subprocess.run(
        program(*arguments),
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    return Answer(done.returncode, done.stdout, done.stderr)
