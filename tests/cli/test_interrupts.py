"""Ctrl-C and SIGTERM, sent to real processes: what was done is kept, and the same command goes on exactly."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeloom.runtime.events.live.layouts import encode
from spikeloom.runtime.events.nmnist import write_nmnist
from spikeloom.runtime.events.stream import EVENT, Events
from spikeloom.runtime.log.journal import read_log
from spikeloom.runtime.session_state import load_state
from tests.cli.conftest import Workshop
from tests.cli.terminal import program, spikeloom

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
SLOW = """
import os
import time

import numpy as np

CONTENT = np.load({frames!r})


class Slow(list):
    def __getitem__(self, index):
        time.sleep(float(os.environ.get("SLOWLY", 0)))
        return super().__getitem__(index)


def samples():
    return Slow(zip(CONTENT["x"], CONTENT["y"]))
"""


@contextmanager
def started(*arguments: object, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that hears Ctrl-C, though a background job of a shell may have been told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    pipe = subprocess.PIPE
    process = subprocess.Popen(program(*arguments), stdout=pipe, stderr=pipe, **options)
    signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(what: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def rest_of(process: subprocess.Popen[bytes]) -> tuple[bytes, str]:
    """What it still prints, both ways, until it ends."""
    assert process.stdout
    assert process.stderr
    out, err = process.stdout.read(), process.stderr.read()
    process.wait(60)
    return out, err.decode()


def long_recording(count: int) -> Events:
    rng = np.random.default_rng(5)
    made = np.empty(count, EVENT)
    made["t"] = np.arange(count) * 40
    made["x"], made["y"] = rng.integers(0, 8, (2, count))
    made["p"] = rng.integers(0, 2, count)
    return made


def windows_of(output: bytes) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    *windows, last = [json.loads(line) for line in output.splitlines()]
    return windows, last["summary"]


@pytest.mark.parametrize(("number", "status", "workers"), [(signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 2)])
def test_a_run_keeps_its_log_and_goes_on(
    workshop: Workshop, bundle: Path, tmp_path: Path, number: signal.Signals, status: int, workers: int
) -> None:
    rng = np.random.default_rng(2)
    np.savez(tmp_path / "x.npz", x=rng.random((40, 4, 2, 8, 8)) < 0.3, y=np.arange(40) % 3)
    (tmp_path / "slow.py").write_text(SLOW.format(frames=str(tmp_path / "x.npz")))
    command = ["run", bundle, "--data", f"{tmp_path}/slow.py:samples", "--batch", 1, "--workers", workers]
    command += ["--json", "--detail", "neuron", "--log"]
    whole = spikeloom(*command, tmp_path / "whole.spikelog")
    log = tmp_path / "cut.spikelog"
    environment = {**os.environ, "SLOWLY": "0.1"}
    with started(*command, log, env=environment) as process:
        wait_for(lambda: log.exists() and log.stat().st_size > 4000)
        process.send_signal(number)
        out, err = rest_of(process)
    assert (process.returncode, out) == (status, b"")
    assert err == "interrupted\n"
    _, records = read_log(log)
    assert 0 < len(list(records)) < 40
    rest = spikeloom(*command, log)
    assert rest.out == whole.out
    assert "of 40 samples were done already" in rest.err
    assert log.read_bytes() == (tmp_path / "whole.spikelog").read_bytes()


@SIGNALS
def test_a_stream_of_a_file_saves_its_state(bundle: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Its output is read slowly, so that it is in the midst of the recording when the signal comes."""
    path, state = tmp_path / "long.bs2", tmp_path / "a.state"
    write_nmnist(path, long_recording(150_000))
    command = ["stream", bundle, path, "--stride", 1, "--json", "--no-strict"]
    whole, _ = windows_of(spikeloom(*command).out.encode())
    with started(*command, "--state", state, pipesize=4096) as process:
        assert process.stdout
        first = process.stdout.readline() + process.stdout.readline()
        process.send_signal(number)
        out, err = rest_of(process)
    assert (process.returncode, err) == (0, "")
    begun, summary = windows_of(first + out)
    assert summary["windows"] == len(begun) < len(whole)
    assert 0 < load_state(state).consumed < 150_000
    rest, _ = windows_of(spikeloom(*command, "--state", state).out.encode())
    assert begun + rest == whole


@SIGNALS
def test_a_live_stream_that_waits_saves_its_state(
    bundle: Path, tmp_path: Path, number: signal.Signals
) -> None:
    events = long_recording(1200)  # 48 ms: 12 windows of 4 frames
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    state = tmp_path / "a.state"
    command = ["stream", bundle, f"udp://127.0.0.1:{port}?layout=t64", "--json", "--state", state]
    found: list[dict[str, Any]] = []
    for part in np.array_split(events, 2):
        with started(*command) as process, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            assert process.stdout
            wait_for(lambda: listens(port))
            for packet in np.array_split(part, 20):
                sender.sendto(encode(packet, "t64"), ("127.0.0.1", port))
            line = process.stdout.readline()
            time.sleep(0.5)  # it has taken the rest, and waits
            process.send_signal(number)
            out, err = rest_of(process)
        assert (process.returncode, err) == (0, "")
        windows, summary = windows_of(line + out)
        assert summary["account"]["given"] == 600
        found += windows
    write_nmnist(tmp_path / "whole.bs2", events)
    wanted, _ = windows_of(spikeloom("stream", bundle, tmp_path / "whole.bs2", "--json").out.encode())
    assert found == wanted[: len(found)]
    assert len(found) >= len(wanted) - 1  # the last frame of a stream that was stopped is not finished


def listens(port: int) -> bool:
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") for line in lines)
