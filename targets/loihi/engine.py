"""The chip in NumPy: every step of every process, with the integers of Lava's fixed-point models.

Where a network step takes several chip steps, its slots, a process takes and sends in those that it is told.

:class:`Chip` advances a program one chip step at a time, as silicon and Lava do. :class:`LoihiEngine`
puts a network's time steps through it: it loads each layer's state at the layer's own step, lets the
pipeline run out, and shifts what came back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spikeloom.compiler.graph.arithmetic import divide_toward_zero
from spikeloom.compiler.graph.engine import Trace
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.sigma_delta import wrapped
from spikeloom.errors import UnsupportedError
from spikeloom.targets.loihi.host import Host
from spikeloom.targets.loihi.memory import Memory
from spikeloom.targets.loihi.program import (
    DECAY_ONE,
    SHIFT,
    STATE_LIMIT,
    Coding,
    Ints,
    Process,
    Program,
    Synapses,
    Turn,
)

DECAY_BITS = 12
LEAST = -(2**40)  # below everything that can arrive


@dataclass
class State:
    """u and v of one process, [neurons, batch]."""

    u: Ints
    v: Ints

    def copy(self) -> State:
        """The same numbers."""
        return State(self.u.copy(), self.v.copy())


class Chip:
    """Executes a program step by step.

    In a step, every process takes what arrives, changes its state and sends; what a synapse carries
    arrives ``1 + delay`` steps after it was sent.

    Attributes:
        program: what is executed.
        state: u and v of the processes that remember.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.state: dict[str, State] = {}
        self._into = {one.name: program.into(one.name) for one in program.processes}
        self._matrices = {id(one): _matrices(program, one) for one in program.synapses}
        self._reach = 1 + max((one.longest for one in program.synapses), default=0)
        self._sent: dict[str, list[Ints]] = {}
        self._kept: dict[str, Ints] = {}
        self._batch = 0
        self._now = 0
        self._done = 0

    def reset(self, batch: int, now: int = 0, done: int = 0) -> None:
        """Forget all states and all that is on its way.

        Args:
            batch: samples side by side.
            now: number of the next chip step.
            done: network steps of the sample before chip step 0.
        """
        self._batch = batch
        self._now = now
        self._done = done
        self._kept = {one.name: self._silence(one) for one in self.program.processes if _keeps(one)}
        self.state = {one.name: self.rest(one) for one in self.program.processes if one.has_state}
        self._sent = {one.name: [] for one in self.program.processes}

    def preload(self, injected: Mapping[str, Ints]) -> None:
        """Messages [neurons, batch] that the host sent in the step before the first."""
        self._sent.update({name: [messages] for name, messages in injected.items()})

    def rest(self, process: Process) -> State:
        """The state after a reset."""
        return State(self._silence(process), self._silence(process))

    def step(
        self,
        injected: Mapping[str, Ints],
        load: Mapping[str, State] | None = None,
        instead: Mapping[str, Ints] | None = None,
    ) -> dict[str, Ints]:
        """One chip step; returns what every process sends (a readout: what it received), [neurons, batch].

        Args:
            injected: [neurons, batch] for each input process.
            load: states that take the place of what some processes hold before they update.
            instead: [neurons, batch] that some processes send in the place of what they would.
        """
        self.state.update(load or {})
        sent = {one.name: self._update(one, injected) for one in self.program.processes}
        sent |= instead or {}
        for name, messages in sent.items():
            self._sent[name] = [messages, *self._sent[name][: self._reach - 1]]
        self._now += 1
        return sent

    def _silence(self, process: Process) -> Ints:
        return np.zeros((process.size, self._batch), np.int64)

    def _update(self, process: Process, injected: Mapping[str, Ints]) -> Ints:
        """What a process sends in this step."""
        if process.waits and self._now < process.depth:
            return self._silence(process)
        number, slot = divmod(self._now - process.depth, self.program.steps)
        if process.opens is not None and not _is_open(process.opens, self._done + number):
            return self._silence(process)
        if process.model == "gate":
            return self._gate(process, slot)
        if process.model == "memory":
            return self._memory(process, slot)
        if process.takes is None or process.sends is None:
            return self._work(process, injected)
        return self._in_slots(process, slot, process.takes == slot, process.sends == slot)

    def _in_slots(
        self, process: Process, slot: int, takes: NDArray[np.bool_], sends: NDArray[np.bool_]
    ) -> Ints:
        """Some neurons take what arrives, and some send what they made when they took theirs."""
        kept = self._kept[process.name]
        if takes.any():
            state = self.state.get(process.name)
            before = state and state.copy()
            made = self._work(process, {})
            kept[takes] = made[takes]
            if state is not None and before is not None:
                state.u[~takes], state.v[~takes] = before.u[~takes], before.v[~takes]
        return np.where(sends[:, None], kept, 0) if sends.any() else self._silence(process)

    def _gate(self, process: Process, slot: int) -> Ints:
        """What arrives at port 0, times what port 1 got in slot 0."""
        if slot == 0:
            self._kept[process.name] = self._arrived(process, 1)
        return self._arrived(process, 0) * self._kept[process.name]

    def _memory(self, process: Process, slot: int) -> Ints:
        """The sum of this network step's products so far, sent in the slot ``late``."""
        kept = self._kept[process.name] * int(slot > 0)
        kept += self._arrived(process, 0) * self._arrived(process, 1)
        self._kept[process.name] = kept
        return kept if slot == process.late else self._silence(process)

    def _work(self, process: Process, injected: Mapping[str, Ints]) -> Ints:
        if process.model == "input":
            return injected[process.name]
        if process.model == "product":
            return self._arrived(process, 0) * self._arrived(process, 1)
        arrived = self._arrived(process, 0)
        bias = process.bias[:, None]
        if process.model == "lif":
            return _lif(process, self.state[process.name], arrived, bias)
        if process.turn is not None:
            return _turn(process.turn, self.state[process.name], arrived, self._arrived(process, 1))
        if process.coding is not None:
            return _sigma_delta(process.coding, self.state[process.name], arrived + bias)
        if process.model == "counter":
            return _counter(process, self.state[process.name], arrived, bias)
        if process.rescaling is not None:
            return process.rescaling.of(arrived + bias)
        return arrived + bias

    def _arrived(self, process: Process, port: int) -> Ints:
        """What arrives at a port: the sum, or the largest."""
        parts = [
            (one, matrix, self._sent[one.source][wait] if len(self._sent[one.source]) > wait else None)
            for one in self._into[process.name]
            if one.port == port
            for wait, matrix in self._matrices[id(one)]
        ]
        empty = self._silence(process)
        if process.takes_largest or process.model == "largest":
            largest: Ints = np.maximum.reduce([_largest(one, sent, empty) for one, _, sent in parts])
            return largest
        for one, matrix, sent in parts:
            if sent is not None and sent.any():
                total = matrix @ sent
                empty += total << one.exponent if one.exponent >= 0 else total >> -one.exponent
        return empty


