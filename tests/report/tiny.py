"""A small spiking transformer in a bundle, made by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikeloom.compiler.bundle import Bundle, graph_members, json_member, read_bundle, write_bundle
from spikeloom.compiler.graph.graph import Graph, Unit
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.compiler.graph.target import find_target
from spikeloom.compiler.mapping.explain import explain
from spikeloom.compiler.mapping.partition import map_network
from spikeloom.compiler.mapping.target import ChipTarget
from spikeloom.runtime.events.recipe import FrameRecipe
from tests.random_networks import Grower, NeuronStyle, RandomNetwork, random_frames

STEPS, SAMPLES, SIDE, CLASSES = 4, 6, 6, 3
RECIPE = FrameRecipe(width=SIDE, height=SIDE, steps=STEPS, duration_us=1000)


@dataclass(frozen=True)
class Names:
    """What a user may have called things."""

    model: str = "Tiny"
    stem: str = "stem.neuron"
    checkpoint: str = "tiny.pt"


def grow(names: Names) -> RandomNetwork:
    """Convolution, neurons, attention between channels, neurons, sum over positions, readout."""
    rng = np.random.default_rng(7)
    net = Grower(names.model, random_frames(rng, (2, SIDE, SIDE), STEPS, SAMPLES), rng)
    style = NeuronStyle(horizon=STEPS)
    conv = Conv2d(net.weights((4, 2, 3, 3)), None, (1, 1), (1, 1), (1, 1))
    (drive,) = net.add("stem.conv", conv, net.x)
    stem = net.neuron(drive, style, name=names.stem)
    (tokens,) = net.add("tokens", Reshape((4, SIDE * SIDE)), stem)
    (turned,) = net.add("turned", Transpose((1, 0)), tokens)
    (scores,) = net.add("attention.scores", MatMul(), tokens, turned)
    (mixed,) = net.add("attention.mixed", MatMul(), scores, tokens)
    fired = net.neuron(mixed, style, name="attention.neuron")
    (pooled,) = net.add("pooled", ReduceSum((1,)), fired)
    (head,) = net.add("head", Linear(net.weights((CLASSES, 4)), None), pooled)
    net.builder.units[head] = Unit(np.full(1, 0.01), np.zeros(CLASSES))
    return net.finish(head)


def activity(names: Names) -> dict[str, Any]:
    return {
        "samples": 5,
        "steps": STEPS,
        "rates": {names.stem: 0.21, "attention.neuron": 0.34},
        "weights": [
            {"layer": "stem.conv", "bits": 8, "largest": 127, "steps": 4, "error": 0.0123, "halvings": 0},
            {"layer": "head", "bits": 6, "largest": 31, "steps": 1, "error": 0.0456, "halvings": 0},
        ],
        "rounding_bounds": [],
    }


def ledger(names: Names) -> list[dict[str, Any]]:
    flips = [
        {"layer": names.stem, "cells": 2880, "flips": 36, "rate_trained": 0.2, "rate_integer": 0.2},
        {"layer": "attention.neuron", "cells": 2880, "flips": 72, "rate_trained": 0.3, "rate_integer": 0.3},
    ]
    common = {"samples": 5, "steps": STEPS, "cells": 5760}
    capture = {"stage": "captured graph", "against": "PyTorch", "differing": 0, "tolerance": "zero"}
    return [
        {**capture, **common, "detail": {}},
        {
            "stage": "integer graph",
            "against": "trained PyTorch, free running",
            "differing": 108,
            "tolerance": "measured",
            "detail": {"samples": 5, "steps": STEPS, "predictions": 4, "layers": flips},
            **common,
        },
    ]


def make_bundle(path: Path, target: str, names: Names, graph: Graph) -> Bundle:
    members = graph_members(graph)
    members |= {f"onnx/{name}": data for name, data in find_target("onnx").artifacts(graph).items()}
    members["recipe.json"] = json_member(RECIPE.to_json())
    members["activity.json"] = json_member(activity(names))
    members["ledger.json"] = json_member(ledger(names))
    chip = find_target(target)
    if isinstance(chip, ChipTarget):
        mapping = map_network(chip.lower(graph), chip.chip())
        members["network.json"] = json_member(mapping.network.to_json())
        members["mapping.json"] = json_member(mapping.to_json())
        members["explanation.json"] = json_member(explain(mapping, {}).to_json())
    about = {
        "spikeloom": "0.0.1",
        "name": graph.name,
        "target": target,
        "options": {"bits": 8, "chips": 1, "seed": 0},
        "provenance": {"model": names.model, "checkpoint": names.checkpoint},
    }
    write_bundle(path, members, about)
    return read_bundle(path)
