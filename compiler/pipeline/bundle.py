"""The last stage: the engines and the target agree, and the artifact is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikeloom import __version__
from spikeloom.compiler.bundle import Bundle, graph_members, json_member, tensor_member, write_bundle
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.kinds import spike_dtype
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.target import RunnableTarget, Target, find_target
from spikeloom.compiler.ledger import Comparison
from spikeloom.compiler.pipeline.compilation import Compilation
from spikeloom.compiler.pipeline.options import Options
from spikeloom.compiler.pipeline.trained import run_trained
from spikeloom.compiler.quantize.activity import weighted_nodes
from spikeloom.errors import MismatchError
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines import open_engine

if TYPE_CHECKING:
    pass


def write_artifact(
    run: Compilation,
    target: Target,
    options: Options,
    output: Path | None,
    provenance: Mapping[str, Any],
) -> Bundle | None:
    """Compare the engines and the target with the integers, and write the bundle; None without a path.

    Raises:
        MismatchError: SL0802, one of them differs.
        InputError: SL0902, the path cannot be written.
    """
    assert run.quantized is not None
    assert run.inputs is not None
    trial = run.inputs.trial_frames
    assert run.activity is not None
    members = graph_members(run.quantized.graph)
    forms = find_target("onnx").artifacts(run.quantized.graph)
    members |= {f"onnx/{name}": data for name, data in forms.items()}
    if target.name != "onnx":
        extra = target.artifacts(run.quantized.graph)
        members |= {f"{target.name}/{name}": data for name, data in extra.items()}
    _compare_engines(run, forms, trial)
    _compare_on_chip(run, target, trial)
    members["recipe.json"] = json_member(run.inputs.recipe.to_json())
    members["activity.json"] = json_member(_activity_json(run))
    members["ledger.json"] = json_member(run.ledger.to_json())
    members["traces.safetensors"] = tensor_member(_traces(run))
    if run.mapping is not None:
        members["network.json"] = json_member(run.mapping.network.to_json())
        members["mapping.json"] = json_member(run.mapping.to_json())
    if run.explanation is not None:
        members["explanation.json"] = json_member(run.explanation.to_json())
    about = {
        "spikeloom": __version__,
        "name": run.quantized.graph.name,
        "target": target.name,
        "options": {"bits": options.bits, "chips": options.chips, "seed": options.seed},
        "provenance": dict(provenance),
    }
    run.bundle = None if output is None else write_bundle(output, members, about)
    return run.bundle


def _compare_engines(run: Compilation, forms: Mapping[str, bytes], trial: NDArray[np.uint8]) -> None:
    """Run the ONNX forms and the reference on the trial frames; nothing may differ."""
    assert run.quantized is not None
    graph = run.quantized.graph
    comparison = compare_engines(
        {name: open_engine(name, graph, forms) for name in ("reference", "onnx")}, [("trial", trial)]
    )
    if comparison.mismatches:
        raise MismatchError.of("SL0802", comparison.first, "the ONNX form differs from the integer graph")
    run.ledger.add(
        Comparison(
            "onnx/sequence.onnx", "integer graph", trial.shape[1], len(trial), comparison.cells, 0, "zero"
        )
    )


def _compare_on_chip(run: Compilation, target: Target, trial: NDArray[np.uint8]) -> None:
    """Run the target's own steps on the trial frames, unless the network is too large for that."""
    assert run.quantized is not None
    graph = run.quantized.graph
    if not isinstance(target, RunnableTarget) or not target.can_execute(graph):
        return
    name = next(iter(target.engines()))
    engines = {engine: open_engine(engine, graph, {}) for engine in ("reference", name)}
    comparison = compare_engines(engines, [("trial", trial)])
    if comparison.mismatches:
        raise MismatchError.of(
            "SL0802", comparison.first, f"the steps of {target.name} differ from the graph"
        )
    run.ledger.add(
        Comparison(
            f"steps of {target.name}",
            "integer graph",
            trial.shape[1],
            len(trial),
            comparison.cells,
            0,
            "zero",
        )
    )


def _activity_json(run: Compilation) -> dict[str, Any]:
    assert run.quantized is not None
    assert run.activity is not None
    grids = [vars(grid) for grid in run.quantized.grids]
    bounds = [
        {
            "layer": name,
            "decision_state_units": float(bound.decision.max()),
            "decision_real": float((bound.decision * bound.unit).max()),
            "decay_error": bound.leak,
        }
        for name, bound in run.quantized.bounds.items()
    ]
    return {
        "samples": run.activity.samples,
        "steps": run.activity.steps,
        "rates": dict(run.activity.rates),
        "weights": grids,
        "rounding_bounds": bounds,
        "sum_bounds": _sum_bounds(run.quantized.graph),
        "potential_bounds": _potential_bounds(run.quantized.graph),
        "layers": [layer.to_json() for layer in run.layers],
    }


def _sum_bounds(graph: Graph) -> list[dict[str, Any]]:
    """How far the sums of each layer with weights can go, in an accumulator of 32 bits."""
    return [
        {"layer": node.name, "reach": [int(end) for end in graph.types[node.output].kind.bounds]}
        for node in weighted_nodes(graph)
    ]


def _potential_bounds(graph: Graph) -> list[dict[str, Any]]:
    """How far each membrane can go, whatever comes in: the proof that it does not overflow."""
    return [
        {"layer": node.name, "state_bits": node.op.state_bits, "reach": [int(end) for end in reach]}
        for node in graph.nodes
        if isinstance(node.op, IntegerNeuron)
        for reach in [node.op.potential_bounds(*graph.input_types(node))]
    ]


def _traces(run: Compilation) -> dict[str, Array]:
    """What the trained network did on the trial frames: kept so that a bundle can be checked without it."""
    assert run.inputs is not None
    assert run.quantized is not None
    if run.capture is None:  # it was integers from the start
        return {"frames": run.inputs.trial_frames}
    output, spikes = run_trained(run)
    units, types = run.quantized.graph.units, run.quantized.graph.types
    traces = {
        f"spikes/{name}": np.rint(s / units[name].scale).astype(spike_dtype(types[name].kind))
        for name, s in spikes.items()
        if name in units
    }
    return {"frames": run.inputs.trial_frames, "output": output, **traces}
