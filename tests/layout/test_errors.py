"""Error codes are promises: each is declared once, raised somewhere, and on the page that lists them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from spikeloom.errors import CODES

CODE = re.compile(r"SL\d{4}")


def raised(modules: dict[str, Any]) -> dict[str, str]:
    """Each code that stands in the source as a string of its own, with a module that uses it."""
    return {
        node.value: module.name
        for module in modules.values()
        if module.name != "spikeloom.errors"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value)
    }


def test_codes_in_use_are_declared(modules: dict[str, Any]) -> None:
    unknown = {code: module for code, module in raised(modules).items() if code not in CODES}
    assert not unknown


def test_declared_codes_are_in_use(modules: dict[str, Any]) -> None:
    used = raised(modules)
    unused = {code: CODES[code] for code in CODES if code not in used}
    assert not unused, "nothing raises these: delete them, a code that was never used is no promise"


def test_codes_are_well_formed_and_in_order() -> None:
    assert all(CODE.fullmatch(code) for code in CODES)
    assert list(CODES) == sorted(CODES)
    assert len({one.meaning for one in CODES.values()}) == len(CODES), "two codes with one meaning"
    assert all(one.remedy for one in CODES.values())


def test_codes_named_in_docstrings_and_docs_exist(modules: dict[str, Any], root: Path) -> None:
    texts = [module.path for module in modules.values()]
    texts += [*root.glob("*.md"), *root.glob("docs/**/*.md")]
    unknown = {
        (path.name, code) for path in texts for code in CODE.findall(path.read_text()) if code not in CODES
    }
    assert not unknown


def test_the_page_of_errors_is_current(root: Path) -> None:
    script = root / "docs" / "render_errors.py"
    shown = subprocess.run([sys.executable, script, "-"], capture_output=True, text=True, check=True).stdout
    assert shown == (root / "docs" / "errors.md").read_text(), "run `make docs`"
    assert all(code in shown for code in CODES)
