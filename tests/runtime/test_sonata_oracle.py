"""SONATA files as libsonata reads them, where SPIKELOOM_ORACLES names a Python that has it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from spikeloom.runtime.log.journal import Journal
from spikeloom.runtime.log.sonata import write_sonata
from spikeloom.runtime.run_log import about_run, recorder_of
from spikeloom.runtime.session import Session
from tests.runtime.test_early_exit import samples
from tests.small_session import small_bundle, small_network

SCRIPT = """
import json, sys, libsonata
reader = libsonata.SpikeReader(sys.argv[1])
found = {}
for name in reader.get_population_names():
    population = reader[name]
    assert population.sorting == "by_time", population.sorting
    found[name] = [[int(node), float(time)] for node, time in population.get()]
print(json.dumps(found))
"""


def test_libsonata_reads_every_spike(tmp_path: Path) -> None:
    python = os.environ.get("SPIKELOOM_ORACLES")
    if not python:
        pytest.skip("set SPIKELOOM_ORACLES to a Python that has libsonata")
    bundle = small_bundle(tmp_path / "small.loom", small_network())
    recorder = recorder_of(bundle, "neuron")
    results = list(Session(bundle).run(samples(4)))
    names = [result.sample.name for result in results]
    journal = Journal.open(tmp_path / "a.spikelog", about_run(bundle, "onnx", names, recorder, None))
    for result in results:
        journal.append(recorder.record(result))
    journal.close()
    write_sonata(tmp_path / "a.spikelog", tmp_path / "a.h5")
    done = subprocess.run(
        [python, "-c", SCRIPT, str(tmp_path / "a.h5")], capture_output=True, text=True, check=True
    )
    wanted = [
        [int(neuron), float(6 * number + step)]
        for number, result in enumerate(results)
        for step, fired in enumerate(result.spikes["lif"].reshape(6, -1))
        for neuron in fired.nonzero()[0]
    ]
    assert len(wanted) > 100
    assert sorted(json.loads(done.stdout)["lif"]) == sorted(wanted)
