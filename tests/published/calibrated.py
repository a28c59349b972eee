"""Models with random weights that fire: at their initial weights most published models are silent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from spikeloom.compiler.frontends.torch.axes import InputShape, Lead
from spikeloom.compiler.frontends.torch.neurons import reset_states
from spikeloom.compiler.frontends.torch.tokens import vocabulary_of
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.pipeline import Compilation, Options, compile_model

SAMPLES = 4
ON = 0.3
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def random_inputs(
    shape: InputShape, steps: int, samples: int = SAMPLES, seed: int = 1, tokens: int = 0
) -> Array:
    """Frames [steps, samples, ...] of spikes, pictures [samples, ...] if the input has no time, or tokens."""
    rng = np.random.default_rng(seed)
    if tokens:
        drawn: Array = rng.integers(0, tokens, (steps, samples))
        drawn[0, 0] = tokens - 1
        return drawn
    if not shape.lead.has_time:
        return rng.random((samples, *shape.sample), np.float32)
    return (rng.random((steps, samples, *shape.sample)) < ON).astype(np.float32)


def make_it_fire(model: nn.Module, shape: InputShape, inputs: Array, seed: int = 0) -> None:
    """Give batch norms random gains and biases, and the statistics of these inputs; eval mode at the end."""
    if not any(isinstance(module, NORMS) for module in model.modules()):
        model.eval()
        return
    generator = torch.Generator().manual_seed(seed)
    model.train()
    module: Any
    for module in model.modules():
        if isinstance(module, NORMS):
            module.momentum = 1.0
            with torch.no_grad():
                module.weight.copy_(1 + torch.rand(module.weight.shape, generator=generator))
                module.bias.copy_(0.3 + torch.rand(module.bias.shape, generator=generator))
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
    x = torch.from_numpy(inputs)
    with torch.no_grad():
        for _ in range(2):
            reset_states(model)
            model(x.transpose(0, 1) if shape.lead is Lead.BATCH_TIME else x)
    reset_states(model)
    model.eval()


@dataclass(frozen=True)
class Row:
    """What was found of a model.

    Attributes:
        parameters: counted.
        nodes, layers: of the captured graph; neuron layers.
        proved: cells (spikes, potentials, outputs) compared with eager PyTorch, one step at a time.
        rates: firing rate of each neuron layer.
        decisions, flips: of neurons from the same membranes; those that rounding changed.
        compared, mismatches: cells of the reference engine and ONNX Runtime.
        taken_over, weights: weighted layers whose trained grid was kept, and all.
        numbers, weight_bits: how many weights, and the width of all of them together.
        over_samples: neuron layers that run on from one sample to the next.
    """

    parameters: int
    nodes: int
    layers: int
    proved: int
    rates: dict[str, float]
    decisions: int
    flips: int
    compared: int
    mismatches: int
    taken_over: int
    weights: int
    numbers: int
    weight_bits: int
    over_samples: tuple[str, ...]


def compiled(
    model: nn.Module, shape: InputShape, steps: int, stop_after: str = "bundle", samples: int = SAMPLES
) -> Compilation:
    """The model, made to fire and compiled for ``onnx``; the pipeline proves and compares on the way."""
    vocabulary = vocabulary_of(model, shape)
    inputs = random_inputs(shape, steps, samples, tokens=vocabulary.size if vocabulary else 0)
    make_it_fire(model, shape, inputs)
    options = Options("onnx", steps=steps, stop_after=stop_after)
    return compile_model(
        model, shape, None, inputs[:, :2] if shape.lead.has_time else inputs[:2], options, None
    )


def row_of(model: nn.Module, run: Compilation) -> Row:
    """The figures of a compilation."""
    assert run.capture is not None
    ledger = {entry["stage"] + entry["against"][:4]: entry for entry in run.ledger.to_json()}
    proof, onnx = ledger["captured grapheage"], ledger.get("onnx/sequence.onnxinte")
    decided = next((e for e in run.ledger.to_json() if "decision by decision" in e["against"]), None)
    grids = run.quantized.grids if run.quantized is not None else ()
    bits = numbers = 0
    if run.quantized is not None:
        stored = {n.name: n.op.weight for n in run.quantized.graph.nodes if hasattr(n.op, "weight")}
        numbers = sum(weight.size for weight in stored.values())
        bits = sum(stored.pop(grid.layer).size * grid.bits for grid in grids)
        bits += sum(8 * table.nbytes for table in stored.values())
    return Row(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        nodes=len(run.capture.graph.nodes),
        layers=sum(1 for _ in run.capture.graph.neurons()),
        proved=proof["cells"],
        rates={} if run.activity is None else dict(run.activity.rates),
        decisions=0 if decided is None else decided["cells"],
        flips=0 if decided is None else decided["differing"],
        compared=0 if onnx is None else onnx["cells"],
        mismatches=0 if onnx is None else onnx["differing"],
        taken_over=sum(grid.taken_over for grid in grids),
        weights=len(grids),
        numbers=numbers,
        weight_bits=bits,
        over_samples=run.capture.over_samples,
    )
