from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spikeloom.errors import InputError
from spikeloom.runtime.events.labels import labels_of, read_labels
from spikeloom.runtime.events.nmnist import write_nmnist
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples.recordings import recordings
from spikeloom.runtime.events.stream import EVENT


def table(folder: Path, content: str | bytes) -> Path:
    path = folder / "labels.tsv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def messages(error: InputError) -> list[str]:
    assert {problem.code for problem in error.problems} == {"SL0120"}
    return [f"{problem.what}: {problem.got}" for problem in error.problems]


def test_files_are_relative_to_the_folder_of_the_table(tmp_path: Path) -> None:
    path = table(tmp_path, "file\tlabel\na/1.bin\t3\n\n../2.bin\t0\n")
    assert read_labels(path) == {
        (tmp_path / "a/1.bin").resolve(): 3,
        (tmp_path.parent / "2.bin").resolve(): 0,
    }


def test_byte_order_mark_and_line_ends_of_other_systems(tmp_path: Path) -> None:
    path = table(tmp_path, b"\xef\xbb\xbffile\tlabel\r\n1.bin\t3\r\n")
    assert list(read_labels(path).values()) == [3]


@pytest.mark.parametrize("content", ["", "\n\n", "1.bin\t3\n", "file,label\n1.bin,3\n", "label\tfile\n"])
def test_a_table_without_its_header(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match=r"SL0120 .*has no header \(wanted 'file\\tlabel'"):
        read_labels(table(tmp_path, content))


def test_a_table_that_is_missing_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"SL0120 .*cannot be read"):
        read_labels(tmp_path / "none.tsv")
    with pytest.raises(InputError, match=r"SL0120 .*not UTF-8"):
        read_labels(table(tmp_path, b"file\tlabel\n\xff\xff\t1\n"))


def test_all_malformed_and_repeated_lines_are_counted_at_once(tmp_path: Path) -> None:
    rows = ["1.bin\tx", "2.bin\t-1", "3.bin", "4.bin\t1\t2", "\t1", "5.bin\t²", "6.bin\t1", "./6.bin\t2"]
    with pytest.raises(InputError) as raised:
        read_labels(table(tmp_path, "file\tlabel\n" + "\n".join(rows)))
    assert messages(raised.value) == [
        "6 lines are malformed: line 2, line 3, line 4, ...",
        "1 recording is named twice: ./6.bin in line 9",
    ]


def test_recordings_and_labels_must_match(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = table(tmp_path, "file\tlabel\nin/1.bin\t5\nin/gone.bin\t6\nelsewhere/3.bin\t7\n")
    files = [tmp_path / "in/1.bin", tmp_path / "in/2.bin"]
    with pytest.raises(InputError) as raised:
        labels_of(files, path, tmp_path / "in")
    assert messages(raised.value) == [
        "1 recording is without a label: 2.bin",
        "1 recording is labelled but not there: gone.bin",
    ]
    assert labels_of(files[:1], path, None) == [5]


def test_a_recording_is_matched_whatever_way_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    path = table(tmp_path, "file\tlabel\nin/1.bin\t5\n")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    monkeypatch.chdir(tmp_path / "in")
    for file in (Path("1.bin"), Path("../in/./1.bin"), tmp_path / "link/1.bin"):
        assert labels_of([file], path, file.parent) == [5]


def test_real_tables(data: Path) -> None:
    labels = list(read_labels(data / "nmnist_small/train.tsv").values())
    counts = [labels.count(digit) for digit in range(10)]
    assert counts == [97, 116, 99, 93, 105, 92, 94, 117, 87, 100]  # the data set's own list, class by class
    assert 8 not in read_labels(data / "nmnist_small/test.tsv").values()


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    files: list[Path] = []
    for name in ("right", "left", "right"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        files.append(folder / f"{len(files)}.bs2")
        write_nmnist(files[-1], np.array([(5, 1, 1, 1)], EVENT))
    recipe = FrameRecipe(width=34, height=34, steps=1, duration_us=1000)
    samples = recordings(tmp_path, recipe, "folders")
    assert {sample.name: sample.label for sample in samples} == {
        "left/1.bs2": 0, "right/0.bs2": 1, "right/2.bs2": 1,
    }  # fmt: skip
    with pytest.raises(InputError, match=r"SL0120 .*right: is the only folder"):
        recordings(tmp_path / "right", recipe, "folders")
