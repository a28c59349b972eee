"""Networks with their time steps unrolled: the copies of one step are found, compared, and rolled up.

Each value depends on the input up to some step: that is its copy. Where one copy takes a value of the copy
before it, that value is a state. Copies must be alike node by node, with equal constants. The first may be
shorter, since its states are constants: how neurons start is proved with the whole. So may the last, whose
states nobody takes. What comes after it is kept: a stack of the steps, a mean or a sum over it, and what
follows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from spikeloom.compiler.frontends.onnx.evaluate import evaluate
from spikeloom.compiler.frontends.onnx.file import OnnxNetwork, OnnxNode
from spikeloom.compiler.frontends.onnx.regions import ELEMENTWISE
from spikeloom.compiler.frontends.onnx.states import Step
from spikeloom.errors import UnsupportedError, counted

SLICING = ("Gather", "Slice", "Split", "Squeeze", "Unsqueeze", "Reshape", "Identity", "Transpose")
LEAST = 3
"""Time steps that tell a network's copies from its end."""
TIME_MEAN, TIME_SUM = "TimeMean", "TimeSum"
"""Operators that a rolled-up network has in the place of means and sums over the stack of its steps."""


def roll_up(network: OnnxNetwork, time_axis: int, where: str) -> Step:
    """The one step of a network with its time steps unrolled.

    Args:
        network: with one input.
        time_axis: of the input.
        where: for messages.

    Raises:
        UnsupportedError: SL0302, there are fewer than three steps, or the copies are not alike.
    """
    copies = _Copies(network, time_axis, where)
    copies.check_alike()
    return _as_step(copies)


def _refused(where: str, what: str, remedy: str = "") -> UnsupportedError:
    return UnsupportedError.of("SL0302", where, what, remedy=remedy)


