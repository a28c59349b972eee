"""Random networks on all engines, as many as there is time for: `make fuzz-engines COUNT=1000000 SEED=1`.

A line of JSON a network goes to the log; a run that was interrupted goes on behind the last of them. A
network on which an engine differs is written as a bundle, shrunk, and a test of it written beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np

from spikeloom.runtime.failures import open_anew, write_failure, write_test
from spikeloom.runtime.reduce import Reducer
from tests.engines.agreement import disagreements
from tests.random_networks import RandomNetwork, random_network

ENGINES = ("onnx", "event")


def network_of(seed: int) -> RandomNetwork:
    """The network of a seed: steps, samples and everything else follow from it."""
    return random_network(seed, steps=4 + seed % 5, batch=1 + seed % 6)


def seeds(first: int, count: int, shard: int, shards: int, done: set[int]) -> list[int]:
    """What is left to do for one of several shards.

    >>> seeds(10, 6, 1, 2, {11})
    [13, 15]
    """
    return [seed for seed in range(first, first + count) if seed % shards == shard and seed not in done]


def finished(log: Path) -> set[int]:
    """Seeds in the log; a last line that was cut off does not count."""
    done = set()
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else []:
        try:
            done.add(int(json.loads(line)["seed"]))
        except (ValueError, KeyError, TypeError):
            continue
    return done


def run(seed: int, folder: Path) -> list[str]:
    """Compare the engines on the network of a seed; what fails is written to the folder."""
    network = network_of(seed)
    faults = disagreements(network.graph, network.frames, cuts=[1 + seed % 3])
    if faults:
        _keep(seed, network, folder)
    return faults


def _keep(seed: int, network: RandomNetwork, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_failure(folder / f"seed{seed}.loom", network.graph, network.frames)
    for name in ENGINES:
        reducer = Reducer(partial(open_anew, "reference"), partial(open_anew, name))
        failure = reducer.failure(network.graph, np.asarray(network.frames))
        if failure is not None:
            small = reducer.reduce(failure)
            write_failure(folder / f"seed{seed}_{name}.loom", small.graph, small.frames)
            write_test(folder, f"seed{seed}_{name}", ("reference", name), f"layer {small.place.layer}")


def main(arguments: list[str] | None = None) -> int:
    """Run and log; exit status 3 if any network failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--shard", type=int, default=0, help="0 to shards - 1")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--log", type=Path, default=Path("out/fuzz.jsonl"))
    options = parser.parse_args(arguments)
    options.log.parent.mkdir(parents=True, exist_ok=True)
    failed = 0
    with options.log.open("a", encoding="utf-8") as log:
        for seed in seeds(options.seed, options.count, options.shard, options.shards, finished(options.log)):
            faults = run(seed, options.log.parent / "failures")
            failed += bool(faults)
            log.write(json.dumps({"seed": seed, "faults": faults}) + "\n")
            log.flush()
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
