"""ONNX as a target: what it can execute, and the files of it in a bundle."""

from __future__ import annotations

from collections.abc import Mapping

from spikeloom.compiler.graph.figure import Figure
from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.errors import Problem, UnsupportedError

_INT32 = 2**31


class OnnxTarget:
    """Any processor that runs ONNX, as ``step.onnx`` and ``sequence.onnx``."""

    name: str = "onnx"
    summary: str = "ONNX graphs in integer arithmetic, for ONNX Runtime and others"

    def profile(self, weight_bits: int) -> NumericProfile:
        """8 bits or fewer, a threshold per neuron, six fractional bits in 32-bit states.

        Raises:
            UnsupportedError: SL0504, the width is not within 2 to 8 bits.
        """
        if not 2 <= weight_bits <= 8:
            raise UnsupportedError.of(
                "SL0504",
                "weights",
                "have a width that the target does not hold",
                wanted="2 to 8 bits",
                got=f"{weight_bits} bits",
                remedy="choose another --bits",
            )
        return NumericProfile(
            "onnx", weight_bits, fraction_bits=6, threshold_step=1, state_bits=32, rescales=True, hosts=True
        )

    def operations(self) -> frozenset[str]:
        """Those that have an emitter."""
        from spikeloom.targets.onnx.emitters import all_emitters

        return frozenset(all_emitters())

    def obstacles(self, graph: Graph) -> list[Problem]:
        """SL0602 for each operation without an emitter, and for ends and states of the wrong width."""
        return _ends(graph) + [problem for node in graph.nodes for problem in _of_node(graph, node)]

    def artifacts(self, graph: Graph) -> Mapping[str, bytes]:
        """``step.onnx`` and ``sequence.onnx``; the same graph gives the same bytes.

        Raises:
            UnsupportedError: SL0602, the graph has obstacles.
        """
        from spikeloom.targets.onnx.forms import SequenceWriter, StepWriter
        from spikeloom.targets.onnx.model import build_model

        if obstacles := self.obstacles(graph):
            raise UnsupportedError(obstacles)
        forms = (StepWriter, SequenceWriter)
        return {f"{form.form}.onnx": build_model(graph, form).SerializeToString() for form in forms}

    def costs(self) -> Mapping[str, Figure]:
        """None: there is no latency or energy model of a processor."""
        return {}


def _ends(graph: Graph) -> list[Problem]:
    problems = []
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        got = f"{len(graph.inputs)} and {len(graph.outputs)}"
        problems.append(_problem(graph.name, "has several inputs or outputs", "one of each", got))
    for name in graph.inputs:
        kind = graph.types[name].kind
        highest = _INT32 - 1 if kind.name == "index" else 255
        if not kind.is_integer or kind.bounds[0] < 0 or kind.bounds[1] > highest:
            problems.append(_problem(name, "is an input that bytes do not hold", "0..255", str(kind)))
    straight = [name for name in graph.outputs if name in graph.inputs]
    problems += [_problem(name, "is both input and output", "an operation between them") for name in straight]
    return problems


def _of_node(graph: Graph, node: Node) -> list[Problem]:
    from spikeloom.targets.onnx.emitters import all_emitters

    if node.op.name not in all_emitters():
        return [_problem(node.name, f"{node.op.name} cannot be executed", remedy="see `spikeloom ops`")]
    real = [name for name in node.inputs if not graph.types[name].kind.is_integer]
    if real:
        return [_problem(node.name, f"{', '.join(real)} is real", "integers")]
    return _of_neuron(node, node.op) if isinstance(node.op, IntegerNeuron) else []


def _of_neuron(node: Node, op: IntegerNeuron) -> list[Problem]:
    problems = []
    if op.levels > 255:
        problems.append(_problem(node.name, "spikes do not fit a byte", "255 levels", str(op.levels)))
    if op.state_bits > 32:
        problems.append(_problem(node.name, "the state is wider than int32", "32 bits", str(op.state_bits)))
    if op.reset_by is not None and op.levels * int(op.reset_by.max()) >= _INT32:
        problems.append(_problem(node.name, "a soft reset subtracts more than int32 holds"))
    return problems


def _problem(where: str, what: str, wanted: str = "", got: str = "", remedy: str = "") -> Problem:
    return Problem("SL0602", where, what, wanted, got, remedy)
