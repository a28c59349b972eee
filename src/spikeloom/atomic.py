"""Files that are either complete or absent, whatever happens while they are written.

The only way by which Spikeloom writes an artifact: to a temporary name beside the target, flushed
to the disk, then renamed. A reader never sees half a file and a failure leaves nothing behind.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spikeloom.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success it becomes ``path``, on an error it is removed.

    The temporary path may be written as a file or made a directory.

    Raises:
        InputError: SL0902, the folder does not exist or cannot be written, the disk is full, or a file
            would take the place of a folder.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "a.txt") as draft:
    ...         _ = draft.write_text("whole")
    ...     (Path(folder) / "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    workplace = _workplace(path)
    try:
        draft = workplace / path.name
        yield draft
        _install(draft, path, workplace / f"{path.name}.old")
    except OSError as error:
        raise InputError.of("SL0902", path, f"cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def require_writable(path: Path) -> None:
    """Refuse a file that could not be written, before the work is done that it is to hold.

    Raises:
        InputError: SL0902, the folder does not exist or cannot be written, or the path is a folder.

    >>> require_writable(Path("no/such/folder/a.txt"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    spikeloom.errors.InputError: SL0902 no/such/folder/a.txt: cannot write here: No such file or directory...
    """
    if path.is_dir():
        raise _is_a_folder(path)
    _workplace(path).rmdir()


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all."""
    with replacing(path) as draft:
        draft.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write ``content`` to ``path`` as UTF-8, whole or not at all."""
    write_bytes(path, content.encode())


def _workplace(path: Path) -> Path:
    """A new folder beside ``path``, to write it in."""
    try:
        return Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise InputError.of(
            "SL0902",
            path,
            f"cannot write here: {error.strerror}",
            remedy="name a folder that exists and is yours",
        ) from error


def _is_a_folder(path: Path) -> InputError:
    return InputError.of("SL0902", path, "is a folder, and a file is to be written", remedy="name a file")


def _install(draft: Path, path: Path, old: Path) -> None:
    if draft.is_file() and path.is_dir():
        raise _is_a_folder(path)
    _flush(draft)
    if path.is_dir() and not path.is_symlink():
        path.rename(old)  # a directory cannot be replaced in one step
    try:
        draft.replace(path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise
    _flush_one(path.parent)


def _flush(path: Path) -> None:
    for child in path.rglob("*") if path.is_dir() else ():
        if child.is_file():
            _flush_one(child)
    _flush_one(path)


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
