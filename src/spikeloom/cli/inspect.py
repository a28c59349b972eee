"""``spikeloom inspect``: what is in a bundle, a checkpoint, a NIR file or an event file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from spikeloom.atomic import require_writable, write_text
from spikeloom.cli.console import comparisons, counted, percent, print_dropped, print_json, printable, table
from spikeloom.cli.console import output as console
from spikeloom.cli.model import require_torch
from spikeloom.cli.outputs import require_suffix
from spikeloom.cli.sources import Json
from spikeloom.compiler.bundle import Bundle, read_bundle
from spikeloom.compiler.frontends.nir.file import NirNode, read_nir
from spikeloom.compiler.frontends.nir.flatten import flatten
from spikeloom.compiler.graph.printer import to_text
from spikeloom.compiler.mapping.placement import Mapping
from spikeloom.errors import InputError
from spikeloom.runtime.events.describe import Description, Summary, describe
from spikeloom.runtime.events.formats import open_events, recording_suffix, suffixes
from spikeloom.runtime.events.stream import Geometry
from spikeloom.runtime.report.plots.event_picture import picture_of, plot_events
from spikeloom.runtime.report.plots.figure import standalone

_CHECKPOINT_STARTS = (b"PK\x03\x04", b"\x80\x02\x8a\x0a")  # of a zip archive, and of torch before 1.6
CHECKPOINTS = (".pt", ".pth", ".tar", ".ckpt", ".bin", ".safetensors")


def inspect(
    file: Annotated[
        Path,
        typer.Argument(
            help="A compiled network, a checkpoint (.pt, .pth, .tar, .safetensors), NIR, ONNX, or a file of "
            "events."
        ),
    ],
    graph: Annotated[bool, typer.Option("--graph", help="Print the integer graph, node by node.")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the events of an event file into this file (.svg).")
    ] = None,
    json: Json = False,
) -> None:
    """Show what a file holds, without running any code of it.

    A bundle is checked member by member; an event file is read to its end, and what is wrong with it counted.
    """
    if _holds_events(file):
        _inspect_events(file, picture, json)
        return
    if picture is not None:
        raise InputError.of("SL0901", "--picture", "belongs to event files", got=file)
    if file.suffix in CHECKPOINTS:
        _inspect_checkpoint(file, json)
        return
    if file.suffix == ".nir":
        _inspect_nir(file, json)
        return
    if file.suffix == ".onnx":
        _inspect_onnx(file, json)
        return
    if not file.exists():
        raise InputError.of("SL0701", file, "there is no such file")
    compiled = read_bundle(file)
    if json:
        print_json(_document(compiled))
        return
    _print(compiled)
    if graph:
        console.print(f"\n{to_text(compiled.graph)}", markup=False, soft_wrap=True)


def _holds_events(file: Path) -> bool:
    """Whether a file is named as event files are; some checkpoints end in .bin too, and begin otherwise."""
    suffix = recording_suffix(file)
    if suffix != ".bin" or not file.is_file():
        return suffix in suffixes()
    with file.open("rb") as opened:
        return not opened.read(8).startswith(_CHECKPOINT_STARTS)


def _inspect_events(path: Path, picture: Path | None, json: bool) -> None:
    require_suffix("--picture", picture, ".svg")
    if picture is not None:
        require_writable(picture)
    found = describe(path)
    if picture is not None:
        _draw(path, found, picture)
    if json:
        print_json(found.to_json())
        return
    sensor = f", sensor {found.geometry}" if found.geometry else ", which names no sensor"
    console.print(f"{found.title}, {counted(found.size, 'byte')}{sensor}", style="bold", markup=False)
    for key, value in found.facts.items():
        console.print(printable(f"{key} {value}"), markup=False)
    if found.summary is None:
        classes = counted(len(found.labels), "class", "classes")
        console.print(f"{counted(found.recordings, 'recording')}, {classes}")
        return
    _print_summary(found.summary)
    print_dropped(found.dropped.to_json())


def _draw(path: Path, found: Description, picture: Path) -> None:
    if found.summary is None or not found.summary.events:
        raise InputError.of("SL0102", path, "holds no single recording that could be drawn")
    columns, rows = found.summary.columns[1] + 1, found.summary.rows[1] + 1
    sensor = found.geometry or Geometry(columns, rows)
    drawn = plot_events(picture_of(open_events(path, sensor, strict=False), sensor))
    write_text(picture, standalone(drawn) + "\n")


def _print_summary(counts: Summary) -> None:
    console.print(
        f"{counted(counts.events, 'event')}"
        + (f", {percent(counts.on / counts.events)} on" if counts.events else "")
    )
    if not counts.events:
        return
    duration = counts.last_us - counts.first_us
    console.print(f"time {counts.first_us:,} to {counts.last_us:,} us ({duration / 1e6:.6g} s)")
    if duration:
        console.print(f"{counted(round(1e6 * counts.events / duration), 'event')} a second")
    console.print(
        f"columns {counts.columns[0]} to {counts.columns[1]}, rows {counts.rows[0]} to {counts.rows[1]}"
    )


def _inspect_checkpoint(path: Path, json: bool) -> None:
    require_torch("reading a checkpoint")
    from spikeloom.compiler.frontends.torch.contents import guess_family, read_contents

    entries = read_contents(path)
    family = guess_family(entries)
    numbers = sum(entry.size for entry in entries)
    if json:
        tensors = [{"name": e.name, "dtype": e.dtype, "shape": list(e.shape)} for e in entries]
        print_json({"family": family or None, "numbers": numbers, "tensors": tensors})
        return
    title = f"{counted(len(entries), 'tensor')}, {counted(numbers, 'number')}"
    listed = table(title, "name", "type", "shape", text=3)
    for entry in entries:
        shape = " x ".join(map(str, entry.shape)) or "a number"
        listed.add_row(*map(printable, (entry.name, entry.dtype, shape)))
    console.print(listed)
    console.print(
        f"looks like a {family}" if family else "of no family of models that is known", markup=False
    )


def _inspect_nir(path: Path, json: bool) -> None:
    graph = flatten(read_nir(path))
    nodes = {name: node for name, node in graph.nodes.items() if isinstance(node, NirNode)}
    shown = {name: {key: _shown(x) for key, x in node.parameters.items()} for name, node in nodes.items()}
    if json:
        listing = [
            {"name": name, "type": node.type, "parameters": shown[name]} for name, node in nodes.items()
        ]
        edges = [list(edge) for edge in graph.edges]
        print_json({"version": graph.version, "nodes": listing, "edges": edges})
        return
    title = f"NIR {graph.version}: {counted(len(nodes), 'node')}, {counted(len(graph.edges), 'edge')}"
    listed = table(printable(title), "name", "type", "goes to", "parameters", text=4)
    for name, node in nodes.items():
        targets = ", ".join(target for source, target in graph.edges if source == name)
        told = ", ".join(f"{key} {text}" for key, text in shown[name].items())
        listed.add_row(*map(printable, (name, node.type, targets, told)))
    console.print(listed)


def _inspect_onnx(path: Path, json: bool) -> None:
    from spikeloom.compiler.frontends.onnx.file import read_onnx

    network = read_onnx(path)
    numbers = sum(array.size for array in network.constants.values())
    ends = {
        kind: {name: list(network.shapes[name]) for name in names}
        for kind, names in (("inputs", network.inputs), ("outputs", network.outputs))
    }
    operators = dict(sorted(Counter(node.op for node in network.nodes).items()))
    if json:
        print_json({"opset": network.opset, **ends, "numbers": numbers, "operators": operators})
        return
    held = f"{counted(len(network.nodes), 'node')}, {counted(numbers, 'number')}"
    title = f"ONNX, opset {network.opset}: {held}"
    listed = table(printable(title), "operator", "nodes")
    for name, count in operators.items():
        listed.add_row(printable(name), f"{count:,}")
    console.print(listed)
    for kind, shapes in ends.items():
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        console.print(printable(f"{kind}: {told}"), markup=False)


def _shown(value: Any) -> str:
    """A parameter: text and numbers as they are, an array by its type and shape."""
    array = np.asarray(value)
    if array.ndim == 0:
        return str(value)
    if array.size <= 3 and array.dtype.kind in "biu":
        return str(array.tolist())
    return f"{array.dtype}{list(array.shape)}"


def _document(bundle: Bundle) -> dict[str, Any]:
    graph = bundle.graph
    return {
        **{key: value for key, value in bundle.manifest.items() if key not in ("members", "seal")},
        "members": {name: entry["size"] for name, entry in bundle.manifest["members"].items()},
        "input": str(graph.types[graph.inputs[0]]),
        "output": str(graph.types[graph.outputs[0]]),
        "nodes": len(graph.nodes),
        "neurons": sum(graph.types[node.name].size for node in graph.neurons()),
        "weights": sum(node.op.weight.size for node in graph.nodes if hasattr(node.op, "weight")),
        "chip": _chip(bundle),
        "recipe": bundle.json("recipe.json"),
        "ledger": bundle.json("ledger.json"),
    }


def _chip(bundle: Bundle) -> dict[str, Any] | None:
    """How the network lies on a chip; None for a target without cores."""
    if "mapping.json" not in bundle.members:
        return None
    mapping = Mapping.from_json(bundle.json("mapping.json"), bundle.json("network.json"))
    return {
        "name": mapping.chip.name,
        "cores": len(mapping.cores),
        "chips": len({core.chip for core in mapping.cores}),
        "steps": mapping.network.steps,
        "shares": mapping.network.shares(),
    }


def _print_chip(chip: dict[str, Any]) -> None:
    neurons = sum(share["neurons"] for share in chip["shares"].values())
    cores, chips = counted(chip["cores"], "core"), counted(chip["chips"], "chip")
    steps = counted(chip["steps"], "chip step")
    console.print(f"{counted(neurons, 'neuron')} on {cores} of {chips}, {steps} a time step", markup=False)
    for tag, share in chip["shares"].items():
        console.print(f"  {counted(share['neurons'], 'neuron')}: {printable(tag)}", markup=False)


def _print(bundle: Bundle) -> None:
    document = _document(bundle)
    provenance = document["provenance"]
    console.print(
        printable(f"{document['name']} for {document['target']}, by spikeloom {document['spikeloom']}"),
        style="bold",
        markup=False,
    )
    console.print(
        printable(
            f"model {provenance.get('model', '?')}, checkpoint {provenance.get('checkpoint') or 'none'}"
        ),
        markup=False,
    )
    if "calibration" in provenance:
        console.print(f"calibrated on random inputs ({printable(provenance['calibration'])})", markup=False)
    console.print(f"input {document['input']}, output {document['output']}", markup=False)
    console.print(
        f"{counted(document['nodes'], 'node')}, {counted(document['neurons'], 'neuron')}, "
        f"{counted(document['weights'], 'weight')} of {document['options']['bits']} bits"
    )
    if document["chip"] is not None:
        _print_chip(document["chip"])
    members = table("\nMembers", "name", "bytes")
    for name, size in document["members"].items():
        members.add_row(name, f"{size:,}")
    console.print(members)
    console.print(comparisons("\nCompared while it was compiled", document["ledger"]))
