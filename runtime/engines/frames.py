"""What every engine demands of the frames and states that it is given."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.kinds import frame_dtype
from spikeloom.compiler.graph.op import Array
from spikeloom.errors import InputError, Problem


def check_frames(graph: Graph, frames: Array, batch: int) -> None:
    """Refuse frames that are not [steps, batch, ...] of the network's input kind.

    They are uint8, or what :func:`~spikeloom.compiler.graph.kinds.frame_dtype` says of wider indices. A
    frame outside the kind would void the proof that nothing overflows.

    Raises:
        InputError: SL0803.
    """
    (name,) = graph.inputs
    kind = graph.types[name]
    shape = tuple(frames.shape)
    wanted_type = np.dtype(frame_dtype(kind.kind))
    if frames.dtype != wanted_type:
        raise InputError.of(
            "SL0803",
            name,
            "frames have the wrong type",
            wanted=wanted_type,
            got=frames.dtype,
            remedy="the recipe's encode() gives tokens of it" if kind.kind.name == "index" else "",
        )
    if shape[1:] != (batch, *kind.shape) or not len(frames):
        wanted = ", ".join(map(str, ("1 or more steps", batch, *kind.shape)))
        remedy = "reset the engine to the number of samples" if shape[2:] == kind.shape else ""
        raise InputError.of(
            "SL0803",
            name,
            "frames have the wrong shape",
            wanted=f"[{wanted}]",
            got=list(shape),
            remedy=remedy,
        )
    _, high = kind.kind.bounds
    if int(frames.max(initial=0)) > high:
        tokens = kind.kind.name == "index"
        what = (
            "tokens are not of the vocabulary"
            if tokens
            else "frames hold counts that the network does not take"
        )
        raise InputError.of(
            "SL0803",
            name,
            what,
            wanted=f"0..{high}",
            got=int(frames.max()),
            remedy="build the frames with the recipe of the bundle",
        )


def check_state(graph: Graph, state: Mapping[str, Array]) -> None:
    """Refuse a state that another network gave, or another number of samples in its parts.

    Raises:
        InputError: SL0803, once for each part of the state.
    """
    wanted = {
        f"{node.name}/{name}": kind.shape
        for node, op in graph.stateful()
        for name, kind in op.states(*graph.input_types(node)).items()
    }
    batch = max((len(array) for array in state.values()), default=0)
    problems = [
        Problem("SL0803", name, "is no state of this network") for name in state if name not in wanted
    ]
    for name, shape in wanted.items():
        got = state[name].shape if name in state else "nothing"
        if got != (batch, *shape):
            problems.append(
                Problem("SL0803", name, "does not fit this network", str((batch, *shape)), str(got))
            )
    if problems:
        raise InputError(problems)
