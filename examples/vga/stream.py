"""How fast a whole camera streams: ``python -m examples.vga.stream RECORDING.raw [--times 1 100]``.

A network with random weights, whose batch norms have seen the recording so that every layer fires, is
compiled for the target; then the recording, an EVT 2.0 file of 640 x 480 pixels, and the same so many times
over are streamed through it in processes of their own: decoding, checks, frames, network, answers. Printed
are events a second, the multiple of real time, and the largest memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from spikeloom.runtime.events.formats import open_events
from spikeloom.runtime.events.framer import Framer
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.stream import Events, Geometry

HERE = Path(__file__).parent
SENSOR = Geometry(640, 480)


def encode_evt2(events: Events) -> bytes:
    """The words of EVT 2.0 [n, 32 bits]: one an event, one of time wherever its upper part changes."""
    high = events["t"] >> 6
    words = (
        (events["p"].astype(np.uint32) << 28)
        | (events["t"] & 63).astype(np.uint32) << 22
        | events["x"].astype(np.uint32) << 11
        | events["y"]
    )
    changes = np.flatnonzero(np.diff(high, prepend=-1))
    clock = (8 << 28 | (high[changes] & 0xFFFFFFF)).astype(np.uint32)
    return np.insert(words, changes, clock).astype("<u4").tobytes()


def repeated(recording: Path, times: int, path: Path) -> int:
    """Write a recording so many times over, each after the last; its length in microseconds."""
    events = np.concatenate(list(open_events(recording, SENSOR)))
    events["t"] -= events["t"][0]
    length = int(events["t"][-1]) + 1
    with path.open("wb") as file:
        file.write(b"% evt 2.0\n% geometry 640x480\n% end\n")
        for _ in range(times):
            file.write(encode_evt2(events))
            events["t"] += length
    return times * length


def save_checkpoint(recording: Path, path: Path) -> None:
    """Random weights; batch norms that know the recording."""
    import torch
    from torch import nn

    from examples.vga.model import build
    from spikeloom.compiler.frontends.torch.neurons import reset_states

    model = build()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # statistics of all that was seen
            nn.init.constant_(module.weight, 1.5)
            nn.init.constant_(module.bias, 1.0)
    framer = Framer(FrameRecipe.from_toml(HERE / "recipe.toml"), endless=True)
    frames = [frame for events in open_events(recording, SENSOR) for frame in framer.push(events)]
    with torch.no_grad():
        model.train()(torch.from_numpy(np.stack(frames)[:, None]).float())
        reset_states(model)
    torch.save({"state_dict": model.state_dict(), "config": {}}, path)


def stream(bundle: Path, recording: Path, engine: str) -> None:
    """Stream a recording in this process and print what it took."""
    from spikeloom.compiler.bundle import read_bundle
    from spikeloom.runtime.session import Session

    session = Session(read_bundle(bundle), engine)
    warm = Framer(FrameRecipe.from_toml(HERE / "recipe.toml")).finish()
    for frame in warm:
        session.step(frame)
    events = open_events(recording, SENSOR)
    next(iter(events))
    begin, cpu = time.perf_counter(), time.process_time()
    windows = list(session.windows(events))
    result = {
        "windows": len(windows),
        "spikes": sum(sum(window.spikes.values()) for window in windows),
        "seconds": time.perf_counter() - begin,
        "cpu_seconds": time.process_time() - cpu,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(result))


def measure(bundle: Path, recording: Path, length_us: int, engine: str) -> dict[str, float]:
    """Stream a recording in a process of its own."""
    command = [sys.executable, "-m", "examples.vga.stream", str(recording), "--bundle", str(bundle)]
    done = subprocess.run([*command, "--engine", engine], capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    result["real_time"] = length_us / 1e6 / result["seconds"]
    result["real_time_cpu"] = length_us / 1e6 / result["cpu_seconds"]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("recording", type=Path)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 100])
    parser.add_argument("--target", default="loihi2")
    parser.add_argument("--engine", default="onnx")
    parser.add_argument("--bundle", type=Path, help="stream through this bundle and print what it took")
    options = parser.parse_args()
    if options.bundle:
        stream(options.bundle, options.recording, options.engine)
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        save_checkpoint(options.recording, folder / "vga.pt")
        bundle = folder / "vga.loom"
        command = ["compile", f"{HERE}/model.py:build", "--weights", folder / "vga.pt", "-o", bundle]
        command += ["--calibrate", options.recording, "--recipe", HERE / "recipe.toml"]
        program = [sys.executable, "-m", "spikeloom", *map(str, command), "--target", options.target]
        subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
        for times in options.times:
            length = repeated(options.recording, times, folder / "long.raw")
            events = sum(map(len, open_events(folder / "long.raw")))
            result = measure(bundle, folder / "long.raw", length, options.engine)
            print(
                f"{times} x: {events:,} events in {length / 1e6:.3f} s of recording; "
                f"{result['seconds']:.2f} s ({result['cpu_seconds']:.2f} s of processor time): "
                f"{events / result['seconds'] / 1e6:.2f} million events a second, "
                f"{result['real_time']:.2f} times real time "
                f"({result['real_time_cpu']:.2f} by processor time), "
                f"{result['windows']} answers, {result['spikes']:,} spikes, {result['memory_mib']:.0f} MiB"
            )


if __name__ == "__main__":
    main()