def _is_open(opens: tuple[int, int], step: int) -> bool:
    start, steps = opens
    return start <= step < start + steps


def _keeps(process: Process) -> bool:
    """Whether it keeps something from one slot to another."""
    return process.model in ("gate", "memory") or process.takes is not None


def _matrices(program: Program, one: Synapses) -> list[tuple[int, csr_array]]:
    """The synapses of each wait, in steps beyond the one that all take."""
    shape = (program.process(one.target).size, program.process(one.source).size)
    if not one.later.size:
        return [(one.delay, csr_array((one.weights, one.sources, one.starts), shape))]
    targets = np.repeat(np.arange(shape[0]), np.diff(one.starts))
    chosen = [(int(wait), one.waits == wait) for wait in np.unique(one.waits)]
    return [
        (wait, csr_array((one.weights[these], (targets[these], one.sources[these])), shape))
        for wait, these in chosen
    ]


def _largest(one: Synapses, sent: Ints | None, empty: Ints) -> Ints:
    """The largest message at each target; each has a synapse."""
    if sent is None:
        return empty
    messages = sent[one.sources] * one.weights[:, None]
    largest = np.full_like(empty, LEAST)
    connected = np.flatnonzero(np.diff(one.starts))
    largest[connected] = np.maximum.reduceat(messages, one.starts[connected], axis=0)
    return largest


def _lif(process: Process, state: State, arrived: Ints, bias: Ints) -> Ints:
    """Lava 0.10.0, ``PyLifModelBitAcc``: u wraps once, v saturates, a spike where v > vth << 6."""
    u = _leak(state.u, process.current_decay) + (arrived << SHIFT)
    u = np.where(u > STATE_LIMIT, u - 2 * STATE_LIMIT, np.where(u <= -STATE_LIMIT, u + 2 * STATE_LIMIT, u))
    v = np.clip(_leak(state.v, process.decay) + u + bias, 1 - STATE_LIMIT, STATE_LIMIT - 1)
    spikes: NDArray[np.bool_] = v > process.threshold[0][:, None]
    state.u, state.v = u, np.where(spikes, 0, v)
    return np.asarray(spikes, np.int64)


