"""The engine that runs plans: micro-batches side by side in threads, states kept between calls."""

from __future__ import annotations

from collections.abc import Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.engine import Trace
from spikeloom.compiler.graph.graph import Graph, Node, Stage
from spikeloom.compiler.graph.kinds import spike_dtype
from spikeloom.compiler.graph.op import Array
from spikeloom.errors import InputError
from spikeloom.runtime.engines.event.memory import restored
from spikeloom.runtime.engines.event.plan import Call, Moment, Planner, Shared, by_definition
from spikeloom.runtime.engines.event.reassociate import reassociate
from spikeloom.runtime.engines.event.rules import all_rules
from spikeloom.runtime.engines.frames import check_frames, check_state

# What one plan works on should stay in the cache of a core.
SAMPLES_PER_PLAN = 4
FRAMES_PER_PLAN = 16


@dataclass
class _Plan:
    """A planned run of some steps of some samples."""

    entry: Array
    calls: list[Call]


@dataclass
class _Group:
    """A micro-batch: its samples and its state."""

    samples: slice
    pending: Mapping[str, Array]  # [1 or samples, ...] as the graph has it, until a plan holds it
    held: dict[str, Array] = field(default_factory=dict)

    @property
    def size(self) -> int:
        size: int = self.samples.stop - self.samples.start
        return size


