"""Plots at the edges of what they may be given, and the palette."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeloom.compiler.mapping.placement import Links, Load
from spikeloom.runtime.report.collect import Recording
from spikeloom.runtime.report.cores import Core, CoreLimit, Grid, PlacedPopulation, Placement
from spikeloom.runtime.report.layers import Layer
from spikeloom.runtime.report.plots.bands import plot_bands
from spikeloom.runtime.report.plots.cores import plot_binding, plot_fill, plot_populations, plot_traffic
from spikeloom.runtime.report.plots.evidence import plot_evidence
from spikeloom.runtime.report.plots.figure import (
    ACCENT,
    BLUE,
    HALF_WIDTH,
    ORANGE,
    PALETTE,
    is_dark,
    ramp,
    tinted,
)
from spikeloom.runtime.report.plots.links import plot_links
from spikeloom.runtime.report.plots.mesh import WHOLE_WIDTH, is_fine
from spikeloom.runtime.report.plots.pictures import flattened, plot_frame, plot_layer
from spikeloom.runtime.report.plots.rates import plot_rates, plot_step_rates
from tests.report.reading import Page

# Machado, Oliveira, Fernandes, IEEE TVCG 15(6), 2009: severity 1, on linear RGB
VISION: dict[str, list[float]] = {
    "normal": [1, 0, 0, 0, 1, 0, 0, 0, 1],
    "protanopia": [0.1523, 1.0526, -0.2049, 0.1145, 0.7863, 0.0992, -0.0039, -0.0481, 1.0520],
    "deuteranopia": [0.3673, 0.8606, -0.2280, 0.2801, 0.6725, 0.0474, -0.0118, 0.0429, 0.9689],
    "tritanopia": [1.2555, -0.0767, -0.1788, -0.0784, 0.9308, 0.1476, 0.0047, 0.6914, 0.3039],
}
PAPERS = ("#ffffff", "#14171a")


def linear(colour: str) -> NDArray[np.float64]:
    values = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: Any) -> NDArray[np.float64]:
    """CIE L*a*b* of linear sRGB under D65."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(to_xyz @ np.clip(rgb, 1e-3, 1) / [0.9505, 1, 1.0888])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("colours", [PALETTE, (BLUE, ORANGE), (ACCENT, ORANGE)], ids=str)
def test_colours_are_told_apart_with_any_vision(colours: tuple[str, ...], vision: str) -> None:
    seen = [lab(np.reshape(VISION[vision], (3, 3)) @ linear(colour)) for colour in colours]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 27


@pytest.mark.parametrize("colour", [*PALETTE, BLUE, ORANGE])
@pytest.mark.parametrize("paper", PAPERS)
def test_colours_stand_out_from_either_page(colour: str, paper: str) -> None:
    one, other = (linear(each) @ [0.2126, 0.7152, 0.0722] + 0.05 for each in (colour, paper))
    assert max(one, other) / min(one, other) > 2.2


def test_numbers_on_a_ramp_can_be_read() -> None:
    for colour in ramp(20):
        ink = "#ffffff" if is_dark(colour) else "#000000"
        one, other = (linear(each) @ [0.2126, 0.7152, 0.0722] + 0.05 for each in (colour, ink))
        assert max(one, other) / min(one, other) > 4.5


def layer(name: str, rates: tuple[float, ...], trained: float | None = None) -> Layer:
    return Layer(name, (4,), 4, 1, float(np.mean(rates)), rates, trained, 0, 0, ())


@pytest.mark.parametrize("steps", [1, 3, 40])
def test_rates_of_few_and_many_steps(steps: int) -> None:
    layers = [layer("a", (0.0,) * steps), layer("b" * 80, (0.5,) * steps, 0.25)]
    bars, shades = Page(plot_rates(layers)), Page(plot_step_rates(layers))
    assert "50.0\u202f%" in bars.text
    assert "…" in bars.text
    assert ("50.0" in shades.text) == (steps <= 8), "numbers where there is room for them"


def test_a_silent_network_can_be_drawn() -> None:
    assert "0\u202f%" in Page(plot_rates([layer("a", (0.0,))])).text
    plot_layer(np.zeros((2, 3, 4), np.uint8), "s")


def test_many_steps_become_a_raster() -> None:
    spikes = np.zeros((30, 5), np.uint8)
    few, many = plot_layer(spikes[:4], "s"), plot_layer(spikes, "s")
    assert [Page(svg).elements[0][1]["aria-label"] for svg in (few, many)] == [
        "Spikes at each step",
        "Spike raster",
    ]
    assert few.count("<image") == 4
    assert many.count("<image") == 1


def test_a_picture_is_the_mean_over_leading_axes() -> None:
    values = np.zeros((2, 3, 4, 5))
    values[0, 0, 1, 2] = values[1, 2, 1, 2] = 1
    picture = flattened(values)
    assert picture.shape == (4, 5)
    assert picture[1, 2] == pytest.approx(2 / 6)
    assert flattened(np.ones(7)).shape == (1, 7)


@pytest.mark.parametrize("shape", [(2, 4, 4), (3, 4, 4), (6,), (4, 4)])
def test_frames_of_any_shape(shape: tuple[int, ...]) -> None:
    assert "<image" in plot_frame(np.full(shape, 3, np.uint8), 3, ("off", "on"), "f")