def _turn(turn: Turn, state: State, real: Ints, imag: Ints) -> Ints:
    """A neuron program: u and v are the parts of a complex state, as in Lava 0.10.0's RF and RF_IZ."""

    def part(share: int, value: Ints) -> Ints:
        left: Ints = np.sign(value) * np.sign(share) * (np.abs(value * share) >> DECAY_BITS)
        return left

    u = part(turn.cosine, state.u) - part(turn.sine, state.v) + (real << turn.fraction_bits)
    v = part(turn.sine, state.u) + part(turn.cosine, state.v) + (imag << turn.fraction_bits)
    u, v = (np.clip(value, 1 - STATE_LIMIT, STATE_LIMIT - 1) for value in (u, v))
    if turn.by_phase:
        spikes = (u >= turn.threshold) & (v >= 0) & (state.v < 0)
        state.u, state.v = u, v
    else:
        spikes = v >= turn.threshold
        state.u, state.v = np.where(spikes, 0, u), np.where(spikes, turn.threshold - 1, v)
    return np.asarray(spikes, np.int64)


def _sigma_delta(coding: Coding, state: State, arrived: Ints) -> Ints:
    """A neuron program: u holds the sum of what arrived, v the sum of what was sent."""
    value = wrapped(arrived) << coding.input_shift
    if coding.integrates:
        state.u = value = np.clip(state.u + value, 1 - STATE_LIMIT, STATE_LIMIT - 1)
    active = value + coding.bias[:, None]
    change = (np.maximum(active, 0) if coding.rectifies else active) - state.v
    message = np.where(np.abs(change) >= coding.threshold, change, 0)
    state.v = state.v + message
    sent: Ints = np.clip(message >> coding.output_shift, -coding.limit, coding.limit)
    return sent


def _counter(process: Process, state: State, arrived: Ints, bias: Ints) -> Ints:
    """A neuron program: as many spikes as thresholds are exceeded, and a reset to 0 or by a step each."""
    u = _leak(state.u, process.current_decay) + (arrived << SHIFT)
    v = _leak(state.v, process.decay) + u + bias
    spikes: Ints = np.asarray(sum((v > theta[:, None]).astype(np.int64) for theta in process.threshold))
    state.u = u
    if process.reset_by is None:
        state.v = np.where(spikes > 0, 0, v)
    else:
        state.v = v - spikes * process.reset_by[:, None]
    return spikes


def _leak(state: Ints, decay: int) -> Ints:
    left: Ints = divide_toward_zero(state * (DECAY_ONE - decay), DECAY_ONE)
    return left


