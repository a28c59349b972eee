"""Events as other libraries send them, where SPIKELOOM_ORACLES names a Python that has them."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest

from spikeloom.runtime.events.live.source import open_live
from spikeloom.runtime.events.stream import Events
from tests.event_files import SENSOR, events

SCRIPT = Path(__file__).with_name("live_senders.py")


@pytest.mark.parametrize("sender", ["dv", "faery_t64", "faery_t32"])
def test_what_they_send_is_what_arrives(sender: str, tmp_path: Path) -> None:
    python = os.environ.get("SPIKELOOM_ORACLES")
    if not python:
        pytest.skip("set SPIKELOOM_ORACLES to a Python that has dv-processing and faery")
    made = events(2000)
    np.save(tmp_path / "events.npy", made)
    kind = socket.SOCK_STREAM if sender == "dv" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    layout = {"dv": "", "faery_t64": "?layout=t64", "faery_t32": "?layout=t32"}[sender]
    source = f"{'tcp' if sender == 'dv' else 'udp'}://127.0.0.1:{port}{layout}"
    with open_live(source, SENSOR, seconds=60) as live:
        process = subprocess.Popen([python, str(SCRIPT), sender, str(tmp_path / "events.npy"), str(port)])
        parts: list[Events] = []
        for part in live:
            parts.append(part)
            if sum(len(one) for one in parts) == len(made):
                break
    process.kill()  # dv-processing's server does not always end by itself
    process.wait()
    np.testing.assert_array_equal(np.concatenate(parts), made)
