"""States of sessions: a stream that was stopped anywhere goes on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikeloom.compiler.bundle import Bundle
from spikeloom.errors import InputError
from spikeloom.runtime.events.stream import Events
from spikeloom.runtime.session import Session
from spikeloom.runtime.session_state import SessionState, load_state, save_state
from spikeloom.runtime.windows import Windows
from tests.small_session import ENGINES, RECIPE, recording, same_steps, small_bundle, small_network


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small.loom", small_network())


def chunks(events: Events, size: int) -> Iterator[Events]:
    for start in range(0, len(events), size):
        yield events[start : start + size]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [1, 7, 400])
def test_a_stream_stopped_after_any_step_goes_on(
    bundle: Bundle, engine: str, size: int, tmp_path: Path
) -> None:
    events = recording(3)
    whole = list(Session(bundle, engine).stream([events]))
    for stop in range(len(whole) - 1):
        session = Session(bundle, engine)
        for step in session.stream(chunks(events, size)):
            if step.step == stop:
                save_state(session.state(), tmp_path / "state")
                break
        state = load_state(tmp_path / "state")
        rest = Session(bundle, engine).stream(chunks(events[state.consumed :], size), state)
        assert same_steps(list(rest), whole[stop + 1 :]), stop


def test_another_engine_takes_over(bundle: Bundle) -> None:
    events = recording(4)
    whole = list(Session(bundle, "reference").stream([events]))
    session = Session(bundle, "onnx")
    stream = session.stream([events])
    before = [next(stream) for _ in range(3)]
    state = session.state()
    after = list(Session(bundle, "reference").stream([events[state.consumed :]], state))
    assert same_steps(before + after, whole)


@pytest.mark.parametrize("reset", ["window", "never"])
def test_windows_go_on_too(bundle: Bundle, reset: str, tmp_path: Path) -> None:
    events = recording(5, 3000, 40_000)
    windows = Windows(2, reset)  # type: ignore[arg-type]
    whole = list(Session(bundle).windows([events], windows))
    assert len(whole) > 12
    session = Session(bundle)
    seen = []
    for window in session.windows(chunks(events, 100), windows):
        seen.append(window)
        if len(seen) == 5:
            save_state(session.state(), tmp_path / "state")
            break
    state = load_state(tmp_path / "state")
    other = Session(bundle)
    seen += other.windows(chunks(events[state.consumed :], 33), windows, state)
    assert [(w.first_frame, w.start_us, w.prediction, dict(w.spikes)) for w in seen] == [
        (w.first_frame, w.start_us, w.prediction, dict(w.spikes)) for w in whole
    ]
    np.testing.assert_array_equal([w.evidence for w in seen], [w.evidence for w in whole])


def test_drops_are_counted_over_the_break(bundle: Bundle) -> None:
    events = recording(6)
    session = Session(bundle)
    list(session.stream([events]))
    wanted = session.dropped
    assert wanted.tail
    stream = session.stream([events])
    next(stream)
    state = session.state()
    other = Session(bundle)
    list(other.stream([events[state.consumed :]], state))
    assert other.dropped == wanted


def test_a_state_of_another_network_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    other = small_bundle(tmp_path / "other.loom", small_network(seed=1))
    state = Session(bundle).state()
    with pytest.raises(InputError, match=r"SL0811 .*another network"):
        Session(other).restore(state)
    with pytest.raises(InputError, match="SL0811"):
        Session(bundle).restore(replace(state, network="0" * 64))


def test_a_state_whose_frame_is_damaged_is_refused(bundle: Bundle) -> None:
    session = Session(bundle)
    next(session.stream([recording(2)]))
    state = session.state()
    assert state.framer is not None
    for arrays in ({}, {"counts": np.zeros((1, 2), np.int64)}):
        damaged = replace(state, framer=replace(state.framer, arrays=arrays))
        with pytest.raises(InputError, match=r"SL0811 .*none of this recipe"):
            next(Session(bundle).stream([recording(2)], damaged))


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text", "foreign"])
def test_damaged_states_are_refused(bundle: Bundle, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "state"
    if damage != "missing":
        save_state(Session(bundle).state(), path)
    content = path.read_bytes() if path.exists() else b""
    damaged = {"empty": b"", "cut": content[: len(content) // 2], "text": b"not a state at all"}
    if damage in damaged:
        path.write_bytes(damaged[damage])
    if damage == "foreign":
        from safetensors.numpy import save

        path.write_bytes(save({"total": np.zeros(3)}))
    with pytest.raises(InputError, match="SL0811"):
        load_state(path)


def test_a_flipped_byte_never_gives_another_exception(bundle: Bundle, tmp_path: Path) -> None:
    session = Session(bundle)
    next(session.stream([recording(2)]))
    path = tmp_path / "state"
    save_state(session.state(), path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 300).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with suppress(InputError):
            assert isinstance(load_state(path), SessionState)


def test_the_recipe_is_that_of_the_bundle(bundle: Bundle) -> None:
    assert Session(bundle).recipe == RECIPE
