"""``spikeloom run --cluster``: on a local Dask cluster, each sample exactly once, whatever dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikeloom.runtime.log.journal import read_log
from tests.cli.conftest import TEST, Workshop
from tests.cli.terminal import refused, run_program, spikeloom


def test_a_worker_that_is_killed_changes_nothing(bundle: Path, shelf: Path, tmp_path: Path) -> None:
    """The data set kills the first process that asks for its fourth item: a worker, which is replaced."""
    pytest.importorskip("distributed")
    (shelf / "killed").touch()
    data = ("run", bundle, "--data", f"{shelf}/mine.py:killing", "--batch", 1, "--json")
    wanted = spikeloom(*data).json
    (shelf / "killed").unlink()
    path = tmp_path / "run.spikelog"
    ran = run_program(*data, "--cluster", "local", "--workers", 2, "--log", path)
    assert ran.status == 0, ran.err
    assert (shelf / "killed").exists()
    assert ran.json == wanted
    names = [record.name for record in read_log(path)[1]]
    assert names == [f"killing[{index}]" for index in range(TEST)]


def test_problems_come_back(bundle: Path, workshop: Workshop, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "1.bs2").write_bytes(b"xxx")
    ran = run_program("run", bundle, "--events", bad, "--cluster", "local", "--json")
    assert ran.status == 4
    assert ran.json["error"][0]["code"] == "SL0103"


def test_a_cluster_that_is_not_there(bundle: Path, workshop: Workshop, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    command = ("run", bundle, "--events", workshop.test, "--cluster", "what://is.this:1")
    [problem] = refused(*command, within=tmp_path)
    assert problem.code == "SL0813"


def test_without_dask(
    bundle: Path, workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    [problem] = refused("run", bundle, "--events", workshop.test, "--cluster", "local", within=tmp_path)
    assert (problem.code, problem.remedy) == ("SL0813", "pip install 'spikeloom[cluster]'")
