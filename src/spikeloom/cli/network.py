"""Networks that come as a file of nodes and edges, without code: NIR."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from spikeloom.cli.calibration import calibration
from spikeloom.compiler.frontends.nir.file import read_nir
from spikeloom.compiler.frontends.nir.lower import lower_nir
from spikeloom.compiler.frontends.nir.semantics import PRESETS, preset
from spikeloom.compiler.frontends.torch.axes import InputShape, Lead
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.kinds import REAL
from spikeloom.errors import InputError, Problem
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.stream import DropReport

SUFFIXES = (".nir",)

Preset = Annotated[
    str | None, typer.Option("--preset", help=f"How a NIR file is executed: {', '.join(PRESETS)}.")
]
TimeStep = Annotated[
    float | None, typer.Option("--dt", help="Seconds of a time step of a NIR file; the preset's by default.")
]


def is_network(spec: str) -> bool:
    """Whether what a user names is a file of nodes and edges, and no factory.

    >>> is_network("a.nir"), is_network("model.py:factory")
    (True, False)
    """
    return Path(spec).suffix in SUFFIXES


def check_options(spec: str, of_models: dict[str, object], of_networks: dict[str, object]) -> None:
    """Refuse the options of PyTorch models for a file of nodes and edges, and the other way round.

    Args:
        spec: what the user named.
        of_models: options of PyTorch models and their values; unset ones are None or empty.
        of_networks: options of files, likewise.

    Raises:
        InputError: SL0901, all that do not belong.
    """
    foreign = of_models if is_network(spec) else of_networks
    what = "is for PyTorch models" if is_network(spec) else "is for files of networks"
    wanted = "FILE.py:factory" if is_network(spec) else " or ".join(f"FILE{suffix}" for suffix in SUFFIXES)
    if given := [name for name, value in foreign.items() if value]:
        raise InputError(Problem("SL0901", name, what, wanted=wanted, got=spec) for name in given)


def load_network(path: Path, execution: str | None, dt: float | None, steps: int) -> Graph:
    """The graph of a file.

    Args:
        path: of the file.
        execution: name of a preset.
        dt: seconds of a time step; None for the preset's.
        steps: time steps of a sample; 0 if not known.

    Raises:
        InputError: SL0211, the file is damaged; SL0901, no preset is named.
        UnsupportedError: SL0302, all nodes without a counterpart.
    """
    if execution is None:
        raise InputError.of(
            "SL0901",
            "--preset",
            "NIR does not say how its neurons are executed",
            wanted=" or ".join(PRESETS),
            remedy="name the simulator that the network was trained with",
        )
    rule = preset(execution, dt)
    return lower_nir(read_nir(path), rule, REAL, path.stem, steps)


def network_calibration(
    source: str, recipe: FrameRecipe | None, graph: Graph, steps: int, count: int, strict: bool
) -> tuple[NDArray[Any], DropReport]:
    """Frames [steps, samples, ...] for a graph, found as those for a model."""
    shape = InputShape(Lead.TIME_BATCH, graph.types[graph.inputs[0]].shape)
    return calibration(source, recipe, shape, steps, count, strict)


def parameters(graph: Graph) -> int:
    """How many numbers the operations of a graph hold in arrays."""
    return sum(
        value.size
        for node in graph.nodes
        for value in vars(node.op).values()
        if isinstance(value, np.ndarray) and value.ndim
    )
