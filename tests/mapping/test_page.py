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


def test_results_on_trees_are_shown_where_there_are_any(script: Any, results: dict[str, Any]) -> None:
    """As the benchmark writes them; pages of results without them have no column for them."""
    on_trees = {"tree_hops", "tree_link", "sent", "least_tree_hops"}
    rows = [
        {key: value for key, value in row.items() if key not in on_trees}
        for row in results["rows"]
        if row["mapper"] != "Spikeloom, placed for routers that copy"
    ]
    without = script.page({**results, "rows": rows, "scale": []})
    assert "hops, copied" not in without
    assert "Where routers copy" not in without
    names = {row["network"] for row in rows}
    for row in rows:
        row |= {"tree_hops": row["hops"] / 2, "tree_link": row["busiest_link"] / 2}
        row |= {"sent": row["messages"] / 4, "least_tree_hops": row["messages"] / 3}
    placed = [row for row in rows if row["mapper"] == "Spikeloom"]
    rows += [
        {**row, "mapper": "Spikeloom, placed for routers that copy", "tree_hops": row["hops"] / 4}
        for row in placed
    ]
    page = script.page({**results, "rows": rows})
    assert page.count("hops, copied") == len(names)
    section = page.split("## Where routers copy messages")[1].split("##")[0]
    for row in placed:
        if row["cores"] > 2:
            line = next(one for one in section.splitlines() if one.startswith(f"| {row['network']} |"))
            assert " | 0.25 | 0.50 | 0.50 | 0.25 | 0.50 | " in line
    assert page.count("the same where routers copy messages: hops at most") == 2
