"""The part of a time step between a state and what becomes of it: a neuron, if it is one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeloom.compiler.frontends.onnx.evaluate import evaluate
from spikeloom.compiler.frontends.onnx.file import OnnxNode
from spikeloom.compiler.frontends.onnx.states import Step
from spikeloom.compiler.graph.op import Array

ELEMENTWISE = frozenset({
    "Abs", "Add", "And", "Cast", "CastLike", "Clip", "Div", "Equal", "Greater", "GreaterOrEqual", "Identity",
    "Less", "LessOrEqual", "Max", "Min", "Mul", "Neg", "Not", "Or", "Pow", "Relu", "Sign", "Sub", "Sum",
    "Where", "Xor",
})  # fmt: skip
"""Operations that a neuron may be made of."""


class NoNeuronError(Exception):
    """What becomes of a state is no neuron; the text says why."""


@dataclass(frozen=True)
class Region:
    """What a state does in one step.

    Attributes:
        step: that it is a part of.
        nodes: from the state to the state after the step.
        state: before the step.
        after: the step.
        x: the only other value that goes in.
        fired: the value that goes out besides the state; "" if none does.
    """

    step: Step
    nodes: tuple[OnnxNode, ...]
    state: str
    after: str
    x: str
    fired: str

    def run(self, v: Array, x: Array) -> tuple[Array, Array]:
        """What goes out, and the state after: for potentials and currents [N] in float64."""
        network = self.step.network
        constants = {name: np.asarray(array.reshape(-1)[0]) for name, array in self._constants().items()}
        outputs = list(dict.fromkeys(filter(None, (self.fired, self.after))))
        found = evaluate(self.nodes, constants, network.opset, {self.state: v, self.x: x}, outputs)
        values = dict(zip(outputs, found, strict=True))
        after = np.broadcast_to(values[self.after], v.shape)
        fired = np.broadcast_to(values[self.fired], v.shape) if self.fired else after
        return np.asarray(fired, np.float64), np.asarray(after, np.float64)

    def numbers(self) -> list[float]:
        """The constants that it computes with."""
        return [float(array.reshape(-1)[0]) for array in self._constants().values() if array.size]

    def _constants(self) -> dict[str, Array]:
        constants = self.step.network.constants
        return {name: constants[name] for node in self.nodes for name in node.used if name in constants}


def find_region(step: Step, state: str) -> Region:
    """The nodes between a state and the state after the step.

    Raises:
        NoNeuronError: they are more than one neuron's arithmetic.
    """
    network, after = step.network, step.states[state]
    nodes = _between(step, state, after)
    if not nodes:
        raise NoNeuronError("the state after a step does not depend on the state before it")
    if strange := sorted({node.op for node in nodes} - ELEMENTWISE):
        raise NoNeuronError(f"a state goes through {', '.join(strange)}")
    made = {name for node in nodes for name in node.outputs}
    within = {id(node) for node in nodes}
    _check_uniform(step, nodes)
    given = dict.fromkeys(
        name
        for node in nodes
        for name in node.used
        if name not in made and name not in network.constants and name != state
    )
    used = {name for node in step.nodes if id(node) not in within for name in node.inputs} | {step.y}
    left = [name for node in nodes for name in node.outputs if name in used]
    if len(given) != 1:
        raise NoNeuronError(f"a state takes {len(given)} values: {', '.join(given) or 'none'}")
    if len(left) > 1:
        raise NoNeuronError(f"a state gives several values: {', '.join(left)}")
    return Region(step, nodes, state, after, next(iter(given)), left[0] if left else "")


def _between(step: Step, state: str, after: str) -> tuple[OnnxNode, ...]:
    """The nodes that depend on the state, and that the state after depends on."""
    dependent, needed = {state}, {after}
    down = []
    for node in step.network.nodes:
        if dependent.intersection(node.inputs):
            dependent.update(node.outputs)
            down.append(node)
    kept = []
    for node in reversed(down):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))


def _check_uniform(step: Step, nodes: tuple[OnnxNode, ...]) -> None:
    """Constants that differ from neuron to neuron are beyond the neuron that we have."""
    for node in nodes:
        for name in node.used:
            constant = step.network.constants.get(name)
            if constant is not None and constant.size and (constant != constant.reshape(-1)[0]).any():
                raise NoNeuronError(f"{name} differs from neuron to neuron")