class _Copies:
    """The nodes of each time step, and where their values stand.

    Attributes:
        nodes: of each step, in the order of the file.
        frames: the value of the input at each step.
        time: the last step of the input that a value depends on.
        positions: of values among those that the nodes of each step make.
    """

    def __init__(self, network: OnnxNetwork, time_axis: int, where: str) -> None:
        self.network, self.where = network, where
        self.input = network.inputs[0]
        if len(network.inputs) != 1 or len(network.outputs) != 1:
            raise _refused(where, "has several inputs or outputs, and its time steps unrolled")
        steps = network.shapes[self.input][time_axis]
        self.nodes: list[list[OnnxNode]] = [[] for _ in range(steps)]
        self.frames: list[str] = [""] * steps
        self.time: dict[str, int] = {}
        slices = self._slices(time_axis, steps)
        rest: list[OnnxNode] = []
        for node in network.nodes:
            if node.outputs[0] in slices:
                for name in node.outputs:
                    self._frame(name, slices.get(name))
                continue
            if self.input in node.inputs:
                raise _refused(where, f"{node.name} ({node.op}) takes all time steps at once")
            at = max(self.time[name] for name in node.used if name in self.time)
            self.time.update(dict.fromkeys(node.outputs, at))
            rest.append(node)
        self._delay(rest)
        for node in rest:
            self.nodes[self.time[node.outputs[0]]].append(node)
        if not all(self.frames):
            raise _refused(where, "does not take every time step of its input")
        self.positions = [_positions(nodes) for nodes in self.nodes]

    def _delay(self, nodes: Sequence[OnnxNode]) -> None:
        """What is made of one value, and only later steps take, is theirs: the value is the state."""
        users: dict[str, list[OnnxNode]] = {}
        for node in nodes:
            for name in node.used:
                users.setdefault(name, []).append(node)
        for node in reversed(nodes):
            taken = [self.time[user.outputs[0]] for name in node.outputs for user in users.get(name, [])]
            out = set(node.outputs) & set(self.network.outputs)
            one = len({name for name in node.used if name in self.time}) == 1
            if one and node.op in ELEMENTWISE and taken and not out:
                self.time.update(dict.fromkeys(node.outputs, max(self.time[node.outputs[0]], min(taken))))

    def _frame(self, name: str, step: int | None) -> None:
        if step is None:
            return
        self.time[name] = step
        self.frames[step] = name  # of several, the last: it has lost the axis of time

    def _slices(self, time_axis: int, steps: int) -> dict[str, int | None]:
        """Values that hold one step of the input, or several (None): an input that holds its step tells."""
        network = self.network
        shape = network.shapes[self.input]
        ramp = np.arange(steps).reshape([-1 if axis == time_axis else 1 for axis in range(len(shape))])
        told = np.broadcast_to(ramp, shape).astype(np.float64)
        reached = {self.input}
        moving = []
        for node in network.nodes:
            if reached.intersection(node.inputs) and node.op in SLICING:
                reached.update(node.outputs)
                moving.append(node)
        names = [name for node in moving for name in node.outputs]
        if not names:
            return {}
        feeds = {self.input: told}
        values = evaluate(moving, network.constants, network.opset, feeds, names)
        found: dict[str, int | None] = {}
        for name, value in zip(names, values, strict=True):
            one = bool((value == value.flat[0]).all())
            found[name] = int(value.flat[0]) if one else None
        return found

    @property
    def base(self) -> int:
        """The copy that stands for all: the last that is whole."""
        return len(self.nodes) - 2

    def check_alike(self) -> None:
        """Compare all copies but the first and the last.

        Raises:
            UnsupportedError: SL0302, they differ, or there are too few to tell.
        """
        counts = [len(nodes) for nodes in self.nodes]
        if len(counts) < LEAST or (len(counts) == LEAST and counts[0] != counts[1]):
            remedy = f"export it with {LEAST + 1} or more"
            raise _refused(self.where, f"has {counted(len(counts), 'time step')} unrolled", remedy)
        if len(set(counts[1:-1])) != 1:
            raise _refused(self.where, "its time steps have different numbers of nodes")
        for step in range(2, self.base + 1):
            for index in range(counts[1]):
                self._compare(step, index)

    def _compare(self, step: int, index: int) -> None:
        """A node and its counterpart in the copy before."""
        a, b = self.nodes[step - 1][index], self.nodes[step][index]
        same = a.op == b.op and len(a.inputs) == len(b.inputs) and _equal(a.attributes, b.attributes)
        if not same or not all(
            self._counterparts(step, x, y) for x, y in zip(a.inputs, b.inputs, strict=True)
        ):
            raise _refused(self.where, f"{a.name} ({a.op}) and {b.name} ({b.op}) differ from step to step")

    def _counterparts(self, step: int, before: str, now: str) -> bool:
        constants = self.network.constants
        if not before or not now:
            return before == now
        if before in constants or now in constants:
            return before in constants and now in constants and _same(constants[before], constants[now])
        if now in self.frames:
            return self.frames.index(now) == step and self.frames.index(before) == step - 1
        ages = step - self.time[now], step - 1 - self.time[before]
        if ages[0] > 1:
            raise _refused(self.where, f"{now} is taken {ages[0]} time steps later")
        if ages[0] != ages[1]:
            return False
        if step - 1 - ages[1] == 0:  # the first copy is shorter, so places in it tell nothing
            return True
        return self.positions[self.time[now]].get(now) == self.positions[self.time[before]].get(before)


def _positions(nodes: Sequence[OnnxNode]) -> dict[str, tuple[int, int]]:
    """The place of the node that makes a value, and which of its outputs it is."""
    return {name: (place, port) for place, node in enumerate(nodes) for port, name in enumerate(node.outputs)}


def _as_step(copies: _Copies) -> Step:
    """The base copy as a network of one step, and what comes after the last."""
    network, base = copies.network, copies.base
    body = copies.nodes[base]
    states: dict[str, str] = {}
    for node in body:
        for name in node.used:
            if copies.time.get(name) == base - 1 and name not in copies.frames:
                place, port = copies.positions[base - 1][name]
                states[name] = body[place].outputs[port]
    end = _End(copies, states)
    nodes, shapes = (*body, *end.nodes), {**network.shapes, **end.shapes}
    rolled = replace(network, nodes=nodes, outputs=(end.y,), shapes=shapes)
    return Step(rolled, copies.frames[base], end.y, states, end.stacked, copies.input)


