"""The text at the head of Prophesee's files (lines «% key value») and of AEDAT files (lines «#...»)."""

from __future__ import annotations

from spikeloom.runtime.events.source import ByteStream
from spikeloom.runtime.events.stream import MAX_SIDE, Geometry, Malformed

LONGEST = 1 << 16
_LONGEST_LINE = 4096


def read_lines(stream: ByteStream, mark: bytes, last: tuple[str, ...] = ()) -> list[str]:
    r"""The leading lines that begin with ``mark``, without it; the stream stays at the byte after them.

    A line ends the header if it is one of ``last``. Bytes that begin with the mark but are no line of
    printable characters are data already.

    Raises:
        Malformed: the file ends inside a line, or the header is longer than 64 KiB.

    >>> import io
    >>> read_lines(ByteStream(io.BytesIO(b"% evt 3.0\n% end\n% data")), b"% ", ("end",))
    ['evt 3.0', 'end']
    """
    lines: list[str] = []
    start = stream.position
    while stream.peek(len(mark)) == mark and not (lines and lines[-1] in last):
        head = stream.peek(_LONGEST_LINE)
        line, newline, _ = head.partition(b"\n")
        if not _printable(line):
            break
        if not newline and len(head) < _LONGEST_LINE:
            raise Malformed("the header is cut off", "a whole line", repr(line[:40]))
        if not newline or stream.position - start > LONGEST:
            raise Malformed("the header does not end", f"at most {LONGEST:,} bytes")
        stream.read(len(line) + 1)
        lines.append(line[len(mark) :].decode("latin-1").strip())
    return lines


def key_values(lines: list[str]) -> dict[str, str]:
    """The lines as keys in lower case and values; of a key that comes twice the last counts.

    >>> key_values(["evt 3.0", "geometry 640x480"])
    {'evt': '3.0', 'geometry': '640x480'}
    """
    pairs = (line.partition(" ") for line in lines)
    return {key.lower(): value.strip() for key, _, value in pairs}


def geometry_of(values: dict[str, str]) -> Geometry | None:
    """The sensor that a Prophesee header names: «geometry», «format ...;width=;height=», or two lines.

    Raises:
        Malformed: it names one that no sensor has.

    >>> geometry_of({"geometry": "640x480"})
    Geometry(width=640, height=480, polarities=2)
    """
    options = format_options(values)
    width, _, height = values.get("geometry", "").partition("x")
    width = width or options.get("width", "") or values.get("width", "")
    height = height or options.get("height", "") or values.get("height", "")
    if not width and not height:
        return None
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise Malformed("the header names no sensor", "width and height in pixels", f"{width} x {height}")
    if not (0 < int(width[:9]) <= MAX_SIDE and 0 < int(height[:9]) <= MAX_SIDE):
        raise Malformed("the header names no sensor", f"1 to {MAX_SIDE} pixels a side", f"{width} x {height}")
    return Geometry(int(width), int(height))


def format_options(values: dict[str, str]) -> dict[str, str]:
    """The options of a line «format EVT21;endianness=legacy;height=720;width=1280», and its name.

    >>> format_options({"format": "EVT3;height=720;width=1280"})["name"]
    'EVT3'
    """
    name, *options = values.get("format", "").split(";")
    pairs = (option.partition("=") for option in options)
    return {key.strip().lower(): value.strip() for key, _, value in pairs} | {"name": name.strip()}


def evt_version(head: bytes) -> str:
    r"""The version of Prophesee's encoding that the first bytes of a file name: «2.0», «2.1», «3.0», or «».

    >>> evt_version(b"% evt 3.0\n"), evt_version(b"% format EVT21;height=720\n"), evt_version(b"GIF")
    ('3.0', '2.1', '')
    """
    for line in head.split(b"\n"):
        if not line.startswith(b"% "):
            break
        key, _, value = line[2:].decode("latin-1").strip().partition(" ")
        if key.lower() == "evt":
            return value.strip()
        if key.lower() == "format":
            digits = value.strip().partition(";")[0].upper().removeprefix("EVT")
            return {"2": "2.0", "21": "2.1", "3": "3.0"}.get(digits, digits)
    return ""


def _printable(line: bytes) -> bool:
    text = line.rstrip(b"\r")
    return all(byte >= 32 or byte == 9 for byte in text)
