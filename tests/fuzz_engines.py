"""Random networks on all engines, as many as there is time for: `make fuzz-engines COUNT=1000000 SEED=1`.

A line of JSON a network goes to the log; a run that was interrupted goes on with what is not in it. A
network on which an engine differs is written as a bundle, shrunk, and a test of it written beside it.
Every network runs on the reference, the event engine and one of the two ONNX forms, in turn; one network
in sixteen is a large one and runs on both forms.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

import numpy as np

from spikeloom.runtime.engines.onnx import Mode
from spikeloom.runtime.failures import open_anew, write_failure, write_test
from spikeloom.runtime.reduce import Reducer
from tests.engines.agreement import FORMS, disagreements
from tests.random_networks import RandomNetwork, random_network

ENGINES = ("onnx", "event")
LARGE = 16  # one network in so many has all its parts
STREAMED = 8  # one network in so many gets its frames one by one


@dataclass(frozen=True)
class Outcome:
    """What was found on the network of a seed: where engines differ, and which operations it holds."""

    seed: int
    faults: list[str]
    operations: list[str]


def network_of(seed: int) -> RandomNetwork:
    """The network of a seed: steps, samples and everything else follow from it."""
    return random_network(seed, steps=4 + seed % 5, batch=1 + seed % 6, small=seed % LARGE > 0)


def forms_of(seed: int) -> tuple[Mode, ...]:
    """The ONNX forms on which the network of a seed is run.

    >>> forms_of(0), forms_of(1), forms_of(2)
    (('step', 'sequence'), ('sequence',), ('step',))
    """
    return FORMS if seed % LARGE == 0 else (FORMS[(seed // 4 + seed) % 2],)


def cuts_of(seed: int, steps: int) -> list[int]:
    """Where the steps are cut into chunks: mostly once, and for one network in eight after every step.

    >>> cuts_of(1, 5), cuts_of(8, 4)
    ([2], [1, 2, 3])
    """
    return list(range(1, steps)) if seed % STREAMED == 0 else [1 + seed % 3]


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


def run(seed: int, folder: Path) -> Outcome:
    """Compare the engines on the network of a seed; what fails is written to the folder."""
    network = network_of(seed)
    cuts = cuts_of(seed, len(network.frames))
    faults = disagreements(network.graph, network.frames, cuts, forms_of(seed))
    if faults:
        _keep(seed, network, folder)
    return Outcome(seed, faults, sorted({node.op.name for node in network.graph.nodes}))


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


def outcomes(todo: list[int], folder: Path, jobs: int) -> Iterator[Outcome]:
    """Of every seed, in any order, from so many processes."""
    if jobs == 1:
        yield from (run(seed, folder) for seed in todo)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(partial(run, folder=folder), todo, chunksize=8)


def main(arguments: list[str] | None = None) -> int:
    """Run and log; exit status 3 if any network failed."""
    options = _options(arguments)
    options.log.parent.mkdir(parents=True, exist_ok=True)
    todo = seeds(options.seed, options.count, options.shard, options.shards, finished(options.log))
    start, reached, failed = monotonic(), 0, 0
    operations: set[str] = set()
    with options.log.open("a", encoding="utf-8") as log:
        for outcome in outcomes(todo, options.log.parent / "failures", options.jobs):
            reached, failed = reached + 1, failed + bool(outcome.faults)
            operations.update(outcome.operations)
            log.write(json.dumps({"seed": outcome.seed, "faults": outcome.faults}) + "\n")
            log.flush()
            if options.seconds and monotonic() - start > options.seconds:
                break
    seconds = monotonic() - start
    print(
        f"{reached:,} of {len(todo):,} networks with {len(operations)} operations in {seconds:.0f} s, "
        f"{60 * reached / max(seconds, 1e-9):,.0f} a minute: {failed:,} differ"
    )
    return 3 if failed else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--shard", type=int, default=0, help="0 to shards - 1, for several machines")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seconds", type=float, default=0, help="stop after so many; 0 goes to the end")
    parser.add_argument("--log", type=Path, default=Path("out/fuzz.jsonl"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
