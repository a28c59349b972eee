"""What is on its way between network steps: messages that synapses keep for later, spikes that come back.

A graph remembers values (the last few of a delay, the last spikes of a loop); the chip holds the messages
that they are made of. The engine keeps those of the populations in question, and sends them again in front of
its next call, so that it need not know in which synapse each of them waited.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.op import Array, StatefulOp
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.time_window import TimeWindow
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.errors import UnsupportedError
from spikeloom.targets.loihi.attention import streamed_chains
from spikeloom.targets.loihi.program import Ints, Process, Program


class Memory:
    """The last messages of each population of which a later network step still gets some.

    Attributes:
        processes: the populations.
        longest: network steps that the longest memory reaches back.
    """

    def __init__(self, graph: Graph, program: Program) -> None:
        self._graph = graph
        self._program = program
        self._named = {one.name: one for one in program.processes if one.model != "readout"}
        chains = streamed_chains(graph).values()
        self._turned = {chain.outer.output for chain, _ in chains if chain.written == "right first"}
        self._values: dict[str, tuple[str, int]] = {}
        self._loops = [node for node, op in graph.stateful() if isinstance(op, RecurrentNeuron)]
        self._waits = {node.name: op.wait for node, op in graph.stateful() if isinstance(op, RecurrentNeuron)}
        reach = dict(self._waits)
        told = {name for name in (*graph.types, *(node.name for node in graph.nodes)) if name in self._named}
        for name, back in messages_needed(program, told).items():
            reach[name] = max(reach.get(name, 0), back)
        self._kept = set(reach)
        for node, op in graph.stateful():
            if isinstance(op, Delay | TimeWindow):
                self._values[node.name] = node.inputs[0], op.longest
                for name in list(self._made_of(node.inputs[0])):
                    self._kept.add(name)
                    reach[name] = max(reach.get(name, 0), op.longest)
        self._reach = reach
        self._whole = {name: self._told_by(name) for name in reach}
        self._past: dict[str, Ints] = {}
        self.processes = tuple(self._named[name] for name in reach)
        self.longest = max(reach.values(), default=0)

    def reset(self, batch: int) -> None:
        """Nothing is on its way."""
        self._past = {one.name: self._nothing(one, batch) for one in self.processes}

    def sent_before(self, step: int) -> dict[str, Ints]:
        """What populations sent in chip steps before the first of this call, [neurons, batch]."""
        found = {}
        for one in self.processes:
            number, slot = divmod(step - one.depth, self._program.steps)
            if number < 0:
                past = self._past[one.name]
                due = slot == one.late and -number <= len(past)
                found[one.name] = past[-number - 1] if due else np.zeros_like(past[0])
        return found

    def keep(self, sent: Mapping[str, Ints]) -> None:
        """Messages [network steps, neurons, batch] of a call are the last."""
        for name, past in self._past.items():
            self._past[name] = np.concatenate([sent[name][::-1], past])[: len(past)]

    def state(self) -> dict[str, Array]:
        """The graph's states, [batch, ...], newest first; messages where a state does not tell them."""
        states: dict[str, Array] = {}
        for name, (value, longest) in self._values.items():
            steps = [self._value(value, back) for back in range(longest)]
            states[f"{name}/past"] = np.stack(steps, 1)
        for node in self._loops:
            states[f"{node.name}/s"] = self._value(node.output, 0)
            if (wait := self._waits[node.name]) > 1:
                earlier = [self._value(node.output, back) for back in range(1, wait)]
                states[f"{node.name}/earlier"] = np.stack(earlier, 1)
        for name, told in self._whole.items():
            if not told:
                steps = [self._value(name, back) for back in range(self._reach[name])]
                states[f"{name}/sent"] = np.stack(steps, 1)
        return states

    def restore(self, states: Mapping[str, Array]) -> None:
        """Put back what :meth:`state` gave, or another engine's.

        Raises:
            UnsupportedError: SL0801, another engine remembers sums, of which the messages are not known.
        """
        for one in self.processes:
            if told := self._whole[one.name]:
                past = self._messages(told, states)
            elif f"{one.name}/sent" in states:
                sent = states[f"{one.name}/sent"]
                past = sent.swapaxes(-1, -2) if one.name in self._turned else sent
            elif any(states[f"{name}/past"].any() for name in self._values):
                what = f"what {one.name} sent cannot be told from the sums that are remembered of it"
                raise UnsupportedError.of("SL0801", "loihi", what, remedy="go on with the engine that began")
            else:
                continue
            flat = past.reshape(*past.shape[:2], -1)[:, : self._reach[one.name]]
            self._past[one.name] = np.ascontiguousarray(flat.transpose(1, 2, 0)).astype(np.int64)

    def _nothing(self, one: Process, batch: int) -> Ints:
        return np.zeros((self._reach[one.name], one.size, batch), np.int64)

    def _process(self, value: str) -> str:
        """The population that sends a value and is remembered; empty if none is."""
        name = self._sender(value)
        return name if name in self._kept else ""

    def _sender(self, value: str) -> str:
        """The population that sends a value; empty if none does."""
        node = self._graph.producers.get(value)
        return next((name for name in (value, node and node.name) if name in self._named), "") or ""

    def _made_of(self, value: str) -> Iterator[str]:
        """The populations whose messages a value is made of: remembered ones, as far as there are such."""
        node = self._graph.producers.get(value)
        if name := self._process(value):
            yield name
        elif node is None or isinstance(node.op, StatefulOp):
            yield self._sender(value)
        else:
            for x in node.inputs:
                yield from self._made_of(x)

    def _value(self, value: str, back: int) -> Array:
        """A value [batch, ...] so many network steps before the last."""
        if name := self._process(value):
            messages = self._past[name][back]
            array = np.ascontiguousarray(messages.T).reshape(-1, *self._named[name].shape)
            return array.swapaxes(-1, -2) if name in self._turned else array
        node = self._graph.producers[value]
        results = node.op.evaluate(*(self._value(x, back) for x in node.inputs))
        return results[node.outputs.index(value)]

    def _told_by(self, process: str) -> str:
        """A state that holds all messages of a population in another order at most; empty if none does."""
        if self._reach[process] == self._waits.get(process):
            return f"{process}/s"
        for name, (value, longest) in self._values.items():
            while not self._process(value) and self._moves(value):
                value = self._graph.producers[value].inputs[0]
            if self._process(value) == process and longest == self._reach[process]:
                return f"{name}/past"
        return ""

    def _moves(self, value: str) -> bool:
        return isinstance(self._graph.producers[value].op, Reshape | Transpose)

    def _messages(self, state: str, states: Mapping[str, Array]) -> Array:
        """[batch, steps, ...] of the population that a state tells of."""
        (name, kind), array = state.rsplit("/", 1), states[state]
        if kind == "s":
            last = array[:, None]
            return last if self._waits[name] == 1 else np.concatenate([last, states[f"{name}/earlier"]], 1)
        value, _ = self._values[name]
        batch, steps = array.shape[:2]
        folded = array.reshape(-1, *array.shape[2:])
        while not self._process(value):
            node = self._graph.producers[value]
            before = self._graph.types[node.inputs[0]].shape
            if isinstance(node.op, Transpose):
                folded = folded.transpose(0, *(1 + np.argsort(node.op.order)))
            folded = folded.reshape(-1, *before)
            (value,) = node.inputs
        folded = folded.swapaxes(-1, -2) if value in self._turned else folded
        return folded.reshape(batch, steps, *folded.shape[1:])


def messages_needed(program: Program, told: Collection[str]) -> dict[str, int]:
    """How many network steps back the messages of populations must be known for all that is on its way.

    What a synapse keeps for later is sent again by its source; where the graph does not tell what that sent,
    its own sources send again, and so on.

    Args:
        program: with its synapses.
        told: populations whose messages the graph tells.
    """
    needed: dict[str, int] = {}
    for process in reversed(program.processes):
        again = 0 if process.name in told else needed.get(process.name, 0)
        for one in program.into(process.name):
            back = again + -(-int(one.later.max(initial=0)) // program.steps)
            if back and one.source != process.name:
                needed[one.source] = max(needed.get(one.source, 0), back)
    return {name: back for name, back in needed.items() if name in told}
