"""Event files of every format, written for tests from the formats' descriptions, not with our readers."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pyarrow

from spikeloom.runtime.events.stream import EVENT, Events, Geometry

SENSOR = Geometry(128, 128)


def events(count: int, seed: int = 0, sensor: Geometry = SENSOR, span_us: int = 300_000) -> Events:
    """A recording of random events in order of time; rows of neighbours among them."""
    rng = np.random.default_rng(seed)
    made = np.zeros(count, EVENT)
    made["t"] = np.sort(rng.integers(0, span_us, count))
    made["x"] = rng.integers(0, sensor.width, count)
    made["y"] = rng.integers(0, sensor.height, count)
    made["p"] = rng.integers(0, 2, count)
    return made


def evt2(made: Events) -> bytes:
    words, high = [], -1
    for t, x, y, p in made.tolist():
        if t >> 6 != high:
            high = t >> 6
            words.append(8 << 28 | high & 0xFFFFFFF)
        words.append(p << 28 | (t & 63) << 22 | x << 11 | y)
    return b"% evt 2.0\n% geometry 128x128\n% end\n" + np.array(words, "<u4").tobytes()


def evt21(made: Events, legacy: bool = False) -> bytes:
    words, high = [], -1
    for t, x, y, p in made.tolist():
        if t >> 6 != high:
            high = t >> 6
            words.append(8 << 60 | (high & 0xFFFFFFF) << 32)
        words.append(p << 60 | (t & 63) << 54 | (x & ~31) << 43 | y << 32 | 1 << (x & 31))
    data = np.array(words, "<u8")
    option = ";endianness=legacy" if legacy else ""
    head = f"% evt 2.1\n% format EVT21{option};height=128;width=128\n% end\n".encode()
    return head + (data.view("<u4").reshape(-1, 2)[:, ::-1].tobytes() if legacy else data.tobytes())


def evt3(made: Events) -> bytes:
    """Every third event as a vector of one pixel, of 12 or of 8."""
    words, high, low = [], -1, -1
    for index, (t, x, y, p) in enumerate(made.tolist()):
        if t >> 12 != high:
            high, low = t >> 12, -1
            words.append(8 << 12 | high & 0xFFF)
        if t & 0xFFF != low:
            low = t & 0xFFF
            words.append(6 << 12 | low)
        words.append(y)
        if index % 3:
            words.append(2 << 12 | p << 11 | x)
            continue
        back = min(x, index % 8)
        kind = 4 if index % 2 else 5
        words += [3 << 12 | p << 11 | (x - back), kind << 12 | 1 << back]
    return b"% evt 3.0\n% geometry 128x128\n% end\n" + np.array(words, "<u2").tobytes()


def dat(made: Events) -> bytes:
    head = b"% Data file containing Event2D events.\n% Version 2\n% Width 128\n% Height 128\n" + bytes(
        [12, 8]
    )
    return head + b"".join(
        struct.pack("<II", t % 2**32, p << 28 | y << 14 | x) for t, x, y, p in made.tolist()
    )


def es(made: Events) -> bytes:
    data, before = bytearray(b"Event Stream" + struct.pack("<4B2H", 2, 0, 0, 1, 128, 128)), 0
    for t, x, y, p in made.tolist():
        wait = t - before
        data += b"\xff" * (wait // 127) + struct.pack("<BHH", (wait % 127) << 1 | p, x, y)
        before = t
    return bytes(data)


def aedat2(made: Events) -> bytes:
    head = b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n"
    records = (
        struct.pack(">II", y << 8 | (127 - x) << 1 | (1 - p), t % 2**32) for t, x, y, p in made.tolist()
    )
    return head + b"".join(records)


def aedat2_davis(made: Events) -> bytes:
    head = b"#!AER-DAT2.0\r\n# AEChip: eu.seebetter.ini.chips.davis.Davis346blue\r\n"
    picture = struct.pack(">II", 0x8000_0000, 0)  # a sample of a picture between the events
    records = (
        struct.pack(">II", y << 22 | x << 12 | p << 11, t % 2**32) + picture for t, x, y, p in made.tolist()
    )
    return head + b"".join(records)


def aedat3(made: Events) -> bytes:
    data = bytearray(b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n")
    data += struct.pack("<hhiiiiii", 0, 1, 8, 4, 0, 1, 1, 1) + bytes(8)  # a packet of another kind
    for over in sorted({t >> 31 for t in made["t"].tolist()}):
        packet = made[made["t"] >> 31 == over]
        for start in range(0, len(packet), 40):
            part = packet[start : start + 40].tolist()
            data += struct.pack("<hhiiiiii", 1, 1, 8, 4, over, len(part), len(part), len(part))
            data += b"".join(
                struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t % 2**31) for t, x, y, p in part
            )
    return bytes(data)


def aedat4(made: Events, compression: str = "lz4") -> bytes:
    import pyarrow

    def compressed(content: bytes) -> bytes:
        if not compression:
            return content
        sink = pyarrow.BufferOutputStream()
        with pyarrow.CompressedOutputStream(sink, compression) as stream:
            stream.write(content)
        packed: bytes = sink.getvalue().to_pybytes()
        return packed

    attributes = '<attr key="typeIdentifier" type="string">EVTS</attr>'
    sides = '<attr key="sizeX" type="int">128</attr><attr key="sizeY" type="int">128</attr>'
    xml = f'<dv version="2.0"><node name="outInfo" path="/"><node name="0" path="/0/">{attributes}'
    xml += f'<node name="info" path="/0/info/">{sides}</node></node></node></dv>'
    text = xml.encode()
    kind = {"": 0, "lz4": 1, "zstd": 3}[compression]
    table = struct.pack("<I4s6x5H", 24, b"IOHE", 10, 20, 4, 12, 8) + struct.pack("<iiIq", 10, kind, 12, -1)
    table += struct.pack("<I", len(text)) + text
    data = bytearray(b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(table)) + table)
    for start in range(0, len(made), 50):
        part = made[start : start + 50]
        vector = b"".join(struct.pack("<qhhB3x", t, x, y, p) for t, x, y, p in part.tolist())
        packet = struct.pack("<I4s2x3HiI", 16, b"EVTS", 6, 8, 4, 6, 4)
        packet += struct.pack("<I", len(part)) + vector
        content = compressed(struct.pack("<I", len(packet)) + packet)
        data += struct.pack("<ii", 0, len(content)) + content
    return bytes(data)


def csv(made: Events) -> bytes:
    lines = [f"{x},{y},{p},{t}" for t, x, y, p in made.tolist()]
    return "\n".join(["x,y,polarity,timestamp", *lines, ""]).encode()


def nmnist(made: Events) -> bytes:
    return b"".join(bytes([x, y]) + (t % 2**23 | p << 23).to_bytes(3, "big") for t, x, y, p in made.tolist())


def npz(made: Events) -> bytes:
    return _written(made, "npz")


def hdf5(made: Events) -> bytes:
    return _written(made, "hdf5")


def _written(made: Events, kind: str) -> bytes:
    """A file of our own writers, whose content other libraries were seen to read."""
    from tempfile import TemporaryDirectory

    from spikeloom.runtime.events.hdf5_dsec import write_hdf5
    from spikeloom.runtime.events.npz import write_npz

    with TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        (write_npz if kind == "npz" else write_hdf5)(path, made, SENSOR)
        return path.read_bytes()


FILES: dict[str, tuple[str, Callable[[Events], bytes]]] = {
    "aedat2": (".aedat", aedat2),
    "aedat2_davis": (".aedat", aedat2_davis),
    "aedat3": (".aedat", aedat3),
    "aedat4": (".aedat4", aedat4),
    "csv": (".csv", csv),
    "dat": (".dat", dat),
    "es": (".es", es),
    "evt2": (".raw", evt2),
    "evt21": (".raw", evt21),
    "evt3": (".raw", evt3),
    "hdf5": (".h5", hdf5),
    "nmnist": (".bs2", nmnist),
    "npz": (".npz", npz),
    "raw_gz": (".raw.gz", lambda made: gzip.compress(evt3(made), mtime=0)),
    "raw_zst": (".raw.zst", lambda made: pyarrow.compress(evt3(made), "zstd", asbytes=True)),
}
"""By name: the suffix, and what makes the content."""


def flip_bits(rng: Random, content: bytearray) -> None:
    for _ in range(rng.randint(1, 20)):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def truncate(rng: Random, content: bytearray) -> None:
    del content[rng.randrange(len(content)) :]


def delete(rng: Random, content: bytearray) -> None:
    start = rng.randrange(len(content))
    del content[start : start + rng.randint(1, 12)]


def insert(rng: Random, content: bytearray) -> None:
    start = rng.randrange(len(content))
    content[start:start] = rng.randbytes(rng.randint(1, 12))


def shuffle_blocks(rng: Random, content: bytearray) -> None:
    a, b = rng.randrange(len(content)), rng.randrange(len(content))
    content[:] = content[a:] + content[:b]


def overwrite(rng: Random, content: bytearray) -> None:
    start = rng.randrange(len(content))
    length = min(rng.randint(1, 100), len(content) - start)
    content[start : start + length] = rng.choice([bytes(length), b"\xff" * length, rng.randbytes(length)])


MUTATIONS: list[Callable[[Random, bytearray], None]] = [
    flip_bits,
    truncate,
    delete,
    insert,
    shuffle_blocks,
    overwrite,
]


def mutated(content: bytes, seed: int) -> bytes:
    """The content with one to three damages."""
    rng = Random(seed)
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        if damaged:
            rng.choice(MUTATIONS)(rng, damaged)
    return bytes(damaged)
