"""Write docs/attention.md: what each form of attention costs on Loihi 2, counted on lowered networks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from spikeloom.atomic import write_text
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.targets.loihi.attention import Form
from spikeloom.targets.loihi.lowering.rule import EXISTING
from spikeloom.targets.loihi.retime import retime
from spikeloom.targets.loihi.target import Loihi2

PAGE = Path(__file__).with_name("attention.md")
HEAD = """# What attention costs on Loihi 2

Written by `make docs` from lowered networks; do not edit.

q, k and v are spikes of `heads` x `tokens` x `width`; what is counted lies between them and the neurons
that fire on the result, these included. *Steps* are chip steps from q, k and v to that layer's spikes; paths
are balanced by delays in synapses. *LIF* is the share of neurons that are the chip's own; the rest needs a
neuron program that nobody has published. *Cores* is neurons over 4,095, the least that could hold them;
weights and axons may ask for more.

K is the chip steps that one time step of the network takes: 1 where both products are made at once. *Rows* make
a row of the first product in each chip step: the scores of one token, or kᵀ times one channel of v, whichever is
less work. *Memory* adds up kᵀ v while tokens come one by one, then answers them one by one. Every neuron of a
network with K over 1 must wait for its next network step, also those that are not counted here, so that all LIFs
become programs, and a sample of T steps takes K T chip steps and the latency.

| form | heads x tokens x width | K | neurons | synapses | steps | LIF | cores at least |
|---|---|---|---|---|---|---|---|
"""
SIZES = ((1, 16, 16), (4, 16, 16), (12, 64, 32), (8, 196, 64))
"""Prototypes of Lava's own processes; a small example; Spikformer-4-384; a model of 8-512, 14 x 14 tokens."""


def _lif(axes: int) -> IntegerNeuron:
    one = (1,) * axes
    return IntegerNeuron(np.full((1, *one), 64), np.zeros(one, np.int64), 2048, 7, state_bits=24)


def _start(heads: int, tokens: int, width: int) -> tuple[GraphBuilder, tuple[str, ...]]:
    builder = GraphBuilder("attention", Stage.INTEGER, "loihi2")
    x = builder.input("x", Type((3 * heads, tokens, width), SPIKES))
    return builder, builder.add("split", Split(0, (heads, heads, heads)), x)


def scores_first(heads: int, tokens: int, width: int) -> Graph:
    """SSA as (q kᵀ) v."""
    builder, (q, k, v) = _start(heads, tokens, width)
    (k,) = builder.add("kT", Transpose((0, 2, 1)), k)
    (y,) = builder.add("mix", MatMul(), *builder.add("scores", MatMul(), q, k), v)
    builder.output(builder.add("lif", _lif(3), y)[0])
    return builder.build()


def memory_first(heads: int, tokens: int, width: int) -> Graph:
    """SSA as q (kᵀ v)."""
    builder, (q, k, v) = _start(heads, tokens, width)
    (k,) = builder.add("kT", Transpose((0, 2, 1)), k)
    (y,) = builder.add("mix", MatMul(), q, *builder.add("memory", MatMul(), k, v))
    builder.output(builder.add("lif", _lif(3), y)[0])
    return builder.build()


def spike_driven(heads: int, tokens: int, width: int) -> Graph:
    """SDSA: the fired column sums of k and v mask q."""
    builder, (q, k, v) = _start(heads, tokens, width)
    (sums,) = builder.add("sums", ReduceSum((1,)), *builder.add("both", Mul(), k, v))
    (mask,) = builder.add("mask", Reshape((heads, 1, width)), *builder.add("lif", _lif(2), sums))
    builder.output(builder.add("masked", Mul(), q, mask)[0])
    return builder.build()


def by_queries(heads: int, tokens: int, width: int) -> Graph:
    """QK token attention: tokens whose query sum fires pass their key."""
    builder, (q, k, _) = _start(heads, tokens, width)
    (sums,) = builder.add("sums", ReduceSum((2,)), q)
    (mask,) = builder.add("mask", Reshape((heads, tokens, 1)), *builder.add("lif", _lif(2), sums))
    builder.output(builder.add("masked", Mul(), mask, k)[0])
    return builder.build()


FORMS: dict[str, tuple[Callable[[int, int, int], Graph], Form]] = {
    "SSA, (q kᵀ) v": (scores_first, "as written"),
    "SSA, q (kᵀ v)": (memory_first, "as written"),
    "SSA by rows": (scores_first, "rows"),
    "SSA by memory": (scores_first, "memory"),
    "SDSA": (spike_driven, "as written"),
    "QK": (by_queries, "as written"),
}


def page() -> str:
    """The page as Markdown."""
    rows = [
        _row(name, build(*sizes), form, sizes) for sizes in SIZES for name, (build, form) in FORMS.items()
    ]
    return HEAD + "".join(rows)


def _row(name: str, graph: Graph, form: Form, sizes: tuple[int, int, int]) -> str:
    target = Loihi2(form)
    network = target.lower(target.arrange(graph))
    neurons = sum(population.size for population in network.placed)
    synapses = sum(network.synapses(number) for number in range(len(network.projections)))
    own = network.shares().get(EXISTING, {"neurons": 0})["neurons"]
    most = next(limit.value for limit in target.chip().limits if limit.name == "neurons")
    cores = -(-neurons // int(most))
    size = " x ".join(map(str, sizes))
    steps = retime(network).latency
    cells = (
        name,
        size,
        network.steps,
        f"{neurons:,}",
        f"{synapses:,}",
        steps,
        f"{own / neurons:.0%}",
        f"{cores:,}",
    )
    return f"| {' | '.join(map(str, cells))} |\n"


if __name__ == "__main__":
    if "-" in sys.argv:
        sys.stdout.write(page())
    else:
        write_text(PAGE, page())
