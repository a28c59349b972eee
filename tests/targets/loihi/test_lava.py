"""Lava itself against the integer graph, and what needs no Lava: files, settings, refusals."""

from __future__ import annotations

import importlib.util
import json
import stat
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from spikeloom.errors import InputError, UnsupportedError
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.targets.loihi import loihi2
from spikeloom.targets.loihi.environment import SETTING, find_worker, setup_worker, worker_folder
from spikeloom.targets.loihi.lava import (
    WORKER,
    LavaEngine,
    program_files,
    sample_files,
    worker_files,
)
from spikeloom.targets.loihi.registers import bias_registers
from tests.cli.terminal import spikeloom
from tests.targets.loihi.random_programs import random_program
from tests.targets.loihi.test_engine import MODELS, RULES, SYNAPSES, arranged, at_work, made

TRANSFORMER = 54
SAMPLE = (0, 2, 3, 4, 8, 17, 29, TRANSFORMER, 73, 84)
SWEEP = 236  # some 200 of which fire


@pytest.mark.lava
@pytest.mark.parametrize("seed", SAMPLE)
def test_lava_agrees_on_random_networks(seed: int, lava: Path) -> None:
    """In two calls each, so that Lava is started twice."""
    _compare(seed)


def test_the_sample_has_every_rule_and_model_at_work() -> None:
    """Among it is a whole small spike-driven transformer: masks from column sums, membranes on the path."""
    nets = [(seed, arranged(net)) for seed in SAMPLE for net in made(seed)]
    found = {seed: at_work(net, loihi2().program(net.graph)) for seed, net in nets}
    assert set.union(*found.values()) >= RULES | MODELS | SYNAPSES
    assert found[TRANSFORMER] >= {"conv2d", "mul", "reduce_sum", "rescale", "relay", "delays"}
    assert "matmul" not in found[TRANSFORMER]


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize("seed", sorted({*range(SWEEP)} - {*SAMPLE}))
def test_lava_agrees_on_many_random_networks(seed: int, lava: Path) -> None:
    _compare(seed)


def _compare(seed: int) -> None:
    for net in map(arranged, made(seed)):
        engines = {
            "reference": ReferenceEngine(net.graph),
            "lava": LavaEngine(loihi2().program(net.graph), net.graph),
        }
        result = compare_engines(engines, [(net.graph.name, net.frames)])  # type: ignore[arg-type]
        assert not result.mismatches, result.first


@pytest.mark.lava
def test_an_exported_folder_runs_with_lava_alone(lava: Path, tmp_path: Path) -> None:
    net = next(net for seed in range(9) for net in made(seed))
    program = loihi2().program(net.graph)
    reference = ReferenceEngine(net.graph)
    reference.reset(net.frames.shape[1])
    files = program_files(program) | sample_files(program, net.frames, reference.run(net.frames))
    for name, data in (files | worker_files()).items():
        (tmp_path / name).write_bytes(data)
    done = subprocess.run([lava, "-I", tmp_path / "run.py"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.endswith(" 0 differ\n")) == (0, True), done.stderr
    expected = dict(np.load(tmp_path / "expected.npz"))
    layer = next(iter(expected))
    expected[layer][0, 0] += 1
    np.savez(tmp_path / "expected.npz", **expected)
    done = subprocess.run([lava, "-I", tmp_path / "run.py"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.endswith(" 1 differ\n")) == (3, True), done.stderr


@pytest.fixture(scope="module")
def worker() -> ModuleType:
    """The worker's program, loaded without Lava."""
    spec = importlib.util.spec_from_file_location("worker_run", WORKER / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_worker_finds_the_registers_that_the_compiler_proved(worker: ModuleType) -> None:
    bias = np.concatenate([np.arange(-4096, 4096), np.arange(-4096, 4096) << 7, [0, 64, -64 << 9]])
    for ours, theirs in zip(bias_registers(bias), worker.bias_registers(bias), strict=True):
        assert (ours == theirs).all()


def test_the_files_of_a_program_are_the_same_each_time() -> None:
    net = random_program(0)
    files = [program_files(loihi2().program(net.graph)) for _ in range(2)]
    assert files[0] == files[1]
    document = json.loads(files[0]["program.json"])
    assert {entry["model"] for entry in document["processes"]} >= {"input", "lif"}


def test_samples_follow_each_other_through_the_pipeline(tmp_path: Path) -> None:
    net = random_program(0)
    program = loihi2().program(net.graph)
    (tmp_path / "frames.npz").write_bytes(sample_files(program, net.frames)["frames.npz"])
    frames = np.load(tmp_path / "frames.npz")
    steps, samples = net.frames.shape[:2]
    deepest = max(one.depth for one in program.processes)
    assert frames["frames"].shape[0] == steps * samples + deepest
    assert int(frames["interval"]) == steps
    assert (frames["frames"][steps : 2 * steps] == net.frames[:, 1].reshape(steps, -1)).all()


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Python 3.10, uv or an environment."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(SETTING, raising=False)
    return tmp_path


def test_without_an_environment_the_engine_says_how_to_make_one(nowhere: Path) -> None:
    with pytest.raises(InputError, match=r"SL0801 lava: .*doctor --setup-lava"):
        find_worker()
    assert worker_folder() == nowhere / "cache" / "spikeloom" / "lava-0.10.0"


def test_without_python_3_10_the_setup_says_what_is_missing(nowhere: Path) -> None:
    with pytest.raises(InputError, match=r"SL0801 lava: there is no Python 3.10 .*uv"):
        setup_worker()
    assert spikeloom("doctor", "--setup-lava", expect=4).err.startswith("SL0801 lava")


def test_a_shim_that_runs_nothing_is_passed_over(nowhere: Path) -> None:
    shim = nowhere / "python3.10"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(InputError, match=r"there is no Python 3\.10"):
        setup_worker()


def test_a_setting_that_names_no_such_interpreter_is_told(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, str(nowhere / "typo"))
    with pytest.raises(
        InputError, match=r"got SPIKELOOM_LAVA_PYTHON=.*typo, which is no interpreter that has it"
    ):
        find_worker()
    with pytest.raises(InputError, match=r"typo, which is no interpreter of that version"):
        setup_worker()


def test_a_worker_that_fails_is_told_with_its_last_line(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = nowhere / "fake"
    fake.write_text('#!/bin/sh\n[ "$1" = -c ] && exit 0\necho "ValueError: no such thing" >&2\nexit 1\n')
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv(SETTING, str(fake))
    net = random_program(0)
    engine = LavaEngine(loihi2().program(net.graph), net.graph)
    engine.reset(net.frames.shape[1])
    with pytest.raises(InputError, match="SL0801 lava: failed: ValueError: no such thing"):
        engine.run(net.frames)
    with pytest.raises(UnsupportedError, match="gives no state away"):
        engine.state()
    with pytest.raises(UnsupportedError, match="takes no state"):
        engine.restore({})


def test_export_refuses_other_forms(tmp_path: Path) -> None:
    wrong = spikeloom("export", tmp_path / "x.loom", "--to", "vhdl", "-o", tmp_path / "out", expect=4)
    assert "SL0901 --to" in wrong.err
