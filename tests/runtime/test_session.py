"""A session: a stream in any chunks gives what the whole recording gives, on every engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikeloom.compiler.bundle import Bundle, graph_members, json_member, write_bundle
from spikeloom.compiler.graph.graph import Unit
from spikeloom.errors import InputError
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.runtime.events.framer import Framer
from spikeloom.runtime.events.samples.sample import Sample
from spikeloom.runtime.events.stream import EVENT, Events
from spikeloom.runtime.session import Session, StepResult, open_bundle_engine, run_from_reset, stack_frames
from tests.small_session import ENGINES, RECIPE, SCALE, recording, same_steps, small_bundle, small_network


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small.loom", small_network())


def _frames(events: Events) -> NDArray[np.uint8]:
    framer = Framer(RECIPE)
    return np.stack([*framer.push(events), *framer.finish()])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("workers", [2, 5])
def test_threads_make_no_difference(bundle: Bundle, engine: str, workers: int) -> None:
    session = Session(bundle, engine)
    samples = _samples(23)
    alone = list(session.run(samples, batch=3))
    threaded = list(session.run(iter(samples), batch=3, workers=workers))
    assert [result.sample.name for result in threaded] == [sample.name for sample in samples]
    for a, b in zip(alone, threaded, strict=True):
        np.testing.assert_array_equal(a.evidence, b.evidence)
        np.testing.assert_array_equal(a.spikes["lif"], b.spikes["lif"])


def test_an_error_in_a_thread_is_raised(bundle: Bundle) -> None:
    samples = _samples(9)
    samples[5] = replace(samples[5], label=3)
    results = Session(bundle).run(samples, batch=1, workers=2)
    assert [next(results).sample.name for _ in range(5)] == ["s0", "s1", "s2", "s3", "s4"]
    with pytest.raises(InputError, match="SL0803 s5: its label is no class"):
        next(results)


def _samples(count: int) -> list[Sample]:
    return [Sample(f"s{seed}", _frames(recording(seed, 40 * (seed + 1))), seed % 3) for seed in range(count)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stream_gives_what_the_recording_gives(bundle: Bundle, engine: str) -> None:
    session = Session(bundle, engine)
    for seed in range(4):
        events = recording(seed)
        (whole,) = session.run([Sample("a", _frames(events))])
        steps = list(session.stream([events]))
        assert [step.step for step in steps] == list(range(6))
        np.testing.assert_array_equal([step.evidence for step in steps], whole.evidence)
        assert steps[-1].prediction == whole.prediction
        for index, step in enumerate(steps):
            assert step.spikes == {"lif": int((whole.spikes["lif"][index] != 0).sum())}
        assert 0.05 < whole.spikes["lif"].mean() < 0.9


@pytest.mark.parametrize("engine", ENGINES)
def test_chunks_of_any_size_make_no_difference(bundle: Bundle, engine: str) -> None:
    session = Session(bundle, engine)
    events = recording(7, 120)
    wanted = list(session.stream([events]))

    @settings(max_examples=25)
    @given(st.lists(st.integers(0, len(events)), max_size=12))
    def check(cuts: list[int]) -> None:
        assert same_steps(list(session.stream(np.split(events, sorted(cuts)))), wanted)

    check()
    assert same_steps(list(session.stream(np.split(events, len(events)))), wanted)


@pytest.mark.parametrize("engine", ENGINES)
def test_results_come_as_soon_as_their_frame_is_finished(bundle: Bundle, engine: str) -> None:
    """The first event of the next frame ends a frame; nothing waits for the end of the recording."""
    seen = []

    def chunks() -> object:
        for event in (300, 900, 1100, 3050):
            chunk = np.zeros(1, EVENT)
            chunk["t"] = event
            yield chunk
            seen.append(len(steps))

    steps: list[StepResult] = []
    for step in Session(bundle, engine).stream(chunks()):  # type: ignore[arg-type]
        steps.append(step)
    assert seen == [0, 0, 1, 3]
    assert len(steps) == 6


@pytest.mark.parametrize("engine", ENGINES)
def test_evidence_is_the_sum_of_the_outputs_in_the_models_unit(bundle: Bundle, engine: str) -> None:
    frames = _frames(recording(3))
    reference = ReferenceEngine(bundle.graph)
    output = run_from_reset(reference, frames[:, None]).output[:, 0]
    (result,) = Session(bundle, engine).run([Sample("a", frames)])
    np.testing.assert_array_equal(result.evidence, output.cumsum(0) * SCALE)
    assert result.prediction == output.sum(0).argmax()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_reset_begins_anew(bundle: Bundle, engine: str) -> None:
    session = Session(bundle, engine)
    frames = _frames(recording(4))
    first = [session.step(frame) for frame in frames]
    carried = [session.step(frame) for frame in frames]
    assert [step.step for step in carried] == list(range(6, 12))
    assert [step.spikes for step in carried] != [step.spikes for step in first]  # the state went on
    session.reset()
    assert same_steps([session.step(frame) for frame in frames], first)


@pytest.mark.parametrize("engine", ENGINES)
def test_each_stream_starts_from_rest(bundle: Bundle, engine: str) -> None:
    session = Session(bundle, engine)
    wanted = list(session.stream([recording(5)]))
    unfinished = session.stream([recording(6)])
    next(unfinished)
    list(session.run(_samples(3)))
    assert same_steps(list(session.stream([recording(5)])), wanted)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch", [1, 3, 8, 20])
def test_neighbours_in_a_batch_make_no_difference(bundle: Bundle, engine: str, batch: int) -> None:
    session = Session(bundle, engine)
    samples = _samples(10)
    results = list(session.run(iter(samples), batch))
    assert [result.sample.name for result in results] == [sample.name for sample in samples]
    for sample, result in zip(samples, results, strict=True):
        (alone,) = session.run([sample])
        np.testing.assert_array_equal(result.evidence, alone.evidence)
        np.testing.assert_array_equal(result.spikes["lif"], alone.spikes["lif"])
        assert result.prediction == alone.prediction


def test_engines_give_the_same(bundle: Bundle) -> None:
    first, *others = [list(Session(bundle, engine).run(_samples(6))) for engine in ENGINES]
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a.evidence, b.evidence)
            np.testing.assert_array_equal(a.spikes["lif"], b.spikes["lif"])


def test_the_prediction_is_by_evidence_not_by_integers(tmp_path: Path) -> None:
    """Classes with units and offsets of their own: the largest integer is not the most evidence."""
    scale, offset = np.array([4.0, 1.0, 1.0]), np.array([0.0, 0.0, 50.0])
    graph = small_network()
    bundle = small_bundle(tmp_path / "units.loom", graph.replace(units={"head": Unit(scale, offset)}))
    frames = _frames(recording(3))
    totals = run_from_reset(ReferenceEngine(graph), frames[:, None]).output[:, 0].cumsum(0)
    evidence = totals * scale + np.arange(1, 7)[:, None] * offset
    session = Session(bundle, "reference")
    (result,) = session.run([Sample("a", frames)])
    np.testing.assert_allclose(result.evidence, evidence)
    assert result.prediction == evidence[-1].argmax() != totals[-1].argmax()
    assert [step.prediction for step in _stepped(session, frames)] == evidence.argmax(1).tolist()


def _stepped(session: Session, frames: NDArray[np.uint8]) -> list[StepResult]:
    session.reset()
    return [session.step(frame) for frame in frames]


def test_the_shape_of_a_frame(bundle: Bundle) -> None:
    assert Session(bundle, "reference").input_shape == RECIPE.shape == (2, 4, 5)
    assert Session(bundle).engine.name == "onnx"


# --- what is refused -------------------------------------------------------------------------------------


def test_an_unknown_engine(bundle: Bundle) -> None:
    with pytest.raises(InputError, match=r"SL0801 abacus: no such engine"):
        Session(bundle, "abacus")


def test_a_bundle_without_the_engines_files(tmp_path: Path) -> None:
    graph = small_network()
    members = {**graph_members(graph), "recipe.json": json_member(RECIPE.to_json())}
    bundle = write_bundle(tmp_path / "bare.loom", members, {})
    open_bundle_engine(bundle, "reference")
    with pytest.raises(InputError, match="SL0801"):
        open_bundle_engine(bundle, "onnx")


def test_an_output_that_is_no_vector_of_classes(tmp_path: Path) -> None:
    graph = small_network()
    types = {name: graph.types[name] for name in ("x", "conv", "lif")}
    cut = graph.replace(outputs=("lif",), nodes=graph.nodes[:2], types=types, units={})
    bundle = small_bundle(tmp_path / "lif.loom", cut)
    with pytest.raises(InputError, match=r"SL0803 .*not a vector of classes"):
        Session(bundle, "reference")


def test_samples_of_different_lengths_in_a_batch() -> None:
    a, b = _samples(2)
    with pytest.raises(InputError, match="SL0803 s0: samples have different numbers of steps"):
        stack_frames([a, replace(b, frames=b.frames[:3])])
    assert stack_frames([a, b]).shape == (6, 2, 2, 4, 5)


def test_frames_of_another_shape_or_kind(bundle: Bundle) -> None:
    session = Session(bundle, "reference")
    for frame in (np.zeros((2, 5, 4), np.uint8), np.full((2, 4, 5), 2, np.uint8), np.zeros((2, 4, 5))):
        with pytest.raises(InputError, match="SL0803"):
            session.step(frame)


def test_a_label_that_is_no_class(bundle: Bundle) -> None:
    (sample,) = _samples(1)
    with pytest.raises(InputError, match="SL0803 s0: its label is no class"):
        list(Session(bundle, "reference").run([replace(sample, label=3)]))
