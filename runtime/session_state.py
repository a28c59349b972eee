"""Where a stream stands: everything that the next step depends on, to be kept and put back.

A file of it is safetensors with a JSON text as its metadata; it holds numbers and no code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from spikeloom.atomic import write_bytes
from spikeloom.compiler.bundle import Bundle
from spikeloom.compiler.graph.op import Array
from spikeloom.errors import InputError
from spikeloom.runtime.events.framer import FramerState
from spikeloom.runtime.events.stream import DropReport

FORMAT = 2
_KEY = "spikeloom.session"


@dataclass(frozen=True)
class SessionState:
    """A session between two steps.

    Attributes:
        network: digest of the network and its recipe; a state fits no other.
        step: steps since the last reset.
        total: sum of the outputs since then, integers [classes].
        engine: state of the network, as :meth:`~spikeloom.compiler.graph.engine.Engine.state` gives it.
        framer: the frame that is begun; None if no stream is.
        frames: the latest frames of a stream of windows, uint8 [n, ...].
        outputs: the latest outputs of one without resets, int64 [n, classes].
    """

    network: str
    step: int
    total: Array
    engine: Mapping[str, Array]
    framer: FramerState | None = None
    frames: Array = field(default_factory=lambda: np.zeros((0,), np.uint8))
    outputs: Array = field(default_factory=lambda: np.zeros((0,), np.int64))

    @property
    def consumed(self) -> int:
        """Events of the stream that went in; the stream goes on with the one after them."""
        return self.framer.consumed if self.framer else 0


def network_digest(bundle: Bundle) -> str:
    """SHA-256 of what a state depends on: the graph, its weights and the recipe."""
    names = ("graph.json", "weights.safetensors", "recipe.json")
    return sha256(b"".join(sha256(bundle.members[name]).digest() for name in names)).hexdigest()


def save_state(state: SessionState, path: Path | str) -> None:
    """Write a state as a file, whole or not at all.

    Raises:
        InputError: SL0902, the path cannot be written.
    """
    arrays = {"total": state.total, "frames": state.frames, "outputs": state.outputs}
    arrays |= {f"engine/{name}": array for name, array in state.engine.items()}
    about: dict[str, Any] = {"format": FORMAT, "network": state.network, "step": state.step}
    if state.framer is not None:
        framer = state.framer
        arrays |= {f"frame/{name}": array for name, array in framer.arrays.items()}
        about["framer"] = {
            "consumed": framer.consumed,
            "seen": framer.seen,
            "step": framer.step,
            "current": framer.current,
            "origin": framer.origin,
            "begun": framer.begun,
            "report": framer.report.to_json(),
        }
    laid = {name: np.asarray(array, order="C") for name, array in sorted(arrays.items())}
    write_bytes(Path(path), save(laid, {_KEY: json.dumps(about, sort_keys=True)}))


def load_state(path: Path | str) -> SessionState:
    """Read a state that :func:`save_state` wrote.

    Raises:
        InputError: SL0811, the file is missing, damaged, or no state.
    """
    try:
        with safe_open(path, "numpy") as content:
            about = json.loads((content.metadata() or {})[_KEY])
            arrays = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        if about["format"] != FORMAT:
            raise InputError.of("SL0811", path, "is of another version", wanted=FORMAT, got=about["format"])
        return _state(about, arrays)
    except OSError as error:
        raise InputError.of("SL0811", path, f"cannot be read: {error.strerror or error}") from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError.of("SL0811", path, "is no saved state of a session") from error


def _state(about: Mapping[str, Any], arrays: Mapping[str, Array]) -> SessionState:
    framer = None
    if "framer" in about:
        facts = dict(about["framer"])
        report = DropReport(**facts.pop("report"))
        framer = FramerState(**facts, arrays=_below("frame/", arrays), report=report)
    return SessionState(
        str(about["network"]),
        int(about["step"]),
        arrays["total"],
        _below("engine/", arrays),
        framer,
        arrays["frames"],
        arrays["outputs"],
    )


def _below(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
