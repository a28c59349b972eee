"""The bytes of a recording: plain or compressed, read once from front to back."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

COMPRESSIONS = (".gz", ".zst")
_BLOCK = 1 << 16
_LITTLE = 1 << 10


class ByteStream:
    """Reads exactly as many bytes as are asked for, and takes bytes back that were read too far.

    Attributes:
        position: how many bytes were read and not given back.
        file: what the bytes come from; formats that must search in their file use it.

    >>> stream = ByteStream(io.BytesIO(b"abcdef"))
    >>> stream.read(3), stream.peek(2), stream.position, stream.drain()
    (b'abc', b'de', 3, 3)
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.position = 0
        self._ahead = b""

    def read(self, size: int, /) -> bytes:
        """The next ``size`` bytes; fewer only at the end."""
        parts = [self._ahead[:size]]
        self._ahead = self._ahead[size:]
        missing = size - len(parts[0])
        while missing and (part := self.file.read(missing)):
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts) if len(parts) > 1 else parts[0]
        self.position += len(data)
        return data

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes, which are read again; fewer only at the end."""
        data = self.read(size)
        self.push_back(data)
        return data

    def push_back(self, data: bytes) -> None:
        """Give bytes back, to be read next."""
        self._ahead = data + self._ahead
        self.position -= len(data)

    def drain(self) -> int:
        """Read to the end and say how many bytes that were."""
        count = 0
        while data := self.read(_BLOCK):
            count += len(data)
        return count


def stream_of(source: object) -> ByteStream:
    """The source as one that can look ahead."""
    if isinstance(source, ByteStream):
        return source
    return ByteStream(source)  # type: ignore[arg-type]  # whatever has a method read


class Decompressed(io.RawIOBase):
    """The content of a compressed file; where that is damaged it ends, and ``lost_bytes`` says so.

    Attributes:
        lost_bytes: bytes of the compressed file that could not be decompressed, at least 1 if any.
    """

    def __init__(self, file: BinaryIO, inflate: Callable[[BinaryIO], Callable[[int], bytes]]) -> None:
        self.lost_bytes = 0
        self._file = file
        self._next = inflate(file)

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill the buffer from the content; 0 at its end or where it is damaged."""
        view = memoryview(buffer)  # type: ignore[arg-type]
        if self.lost_bytes:
            return 0
        try:
            data = self._next(len(view))
        except (OSError, EOFError, ValueError, zlib.error):  # what gzip and pyarrow raise on damage
            self.lost_bytes = max(1, self._unread())
            return 0
        view[: len(data)] = data
        return len(data)

    def _unread(self) -> int:
        here = self._file.tell()
        end = self._file.seek(0, io.SEEK_END)
        return end - here


def _gzip(file: BinaryIO) -> Callable[[int], bytes]:
    return gzip.GzipFile(fileobj=file).read1


def _zstd(file: BinaryIO) -> Callable[[int], bytes]:
    import pyarrow

    content = pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), "zstd")
    # pyarrow gives nothing of a read that meets damage, so it is asked for little at a time; its method read
    # never gives the memory back that it made ready for such a read
    return lambda size: bytes(content.read_buffer(min(size, _LITTLE)))


def compression_of(path: Path) -> str:
    """The suffix of the compression of a file, or nothing.

    >>> compression_of(Path("a.raw.GZ")), compression_of(Path("a.raw"))
    ('.gz', '')
    """
    suffix = path.suffix.lower()
    return suffix if suffix in COMPRESSIONS else ""


def decompressed(file: BinaryIO, compression: str) -> BinaryIO:
    """The content of a file: the file itself, or what it decompresses to."""
    if not compression:
        return file
    raw = Decompressed(file, _gzip if compression == ".gz" else _zstd)
    return io.BufferedReader(raw, _BLOCK)


def lost_bytes(content: BinaryIO) -> int:
    """Bytes of a compressed file that could not be decompressed."""
    raw = getattr(content, "raw", None)
    return raw.lost_bytes if isinstance(raw, Decompressed) else 0
