"""docs/mapping.md is what its script makes of the results, and ranks nobody who breaks a limit."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("render_mapping", ROOT / "docs/render_mapping.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def results(script: Any) -> dict[str, Any]:
    found: dict[str, Any] = script.read()
    return found


def test_the_page_is_made_of_the_results(script: Any, results: dict[str, Any]) -> None:
    assert (ROOT / "docs/mapping.md").read_text(encoding="utf-8") == script.page(results)
    assert "<svg" in script.plot(results)


def test_our_mappings_break_no_limit_and_were_executed(results: dict[str, Any]) -> None:
    ours = [row for row in results["rows"] if row["mapper"].startswith("Spikeloom")]
    assert len({row["network"] for row in ours}) >= 12
    for row in ours:
        assert not row["violations"]
        assert row["executed"] is (True if row["neurons"] <= 6_000_000 else None)
        assert row["cores"] >= row["least_cores"]
        assert row["messages"] >= row["least_messages"]


def test_who_breaks_limits_is_not_ranked(script: Any, results: dict[str, Any]) -> None:
    lines = script.page(results).splitlines()
    for row in results["rows"]:
        if row["violations"]:
            start = lines.index(f"### {row['network']}")
            line = next(one for one in lines[start:] if one.startswith(f"| {row['mapper']} |"))
            assert line.endswith("(not ranked) |")
