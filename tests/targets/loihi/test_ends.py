"""What a network gives out may be any value, and a value may be used late and at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.graph import GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.graph.ops.pad import Pad
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.targets.loihi import loihi2
from spikeloom.targets.loihi.attention import Form
from spikeloom.targets.loihi.engine import LoihiEngine
from spikeloom.targets.loihi.target import Loihi2

SHAPE = (4, 6)
STEPS, SAMPLES = 6, 3


class Ends:
    """Values of a graph of spikes [4, 6], each with a name of its own."""

    def __init__(self) -> None:
        self.builder = GraphBuilder("ends", Stage.INTEGER)
        self.random = np.random.default_rng(0)
        self.x = self.builder.input("x", Type(SHAPE, SPIKES))
        self.count = 0

    def add(self, op: object, *inputs: str) -> str:
        self.count += 1
        return self.builder.add(f"v{self.count}", op, *inputs)[0]  # type: ignore[arg-type]

    def conv(self, x: str) -> str:
        weight = self.random.integers(-5, 6, (4, 4, 1)).astype(np.int8)
        return self.add(Conv1d(weight, self.random.integers(-3, 4, 4)), x)

    def pool(self, x: str) -> str:
        return self.add(MaxPool2d((2, 2), (2, 2), (0, 0)), self.add(Reshape((1, *SHAPE)), x))

    def late(self, x: str, steps: int = 1) -> str:
        return self.add(Delay(np.array(steps)), x)

    def both(self, op: object, x: str, steps: int = 1) -> str:
        """A value late, and the same at once."""
        return self.add(op, self.late(x, steps), x)

    def attention(self) -> str:
        """xᵀ (x xᵀ), which the chip makes turned; it is no square, so that a turned result is another."""
        turned = self.add(Transpose((1, 0)), self.x)
        return self.add(MatMul(), turned, self.add(MatMul(), self.x, turned))

    def one(self) -> str:
        """A product of all, of the shape [1, 1]."""
        row = self.add(Reshape((1, 24)), self.x)
        return self.add(MatMul(), row, self.add(Transpose((1, 0)), row))

    def scores(self, x: str) -> str:
        return self.add(MatMul(), x, self.add(Transpose((1, 0)), x))


CASES: dict[str, Callable[[Ends], str]] = {
    "the input": lambda g: g.x,
    "its axes turned": lambda g: g.add(Transpose((1, 0)), g.x),
    "a sum over an axis": lambda g: g.add(ReduceSum((1,)), g.x),
    "weights": lambda g: g.conv(g.x),
    "weights behind weights": lambda g: g.conv(g.conv(g.x)),
    "the largest of spikes": lambda g: g.pool(g.x),
    "the largest of sums": lambda g: g.pool(g.conv(g.x)),
    "a sum of the largest": lambda g: g.add(Add(), g.pool(g.conv(g.x)), g.pool(g.conv(g.x))),
    "a product of sums": lambda g: g.add(Mul(), g.conv(g.x), g.conv(g.x)),
    "scores": lambda g: g.scores(g.conv(g.x)),
    "spikes twice, late and at once": lambda g: g.both(Concat(0), g.add(Concat(0), g.x, g.x)),
    "a border, late and at once": lambda g: g.both(Concat(0), g.add(Pad((0, 1), (0, 2)), g.x), 2),
    "sums times themselves later": lambda g: g.both(Mul(), g.conv(g.x)),
    "scores times themselves later": lambda g: g.both(Mul(), g.scores(g.x), 3),
    "a border around one element": lambda g: g.add(Pad((2,), (0,)), g.add(Reshape((1,)), g.one())),
    "attention by rows, late": lambda g: g.late(g.add(ReduceSum((0,)), g.attention())),
    "attention by memory, late": lambda g: g.late(g.add(ReduceSum((0,)), g.attention())),
    "late, and later again": lambda g: g.both(Add(), g.both(Add(), g.conv(g.x)), 2),
}
FORMS: dict[str, Form] = {"attention by rows, late": "rows", "attention by memory, late": "memory"}


@pytest.mark.parametrize("name", CASES)
def test_in_two_calls_and_after_a_restore_nothing_differs(name: str) -> None:
    """What is on its way when a call ends arrives in the next, whatever it was sent by."""
    ends = Ends()
    ends.builder.output(CASES[name](ends))
    graph = Loihi2(FORMS.get(name, "cheapest")).arrange(ends.builder.build())
    frames = ends.random.integers(0, 2, (STEPS, SAMPLES, *SHAPE)).astype(np.uint8)
    program = loihi2().program(graph)
    assert (program.steps > 1) is (name in FORMS)
    engines: dict[str, Engine] = {
        "reference": ReferenceEngine(graph),
        "loihi": LoihiEngine(program, graph),
    }
    assert not compare_engines(engines, [(name, frames)]).mismatches
    states = [engine.state() for engine in engines.values()]
    assert all((states[0][key] == states[1][key]).all() for key in states[0])
    again = LoihiEngine(program, graph)
    again.reset(SAMPLES)
    again.restore(states[1])
    assert (again.run(frames).output == engines["reference"].run(frames).output).all()
