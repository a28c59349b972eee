"""The fourth stage: the network on the cores of a chip."""

from __future__ import annotations

from spikeloom.compiler.graph.target import Target
from spikeloom.compiler.mapping.check import check_mapping
from spikeloom.compiler.mapping.placement import Mapping as ChipMapping
from spikeloom.compiler.mapping.target import ChipTarget, PricedTarget
from spikeloom.compiler.pipeline.compilation import Compilation
from spikeloom.compiler.pipeline.options import Options
from spikeloom.errors import InternalError
from spikeloom.runtime.estimate.activity import measure, population_rates

MAPPED_ON = 8
"""Calibration recordings whose activity the placement is made for."""


def map_to_chip(run: Compilation, target: Target, options: Options) -> ChipMapping | None:
    """Place the network on the cores of the target's chips; None for a target without cores.

    Raises:
        UnsupportedError: it does not fit.
    """
    if not isinstance(target, ChipTarget):
        return None
    from spikeloom.compiler.mapping.explain import explain
    from spikeloom.compiler.mapping.partition import map_network

    assert run.quantized is not None
    assert run.inputs is not None
    calibration = run.inputs.frames
    graph = run.quantized.graph
    network = target.lower(graph)
    run.lowering = target.lowering_cost(graph) if isinstance(target, PricedTarget) else None
    rates = population_rates(network, graph, measure(graph, [calibration[:, :MAPPED_ON]]))
    run.mapping = map_network(network, target.chip().with_chips(options.chips), rates, options.seed)
    if problems := check_mapping(run.mapping):
        raise InternalError(problems)
    run.explanation = explain(run.mapping, rates)
    return run.mapping