class _End:
    """The nodes of the last copy that the base has not, on the values of the base.

    Two values are the same if the same operator makes them of the same values; a state of the last copy is
    what the base leaves, and stands for what the base takes.

    Attributes:
        nodes: with means and sums over time as operators of our own.
        shapes: of what they make, where it differs from the file.
        y: the output.
        stacked: whether the output is a stack of all time steps.
    """

    def __init__(self, copies: _Copies, states: Mapping[str, str]) -> None:
        self._copies = copies
        self.nodes: list[OnnxNode] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._stacks: dict[str, str] = {}
        self._same = {copies.frames[-1]: copies.frames[copies.base]}
        self._same |= {after: before for before, after in states.items()}
        known = {self._key(node, node.inputs): node for node in copies.nodes[copies.base]}
        for node in copies.nodes[-1]:
            inputs = tuple(self._same.get(name, name) for name in node.inputs)
            if (found := known.get(self._key(node, inputs))) is not None:
                self._same.update(zip(node.outputs, found.outputs, strict=True))
            else:
                self._visit(node, inputs)
        y = copies.network.outputs[0]
        self.stacked = y in self._stacks
        self.y = self._stacks.get(y) or self._same.get(y, y)

    def _key(self, node: OnnxNode, names: Sequence[str]) -> tuple[object, ...]:
        constants = self._copies.network.constants
        told = tuple(_bytes(constants[name]) if name in constants else name for name in names)
        return node.op, told, tuple((key, _bytes(value)) for key, value in sorted(node.attributes.items()))

    def _visit(self, node: OnnxNode, inputs: tuple[str, ...]) -> None:
        copies = self._copies
        times = [copies.time[name] for name in node.used if name in copies.time]
        if node.op in ("Concat", "Sum", "Mean") and times == list(range(len(copies.nodes))):
            self._gather(node, inputs[-1])
        elif node.op in ("ReduceMean", "ReduceSum") and node.inputs[0] in self._stacks:
            self._reduce(node)
        elif any(name in self._stacks for name in node.used) or any(
            copies.time[name] < len(copies.nodes) - 1 and name not in self._same
            for name in node.used
            if name in copies.time
        ):
            raise _refused(copies.where, f"{node.name} ({node.op}) takes values of several time steps")
        else:
            self.nodes.append(replace(node, inputs=inputs))

    def _gather(self, node: OnnxNode, last: str) -> None:
        """A stack of all steps is the value of each; a sum or mean of them all is one over time."""
        if node.op != "Concat":
            self._over_time(node, last, TIME_SUM if node.op == "Sum" else TIME_MEAN)
            return
        makers = self._copies.network.producers
        made = [makers[name] for name in node.inputs]
        if node.attributes["axis"] != 0 or any(maker.op not in ("Unsqueeze", "Reshape") for maker in made):
            raise _refused(self._copies.where, f"{node.name} puts time steps one after the other")
        whole = next(maker for maker in self._copies.nodes[self._copies.base] if last in maker.outputs)
        self._stacks[node.outputs[0]] = whole.inputs[0]

    def _reduce(self, node: OnnxNode) -> None:
        axes = node.attributes.get("axes")
        if axes is None:
            axes = self._copies.network.constants[node.inputs[1]].reshape(-1).tolist()
        if list(axes) != [0] or node.attributes.get("keepdims", 1):
            what = f"{node.name} ({node.op}) reduces more than time, or keeps its axis"
            raise _refused(self._copies.where, what)
        kind = TIME_MEAN if node.op == "ReduceMean" else TIME_SUM
        self._over_time(node, self._stacks[node.inputs[0]], kind)

    def _over_time(self, node: OnnxNode, value: str, kind: str) -> None:
        self.shapes[node.outputs[0]] = self._copies.network.shapes[value]
        attributes = {"steps": len(self._copies.nodes)}
        self.nodes.append(OnnxNode(node.name, kind, (value,), node.outputs, attributes))


def _bytes(value: object) -> bytes:
    array = np.asarray(value)
    return f"{array.dtype}{array.shape}".encode() + array.tobytes()


def _equal(a: Mapping[str, object], b: Mapping[str, object]) -> bool:
    return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)


def _same(a: object, b: object) -> bool:
    first, second = np.asarray(a), np.asarray(b)
    return first.shape == second.shape and bool((first == second).all())
