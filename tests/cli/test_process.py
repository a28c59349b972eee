"""The command line as a process: interrupts, closed pipes, imports, and the same bytes everywhere."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import spikeloom as package
from tests.cli.conftest import Workshop
from tests.cli.terminal import program, run_program, spikeloom, tree

COMMANDS = ["compile", "run", "verify", "estimate", "inspect", "report", "targets", "bench", "doctor"]


def test_help_names_every_command() -> None:
    help_ = spikeloom("--help").out
    assert all(re.search(rf"^.? {name} ", help_, re.MULTILINE) for name in COMMANDS)
    assert spikeloom().out == help_


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    help_ = spikeloom(command, "--help").out
    assert f"Usage: spikeloom {command}" in help_
    assert "--json" in help_
    assert "  {" not in help_, "markup that leaks"


def test_version() -> None:
    answer = run_program("--version")
    assert (answer.status, answer.out) == (0, f"spikeloom {package.__version__}\n")


def test_the_same_bytes_from_another_folder_and_process(
    workshop: Workshop, bundle: Path, tmp_path: Path
) -> None:
    """Another seed of Python's hashes, relative paths, and one thread where this process has more."""
    answer = run_program(
        "compile", "model.py:build", "--weights", "tiny.pt", "--recipe", "recipe.toml",
        "--calibrate", "train", "-o", tmp_path / "again.loom",
        cwd=workshop.folder, PYTHONHASHSEED="12345", OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert answer.status == 0, answer.err
    assert answer.err == "", "nothing but results on a pipe"
    assert (tmp_path / "again.loom").read_bytes() == bundle.read_bytes()


def test_an_interrupt_leaves_nothing(workshop: Workshop, tmp_path: Path) -> None:
    """Sent while graphs are printed into a pipe that is read no further: it waits, or the next stages run."""
    dumps = [text for stage in ("capture", "canonical", "integer") for text in ("--dump-after", stage)]
    args = program(*workshop.compile(tmp_path / "x.loom", "--ledger", 10, *dumps))
    pipe = subprocess.PIPE
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a background job ignores it from its start
    process = subprocess.Popen(args, stdout=pipe, stderr=pipe, pipesize=4096)
    signal.signal(signal.SIGINT, before)
    with process:
        assert process.stdout
        assert process.stderr
        assert os.read(process.stdout.fileno(), 20) == b"graph Tiny (captured"
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        err = process.stderr.read()
    assert process.returncode == 130
    assert err == b"interrupted\n"
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    ("arguments", "status"), [(["inspect", "--graph"], 0), (["inspect", "--json"], 0), (["run", "--json"], 4)]
)
def test_a_closed_pipe_is_no_fault(arguments: list[str], status: int, bundle: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            program(*arguments, bundle), stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writer)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert bool(done.stderr) == bool(status)


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_output_to_a_full_disk(option: list[str], bundle: Path) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            program("inspect", bundle, *option), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 4
    assert done.stderr.startswith("SL0902 standard output")
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_terminal_that_knows_ascii_only(workshop: Workshop, bundle: Path) -> None:
    """Help, tables and errors are printed all the same."""
    for arguments in (["--help"], ["estimate", bundle, "--events", workshop.test]):
        answer = run_program(*arguments, PYTHONIOENCODING="ascii")
        assert (answer.status, answer.err) == (0, "")


WITHOUT_TORCH = """
import sys
BANNED = ("torch", "spikingjelly", "lava", "h5py", "sklearn")
for name in BANNED:
    sys.modules[name] = None  # importing it raises ImportError
from spikeloom.cli import main
bundle, events, labels, folder = sys.argv[1:]
source = ["--events", events, "--labels", labels]
for status, arguments in (
    (0, ["run", bundle, *source, "--log", folder + "/a.parquet", "--outputs", folder + "/b.parquet"]),
    (0, ["run", bundle, *source, "--engine", "reference"]),
    (0, ["verify", bundle, "--events", events]),
    (0, ["estimate", bundle, "--events", events]),
    (0, ["inspect", bundle, "--graph"]),
    (0, ["bench", bundle, "--events", events, "--samples", "1", "--rounds", "3"]),
    (0, ["report", bundle, *source, "-o", folder + "/report.html"]),
    (0, ["targets", "loihi2"]),
    (0, ["doctor"]),
    (2, ["compile", "model.py:build", "--recipe", "recipe.toml", "--calibrate", events, "-o", "x.loom"]),
):
    try:
        main(arguments)
    except SystemExit as stop:
        assert stop.code == status, (arguments, stop.code)
loaded = {name.partition(".")[0] for name, module in sys.modules.items() if module is not None}
assert not loaded & {*BANNED}, loaded & {*BANNED}
"""


def test_a_bundle_runs_without_torch(workshop: Workshop, bundle: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, bundle, workshop.test, workshop.labels, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=workshop.folder,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "SL0301 torch: compiling needs PyTorch; pip install 'spikeloom[torch]'\n"
    assert {path.name for path in tmp_path.iterdir()} == {"a.parquet", "b.parquet", "report.html"}
