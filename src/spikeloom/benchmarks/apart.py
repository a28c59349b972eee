"""Peak memory and time to compile, each measured in a process of its own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np

from spikeloom.benchmarks.networks import BenchNetwork
from spikeloom.runtime.failures import read_failure, write_failure

MODEL = {"dim": 768, "depth": 8, "heads": 12, "size": 224, "classes": 1000}  # Spikformer-8-768


def peak_of_run(network: BenchNetwork) -> dict[str, float]:
    """Bytes that a process holds at most that reads the network from disk and runs it on the event engine."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.loom"
        write_failure(path, network.graph, network.frames)
        return _apart("run", str(path))


def cost_of_compiling() -> dict[str, Any] | None:
    """Processor time of each stage, and peak memory, of SpikingJelly's Spikformer-8-768 to a bundle.

    None where SpikingJelly is not installed. The model has random weights and batch norms that know their
    input; everything is counted, the ledger's comparisons as well.
    """
    if find_spec("torch") is None or find_spec("spikingjelly") is None:
        return None
    return _apart("compile")


def _apart(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "spikeloom.benchmarks.apart", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


def _peak() -> int:
    """Bytes that this process held at most.

    Linux tells it by the process; what getrusage says is handed on by a larger parent, there and elsewhere.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text("utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _run(path: Path) -> dict[str, float]:
    from spikeloom.runtime.engines.event.engine import EventEngine

    graph, frames = read_failure(path)
    engine = EventEngine(graph)
    for _ in range(2):
        engine.reset(frames.shape[1])
        engine.run(frames)
    return {"peak_bytes": _peak()}


def _compile(path: Path) -> dict[str, Any]:
    import torch

    from spikeloom.compiler.frontends.torch.axes import InputShape
    from spikeloom.compiler.pipeline import Options, compile_model

    torch.set_num_threads(1)
    model, parameters = _spikformer()
    before, seconds, marks = _peak(), {}, [("", process_time())]

    def progress(stage: str) -> None:
        name, start = marks[-1]
        now = process_time()
        if name:
            seconds[name] = now - start
        marks.append((stage, now))

    size = MODEL["size"]
    shape = InputShape.parse(f"B,3,{size},{size}")
    samples = np.random.default_rng(0).normal(size=(1, 3, size, size)).astype(np.float32)
    compile_model(model, shape, None, samples, Options("onnx", silence=True), path, progress=progress)
    progress("done")
    weights = 4 * parameters
    return {
        "parameters": parameters,
        "float_bytes": weights,
        "seconds": seconds,
        "before": before,
        "peak_bytes": _peak(),
    }


def _spikformer() -> tuple[Any, int]:
    """The model after a forward pass that its batch norms learned from, and its number of parameters."""
    import torch

    from spikeloom.compiler.frontends.torch.neurons import reset_states

    torch.manual_seed(0)
    size = MODEL["size"]
    model: Any = import_module("spikingjelly.activation_based.model.spikformer").Spikformer(
        1, 3, size, size, 16, MODEL["classes"],
        embed_dims=MODEL["dim"], num_heads=MODEL["heads"], depths=MODEL["depth"],
    )  # fmt: skip
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model.train()(torch.randn(1, 2, 3, size, size))
    reset_states(model)
    return model.eval(), sum(parameter.numel() for parameter in model.parameters())


def main() -> None:
    """Measure what the arguments say and print it as a line of JSON."""
    warnings.simplefilter("ignore")
    what, *rest = sys.argv[1:]
    if what == "run":
        print(json.dumps(_run(Path(rest[0]))))
        return
    with TemporaryDirectory() as folder:
        print(json.dumps(_compile(Path(folder) / "model.loom")))


if __name__ == "__main__":
    main()
