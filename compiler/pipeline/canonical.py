"""The second stage: the graph in the form that quantization reads, compared with the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.passes import run_passes
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.ledger import Comparison
from spikeloom.compiler.passes.canonicalise import CANONICALISE
from spikeloom.compiler.pipeline.chains import settle_chains
from spikeloom.compiler.pipeline.compilation import Compilation
from spikeloom.compiler.pipeline.options import Options
from spikeloom.compiler.quantize.activity import measure_activity

if TYPE_CHECKING:
    pass


def canonicalise(run: Compilation, profile: NumericProfile, options: Options) -> Graph:
    """Bring the captured graph to its canonical form, and measure what fires in it.

    Raises:
        InputError: layers that never fire, unless the options accept them.
    """
    assert run.captured is not None
    assert run.inputs is not None
    if run.prepared is not None:  # its weights are those of its own canonical graph
        graph = run.prepared.canonical
    else:
        graph = run_passes(run.captured, CANONICALISE)
        graph, run.chains = settle_chains(graph, options.repconv, profile, run.inputs.trial_real)
    run.canonical = graph
    seen = options.within.percentile if options.within.method == "percentile" else 100.0
    run.activity = measure_activity(graph, run.inputs.real, options.silence, seen)
    trial = run.inputs.trial_real
    flips, cells = _spikes_apart(run.captured, graph, trial)
    run.ledger.add(
        Comparison(
            "canonical graph",
            "captured graph, both in float64",
            trial.shape[1],
            len(trial),
            cells,
            flips,
            "measured",
        )
    )
    return graph


def _spikes_apart(first: Graph, second: Graph, frames: Array) -> tuple[int, int]:
    flips = cells = 0
    runs = (Interpreter(first), Interpreter(second))
    for run in runs:
        run.reset(frames.shape[1])
    layers = [node.name for node in first.neurons()]
    for frame in frames:
        a, b = (run.step(frame, keep=layers) for run in runs)
        for name in layers:
            flips += int((a[name] != b[name]).sum())
            cells += a[name].size
    return flips, cells