class LoihiEngine:
    """Runs a network on the chip's steps; what it returns is shifted by the pipeline's depth.

    A layer d synapses behind the input takes a network's time step d chip steps later; with K chip steps
    a network step, it takes step t in the chip steps K t + d to K t + d + K - 1. A call loads
    each layer's state at the layer's own step (after :meth:`reset`: zeros, which is the chip's reset
    of that layer), goes on for as many steps as the pipeline is deep, on empty frames, and keeps
    each layer's state of its own last step. What is on its way from one network step to a later one
    (:class:`~spikeloom.targets.loihi.memory.Memory`) is sent again in front of the next call.

    Attributes:
        chip: what executes.
    """

    name = "loihi"

    def __init__(self, program: Program, graph: Graph) -> None:
        self.chip = Chip(program)
        self._program = program
        self._graph = graph
        self._host = Host.of(graph)
        self._held: dict[str, State] = {}
        self._stateful = [one for one in program.processes if one.has_state]
        self._coders = {one.name: one for one in program.processes if one.coding is not None}
        self._memory = Memory(graph, program)
        self._gates = [one for one in program.processes if one.opens is not None]
        self._done = 0
        self._total: Ints = np.zeros(0, np.int64)
        self._batch = 0

    def reset(self, batch: int) -> None:
        """Forget everything and expect ``batch`` samples side by side."""
        self._batch = batch
        self.chip.reset(batch)
        self._held = dict(self.chip.state)
        self._memory.reset(batch)
        self._done = 0
        self._total = np.zeros((batch, *self._host.shape), np.int64)

    def run(self, frames: NDArray[np.uint8]) -> Trace:
        """Advance by frames [steps, batch, ...]."""
        program, slots, memory = self._program, self._program.steps, self._memory
        last, first = slots * len(frames) - 1, -slots * memory.longest
        ends = (*program.layers.values(), program.process(program.output))
        watched = {one.name: one for one in (*ends, *memory.processes)}
        found = {one.name: self._nothing(one, len(frames)) for one in watched.values()}
        self.chip.reset(self._batch, first, self._done)
        for step in range(first, last + 1 + program.deepest):
            sent = self.chip.step(self._injected(frames, step), self._at(step), memory.sent_before(step))
            for name, one in watched.items():
                if 0 <= step - one.depth <= last:
                    found[name][(step - one.depth) // slots] += sent[name]
            self._held.update(self._after(step - last))
        memory.keep(found)
        self._done += len(frames)
        return self._trace({one.name: found[one.name] for one in ends})

    def state(self) -> dict[str, Array]:
        """A copy of the state, ``"node/state"`` to int64 [batch, ...]."""
        states = self._memory.state()
        for layer, process in self._program.layers.items():
            held, (u, v) = self._held[process.name], _names(process)
            states[f"{layer}/{v}"] = self._batch_first(held.v, process)
            if process.keeps_current:
                states[f"{layer}/{u}"] = self._batch_first(held.u, process)
        for name, process in self._coders.items():
            states[f"{name}/sent"] = self._batch_first(self._held[name].v, process)
            if process.keeps_current:
                states[f"{name}/sigma"] = self._batch_first(self._held[name].u, process)
        for one in self._gates:
            states[f"{one.name}/step"] = np.full(self._batch, min(self._done, sum(one.opens or ())))
        if self._host.summing is not None:
            states[f"{self._host.summing.name}/total"] = self._total.copy()
        return states

    def restore(self, state: Mapping[str, Array]) -> None:
        """Put a state back that :meth:`state` gave, here or in another engine.

        Raises:
            UnsupportedError: SL0801, as :meth:`Memory.restore`; samples are not at the same step.
        """
        self.reset(max((len(array) for array in state.values()), default=self._batch))
        self._memory.restore(state)
        self._done = self._steps_done([state[f"{one.name}/step"] for one in self._gates])
        for layer, process in self._program.layers.items():
            name_u, name_v = _names(process)
            v = _neurons_first(state[f"{layer}/{name_v}"])
            u = _neurons_first(state[f"{layer}/{name_u}"]) if process.keeps_current else np.zeros_like(v)
            self._held[process.name] = State(u, v)
        for name, process in self._coders.items():
            v = _neurons_first(state[f"{name}/sent"])
            u = _neurons_first(state[f"{name}/sigma"]) if process.keeps_current else np.zeros_like(v)
            self._held[name] = State(u, v)
        if self._host.summing is not None:
            self._total = state[f"{self._host.summing.name}/total"].astype(np.int64)

    def _steps_done(self, counts: list[Array]) -> int:
        """What gates have counted; one that is closed again has stopped."""
        if any((count != count[0]).any() for count in counts if len(count)):
            what = "samples that are not at the same step cannot go on side by side"
            raise UnsupportedError.of("SL0801", "loihi", what, remedy="run them one after the other")
        return max((int(count[0]) for count in counts if len(count)), default=0)

    def _nothing(self, process: Process, steps: int) -> Ints:
        return np.zeros((steps, process.size, self._batch), np.int64)

    def _injected(self, frames: NDArray[np.uint8], step: int) -> dict[str, Ints]:
        """The frame of a network step in its slot 0."""
        number, slot = divmod(step, self._program.steps)
        frame = frames[number] if slot == 0 and 0 <= number < len(frames) else np.zeros_like(frames[0])
        return {name: _neurons_first(frame) for name in self._graph.inputs}

    def _at(self, step: int) -> dict[str, State]:
        """The states of the layers whose first step of this call it is."""
        return {one.name: self._held[one.name].copy() for one in self._stateful if one.depth == step}

    def _after(self, step: int) -> dict[str, State]:
        """The states of the layers whose last step of this call it was, by the depth of that step."""
        return {one.name: self.chip.state[one.name].copy() for one in self._stateful if one.depth == step}

    def _trace(self, found: Mapping[str, Ints]) -> Trace:
        program = self._program
        traces = {
            name: np.stack([self._batch_first(sent, program.process(name)) for sent in steps])
            for name, steps in found.items()
        }
        output: Array = traces[program.output].reshape(-1, *self._total.shape) + program.output_bias
        if program.sums_over_time:
            output = self._total + output.cumsum(0)
            self._total = output[-1]
        spikes = {layer: traces[one.name].astype(np.uint8) for layer, one in program.layers.items()}
        return Trace(self._host.finish(output), spikes)

    def _batch_first(self, array: Ints, process: Process) -> Ints:
        return np.ascontiguousarray(array.T).reshape(-1, *process.shape)


def _names(process: Process) -> tuple[str, str]:
    """What the graph calls u and v of a layer."""
    return ("u", "v") if process.turn is None else ("real", "imag")


def _neurons_first(array: Array) -> Ints:
    return np.ascontiguousarray(array.reshape(len(array), -1).T.astype(np.int64))
