"""Networks that come as a file of nodes and edges, without code: NIR and ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from spikeloom.cli.calibration import CalibrationOptions, calibration
from spikeloom.cli.model import ModelOptions
from spikeloom.cli.netx import NETX
from spikeloom.compiler.frontends.nir.file import read_nir
from spikeloom.compiler.frontends.nir.lower import lower_nir
from spikeloom.compiler.frontends.nir.semantics import PRESETS, preset
from spikeloom.compiler.frontends.torch.axes import InputShape, Lead
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.kinds import REAL
from spikeloom.errors import InputError, Problem
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.stream import DropReport

SUFFIXES = (".nir", ".onnx")
MODEL = "FILE.py:factory"
BELONGS = {
    "weights": (MODEL,),
    "arg": (MODEL,),
    "model_config": (MODEL,),
    "repo": (MODEL,),
    "model_inputs": (MODEL,),
    "input_shape": (MODEL, ".onnx"),
    "preset": (".nir",),
    "dt": (".nir",),
    "state": (".onnx",),
}
"""What each option is for, by its field."""

TIME_AXIS = {Lead.BATCH: None, Lead.TIME_BATCH: 0, Lead.BATCH_TIME: 1}
"""Where time is in the input of an ONNX file, by how the input begins."""


@dataclass(frozen=True)
class NetworkSource:
    """A file of nodes and edges.

    Attributes:
        path: of the file.
        execution: of a NIR file: name of a preset.
        dt: of a NIR file: seconds of a time step; None for the preset's.
        axes: of an ONNX file: of its input, as ``T,B,2,34,34`` where time is unrolled in it.
        states: of an ONNX file: pairs INPUT=OUTPUT.
    """

    path: Path
    execution: str | None = None
    dt: float | None = None
    axes: str | None = None
    states: Sequence[str] = ()

    @property
    def about(self) -> dict[str, str]:
        """What the manifest says of it."""
        return {"model": self.path.name, **({"preset": self.execution} if self.execution else {})}


@dataclass(frozen=True)
class NetworkOptions:
    """The options that say what a file of nodes and edges leaves open."""

    PANEL = "Files of NIR and ONNX"

    preset: Annotated[str | None, typer.Option(help=f"How a NIR file is executed: {', '.join(PRESETS)}.")] = (
        None
    )
    dt: Annotated[
        float | None, typer.Option(help="Seconds of a time step of a NIR file; the preset's by default.")
    ] = None
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="Which output of an ONNX file is the next step's input; may be repeated.",
            metavar="INPUT=OUTPUT",
        ),
    ] = None

    def source(self, path: str, axes: str | None) -> NetworkSource:
        """The file that ``path`` names, its input along these axes."""
        return NetworkSource(Path(path), self.preset, self.dt, axes, self.state or ())


def is_network(spec: str) -> bool:
    """Whether what a user names is a file of nodes and edges, and no factory.

    >>> is_network("a.nir"), is_network("model.py:factory")
    (True, False)
    """
    return Path(spec).suffix in SUFFIXES


def check_options(spec: str, *groups: ModelOptions | NetworkOptions) -> None:
    """Refuse options that are for another kind of network than what the user named.

    Raises:
        InputError: SL0901, all that do not belong.
    """
    kind = Path(spec).suffix if is_network(spec) or spec.endswith(NETX) else MODEL
    given = {name for group in groups for name, value in vars(group).items() if value}
    problems = [
        Problem("SL0901", f"--{name.replace('_', '-')}", "is for other networks", " or ".join(kinds), spec)
        for name, kinds in BELONGS.items()
        if name in given and kind not in kinds
    ]
    if problems:
        raise InputError(problems)


def load_network(source: NetworkSource, steps: int) -> tuple[Graph, int]:
    """The graph of a file, and its time steps: those of the file, where it has them.

    Args:
        source: the file and how it is meant.
        steps: time steps of a sample; 0 if not known.

    Raises:
        InputError: SL0211, SL0213, the file is damaged; SL0901, an option is missing or malformed.
        UnsupportedError: SL0302, all nodes without a counterpart; others as the frontends say.
    """
    if source.path.suffix == ".onnx":
        return _load_onnx(source, steps)
    if source.execution is None:
        raise InputError.of(
            "SL0901",
            "--preset",
            "NIR does not say how its neurons are executed",
            wanted=" or ".join(PRESETS),
            remedy="name the simulator that the network was trained with",
        )
    rule = preset(source.execution, source.dt)
    return lower_nir(read_nir(source.path), rule, REAL, source.path.stem, steps), steps


def _load_onnx(source: NetworkSource, steps: int) -> tuple[Graph, int]:
    from spikeloom.compiler.frontends.onnx.file import read_onnx
    from spikeloom.compiler.frontends.onnx.lower import lower_onnx

    pairs = [text.partition("=") for text in source.states]
    if wrong := [before + equals for before, equals, after in pairs if not (before and after)]:
        raise InputError.of("SL0901", "--state", f"{wrong[0]!r} is no pair", wanted="INPUT=OUTPUT")
    lead = Lead.BATCH if source.axes is None else InputShape.parse(source.axes).lead
    if lead not in TIME_AXIS:
        wanted = "T,B,... or B,T,... or B,..."
        raise InputError.of("SL0901", "--input-shape", "ONNX files begin otherwise", wanted=wanted)
    network = read_onnx(source.path)
    axis = TIME_AXIS[lead]
    graph = lower_onnx(network, source.path.stem, axis, {before: after for before, _, after in pairs}, steps)
    return graph, steps if axis is None else network.shapes[network.inputs[0]][axis]


def network_calibration(
    given: CalibrationOptions, recipe: FrameRecipe | None, graph: Graph, steps: int
) -> tuple[NDArray[Any], DropReport]:
    """Frames [steps, samples, ...] for a graph, found as those for a model."""
    shape = InputShape(Lead.TIME_BATCH, graph.types[graph.inputs[0]].shape)
    return calibration(given, recipe, shape, steps)


def parameters(graph: Graph) -> int:
    """How many numbers the operations of a graph hold in arrays."""
    return sum(
        value.size
        for node in graph.nodes
        for value in vars(node.op).values()
        if isinstance(value, np.ndarray) and value.ndim
    )