class EventEngine:
    """Executes an integer graph by kernels that skip what is zero.

    Results are those of the reference, whatever is chosen: only the speed depends on how busy the
    network is. Samples run in micro-batches of :data:`SAMPLES_PER_PLAN`.

    Attributes:
        counts: of the last run, how many neurons of each layer fired, int64 [steps, batch].

    >>> from spikeloom.compiler.graph.graph import GraphBuilder
    >>> from spikeloom.compiler.graph.kinds import SPIKES, Type
    >>> from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
    >>> builder = GraphBuilder("one", Stage.INTEGER)
    >>> x = builder.input("x", Type((1,), SPIKES))
    >>> lif = IntegerNeuron(theta=np.array([[95]]), bias=np.array([0]), decay=2048, fraction_bits=6)
    >>> builder.output(builder.add("lif", lif, x)[0])
    >>> engine = EventEngine(builder.build())
    >>> engine.reset(batch=1)
    >>> engine.run(np.ones((4, 1, 1), np.uint8)).spikes["lif"].ravel()
    array([0, 1, 0, 1], dtype=uint8)
    >>> engine.counts["lif"].ravel()
    array([0, 1, 0, 1])
    """

    name = "event"

    def __init__(self, graph: Graph, workers: int = 1, records: bool = True) -> None:
        """Prepare the weights of a network.

        Args:
            graph: an integer graph with one input and one output.
            workers: micro-batches that run side by side.
            records: whether traces hold the spikes of every layer; else only how many there were is known,
                which saves the memory that they would be copied to.

        Raises:
            InputError: SL0801, the graph is no integer graph, or has several inputs or outputs.
        """
        if graph.stage is not Stage.INTEGER or len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise InputError.of("SL0801", "event", "runs integer graphs with one input and one output")
        self._graph = graph
        self._planned = reassociate(graph)
        self._shared = Shared()
        self._idle: dict[tuple[int, int], list[_Plan]] = {}
        self._workers = workers
        self._records = records
        self._groups: list[_Group] = []
        self._starts: dict[str, Array] = {}
        self._start: dict[str, Array] = {
            f"{node.name}/{name}": np.asarray(array)[None]
            for node, op in graph.stateful()
            for name, array in op.initial(*graph.input_types(node)).items()
        }
        self._batch = 0
        self.counts: dict[str, NDArray[np.int64]] = {}

    def reset(self, batch: int) -> None:
        """Forget everything and expect ``batch`` samples side by side."""
        if batch != self._batch or not self._groups:
            self._groups = [_Group(samples, {}) for samples in _micro_batches(batch)]
            self._batch = batch
        for group in self._groups:
            group.pending = self._start

    def run(self, frames: Array) -> Trace:
        """Advance by frames [steps, batch, ...].

        The spikes of a trace lie in the order of memory of the kernels that made them.

        Raises:
            InputError: SL0803, the frames do not fit the network.
        """
        check_frames(self._graph, frames, self._batch)
        for size in {group.size for group in self._groups}:
            self._return(self._borrow(_chunk(size, len(frames)), size), size)
        results = self._results(len(frames))
        if self._workers == 1 or len(self._groups) == 1:
            for group in self._groups:
                self._advance(group, frames, results)
        else:
            with ThreadPoolExecutor(self._workers) as pool:
                for done in [pool.submit(self._advance, group, frames, results) for group in self._groups]:
                    done.result()
        self.counts = dict(results.counts)
        return Trace(results.output, dict(results.spikes))

    def state(self) -> dict[str, Array]:
        """A copy of the state, ``"node/state"`` to int64 [batch, ...]."""
        parts = [self._free(group) for group in self._groups]
        return {key: np.concatenate([part[key] for part in parts]) for key in (parts[0] if parts else {})}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Put a state back that :meth:`state` gave, here or in another engine.

        Raises:
            InputError: SL0803, the state is not one of this network.
        """
        check_state(self._graph, state)
        self._batch = max((len(array) for array in state.values()), default=self._batch)
        self._groups = [
            _Group(samples, {key: np.array(array[samples]) for key, array in state.items()})
            for samples in _micro_batches(self._batch)
        ]

    def _hold(self, group: _Group) -> Set[str]:
        """Bring the state of a micro-batch into the form of the plans, in memory it has already if it can.

        Returns the states that are left to their kernels, since they begin at 0.
        """
        rested = self._shared.rested if group.pending is self._start else frozenset()
        for key, array in group.pending.items():
            layout = self._shared.layouts[key]
            held = group.held.get(key)
            if held is None:
                held = group.held[key] = np.empty((group.size, *layout.shape), layout.dtype)
            if key not in rested:
                np.copyto(held, self._held_start(key) if group.pending is self._start else layout.hold(array))
        group.pending = {}
        return rested

    def _held_start(self, key: str) -> Array:
        """What a state is after a reset, as the plans hold it; a single number where it is all the same."""
        if key not in self._starts:
            held = self._shared.layouts[key].hold(self._start[key])
            self._starts[key] = held.ravel()[:1] if (held == held.ravel()[:1]).all() else held
        return self._starts[key]

    def _free(self, group: _Group) -> dict[str, Array]:
        if group.pending or not group.held:
            return {
                key: np.repeat(array, group.size // len(array), 0).astype(np.int64)
                for key, array in group.pending.items()
            }
        shapes = {
            f"{node.name}/{name}": kind.shape
            for node, op in self._graph.stateful()
            for name, kind in op.states(*self._graph.input_types(node)).items()
        }
        layouts = self._shared.layouts
        return {key: layouts[key].free(held, shapes[key]) for key, held in group.held.items()}

    def _advance(self, group: _Group, frames: Array, results: Moment) -> None:
        """Advance one micro-batch by its part of the frames and fill in its part of the results."""
        length = _chunk(group.size, len(frames))
        for start in range(0, len(frames), length):
            steps = slice(start, min(start + length, len(frames)))
            plan = self._borrow(steps.stop - steps.start, group.size)
            rested = self._hold(group)
            part = (steps, group.samples)
            moment = Moment(
                group.held,
                {name: array[part] for name, array in results.spikes.items()},
                {name: array[part] for name, array in results.counts.items()},
                results.output[part],
                rested,
            )
            np.copyto(plan.entry, frames[part])
            for call in plan.calls:
                call(moment)
            self._return(plan, group.size)

    def _results(self, steps: int) -> Moment:
        """Room for the results of a run, in the order of memory of the plans."""
        lead, types = (steps, self._batch), self._graph.types
        layers = [node.output for node in self._graph.neurons()]

        def room(name: str) -> Array:
            axes = self._shared.axes[name]
            kind = types[name]
            held = np.empty((*lead, *(kind.shape[axis] for axis in axes)), spike_dtype(kind.kind))
            return restored(held, axes)

        output = np.empty((*lead, *types[self._graph.outputs[0]].shape), np.int64)
        counts: dict[str, Array] = {name: np.empty(lead, np.int64) for name in layers}
        recorded = layers if self._records else []
        return Moment({}, {name: room(name) for name in recorded}, counts, output)

    def _borrow(self, steps: int, samples: int) -> _Plan:
        """A plan that no other thread uses."""
        idle = self._idle.setdefault((steps, samples), [])
        try:
            return idle.pop()
        except IndexError:
            planner = Planner(self._planned, steps, samples, self._shared)
            calls = planner.plan(_by_rule)
            return _Plan(planner.input, calls)

    def _return(self, plan: _Plan, samples: int) -> None:
        self._idle[len(plan.entry), samples].append(plan)


def _micro_batches(batch: int) -> list[slice]:
    starts = range(0, batch, SAMPLES_PER_PLAN)
    return [slice(start, min(start + SAMPLES_PER_PLAN, batch)) for start in starts]


def _by_rule(planner: Planner, node: Node, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
    """The outputs of a node by its rule, or by its definition where none holds."""
    rule = all_rules().get(type(node.op))
    outputs = None if rule is None else rule(planner, node, node.op, inputs)
    return by_definition(planner, node, inputs) if outputs is None else outputs


def _chunk(samples: int, steps: int) -> int:
    """How many steps a plan takes at once."""
    return min(steps, max(1, FRAMES_PER_PLAN // samples))
