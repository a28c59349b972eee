"""Streams without an end: a window gives exactly what a recording of its frames gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikeloom.compiler.bundle import Bundle
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.errors import InputError
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.runtime.events.framer import Framer
from spikeloom.runtime.events.samples.sample import Sample
from spikeloom.runtime.events.stream import EVENT, Events
from spikeloom.runtime.session import Session
from spikeloom.runtime.windows import Windows
from tests.small_session import ENGINES, RECIPE, SCALE, recording, small_bundle, small_network

T, D = RECIPE.steps, 1000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small.loom", small_network())


def frames_of_stream(events: Events) -> np.ndarray:
    """Frames counted by hand, from the one that holds the first event to that of the last."""
    steps = events["t"] // D
    first = int(steps[0])
    frames = np.zeros((int(steps[-1]) - first + 1, *RECIPE.shape), np.uint8)
    frames[steps - first, events["p"], events["y"], events["x"]] = 1
    return frames


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stride", [1, 4, T])
def test_a_window_is_a_recording_of_its_frames(bundle: Bundle, engine: str, stride: int) -> None:
    events = recording(1, 2000, 20_500)
    events["t"] += 7_777_123_000  # a clock that has run for two hours
    frames = frames_of_stream(events)
    session = Session(bundle, engine)
    found = list(session.windows(np.array_split(events, 37), Windows(stride)))
    assert [w.first_frame for w in found] == list(range(0, len(frames) - T + 1, stride))
    for window in found:
        first = window.first_frame
        (whole,) = session.run([Sample("w", frames[first : first + T])])
        np.testing.assert_array_equal(window.evidence, whole.evidence[-1])
        assert window.prediction == whole.prediction
        assert window.spikes == {"lif": int(np.count_nonzero(whole.spikes["lif"]))}
        start = int(events["t"][0]) // D * D + first * D
        assert (window.start_us, window.end_us) == (start, start + T * D)
    assert sum(window.spikes["lif"] for window in found) > 100


@pytest.mark.parametrize("engine", ENGINES)
def test_without_resets_each_frame_is_run_once(bundle: Bundle, engine: str) -> None:
    events = recording(2, 2000, 20_500)
    frames = frames_of_stream(events)
    reference = ReferenceEngine(bundle.graph)
    reference.reset(1)
    trace = reference.run(frames[:, None])
    found = list(Session(bundle, engine).windows([events], Windows(2, "never")))
    for window in found:
        steps = slice(window.first_frame, window.first_frame + T)
        np.testing.assert_array_equal(window.evidence, trace.output[steps, 0].sum(0) * SCALE)
    run = found[-1].first_frame + T
    assert sum(w.spikes["lif"] for w in found) == np.count_nonzero(trace.spikes["lif"][:run])


def test_a_network_that_sums_over_the_sample_must_be_reset(tmp_path: Path) -> None:
    graph = small_network(last=Accumulate(T))
    bundle = small_bundle(tmp_path / "sums.loom", graph)
    events = recording(1, 2000, 20_500)
    with pytest.raises(InputError, match=r"SL0803 last: accumulate runs for a sample"):
        next(Session(bundle).windows([events], Windows(1, "never")))
    session = Session(bundle)
    window = next(session.windows([events], Windows(1)))
    (whole,) = session.run([Sample("w", frames_of_stream(events)[:T])])
    np.testing.assert_array_equal(window.evidence, whole.evidence[-1])


@pytest.mark.parametrize("windows", [Windows(0), Windows(T + 1), Windows(1, "sometimes")])  # type: ignore[arg-type]
def test_windows_that_cannot_be(bundle: Bundle, windows: Windows) -> None:
    with pytest.raises(InputError, match="SL0901"):
        next(Session(bundle).windows([recording(1)], windows))


def test_memory_does_not_grow_with_a_silence(bundle: Bundle) -> None:
    """A minute without an event is 60,000 frames; one of them is held at a time."""
    import tracemalloc

    events = np.array([(0, 0, 0, 1), (59_999_999, 1, 1, 1)], EVENT)
    framer = Framer(RECIPE, endless=True)
    tracemalloc.start()
    count = sum(1 for _ in framer.feed(events))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 59_999
    assert peak < 200_000


def test_a_stream_shorter_than_a_window_gives_none(bundle: Bundle) -> None:
    events = recording(1, 50, 900)
    assert list(Session(bundle).windows([events])) == []
    assert list(Session(bundle).windows([])) == []
