"""The picture of a recording: every event is in it once, in whatever chunks it came."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from spikeloom.runtime.events.stream import Geometry
from spikeloom.runtime.report.plots.event_picture import BINS, picture_of, plot_events
from tests.cli.terminal import refused, spikeloom
from tests.event_files import FILES, events

SENSOR = Geometry(128, 128)


def test_every_event_is_counted_once() -> None:
    made = events(5000)
    picture = picture_of([made], SENSOR)
    assert picture.counts.sum() == picture.rates.sum() == 5000
    assert picture.counts[1].sum() == (made["p"] == 1).sum()
    assert picture.counts[0, 7].sum() == ((made["p"] == 0) & (made["y"] == 7)).sum()
    pieces = picture_of(np.array_split(made, 71), SENSOR)
    np.testing.assert_array_equal(pieces.counts, picture.counts)
    np.testing.assert_array_equal(pieces.rates, picture.rates)


def test_times_are_divided_as_the_recording_grows() -> None:
    made = events(3000, span_us=90_000_000)
    picture = picture_of(np.array_split(made, 10), SENSOR)
    assert picture.bin_us * BINS > made["t"][-1] - made["t"][0] >= picture.bin_us * BINS // 2
    bins = (made["t"] - made["t"][0]) // picture.bin_us
    np.testing.assert_array_equal(picture.rates.sum(0), np.bincount(bins, minlength=BINS))


def test_an_empty_recording_can_be_drawn() -> None:
    ElementTree.fromstring(plot_events(picture_of([], Geometry(4, 4))))


def test_inspect_draws(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(FILES["evt2"][1](events(300)))
    spikeloom("inspect", path, "--picture", tmp_path / "a.svg", "--json")
    ElementTree.fromstring((tmp_path / "a.svg").read_text())
    [problem] = refused("inspect", path, "--picture", tmp_path / "a.png", within=tmp_path)
    assert (problem.code, problem.where) == ("SL0901", "--picture")
    [problem] = refused("inspect", tmp_path / "a.pt", "--picture", tmp_path / "b.svg", within=tmp_path)
    assert problem.code == "SL0901"
