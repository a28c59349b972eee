"""``spikeloom reduce``: a small network on which two engines still differ, and a test of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from spikeloom.cli.console import counted, print_json
from spikeloom.cli.console import output as console
from spikeloom.cli.sources import Json
from spikeloom.errors import InputError
from spikeloom.runtime.failures import open_anew, read_failure, write_failure, write_test
from spikeloom.runtime.reduce import Reducer


def reduce(
    bundle: Annotated[Path, typer.Argument(help="A network with stored samples: a bundle.")],
    folder: Annotated[
        Path, typer.Option("--output", "-o", help="A folder for the small network and its test.")
    ],
    engines: Annotated[
        str, typer.Option(help="Two engines that differ on the stored samples; the first is right.")
    ] = "reference,event",
    trials: Annotated[int, typer.Option(min=1, help="How many smaller networks may be tried.")] = 2000,
    json: Json = False,
) -> None:
    """Shrink a network on which two engines differ, and write a test that fails until they agree.

    ONNX files are made anew for each smaller network, so what differs must be in the engine or the emitter.
    """
    names = [name.strip() for name in engines.split(",")]
    if len(set(names)) != 2:
        raise InputError.of("SL0901", "--engines", "names two engines", got=engines)
    first, second = names
    graph, frames = read_failure(bundle)
    reducer = Reducer(partial(open_anew, first), partial(open_anew, second), trials)
    failure = reducer.failure(graph, frames)
    if failure is None:
        raise InputError.of("SL0901", bundle, f"{first} and {second} agree on its samples: nothing to reduce")
    small = reducer.reduce(failure)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{first}_{second}_{small.place.layer}".replace(".", "_").replace("/", "_").replace("-", "_")
    write_failure(folder / f"{name}.loom", small.graph, small.frames)
    place = f"step {small.place.step}, layer {small.place.layer}, neuron {list(small.place.neuron)}"
    test = write_test(folder, name, (first, second), place)
    document = {
        "before": dict(zip(("nodes", "events", "weights"), failure.size, strict=True)),
        "after": dict(zip(("nodes", "events", "weights"), small.size, strict=True)),
        "place": place,
        "bundle": str(folder / f"{name}.loom"),
        "test": str(test),
    }
    if json:
        print_json(document)
        return
    for what, before, after in zip(("node", "event", "weight"), failure.size, small.size, strict=True):
        console.print(f"{counted(before, what)} before, {after:,} after")
    console.print(f"they part at {place}", markup=False)
    console.print(f"wrote {document['bundle']} and {test}", markup=False)
