"""The two forms of a network: one time step with its state outside, and a whole sequence.

In a sequence, everything without state works on steps * batch samples at once, and only the
neurons are inside a ``Scan`` over the steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import onnx
from onnx import helper

from spikeloom.targets.onnx.writer import Call, Tensor, Writer, element_type

INT32 = element_type("int32")


class StepWriter(Writer):
    """One time step: values are [batch, ...]."""

    form: ClassVar[str] = "step"
    lead: ClassVar[tuple[str, ...]] = ("batch",)

    def _fold(self, name: str, shape: tuple[int, ...]) -> str:
        return name

    def _unfold(self, name: str, shape: tuple[int, ...], output: str) -> None:
        self.nodes.append(helper.make_node("Identity", [name], [output], self.fresh("end")))

    def _run(self, call: Call, x: Tensor) -> str:
        spikes = self.fresh("spikes")
        outputs = (spikes, *(f"{state}'" for state in call.states))
        self.nodes.append(call.node(x.name, call.states, outputs, self.at))
        return spikes


class SequenceWriter(Writer):
    """Any number of steps: values are [steps, batch, ...] at the ends, [steps * batch, ...] inside."""

    form: ClassVar[str] = "sequence"
    lead: ClassVar[tuple[str, ...]] = ("steps", "batch")

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        super().__init__(reserved)
        self._known_ends: dict[tuple[int, ...], str] = {}

    def _fold(self, name: str, shape: tuple[int, ...]) -> str:
        return self.reshape(name, shape)

    def _unfold(self, name: str, shape: tuple[int, ...], output: str) -> None:
        self.nodes.append(helper.make_node("Reshape", [name, self._ends(shape)], [output], self.fresh("end")))

    def _run(self, call: Call, x: Tensor) -> str:
        sequence, spikes = self.fresh("sequence"), self.fresh("spikes")
        self._unfold(x.name, x.shape, sequence)
        after = [f"{state}'" for state in call.states]
        scan = helper.make_node(
            "Scan",
            [*call.states, sequence],
            [*after, spikes],
            self.at,
            body=self._body(call),
            num_scan_inputs=1,
        )
        self.nodes.append(scan)
        return self._fold(spikes, x.shape if call.shape is None else call.shape)

    def _ends(self, shape: tuple[int, ...]) -> str:
        """The shape [steps, batch, *shape]; the number of steps is that of the network's input."""
        if shape not in self._known_ends:
            rest = self.integers((-1, *shape), "shape")
            self._known_ends[shape] = self.concat([self._steps(), rest], 0)
        return self._known_ends[shape]

    def _steps(self) -> str:
        (network_input, *_) = self.inputs
        return self.once(network_input.name, "steps", "Shape", "steps", start=0, end=1)

    def _body(self, call: Call) -> onnx.GraphProto:
        before = [self.fresh(f"{state}/before") for state in call.function.input[1 : 1 + len(call.states)]]
        after = [self.fresh(f"{state}/after") for state in call.function.output[1:]]
        x, spikes = self.fresh("x"), self.fresh("s")
        node = call.node(x, before, (spikes, *after), self.fresh("neuron"))
        given = [helper.make_tensor_value_info(name, INT32, None) for name in (*before, x)]
        made = [helper.make_tensor_value_info(name, INT32, None) for name in after]
        made.append(helper.make_tensor_value_info(spikes, element_type(call.dtype), None))
        return helper.make_graph([node], f"{self.at}/step", given, made)
