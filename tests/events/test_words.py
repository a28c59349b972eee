"""Words and lines of single formats, one by one."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from spikeloom.errors import InputError
from spikeloom.runtime.events.formats import open_events
from spikeloom.runtime.events.stream import EVENT, Events, Geometry
from tests.event_files import SENSOR, aedat4, events, evt3, evt21


def read(path: Path, content: bytes, strict: bool = False) -> tuple[list[tuple[int, ...]], dict[str, int]]:
    path.write_bytes(content)
    recording = open_events(path, strict=strict)
    made: Events = np.concatenate([np.zeros(0, EVENT), *recording])
    return made.tolist(), recording.report.counts()


def words(version: str, kind: str, *values: int) -> bytes:
    return f"% evt {version}\n% end\n".encode() + np.array(values, kind).tobytes()


def test_evt3_events_before_time_and_row_are_unplaced(tmp_path: Path) -> None:
    content = words("3.0", "<u2", 0x2005, 0x8001, 0x6002, 0x2006, 0x0003, 0x5003, 0x2007, 0x3014, 0x5081)
    made, report = read(tmp_path / "a.raw", content)
    assert made == [(4098, 7, 3, 0), (4098, 20, 3, 0), (4098, 27, 3, 0)]
    assert report == {"unplaced": 4}
    assert read(tmp_path / "a.raw", content, strict=True) == (made, report)


def test_evt3_vectors_move_their_base(tmp_path: Path) -> None:
    content = words("3.0", "<u2", 0x8001, 0x6000, 0x0001, 0x3800, 0x4801, 0x5080, 0x4001)
    made, _ = read(tmp_path / "a.raw", content)
    assert made == [(4096, x, 1, 1) for x in (0, 11, 19, 20)]


def test_evt3_new_high_bits_forget_the_low_ones(tmp_path: Path) -> None:
    content = words("3.0", "<u2", 0x8001, 0x6FFF, 0x0001, 0x2001, 0x8002, 0x2002, 0x6003, 0x2003)
    assert [event[0] for event in read(tmp_path / "a.raw", content)[0]] == [8191, 8192, 8195]


@pytest.mark.parametrize("kind", [1, 9, 11, 12, 13])
def test_evt3_reserved_words_are_faults(tmp_path: Path, kind: int) -> None:
    content = words("3.0", "<u2", 0x8001, 0x0001, kind << 12, 0x2001, 0xE000, 0xF000, 0x7000, 0xA000)
    assert read(tmp_path / "a.raw", content) == ([(4096, 1, 1, 0)], {"unknown": 1})
    with pytest.raises(InputError, match=r"SL0108 .*1 record of no kind"):
        read(tmp_path / "a.raw", content, strict=True)


@pytest.mark.parametrize("bit", range(20))
def test_a_damaged_time_word_moves_no_time_but_its_own(bit: int) -> None:
    from spikeloom.runtime.events.evt2 import decode

    good = [word for high in range(100, 140) for word in (8 << 28 | high, 1 << 28 | 5 << 11 | 6)]
    damaged = [word ^ (1 << bit if place == 20 else 0) for place, word in enumerate(good)]
    [wanted], [made] = (
        list(decode(io.BytesIO(words("2.0", "<u4", *each)), chunk_events=100)) for each in (good, damaged)
    )
    moved = wanted.events["t"] != made.events["t"]
    assert np.flatnonzero(moved).tolist() == [10]


def test_evt21_of_either_byte_order(tmp_path: Path) -> None:
    made = events(300)
    for legacy in (False, True):
        assert read(tmp_path / "a.raw", evt21(made, legacy), strict=True) == (made.tolist(), {})


@pytest.mark.parametrize("compression", ["", "lz4", "zstd"])
def test_aedat4_in_each_compression(tmp_path: Path, compression: str) -> None:
    made = events(300)
    assert read(tmp_path / "a.aedat4", aedat4(made, compression), strict=True) == (made.tolist(), {})


def test_aedat4_passes_over_a_packet_that_is_damaged(tmp_path: Path) -> None:
    made = events(150)
    content = bytearray(aedat4(made))
    content[-40:-30] = bytes(10)
    kept, report = read(tmp_path / "a.aedat4", bytes(content))
    assert kept == made.tolist()[:100]
    assert list(report) == ["left_over_bytes"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("5,1,2,1\n9,2,3,0\n", [(5, 1, 2, 1), (9, 2, 3, 0)]),
        ("# by hand\n34 34\n0.000005 1 2 1\n0.000009 2 3 0\n", [(5, 1, 2, 1), (9, 2, 3, 0)]),
        ("p;t;y;x\n-1;5;2;1\n\n1;9;3;2", [(5, 1, 2, 0), (9, 2, 3, 1)]),
        ("timestamp\tx\ty\tpolarity\textra\n5\t1\t2\t1\t7\n", [(5, 1, 2, 1)]),
    ],
)
def test_csv(tmp_path: Path, text: str, wanted: list[tuple[int, ...]]) -> None:
    assert read(tmp_path / "a.csv", text.encode(), strict=True) == (wanted, {})


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "x,y,t\n1,2,3\n", "hello\n", "5,1,2\n", "x" * 300])
def test_text_that_is_no_csv_of_events(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="SL0108"):
        read(tmp_path / "a.csv", text.encode())


def test_csv_counts_lines_that_are_no_events(tmp_path: Path) -> None:
    text = "t,x,y,p\n5,1,2,1\nnan,1,2,1\n6.5,1,2,1\n7,1,2\n8,a,2,1\n" + "9" * 300 + "\n9,1,2,1\n"
    made, report = read(tmp_path / "a.csv", text.encode())
    assert [event[0] for event in made] == [5, 9]
    assert report == {"unknown": 5}


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.raw", b"% evt 4.0\n", "does not begin as any format"),
        ("a.raw", b"% evt 2.0\n% geometry 0x480\n", "names no sensor"),
        ("a.dat", b"% Version 3\n\x0c\x08", "the version is not known"),
        ("a.dat", b"% Version 2\n\x0e\x08", "no changes of contrast"),
        ("a.es", b"Event Stream\x01\x00\x00\x01", "the version is not read here"),
        ("a.es", b"Event Stream\x02\x00\x00\x04", "wanted a stream of type dvs, got color"),
        ("a.aedat", b"#!AER-DAT2.0\n# AEChip: ch.Cochlea\n", "not known here"),
        ("a.aedat", b"#!AER-DAT3.1\n#Format: PNG\n#!END-HEADER\n", "compressed"),
        ("a.aedat4", b"#!AER-DAT4.0\r\n\x00\x00\x00\x00", "cut off"),
    ],
)
def test_headers_that_are_refused(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    with pytest.raises(InputError, match=f"SL0108 .*{what}"):
        read(tmp_path / name, content)


def test_memory_does_not_grow_with_a_raw_recording(tmp_path: Path) -> None:
    peaks = []
    for count in (2_000, 200_000):
        path = tmp_path / "a.raw"
        path.write_bytes(evt3(events(count, span_us=150 * count)))
        list(open_events(path, SENSOR, chunk_events=512))  # what compiles is in memory then
        tracemalloc.start()
        assert sum(map(len, open_events(path, SENSOR, chunk_events=512))) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_the_sensor_of_the_recipe_and_of_the_file_both_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(evt3(events(500)))
    recording = open_events(path, Geometry(200, 50), strict=False)
    assert recording.geometry == Geometry(128, 50)
