from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.errors import InputError
from spikeloom.runtime.events.nmnist import decode, write_nmnist
from spikeloom.runtime.events.stream import EVENT


def by_hand(data: bytes) -> list[tuple[int, int, int, int]]:
    """The format's description, a record at a time."""
    records = [data[i : i + 5] for i in range(0, len(data) - 4, 5)]
    words = [int.from_bytes(record[2:], "big") for record in records]
    return [(w & 0x7FFFFF, r[0], r[1], w >> 23) for r, w in zip(records, words, strict=True)]


@given(st.binary(max_size=200), st.integers(1, 50))
def test_decodes_as_the_format_says_in_any_chunk_size(data: bytes, chunk_events: int) -> None:
    chunks = list(decode(io.BytesIO(data), chunk_events))
    assert [event for chunk in chunks for event in chunk.events.tolist()] == by_hand(data)
    assert sum(chunk.left_over_bytes for chunk in chunks) == len(data) % 5
    assert all(len(chunk.events) <= chunk_events for chunk in chunks)
    seen = 0
    for chunk in chunks:
        assert chunk.offset == 5 * seen
        seen += len(chunk.events)


@given(
    st.lists(
        st.tuples(st.integers(0, 2**23 - 1), st.integers(0, 255), st.integers(0, 255), st.integers(0, 1)),
        max_size=30,
    )
)
def test_what_is_written_is_read_back(records: list[tuple[int, int, int, int]]) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.bin"
        write_nmnist(path, np.array(records, EVENT))
        assert by_hand(path.read_bytes()) == records


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ((2**23, 0, 0, 0), "t"),
        ((-1, 0, 0, 0), "t"),
        ((0, 256, 0, 0), "x"),
        ((0, 0, 256, 0), "y"),
        ((0, 0, 0, 2), "p"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(tmp_path: Path, bad: tuple[int, ...], field: str) -> None:
    with pytest.raises(InputError, match=rf"SL0107 .*{field} from 0 to .*{field}=-?\d+ in event 1"):
        write_nmnist(tmp_path / "a.bin", np.array([(0, 0, 0, 0), bad], EVENT))
    assert list(tmp_path.iterdir()) == []


def test_all_fields_that_do_not_fit_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        write_nmnist(tmp_path / "a.bin", np.array([(-1, 300, 300, 7)], EVENT))
    assert len(raised.value.problems) == 4


def test_real_recordings_are_read_and_written_alike(data: Path, tmp_path: Path) -> None:
    files = [data / "events/sample_nmnist.bin", *sorted((data / "nmnist_small/test").glob("*.bs2"))]
    assert len(files) == 61
    for file in files:
        content = file.read_bytes()
        events = np.concatenate([chunk.events for chunk in decode(io.BytesIO(content), 1000)])
        assert events.tolist() == by_hand(content)
        write_nmnist(tmp_path / "copy.bin", events)
        assert (tmp_path / "copy.bin").read_bytes() == content


def test_known_count_of_the_sample_of_tonic(data: Path) -> None:
    with (data / "events/sample_nmnist.bin").open("rb") as file:
        assert sum(len(chunk.events) for chunk in decode(file, 1000)) == 4325  # SOURCES.md
