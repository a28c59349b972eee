"""The estimate of a bundle as one document: what the command prints and the report shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.bundle import Bundle
from spikeloom.compiler.graph.target import find_target
from spikeloom.compiler.mapping.placement import Mapping as ChipMapping
from spikeloom.runtime.early_exit.rule import ExitRule
from spikeloom.runtime.estimate.activity import NetworkActivity, measure, population_rates
from spikeloom.runtime.estimate.chip import USED, Workload, estimate_chip
from spikeloom.runtime.estimate.messages import messages_sent
from spikeloom.runtime.events.array_recipe import event_recipe, read_recipe
from spikeloom.runtime.events.samples.sample import Samples

BATCH = 8
NO_MODEL = "the target has no model of them; compile for a chip, see `spikeloom targets`"


def estimate_bundle(
    bundle: Bundle,
    samples: Samples,
    done: Callable[[], None] = lambda: None,
    exit_rule: ExitRule | None = None,
) -> dict[str, Any]:
    """Count operations on samples, and estimate latency and energy where the target has a model.

    Args:
        bundle: a compiled network.
        samples: what it is run on.
        done: called after each sample.
        exit_rule: stops inference early: what comes after is neither counted nor paid for.

    Returns:
        ``steps`` of a sample (the mean), ``operations`` (NeuroBench's terms, per inference), ``neurobench``
        (its metrics of the integer network), ``modes`` (``back_to_back`` and ``sensor_paced``, each with
        ``latency_s`` and ``energy_j`` as bands with parts), ``validated``, ``validation``, ``constants`` with
        their sources, ``chip`` with what the estimate rests on.

    Raises:
        InputError: as the samples say; SL0803, there are none.
    """
    activity = measure(bundle.graph, _batches(samples, done), exit_rule)
    document: dict[str, Any] = {
        "samples": activity.samples,
        "steps": activity.steps,
        "operations": activity.operations.to_json(),
        "neurobench": activity.neurobench.to_json(),
        "modes": {},
        "validated": False,
        "validation": NO_MODEL,
        "constants": {},
    }
    if "mapping.json" not in bundle.members:
        return document
    return document | _chip(bundle, activity)


def _chip(bundle: Bundle, activity: NetworkActivity) -> dict[str, Any]:
    recipe = event_recipe(read_recipe(bundle.json("recipe.json")), str(bundle.path))
    mapping = ChipMapping.from_json(bundle.json("mapping.json"), bundle.json("network.json"))
    costs = find_target(bundle.manifest["target"]).costs()
    rates = population_rates(mapping.network, bundle.graph, activity)
    workload = Workload(activity.steps, recipe.duration_us, activity.input_events)
    result = estimate_chip(mapping, rates, workload, costs)
    return {
        "modes": {name: mode.to_json() for name, mode in result.modes.items()},
        "validated": False,
        "validation": "the network has not been measured on this chip; constants carry their own origin",
        "constants": {name: costs[name].to_json() for name in USED},
        "chip": {
            "name": mapping.chip.name,
            "chips": result.chips,
            "cores": result.cores,
            "step_s": result.step_s.to_json(),
            "pipeline_steps": result.depth,
            "chip_steps_per_step": result.slots,
            "busiest_core": vars(result.busiest),
            "per_step": dict(result.per_step),
            "messages": messages_sent(mapping.network, rates).to_json(),
            "shares": {tag: dict(row) for tag, row in result.shares.items()},
        },
    }


def _batches(samples: Samples, done: Callable[[], None]) -> Iterator[NDArray[np.uint8]]:
    waiting: list[NDArray[np.uint8]] = []
    for index, sample in enumerate(samples):
        waiting.append(sample.frames)
        done()
        if len(waiting) == BATCH or index == len(samples) - 1:
            yield np.stack(waiting, 1)
            waiting = []
