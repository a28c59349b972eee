"""Latency and energy of a mapped network on its chip, as bands.

The step time follows the law published for Loihi 2 (Timcheck, Pierro, Shrestha, arXiv 2601.10035):
a step takes as long as the busiest resource of the busiest core, and no less than the barrier. Where
a time step of the network takes K chip steps, it takes no less than K barriers, and at the high end
all its work is in one of them.
The low end lets neuron updates, synapses and messages of a core overlap wholly, the high end not
at all. Energy is operations times energy each, plus static power for as long as the chip is on.

Two modes, never mixed. *Back to back*: all frames of a sample are there and the steps follow each
other as fast as the chip can. *Sensor paced*: a frame is processed when its window closes; in
between the chip idles, and its static energy counts for the whole window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spikeloom.compiler.graph.figure import Figure
from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.placement import Mapping as ChipMapping
from spikeloom.runtime.estimate.interval import Interval, largest, total
from spikeloom.runtime.estimate.load import CoreLoad, core_loads, pipeline_depth, synaptic_operations

SECONDS_PER_US = 1e-6
USED = (
    "e_synop", "e_update", "e_spike", "e_hop", "e_reset", "t_synop", "t_update", "t_spike",
    "t_barrier", "t_barrier_chips", "p_static", "p_host", "r_inject",
)  # fmt: skip
"""The constants that an estimate rests on."""


@dataclass(frozen=True)
class Mode:
    """Latency and energy per inference in one operating mode.

    Attributes:
        latency: parts by name, in seconds.
        energy: of the chips, parts by name, in joules.
        host: of the board's processors for the same time, in joules; not part of ``energy``.
    """

    latency: Mapping[str, Interval]
    energy: Mapping[str, Interval]
    host: Interval

    def to_json(self) -> dict[str, Any]:
        """``latency_s`` and ``energy_j``, each with its band and its parts; ``host_energy_j``."""
        return {
            "latency_s": _with_parts(self.latency),
            "energy_j": _with_parts(self.energy),
            "host_energy_j": self.host.to_json(),
        }


@dataclass(frozen=True)
class ChipEstimate:
    """The estimate of one network on one chip.

    Attributes:
        modes: ``back_to_back``, and ``sensor_paced`` where frames have a duration.
        step_s: time of one time step of the network.
        depth: chip steps from an input spike to the output.
        slots: chip steps that a time step of the network takes.
        cores, chips: in use.
        busiest: load of the core that binds.
        per_step: synaptic operations, neuron updates, messages that are sent, and router hops.
        shares: neurons and synaptic operations by what it takes to run them (the network's tags).
    """

    modes: Mapping[str, Mode]
    step_s: Interval
    depth: int
    slots: int
    cores: int
    chips: int
    busiest: CoreLoad
    per_step: Mapping[str, float]
    shares: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Workload:
    """What is run: one inference.

    Attributes:
        steps: time steps of a sample; the mean where an early exit stops some before others.
        window_us: duration of one frame of the sensor, in microseconds; None where frames have none of
            their own, so that there is no pace to keep.
        input_events: non-zero inputs of a sample.
    """

    steps: float
    window_us: int | None
    input_events: float


def estimate_chip(
    mapping: ChipMapping,
    rates: Mapping[str, float],
    workload: Workload,
    costs: Mapping[str, Figure],
) -> ChipEstimate:
    """Estimate a mapped network.

    Args:
        mapping: the network on cores.
        rates: messages per neuron and step, by population.
        workload: one inference.
        costs: constants of the target, by name.
    """
    cost = {name: Interval.of(figure) for name, figure in costs.items()}
    loads = core_loads(mapping, rates)
    per_step = {
        "synaptic_operations": sum(load.synaptic for load in loads.values()),
        "neuron_updates": sum(load.updates for load in loads.values()),
        "messages": mapping.sent(rates) + mapping.injected(rates),
        "hops": mapping.hops(rates),
    }
    barrier = cost["t_barrier"] if mapping.chip.chips == 1 else cost["t_barrier_chips"]
    slots = mapping.network.steps
    step = largest([barrier * float(slots), *(_core_time(load, cost) for load in loads.values())])
    step = Interval(step.low, step.nominal, step.high + barrier.high * (slots - 1))
    depth = pipeline_depth(mapping.network)
    run = _Run(step, depth, depth / slots, mapping.chip.chips, per_step, workload, cost)
    modes = {"back_to_back": run.back_to_back()}
    if workload.window_us is not None:
        modes["sensor_paced"] = run.sensor_paced(workload.window_us)
    return ChipEstimate(
        modes,
        step,
        run.depth,
        slots,
        len(loads),
        run.chips,
        max(loads.values(), key=lambda load: _core_time(load, cost).nominal),
        per_step,
        _shares(mapping.network, rates),
    )


def _core_time(load: CoreLoad, cost: Mapping[str, Interval]) -> Interval:
    parts = [
        cost["t_update"] * load.updates,
        cost["t_synop"] * load.synaptic,
        cost["t_spike"] * load.messages,
    ]
    return Interval(
        max(part.low for part in parts), max(part.nominal for part in parts), sum(part.high for part in parts)
    )


@dataclass(frozen=True)
class _Run:
    """One inference on the chip: what both modes share."""

    step: Interval
    depth: int
    pipeline: float  # network steps
    chips: int
    per_step: Mapping[str, float]
    workload: Workload
    cost: Mapping[str, Interval]

    def back_to_back(self) -> Mode:
        return self._mode(
            {
                "injection": self._injection(self.workload.input_events),
                "steps": self.step * self.workload.steps,
                "pipeline": self.step * self.pipeline,
            }
        )

    def sensor_paced(self, window_us: int) -> Mode:
        steps = self.workload.steps
        return self._mode(
            {
                "sensing_window": Interval.exactly(steps * window_us * SECONDS_PER_US),
                "injection": self._injection(self.workload.input_events / steps),
                "steps": self.step,
                "pipeline": self.step * self.pipeline,
            }
        )

    def _injection(self, events: float) -> Interval:
        """Time to bring input spikes onto the chip."""
        return Interval.exactly(events).over(self.cost["r_inject"])

    def _mode(self, latency: Mapping[str, Interval]) -> Mode:
        on = total(latency.values())
        return Mode(latency, self._energy(on), self.cost["p_host"] * on)

    def _energy(self, on: Interval) -> dict[str, Interval]:
        """Energy by part, if the chips are on for so long.

        Every layer works through each time step once, ``depth`` chip steps later at most; its
        neurons are updated in those steps too.
        """
        steps, cost, count = self.workload.steps, self.cost, self.per_step
        return {
            "synapses": cost["e_synop"] * (count["synaptic_operations"] * steps),
            "neuron_updates": cost["e_update"] * (count["neuron_updates"] * (steps + self.pipeline)),
            "messages": cost["e_spike"] * (count["messages"] * steps),
            "hops": cost["e_hop"] * (count["hops"] * steps),
            "reset": cost["e_reset"] * float(self.chips),
            "static": cost["p_static"] * on * float(self.chips),
        }


def _shares(network: Network, rates: Mapping[str, float]) -> dict[str, dict[str, float]]:
    shares: dict[str, dict[str, float]] = {}
    for population in network.placed:
        row = shares.setdefault(population.tag, {"neurons": 0, "synaptic_operations": 0.0})
        row["neurons"] += population.size
        box = Box.whole(population.shape)
        row["synaptic_operations"] += synaptic_operations(network, population.name, box, rates)
    return shares


def _with_parts(parts: Mapping[str, Interval]) -> dict[str, Any]:
    return {
        **total(parts.values()).to_json(),
        "parts": {name: part.to_json() for name, part in parts.items()},
    }
