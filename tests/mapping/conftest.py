"""A chip small enough to be crowded, and networks of every kind of projection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.mapping.chip import Chip, read_description
from spikeloom.compiler.mapping.network import Kernel, Network, Population, Projection
from spikeloom.compiler.mapping.relation import Relation

LIMITS = {
    "neurons": 60,
    "neuron_groups": 4,
    "synaptic_memory": 180,
    "core_memory": 2000,
    "axons_in": 90,
    "axons_out": 200,
}
FIGURES = {
    "mesh.columns": 4,
    "mesh.rows": 2,
    "mesh.cores_per_router": 4,
    "mesh.usable_cores": 30,
    "encoding.word_bits": 16,
    "encoding.header_bits": 10,
    "encoding.index_bits": 6,
    "encoding.row_weights": 16,
    "boards.one.chips": 1,
    "boards.one.columns": 1,
    "boards.many.chips": 12,
    "boards.many.columns": 4,
}


def text_of(multicast: int | None = None, **limits: int) -> str:
    """The description of the chip with some limits changed; a limit of 0 is left out."""
    values = FIGURES | {f"limits.{name}": value for name, value in (LIMITS | limits).items() if value}
    values |= {} if multicast is None else {"mesh.multicast": multicast}
    tables = (
        f'[{name}]\nvalue = {value}\nunit = "1"\norigin = "assumed"\nsource = "a test"\n'
        for name, value in values.items()
    )
    return 'name = "toy"\n' + "\n".join(tables)


@pytest.fixture
def describe() -> Callable[..., str]:
    return text_of


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Chip]:
    """A function of the limits to change that gives the chip."""
    folder = tmp_path_factory.mktemp("chips")

    def build(multicast: int | None = None, **limits: int) -> Chip:
        path = Path(folder) / "toy.toml"
        path.write_text(text_of(multicast, **limits))
        return read_description(path).chip

    return build


class Builder:
    """A random chain of layers on an image; relations carry what lies between."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.populations = [Population("input", (2, 6, 5), "input", (0, 1))]
        self.projections: list[Projection] = []
        self.kernels: dict[str, Kernel] = {}
        self.terms = [Relation.identity(self.populations[0])]

    def network(self) -> Network:
        self.conv("a", channels=6, stride=self.stride())
        if self.random.integers(2):
            self.pool("b")
        skip = self.terms
        self.conv("c", channels=6, stride=(1, 1))
        self.terms = skip + self.terms
        if self.random.integers(2):
            self.conv("d", channels=6, stride=self.stride())
        tokens = int(np.prod(self.terms[0].shape[1:]))
        self.terms = [term.reshape((6, tokens)) for term in self.terms]
        self.pointwise("q", 12)
        (q,) = self.terms
        heads = q.reshape((4, 3, tokens))
        left, right = heads.narrow(0, 0, 2), heads.narrow(0, 2, 4).transpose((0, 2, 1))
        self.product(left, right)
        self.terms = [term.reshape((6, 3)) for term in self.terms]
        self.pointwise("p", int(self.random.integers(3, 8)))
        self.terms = [term.reduce(1) for term in self.terms]
        self.dense("out", 5)
        kernels = tuple(self.kernels.values())
        return Network("random", tuple(self.populations), tuple(self.projections), kernels, ("out",))

    def stride(self) -> tuple[int, int]:
        down, right = self.random.integers(1, 3, 2)
        return int(down), int(right)

    def conv(self, name: str, channels: int, stride: tuple[int, int]) -> None:
        inputs = self.terms[0].shape[0]
        groups = int(self.random.choice([g for g in (1, 2) if inputs % g == 0 and channels % g == 0]))
        op = Conv2d(
            np.ones((channels, inputs // groups, 3, 3), np.int8), None, stride, (1, 1), (1, 1), groups
        )
        self.layer(name, [term.convolution(op, self.kernel(name, op.weight.shape)) for term in self.terms])

    def pool(self, name: str) -> None:
        self.layer(name, [term.pool((3, 3), (1, 1), (1, 1)) for term in self.terms], combine="max")

    def pointwise(self, name: str, channels: int) -> None:
        weight = np.ones((channels, self.terms[0].shape[0], 1), np.int8)
        kernel = self.kernel(name, weight.shape)
        self.layer(name, [term.convolution(Conv1d(weight), kernel) for term in self.terms])

    def dense(self, name: str, outputs: int) -> None:
        kernel = self.kernel(name, (outputs, self.terms[0].shape[-1]))
        self.layer(name, [term.linear(kernel) for term in self.terms], role="readout")

    def product(self, left: Relation, right: Relation) -> None:
        heads, rows, inner = left.shape
        shape = (heads, rows, inner, right.shape[2])
        population = Population(
            "products", shape, "product", (0, 1), 8, combine="product", together=(1, 2, 3)
        )
        self.populations.append(population)
        self.connect([left.broadcast(3, shape[3])], population, 0)
        self.connect([right.broadcast(1, rows)], population, 1)
        self.layer("sums", [Relation.identity(population).reduce(2)], role="accumulator")

    def layer(self, name: str, terms: list[Relation], role: str = "neuron", combine: str = "sum") -> None:
        shape = terms[0].shape
        groups = tuple(int(g) for g in self.random.integers(0, 3, shape[0]))
        group_shape = (shape[0], *(1,) * (len(shape) - 1))
        population = Population(name, shape, role, (0, 1), 6, "", combine, group_shape, groups)  # type: ignore[arg-type]
        self.populations.append(population)
        self.connect(terms, population, 0)
        self.terms = [Relation.identity(population)]

    def connect(self, terms: list[Relation], population: Population, port: int) -> None:
        for term in terms:
            projection, ones = term.projection(population, port)
            self.projections.append(projection)
            if ones is not None:
                self.kernels[ones.name] = ones

    def kernel(self, name: str, shape: tuple[int, ...]) -> Kernel:
        self.kernels[name] = Kernel(name, shape, 8, int(np.prod(shape)), f"{name}/weight")
        return self.kernels[name]


@pytest.fixture(scope="session")
def random_network() -> Callable[[int], Network]:
    """A function of a seed that gives a network."""
    return lambda seed: Builder(seed).network()
