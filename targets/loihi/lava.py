"""A program as a folder that Lava runs, and Lava as an engine."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.engine import Trace
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.op import Array
from spikeloom.errors import InputError, UnsupportedError
from spikeloom.targets.loihi.environment import find_worker
from spikeloom.targets.loihi.host import Host
from spikeloom.targets.loihi.program import Program

WORKER = Path(__file__).with_name("worker")
SLOWEST_STEP = 5.0
"""Seconds that a chip step may take before Lava is given up; each of its processes is one of the system's."""
START = 300.0

Ints = NDArray[np.int64]


def program_files(program: Program) -> dict[str, bytes]:
    """``program.json`` and ``program.npz``, which ``worker/run.py`` reads; the same bytes each time."""
    document, arrays = program.to_parts()
    return {
        "program.json": (json.dumps(document, indent=1, sort_keys=True) + "\n").encode(),
        "program.npz": npz(arrays),
    }


def sample_files(program: Program, frames: NDArray[np.uint8], trace: Trace | None = None) -> dict[str, bytes]:
    """``frames.npz``: samples [steps, samples, ...] one after the other through the same pipeline.

    Each layer is reset at its own step of each sample. With a trace, ``expected.npz`` holds what every
    layer sends at its own chip steps, and the frames around them what it happens to send.
    """
    steps, samples = frames.shape[:2]
    rows = np.swapaxes(frames, 0, 1).reshape(steps * samples, -1)
    fed = np.zeros((steps * samples * program.steps + _depth(program), rows.shape[1]), rows.dtype)
    fed[: len(rows) * program.steps : program.steps] = rows
    files = {"frames.npz": npz({"frames": fed, "interval": np.array(steps * program.steps)})}
    if trace is not None:
        sent = {layer: np.swapaxes(spikes, 0, 1) for layer, spikes in trace.spikes.items()}
        wanted = {layer: array.reshape(steps * samples, -1) for layer, array in sent.items()}
        files["expected.npz"] = npz(wanted)
    return files


def worker_files() -> dict[str, bytes]:
    """The programs that run a folder: ``run.py`` and ``processes.py``."""
    return {name: (WORKER / name).read_bytes() for name in ("run.py", "processes.py")}


def npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as the bytes of an .npz file, the same each time."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(sorted(arrays.items())))  # type: ignore[arg-type]
    return buffer.getvalue()


def _depth(program: Program) -> int:
    """Chip steps that the pipeline goes on after the last network step of the input."""
    return max(one.depth for one in program.processes)


class LavaEngine:
    """Runs a network under Lava's fixed-point models, in an environment of Lava's own.

    Every call starts Lava anew, on all frames since the last reset, since Lava's processes end with a
    run. Samples go one after the other through the pipeline, each layer being reset at its own step.
    """

    name = "lava"

    def __init__(self, program: Program, graph: Graph) -> None:
        self._python = find_worker()
        self._program = program
        self._host = Host.of(graph)
        self._frames: NDArray[np.uint8] | None = None
        self._batch = 0

    def reset(self, batch: int) -> None:
        """Forget everything and expect ``batch`` samples side by side."""
        self._batch = batch
        self._frames = None

    def run(self, frames: NDArray[np.uint8]) -> Trace:
        """Advance by frames [steps, batch, ...].

        Raises:
            InputError: SL0801, Lava fails.
        """
        done = 0 if self._frames is None else len(self._frames)
        self._frames = frames if self._frames is None else np.concatenate([self._frames, frames])
        sent = self._execute(self._frames)
        program, steps = self._program, len(self._frames)
        traces = {
            one.name: np.swapaxes(self._aligned(sent[one.name], one.depth, steps, one.shape), 0, 1)[done:]
            for one in program.processes
            if one.name in sent
        }
        shape = self._host.shape
        whole = self._aligned(
            sent[program.output], program.process(program.output).depth, steps, shape
        ).swapaxes(0, 1)
        output = whole + program.output_bias
        if program.process(program.output).model == "readout":
            output = output + program.process(program.output).bias.reshape(shape)
        if program.sums_over_time:
            output = output.cumsum(0)
        spikes = {layer: traces[one.name].astype(np.uint8) for layer, one in program.layers.items()}
        return Trace(self._host.finish(output)[done:], spikes)

    def state(self) -> dict[str, Array]:
        """Not known: it ends with Lava's processes.

        Raises:
            UnsupportedError: SL0801, always.
        """
        raise UnsupportedError.of("SL0801", "lava", "gives no state away", remedy="use the engine loihi")

    def restore(self, state: Mapping[str, Array]) -> None:
        """Not possible.

        Raises:
            UnsupportedError: SL0801, always.
        """
        raise UnsupportedError.of("SL0801", "lava", "takes no state", remedy="use the engine loihi")

    def _aligned(self, sent: Ints, depth: int, steps: int, shape: tuple[int, ...]) -> Ints:
        """[batch, steps, ...], of what was sent in each chip step: a neuron sends once in a network step."""
        slots = self._program.steps
        whole = sent[depth : depth + steps * slots * self._batch]
        summed: Ints = whole.reshape(self._batch, steps, slots, *shape).sum(2)
        return summed

    def _execute(self, frames: NDArray[np.uint8]) -> dict[str, Ints]:
        return run_folder(
            self._python,
            self._program,
            sample_files(self._program, frames),
            frames.shape[0] * frames.shape[1],
        )


def run_folder(python: Path, program: Program, frames: Mapping[str, bytes], steps: int) -> dict[str, Ints]:
    """What each watched process of a program sends in each chip step under Lava, [chip steps, neurons].

    Args:
        python: the interpreter that has Lava.
        program: what is run.
        frames: the file of its inputs.
        steps: network steps of all samples.

    Raises:
        InputError: SL0801, Lava fails.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file, data in {**program_files(program), **frames}.items():
            (folder / file).write_bytes(data)
        seconds = START + SLOWEST_STEP * (steps * program.steps + _depth(program))
        _run_worker(python, folder, seconds)
        with np.load(folder / "results.npz", allow_pickle=False) as results:
            return {process: results[process].astype(np.int64) for process in results.files}


def _run_worker(python: Path, folder: Path, seconds: float) -> None:
    command = [str(python), "-I", str(WORKER / "run.py"), str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise InputError.of("SL0801", "lava", f"did not end within {seconds:.0f} s") from error
    if done.returncode:
        last = (done.stderr.strip() or "without a word").splitlines()[-1]
        raise InputError.of("SL0801", "lava", f"failed: {last}", remedy="make its environment anew")
