"""The page: the numbers it should hold, nothing from outside, nothing that runs, the same bytes again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spikeloom.compiler.bundle import Bundle
from spikeloom.runtime.events.samples.arrays import arrays
from spikeloom.runtime.report.collect import Report, collect
from spikeloom.runtime.report.page import MODES, QUANTITIES, render
from spikeloom.runtime.report.units import band, count, percent, quantity, si, size
from spikeloom.runtime.score import wilson_interval
from tests.random_networks import RandomNetwork
from tests.report.reading import Page
from tests.report.tiny import SIDE, STEPS, Names, grow, make_bundle

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)></svg>$\\frac$ 數 &amp;'


@pytest.fixture(scope="module")
def made(
    bundle_for: Callable[[str], Bundle],
    network: RandomNetwork,
    save_inputs: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Report, str]:
    """A report on a chip with labels, and its page."""
    path = save_inputs(tmp_path_factory.mktemp("page") / "in.npz", network, [0, 1, 2, 0, 1, 2])
    report = collect(bundle_for("loihi2"), arrays(path, (STEPS, 2, SIDE, SIDE)))
    return report, render(report)


@pytest.fixture(scope="module")
def report(made: tuple[Report, str]) -> Report:
    return made[0]


@pytest.fixture(scope="module")
def html(made: tuple[Report, str]) -> str:
    return made[1]


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_headline_says_accuracy_with_its_interval(page: Page, report: Report) -> None:
    score = report.score
    assert score is not None
    low, high = wilson_interval(score.right, 6)
    assert page.texts["accuracy"] == f"{percent(score.right / 6)} {score.right} of 6"
    assert f"95 % interval {percent(low)} to {percent(high)}, n = 6" in page.text
    assert page.texts["agreement"] == "4 of 5 same class"


def test_the_headline_says_both_modes_as_bands_and_that_they_are_extrapolated(
    page: Page, report: Report
) -> None:
    assert set(report.estimate["modes"]) == set(MODES)
    for mode, values in report.estimate["modes"].items():
        for key, (what, unit) in QUANTITIES.items():
            assert page.texts[f"{mode}-{key}"] == si(values[key]["nominal"], unit)
            assert f"{what.lower()}, {band(values[key], unit)}" in page.text
    assert page.text.count("extrapolated") == 3, "a tag on each card and one in the section"


def test_every_part_of_latency_and_energy_is_in_a_table(page: Page, report: Report) -> None:
    bands = [
        (values[key], unit)
        for values in report.estimate["modes"].values()
        for key, (_, unit) in QUANTITIES.items()
    ]
    for (whole, unit), table in zip(bands, page.tables["costs"], strict=True):
        ends = ("low", "nominal", "high")
        wanted = [
            [part.replace("_", " "), *(si(one[end], unit) for end in ends)]
            for part, one in whole["parts"].items()
        ]
        assert table[1:] == [*wanted, ["total", *(si(whole[end], unit) for end in ends)]]


def test_the_ledger(page: Page, report: Report) -> None:
    (table,) = page.tables["compared"]
    assert table[1:] == [
        [
            r["stage"],
            r["against"],
            count(r["samples"]),
            count(r["cells"]),
            count(r["differing"]),
            r["tolerance"],
        ]
        for r in report.ledger
    ]


def test_the_layers(page: Page, report: Report) -> None:
    (table,) = page.tables["layers"]
    stem, attention = report.layers
    assert table[1] == [
        "stem.neuron",
        "144",
        count(stem.spikes),
        percent(stem.rate),
        percent(0.21),
        "8",
        percent(0.0123),
        percent(36 / 2880),
    ]
    assert table[2][:2] == ["attention.neuron", "144"]
    assert table[2][5:] == ["–", "–", percent(72 / 2880)]
    assert table[3] == ["head", "–", "–", "–", "–", "6", percent(0.0456), "–"]
    assert table[4][:3] == ["all", "288", count(stem.spikes + attention.spikes)]


def test_the_operations(page: Page, report: Report) -> None:
    totals, nodes = page.tables["operations"]
    operations = report.estimate["operations"]
    shown = {row[0]: row[1] for row in totals[1:]}
    assert shown["synaptic accumulates (ACs)"] == count(operations["acs"])
    assert shown["synaptic multiply-accumulates (MACs)"] == count(operations["macs"])
    assert shown["products of attention"] == count(operations["products"])
    assert shown["neuron updates"] == count(operations["updates"])
    assert shown["activation sparsity: neuron outputs that are zero"] == percent(report.sparsity)
    assert [row[:4] for row in nodes[1:]] == [
        [n["node"], n["work"], count(n["effective"]), count(n["dense"])] for n in operations["nodes"]
    ]


def test_the_cores(page: Page, report: Report) -> None:
    placement = report.placement
    assert placement is not None
    bounds, binding, changes, populations, cores, shares = page.tables["mesh"]
    why = placement.explanation
    assert why is not None
    assert [row[1:3] for row in bounds[1:]] == [
        [count(why.cores), count(why.least_cores)],
        [count(why.messages), count(why.least_messages)],
        [count(why.hops), count(why.least_hops)],
    ]
    assert {row[0]: row[1] for row in binding[1:]} == {
        limit.name.replace("_", " "): count(why.binding.get(limit.name, 0)) for limit in placement.limits
    }
    assert [row[0] for row in changes[1:]] == [one.change for one in why.what_if]
    assert page.texts["cores"] == f"{len(placement.cores)} of {placement.available}"
    assert [(row[1], row[2], row[3]) for row in populations[1:]] == [
        (one.name, one.role, count(one.neurons)) for one in placement.populations
    ]
    uses = [[count(core.uses[limit.name]) for limit in placement.limits] for core in placement.fullest(12)]
    assert [row[3:-1] for row in cores[1:-1]] == uses
    assert cores[-1][3:-1] == [count(limit.value) for limit in placement.limits]
    wanted = report.estimate["chip"]["shares"]
    assert {row[0]: row[1] for row in shares[1:]} == {
        tag: count(row["neurons"]) for tag, row in wanted.items()
    }


def test_every_constant_with_its_band_and_its_source(page: Page, report: Report) -> None:
    (table,) = page.tables["sources"]
    rows = {tuple(row[1:]) for row in table if len(row) == 5}
    assert report.placement is not None
    figures = [
        *report.estimate["constants"].values(),
        *(f.to_json() for f in report.placement.figures.values()),
    ]
    assert len(figures) > 20
    for f in figures:
        shown = "" if f["low"] == f["high"] else band(f, f["unit"])
        assert (quantity(f["nominal"], f["unit"]), shown, f["origin"], f["source"]) in rows


def test_the_bundle_and_its_recipe(page: Page, report: Report) -> None:
    (table,) = page.tables["bundle"]
    assert [tuple(row) for row in table[1:]] == [
        (name, size(entry["size"]), entry["sha256"]) for name, entry in report.manifest["members"].items()
    ]
    assert "fixed_duration" in page.text


def test_without_a_chip_the_page_says_why(
    bundle_for: Callable[[str], Bundle], inputs: Callable[..., Any]
) -> None:
    report = collect(bundle_for("onnx"), inputs())
    page = Page(render(report))
    assert "mesh" not in page.tables
    assert "costs" not in page.tables
    assert "The target onnx has no cores of its own" in page.text
    assert f"No latency or energy is estimated: {report.estimate['validation']}" in page.text
    assert "nothing can be scored" in page.text


def test_nothing_comes_from_outside_and_nothing_runs(page: Page, html: str) -> None:
    assert not {tag for tag, _ in page.elements} & {
        "script",
        "link",
        "iframe",
        "object",
        "embed",
        "img",
        "form",
    }
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in {"src", "href", "xlink:href", "action", "data"} & set(attributes):
            assert attributes[name].startswith(("#", "data:image/png;base64,")), (tag, attributes[name][:60])
    assert set(re.findall(r"url\((.)", html)) <= {"#"}
    assert "@import" not in html
    policy = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_names_are_unique_and_every_reference_has_its_target(page: Page, html: str) -> None:
    names = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert [name for name, uses in names.items() if uses > 1] == []
    used = {a["href"][1:] for _, a in page.elements if a.get("href", "").startswith("#")}
    used |= set(re.findall(r"url\(#([^)]+)\)", html))
    assert used <= set(names)


def test_plots_take_their_colours_from_the_page(page: Page, html: str, report: Report) -> None:
    assert report.placement is not None
    limits = len(report.placement.limits)
    plots = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(plots) == 3 + 4 + limits + 4 + STEPS + 2  # layers, evidence; cores; bands; frames; layers
    assert all(plot["aria-label"] and plot["viewbox"] for plot in plots)
    assert not re.search(r"#0[1-9a]0[2-9ab]0[3-9abc]\b", html), "a stand-in colour was left"
    assert "fill: var(--ink)" in html


def test_names_of_the_user_stay_text(tmp_path: Path, save_inputs: Callable[..., Path]) -> None:
    names = Names(model=f"M{HOSTILE}", stem=f"stem{HOSTILE}", checkpoint=f"c{HOSTILE}")
    hostile = grow(names)
    bundle = make_bundle(tmp_path / "hostile.loom", "loihi2", names, hostile.graph)
    path = save_inputs(tmp_path / "in<script>.npz", hostile)
    html = render(collect(bundle, arrays(path, (STEPS, 2, SIDE, SIDE))))
    page = Page(html)
    assert not {tag for tag, _ in page.elements} & {"script", "img"}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.tables["layers"][0][1][0] == names.stem
    assert f"M{HOSTILE} on loihi2" in page.text
    assert "in<script>.npz[0]" in page.text
    opened = Counter(tag for tag, _ in page.elements)
    assert opened["svg"] == html.count("</svg>")


def test_the_same_report_gives_the_same_bytes(made: tuple[Report, str]) -> None:
    assert render(made[0]) == made[1]


def test_the_bytes_depend_on_no_hash_seed(
    bundle_for: Callable[[str], Bundle],
    network: RandomNetwork,
    save_inputs: Callable[..., Path],
    tmp_path: Path,
) -> None:
    path = save_inputs(tmp_path / "in.npz", network)
    pages = []
    for seed in ("1", "2"):
        output = tmp_path / f"{seed}.html"
        command = [sys.executable, "-m", "spikeloom", "report", str(bundle_for("loihi2").path)]
        subprocess.run(
            [*command, "--inputs", str(path), "-o", str(output)],
            env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True,
        )  # fmt: skip
        pages.append(output.read_bytes())
    assert pages[0] == pages[1]
