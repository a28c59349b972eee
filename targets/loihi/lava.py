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

    Where messages outlive a network step, the pipeline runs out before the next sample. Each layer is reset
    at its own step of each sample. With a trace, ``expected.npz`` holds what every layer sends in the network
    steps of each sample.
    """
    steps, samples = frames.shape[:2]
    rows = np.swapaxes(frames, 0, 1).reshape(samples, steps, -1)
    files = {"frames.npz": npz({"frames": fed(program, rows), **times(program, steps)})}
    if trace is not None:
        sent = {layer: np.swapaxes(spikes, 0, 1) for layer, spikes in trace.spikes.items()}
        wanted = {layer: array.reshape(steps * samples, -1) for layer, array in sent.items()}
        files["expected.npz"] = npz(wanted)
    return files


def fed(program: Program, rows: NDArray[Any], depth: int = 0) -> NDArray[Any]:
    """[chip steps, neurons] that an input sends, of [samples, network steps, neurons].

    Args:
        program: what is run.
        rows: of all samples.
        depth: of the input.
    """
    samples, steps, neurons = rows.shape
    interval = program.interval(steps)
    given = np.zeros((samples * interval + program.deepest, neurons), rows.dtype)
    for number, sample in enumerate(rows):
        given[number * interval + depth :][: steps * program.steps : program.steps] = sample
    return given


def times(program: Program, steps: int) -> dict[str, NDArray[Any]]:
    """Chip steps of a sample, and from the start of one to the start of the next."""
    return {"interval": np.array(program.interval(steps)), "sample": np.array(steps * program.steps)}


def by_sample(program: Program, sent: Ints, depth: int, steps: int, samples: int) -> Ints:
    """[samples, network steps, neurons] of what was sent in each chip step by what is so deep.

    A neuron sends once in a network step.
    """
    starts = depth + program.interval(steps) * np.arange(samples)
    rows = np.stack([sent[start : start + steps * program.steps] for start in starts])
    summed: Ints = rows.reshape(samples, steps, program.steps, -1).sum(2)
    return summed


def worker_files() -> dict[str, bytes]:
    """The programs that run a folder: ``run.py`` and ``processes.py``."""
    return {name: (WORKER / name).read_bytes() for name in ("run.py", "processes.py")}


def npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as the bytes of an .npz file, the same each time."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(sorted(arrays.items())))  # type: ignore[arg-type]
    return buffer.getvalue()


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
            one.name: sent[one.name].swapaxes(0, 1).reshape(steps, -1, *one.shape)[done:]
            for one in program.processes
            if one.name in sent
        }
        shape = self._host.shape
        whole = sent[program.output].swapaxes(0, 1).reshape(steps, -1, *shape)
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

    def _execute(self, frames: NDArray[np.uint8]) -> dict[str, Ints]:
        """[batch, steps, neurons] of what each watched process sends."""
        files = sample_files(self._program, frames)
        return run_folder(self._python, self._program, files, *frames.shape[:2])


def run_folder(
    python: Path, program: Program, frames: Mapping[str, bytes], steps: int, samples: int
) -> dict[str, Ints]:
    """What each watched process of a program sends under Lava, [samples, network steps, neurons].

    Args:
        python: the interpreter that has Lava.
        program: what is run.
        frames: the file of its inputs.
        steps: network steps of a sample.
        samples: one after the other.

    Raises:
        InputError: SL0801, Lava fails.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file, data in {**program_files(program), **frames}.items():
            (folder / file).write_bytes(data)
        seconds = START + SLOWEST_STEP * (samples * program.interval(steps) + program.deepest)
        _run_worker(python, folder, seconds)
        with np.load(folder / "results.npz", allow_pickle=False) as results:
            sent = {name: results[name].astype(np.int64) for name in results.files}
    return {
        name: by_sample(program, rows, program.process(name).depth, steps, samples)
        for name, rows in sent.items()
    }


def _run_worker(python: Path, folder: Path, seconds: float) -> None:
    command = [str(python), "-I", str(WORKER / "run.py"), str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise InputError.of("SL0801", "lava", f"did not end within {seconds:.0f} s") from error
    if done.returncode:
        last = (done.stderr.strip() or "without a word").splitlines()[-1]
        raise InputError.of("SL0801", "lava", f"failed: {last}", remedy="make its environment anew")
