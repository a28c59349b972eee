"""What a log of a run says of the bundle, and where its neurons are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.bundle import Bundle
from spikeloom.compiler.mapping.placement import Mapping as ChipMapping
from spikeloom.runtime.early_exit.rule import ExitRule
from spikeloom.runtime.events.array_recipe import read_recipe
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.log.journal import About, Detail, Recorder, names_digest
from spikeloom.runtime.session_state import network_digest
from spikeloom.runtime.spikelog import Places


def recorder_of(bundle: Bundle, detail: str) -> Recorder:
    """A recorder for a bundle; ``detail`` is «core» or «neuron».

    Raises:
        InputError: SL0901, there is no such detail.
    """
    graph = bundle.graph
    cores = _cores(bundle)
    places = {
        node.name: Places(graph.types[node.name].size, cores.get(node.name)) for node in graph.neurons()
    }
    return Recorder(places, cast(Detail, detail))


def about_run(
    bundle: Bundle, engine: str, names: Sequence[str], recorder: Recorder, rule: ExitRule | None
) -> About:
    """What the log of a run is of."""
    recipe = read_recipe(bundle.json("recipe.json"))
    options: dict[str, Any] = {"engine": engine, "exit": rule.to_json() if rule else None}
    shapes = {node.name: bundle.graph.types[node.output].shape for node in bundle.graph.neurons()}
    return About(
        network_digest(bundle),
        str(bundle.manifest.get("target", "")),
        names_digest(list(names)),
        options,
        shapes,
        recorder.detail,
        recipe.duration_us if isinstance(recipe, FrameRecipe) else None,
    )


def _cores(bundle: Bundle) -> dict[str, NDArray[np.int32]]:
    if "mapping.json" not in bundle.members:
        return {}
    mapping = ChipMapping.from_json(bundle.json("mapping.json"), bundle.json("network.json"))
    return {node.name: mapping.cores_of(node.name) for node in bundle.graph.neurons()}
