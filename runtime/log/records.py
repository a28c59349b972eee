"""Records in a file that only grows: a process may be killed at any byte, and all before it stays.

The file is a line that names it, then records: length and CRC-32 (32 bits each, low byte first), and so
many bytes. A record counts when it is whole. Opening for appending cuts off what a killed run left
unfinished; reading passes over it.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from io import BufferedRandom
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from spikeloom.errors import InputError

MAGIC = b"spikeloom log 1\n"
LONGEST = 1 << 30
_HEAD = struct.Struct("<II")


class RecordFile:
    """A file of records that is being written, by one process at a time.

    Attributes:
        path: the file.
        cut_off: bytes of an unfinished record that were found at its end, and are gone.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.spikelog"
    ...     for word in (b"one", b"two"):
    ...         with RecordFile(path) as file:
    ...             file.append(word)
    ...             file.flush()
    ...     _ = path.write_bytes(path.read_bytes()[:-1])  # killed within the second record
    ...     list(read_records(path))
    [b'one']
    """

    def __init__(self, path: Path | str) -> None:
        """Open the file, or begin it.

        Raises:
            InputError: SL0902, it cannot be written, or another process writes it; SL0811, it is no log.
        """
        self.path = Path(path)
        self.cut_off = 0
        try:
            self._file = _opened(self.path)
        except OSError as error:
            raise InputError.of("SL0902", path, f"cannot be written: {error.strerror or error}") from error
        try:
            self._prepare()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self.close()

    def append(self, record: bytes) -> None:
        """Add a record; it is the operating system's when this returns, and outlives this process.

        Raises:
            InputError: SL0902, the disk is full, say. The records before this one stay; the file is closed.
        """
        if len(record) > LONGEST:
            raise ValueError(f"a record of {len(record):,} bytes")
        try:
            self._file.write(_HEAD.pack(len(record), zlib.crc32(record)) + record)
            self._file.flush()
        except OSError as error:
            self._file.raw.close()  # what is buffered would be tried again, and fail again
            what = f"cannot be written: {error.strerror or error}"
            remedy = "make room; what was logged stays, and the same command goes on after it"
            raise InputError.of("SL0902", self.path, what, remedy=remedy) from error

    def flush(self) -> None:
        """Wait until all records are on the disk: they outlive the machine's power."""
        if not self._file.closed:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _prepare(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError.of("SL0902", self.path, "another process writes this log") from error
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(0)
        if size < len(MAGIC) and MAGIC.startswith(self._file.read(size)):
            self.cut_off = size
            self._file.seek(0)
            self._file.truncate()
            self._file.write(MAGIC)
            self._file.flush()
            return
        self._file.seek(0)
        end = _require_magic(self._file, self.path)
        for record in _records(self._file):
            end += _HEAD.size + len(record)
        self.cut_off = size - end
        self._file.truncate(end)
        self._file.seek(end)


def read_records(path: Path | str) -> Iterator[bytes]:
    """The whole records of a file, in the order in which they were added; what is unfinished is left out.

    Raises:
        InputError: SL0811, the file cannot be read or is no log.
    """
    try:
        with Path(path).open("rb") as file:
            _require_magic(file, path)
            yield from _records(file)
    except OSError as error:
        raise InputError.of("SL0811", path, f"cannot be read: {error.strerror or error}") from error


def _opened(path: Path) -> BufferedRandom:
    try:
        return path.open("r+b")
    except FileNotFoundError:
        return path.open("x+b")


def _require_magic(file: BinaryIO, path: Path | str) -> int:
    if file.read(len(MAGIC)) != MAGIC:
        raise InputError.of(
            "SL0811", path, "is no log", wanted=repr(MAGIC.decode().strip()), remedy="name another file"
        )
    return len(MAGIC)


def _records(file: BinaryIO) -> Iterator[bytes]:
    """Whole records up to the first that is not."""
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        length, checksum = _HEAD.unpack(head)
        record = file.read(length) if length <= LONGEST else b""
        if len(record) < length or zlib.crc32(record) != checksum or length > LONGEST:
            return
        yield record