def test_opacity_is_the_value() -> None:
    assert tinted(np.array([0.0, 0.5, 7.0]))[:, 3].tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(("label", "prediction"), [(None, 2), (2, 2), (0, 2), (99, 2)])
def test_evidence_names_label_and_prediction(label: int | None, prediction: int) -> None:
    evidence = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 2.0]])
    recording = Recording("r", label, prediction, np.zeros((2, 2, 4, 4), np.uint8), evidence, {})
    named = {
        word for word in ("class 0", "class 1", "class 2") if word in Page(plot_evidence(recording)).text
    }
    assert named == {"class 2"} | ({"class 0"} if label == 0 else set())
    one_step = replace(recording, evidence=evidence[:1])
    assert "class 2" in Page(plot_evidence(one_step)).text


def test_bands_show_each_part_with_its_number() -> None:
    part = {"low": 1e-6, "nominal": 2e-6, "high": 4e-6}
    none = dict.fromkeys(part, 0.0)
    page = Page(plot_bands("p", {**part, "parts": {"static": part, "reset": none}}, "J"))
    assert {"total", "static", "reset", "2\u202fµJ", "0\u202fJ"} <= set(lines(page.text))


def test_bands_of_nothing_at_all() -> None:
    none = {"low": 0.0, "nominal": 0.0, "high": 0.0}
    assert "0\u202fs" in Page(plot_bands("p", {**none, "parts": {"a": none}}, "s")).text


def lines(text: str) -> list[str]:
    return [word.strip() for word in text.splitlines() if word.strip()]


def placed(grid: Grid, *cores: Core) -> Placement:
    populations = tuple(PlacedPopulation(f"p{n}", "neuron", "", 100, 1, "neurons") for n in range(3))
    chip_rows = -(-grid.chips // grid.chip_columns)
    lanes = ((1.0,) * (grid.columns * grid.chip_columns),) * (grid.rows * chip_rows)
    links = Links(lanes, lanes, lanes, lanes)
    limits = (CoreLimit("neurons", 160, "neurons"),)
    load = Load(0, 0, 0, 0, 0, 0)
    return Placement("chip", grid, 8, populations, limits, cores, 1, "neurons", load, links, None, {})


def core(number: int, chip: int, column: int, row: int, *parts: tuple[int, int]) -> Core:
    return Core(number, chip, column, row, 0, parts, {"neurons": 40}, "neurons", 0.625, 12.0, 0)


def test_a_mesh_shows_populations_fill_and_traffic() -> None:
    busy = replace(core(1, 0, 3, 1, (1, 50), (2, 50)), traffic=48.0)
    placement = placed(Grid(4, 2, 4, 30, 1, 1), core(0, 0, 0, 0, (0, 100)), busy)
    assert set(lines(Page(plot_populations(placement)).text)) == {"1", "2", "3"}
    assert lines(Page(plot_binding(placement)).text) == ["62", "62"]
    assert lines(Page(plot_fill(placement, "neurons")).text) == ["25", "25"]
    assert lines(Page(plot_traffic(placement)).text) == ["25", "100"]


def test_unusable_cores_are_not_drawn() -> None:
    whole, most = (plot_binding(placed(Grid(2, 2, 4, usable, 1, 1))) for usable in (16, 13))
    assert whole.count("<path") - most.count("<path") == 3


def test_few_cores_are_squares_and_many_are_one_image() -> None:
    """128 cores of a chip fit half the page; the 16,384 of 128 chips are points across the whole of it."""
    few, many = Grid(16, 8, 1, 128, 1, 1), Grid(16, 8, 1, 128, 128, 8)
    assert not is_fine(few)
    assert is_fine(many)
    squares, image = (plot_binding(placed(grid, core(0, 0, 0, 0, (0, 1)))) for grid in (few, many))
    assert squares.count("<path") > 128
    assert "<image" not in squares
    assert "<image" in image
    assert len(image) < 60_000
    assert f'viewBox="0 0 {HALF_WIDTH} ' in squares
    assert f'viewBox="0 0 {WHOLE_WIDTH} ' in image


def test_every_loaded_link_is_drawn() -> None:
    grid = Grid(4, 2, 1, 8, 1, 1)
    placement = placed(grid, core(0, 0, 0, 0, (0, 1)))
    lane = (0.0,) * 4
    quiet = Links((lane, lane), (lane, lane), (lane, lane), (lane, lane))
    loaded = Links(((0.0, 3.0, 0.0, 0.0), lane), (lane, lane), (lane, lane), (lane, (0.0, 0.0, 2.0, 0.0)))
    drawn = [plot_links(replace(placement, links=links)).count("<path") for links in (quiet, loaded)]
    assert drawn[1] - drawn[0] == 2
    assert "<image" in plot_links(placed(Grid(16, 8, 1, 128, 128, 8), core(0, 0, 0, 0, (0, 1))))


def test_chips_beyond_those_in_use_are_left_out() -> None:
    """Of 1,152 chips the two columns and three rows that are used, with their links; cores stay in place."""
    placement = placed(Grid(16, 8, 1, 128, 1152, 24), core(0, 0, 31, 0, (0, 1)), core(1, 24, 0, 23, (0, 1)))
    shown = placement.in_use()
    assert (shown.grid.chips, shown.grid.chip_columns) == (6, 2)
    assert (len(shown.links.east), len(shown.links.east[0])) == (24, 32)
    assert shown.cores == placement.cores
    assert is_fine(placement.grid)
    assert "<path" in plot_links(shown)
