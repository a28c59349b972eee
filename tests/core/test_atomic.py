"""Writing: the whole file or nothing, and never somebody else's folder."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spikeloom.atomic import replacing, require_writable, write_bytes, write_text
from spikeloom.errors import InputError


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "eins ü")
    assert path.read_bytes() == "eins ü".encode()
    write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert _names(tmp_path) == ["a.txt"]


def test_a_folder_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    for content in ("old", "new"):
        with replacing(path) as draft:
            (draft / "inside").mkdir(parents=True)
            (draft / "inside" / f"{content}.txt").write_text(content)
    assert _names(path / "inside") == ["new.txt"]
    assert _names(tmp_path) == ["folder"]


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt, InputError])
def test_an_exception_leaves_the_old_file_and_nothing_else(
    exception: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    raised = InputError.of("SL0901", "x", "y") if exception is InputError else exception("stop")
    with pytest.raises(exception):
        _write_half(path, raised)
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["a.txt"]


def _write_half(path: Path, raised: BaseException) -> None:
    with replacing(path) as draft:
        draft.write_text("half")
        raise raised


def test_an_exception_leaves_the_old_folder_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with pytest.raises(ValueError, match="stop"):
        _write_half(path, ValueError("stop"))
    assert _names(path) == ["old.txt"]
    assert _names(tmp_path) == ["folder"]


def _refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        write_text(path, "text")
    assert caught.value.exit_status == 4
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("SL0902", str(path))
    return problem.what


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert "No such file or directory" in _refused(tmp_path / "no" / "a.txt")
    assert _names(tmp_path) == []


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "Not a directory" in _refused(tmp_path / "file" / "a.txt")


def test_a_folder_without_permission(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere")
    assert "Permission denied" in _refused(folder / "a.txt")


def test_a_file_does_not_take_the_place_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "precious.txt").write_text("years of it")
    assert "is a folder" in _refused(folder)
    with pytest.raises(InputError, match=r"SL0902 .*is a folder"):
        require_writable(folder)
    assert _names(folder) == ["precious.txt"]
    assert _names(tmp_path) == ["work"]


@contextmanager
def _files_up_to(size: int) -> Iterator[None]:
    """As on a disk with that much room: writing more fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with _files_up_to(1 << 20), pytest.raises(InputError, match=r"SL0902 .*written: File too large"):
        write_bytes(path, bytes(1 << 21))
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == ["a.bin"]


def test_a_draft_that_is_never_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SL0902"), replacing(tmp_path / "a.txt"):
        pass
    assert _names(tmp_path) == []


def test_a_link_is_replaced_and_what_it_points_to_is_left(tmp_path: Path) -> None:
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert (target.read_text(), link.read_text()) == ("old", "new")
    assert not link.is_symlink()


def test_writing_is_tried_before_the_work(tmp_path: Path) -> None:
    require_writable(tmp_path / "a.txt")
    assert _names(tmp_path) == []
    with pytest.raises(InputError, match="SL0902"):
        require_writable(tmp_path / "no" / "a.txt")
