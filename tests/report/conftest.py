"""The bundles of a small network, and recordings to run it on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeloom.compiler.bundle import Bundle
from spikeloom.runtime.events.samples.arrays import arrays
from spikeloom.runtime.events.samples.sample import Samples
from tests.random_networks import RandomNetwork
from tests.report.tiny import SIDE, STEPS, Names, grow, make_bundle


@pytest.fixture(scope="session")
def network() -> RandomNetwork:
    return grow(Names())


@pytest.fixture(scope="session")
def bundle_for(network: RandomNetwork, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """The bundle for a target."""
    folder = tmp_path_factory.mktemp("bundles")
    bundles: dict[str, Bundle] = {}

    def get(target: str) -> Bundle:
        if target not in bundles:
            bundles[target] = make_bundle(folder / f"{target}.loom", target, Names(), network.graph)
        return bundles[target]

    return get


@pytest.fixture(scope="session")
def save_inputs() -> Callable[..., Path]:
    """Write the frames of a network as an .npz file."""

    def save(path: Path, network: RandomNetwork, labels: list[int] | None = None) -> Path:
        content: dict[str, Any] = {"x": network.frames.swapaxes(0, 1)}
        np.savez(path, **(content | ({} if labels is None else {"y": np.array(labels)})))
        return path

    return save


@pytest.fixture
def inputs(
    tmp_path: Path, network: RandomNetwork, save_inputs: Callable[..., Path]
) -> Callable[..., Samples]:
    """The network's frames as samples, with labels or without."""

    def get(labels: list[int] | None = None) -> Samples:
        return arrays(save_inputs(tmp_path / "in.npz", network, labels), (STEPS, 2, SIDE, SIDE))

    return get
