"""Write docs/errors.md from the codes that the package declares; `-` prints it instead."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from spikeloom.atomic import write_text
from spikeloom.errors import CODES, InputError, InternalError, MismatchError, UnsupportedError

SECTIONS = {
    "SL01": "Events and frame recipes",
    "SL02": "Checkpoints and model factories",
    "SL03": "Capture",
    "SL04": "Graph and passes",
    "SL05": "Quantization",
    "SL06": "Targets and mapping",
    "SL07": "Bundles",
    "SL08": "Running",
    "SL09": "Command line",
}
OPENING = """\
# Error codes

Written by `make docs` from `spikeloom.errors.CODES`; do not edit.

An error says what is wrong, where, what was wanted and got, and what to do next, under a code that stays
the same from version to version. A stage collects all it finds before it stops, so one run shows the whole
list. With `--json` the same fields are machine-readable. An error message that leaves you puzzled is a bug:
please report it.

The exit status tells the kind:

| exit | class | meaning |
|---|---|---|
| 0 | | done |
"""


def page() -> str:
    """The whole page in Markdown."""
    lines = [OPENING.rstrip()]
    for kind in (InternalError, UnsupportedError, MismatchError, InputError):
        meaning = (kind.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        lines.append(f"| {kind.exit_status} | `{kind.__name__}` | {meaning} |")
    for section, codes in groupby(sorted(CODES), key=lambda code: code[:4]):
        lines += [
            "",
            f"## {SECTIONS[section]}",
            "",
            "| code | meaning | what to do next, if the message does not say it |",
            "|---|---|---|",
        ]
        lines += [f"| {code} | {CODES[code].meaning} | {CODES[code].remedy} |" for code in codes]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["-"]:
        sys.stdout.write(page())
    else:
        write_text(Path(__file__).with_name("errors.md"), page())
