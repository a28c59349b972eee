"""``spikeloom stream``: windows of files and live sources, stopped and gone on with."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeloom.compiler.bundle import read_bundle
from spikeloom.runtime.events.live.layouts import encode
from spikeloom.runtime.events.nmnist import write_nmnist
from spikeloom.runtime.events.stream import EVENT, Events
from spikeloom.runtime.session import Session
from spikeloom.runtime.windows import Windows
from tests.cli.terminal import program, refused, spikeloom


def long_recording(count: int = 4000, span_us: int = 40_000) -> Events:
    rng = np.random.default_rng(5)
    made = np.empty(count, EVENT)
    made["t"] = np.sort(rng.integers(0, span_us, count))
    made["x"], made["y"] = rng.integers(0, 8, (2, count))
    made["p"] = rng.integers(0, 2, count)
    return made


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stream") / "long.bs2"
    write_nmnist(path, long_recording())
    return path


def lines(text: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    *windows, last = [json.loads(line) for line in text.splitlines()]
    return windows, last["summary"]


@pytest.mark.parametrize("options", [(), ("--stride", "1"), ("--stride", "2", "--reset", "never")])
def test_windows_of_a_file(bundle: Path, recording: Path, options: tuple[str, ...]) -> None:
    found, summary = lines(spikeloom("stream", bundle, recording, *options, "--json").out)
    stride = int(options[1]) if options else None
    windows = Windows(stride, "never" if "never" in options else "window")
    wanted = list(Session(read_bundle(bundle)).windows([long_recording()], windows))
    assert summary["windows"] == len(found) == len(wanted) >= 9
    for line, window in zip(found, wanted, strict=True):
        assert line["prediction"] == window.prediction
        assert line["evidence"] == window.evidence.tolist()
        assert (line["start_us"], line["end_us"]) == (window.start_us, window.end_us)
    assert f"{len(wanted)} windows" in spikeloom("stream", bundle, recording, *options).out


def test_a_stream_goes_on_from_its_state(bundle: Path, recording: Path, tmp_path: Path) -> None:
    whole, _ = lines(spikeloom("stream", bundle, recording, "--stride", 1, "--json").out)
    half = tmp_path / "half.bs2"
    half.write_bytes(recording.read_bytes()[: 5 * 2000])
    state = tmp_path / "state"
    first, _ = lines(spikeloom("stream", bundle, half, "--stride", 1, "--state", state, "--json").out)
    rest, _ = lines(spikeloom("stream", bundle, recording, "--stride", 1, "--state", state, "--json").out)
    assert len(rest) < len(whole)
    assert [line["first_frame"] for line in first + rest][: len(first)] == list(range(len(first)))
    assert rest[-1] == whole[-1]


def test_a_pipe(bundle: Path, recording: Path) -> None:
    wanted, _ = lines(spikeloom("stream", bundle, recording, "--json").out)
    with recording.open("rb") as file:
        done = subprocess.run(
            program("stream", bundle, "stdin:nmnist", "--json"),
            stdin=file, capture_output=True, text=True, check=True,
        )  # fmt: skip
    found, summary = lines(done.stdout)
    assert found == wanted
    assert summary["account"]["received"] == summary["account"]["given"] == 4000


def test_what_is_told_of_a_pipe(bundle: Path, recording: Path) -> None:
    with recording.open("rb") as file:
        done = subprocess.run(
            program("stream", bundle, "stdin:nmnist"), stdin=file, capture_output=True, text=True, check=True
        )
    told = done.stdout.splitlines()[-1]
    assert told == "live: 4,000 events received, 4,000 events given to the network, 1 connection made"


def test_datagrams(bundle: Path, recording: Path) -> None:
    """The port is opened by the command; what is sent to it comes out as windows."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = f"udp://127.0.0.1:{port}?layout=numbered"
    process = subprocess.Popen(
        program("stream", bundle, source, "--seconds", 6, "--json"), stdout=subprocess.PIPE, text=True
    )
    made, sent = long_recording(), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            piece = made[sent : sent + 50]
            if len(piece):
                sender.sendto(encode(piece, "numbered", sent), ("127.0.0.1", port))
                sent += len(piece)
            time.sleep(0.05 if sent < 100 else 0.002)
    out, _ = process.communicate(timeout=60)
    _, summary = lines(out)
    account = summary["account"]
    assert account["received"] + account["lost"] <= 4000
    assert account["received"] == account["given"] + account["queue_dropped"]


def test_what_is_refused(bundle: Path, recording: Path, tmp_path: Path) -> None:
    for options in (["--stride", "0"], ["--stride", "5"], ["--reset", "now"], ["--when-full", "panic"]):
        problems = refused("stream", bundle, recording, *options, within=tmp_path)
        assert problems[0].code == "SL0901"
    [problem] = refused("stream", bundle, "udp://127.0.0.1", within=tmp_path)
    assert problem.code == "SL0901"
    [problem] = refused("stream", bundle, tmp_path / "none.bs2", within=tmp_path)
    assert problem.code == "SL0101"
