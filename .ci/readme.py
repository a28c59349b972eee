"""Run the code blocks of Markdown pages, so that what a page shows is what happens.

    python .ci/readme.py README.md [PAGE ...]

- ```` ```bash ```` blocks run in one bash with `-euo pipefail`, each page in the order of the page.
- ```` ```console ```` blocks hold `$ command` lines and what they print; the output must match, where
  `...` stands for anything and runs of white space count as one.
- ```` ```python ```` blocks of a page share one namespace, or, where they hold `>>>`, run as a doctest.
- A block under `<!-- ci: skip, REASON -->` is left out, and the reason is shown.
- Blocks in any other language are text.

Commands run in a copy-free way, in the folder of the first page, with this interpreter's folder first on
PATH. The exit status is the number of blocks that failed.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```\s*$", re.M | re.S
)
SKIP = re.compile(r"<!-- ci: skip, (?P<reason>.+?) -->\s*\Z")
LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, text, line in the page, and why it is left out, if it is."""

    language: str
    code: str
    line: int
    skip: str


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page in order."""
    found = []
    for match in FENCE.finditer(text):
        before = text[: match.start()]
        skip = SKIP.search(before)
        code = "".join(line.removeprefix(match["indent"]) for line in match["code"].splitlines(keepends=True))
        found.append(Block(match["language"], code, before.count("\n") + 1, skip["reason"] if skip else ""))
    return found


def shell(command: str) -> subprocess.CompletedProcess[str]:
    """Run a piece of bash that stops at its first failure."""
    here = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{here}{os.pathsep}{os.environ['PATH']}"}
    script = f"set -euo pipefail\n{command}"
    return subprocess.run(
        ["bash", "-c", script],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def run_bash(block: Block, _: dict[str, Any]) -> str:
    """Run the block; return what went wrong, or nothing."""
    done = shell(block.code)
    return f"exit status {done.returncode}\n{done.stdout}" if done.returncode else ""


def run_console(block: Block, _: dict[str, Any]) -> str:
    """Run each `$ command` and compare what it prints."""
    faults = []
    for session in re.split(r"^\$ ", block.code, flags=re.M)[1:]:
        command, wanted = split_session(session)
        done = shell(command)
        if done.returncode:
            faults.append(f"$ {command}\nexit status {done.returncode}\n{done.stdout}")
        elif wanted.strip() and not doctest.OutputChecker().check_output(wanted, done.stdout, LOOSE):
            faults.append(f"$ {command}\nwanted:\n{wanted}\ngot:\n{done.stdout}")
    return "\n".join(faults)


def split_session(session: str) -> tuple[str, str]:
    """The command, with the lines that a backslash continues, and the output shown under it."""
    lines = session.splitlines(keepends=True)
    size = 1 + next((i for i, line in enumerate(lines) if not line.rstrip().endswith("\\")), len(lines) - 1)
    return "".join(lines[:size]).strip(), "".join(lines[size:])


def run_python(block: Block, names: dict[str, Any]) -> str:
    """Run the block in the page's namespace, as a doctest where it holds prompts."""
    if ">>>" in block.code:
        test = doctest.DocTestParser().get_doctest(block.code, names, "block", None, block.line)
        told: list[str] = []
        doctest.DocTestRunner(optionflags=LOOSE).run(test, out=told.append, clear_globs=False)
        names.update(test.globs)
        return "".join(told)
    try:
        exec(compile(block.code, f"block at line {block.line}", "exec"), names)
    except Exception:
        return traceback.format_exc()
    return ""


RUNNERS = {"bash": run_bash, "console": run_console, "python": run_python}


def main(pages: list[str]) -> int:
    """Run the pages; return the number of failures."""
    failures = 0
    paths = [Path(page).resolve() for page in pages]
    os.chdir(paths[0].parent)
    for path in paths:
        names: dict[str, Any] = {"__name__": "__main__"}
        for block in blocks(path.read_text(encoding="utf-8")):
            if block.language not in RUNNERS:
                continue
            where = f"{path.name}:{block.line} {block.language}"
            if block.skip:
                print(f"{where}: skipped, {block.skip}", flush=True)
                continue
            start = perf_counter()
            fault = RUNNERS[block.language](block, names)
            print(f"{where}: {'FAILED' if fault else 'ok'} ({perf_counter() - start:.1f} s)", flush=True)
            if fault:
                failures += 1
                print(fault, flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["README.md"]))
