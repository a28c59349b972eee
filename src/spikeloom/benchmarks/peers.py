"""Other software that runs the same network, each in its own fastest way on a processor that we know.

Peers compute in float32. Each is named by what it is. They are nobody's dependency, so they are imported by
name where somebody has installed them; one that is missing is left out and said to be.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.benchmarks.floats import KEEP
from spikeloom.benchmarks.networks import BenchNetwork

if TYPE_CHECKING:
    from spikeloom.benchmarks.torch_network import MakeNeuron

Contender = Callable[[NDArray[np.uint8]], object]
SPIKINGJELLY = "SpikingJelly, float32"
EAGER = "torch eager, float32"
COMPILED = "torch.compile, float32"


def torch_peers(network: BenchNetwork, compiles: bool, threads: int = 1) -> dict[str, Contender]:
    """The peers on torch that can be imported, by name, without those whose neurons are others."""
    found: dict[str, Contender] = {}
    if _usable("torch"):
        import torch

        from spikeloom.benchmarks.torch_network import torch_network

        for name, make in neurons().items():
            if not differs(make):
                found[name] = _run(torch_network(network, make), threads)
        if compiles:
            found[COMPILED] = _run(torch.compile(torch_network(network, _plain)), threads)
    return found


def neurons() -> dict[str, MakeNeuron]:
    """How each peer makes a layer of neurons, where the peer can be imported."""
    frameworks = {
        SPIKINGJELLY: ("spikingjelly", _spikingjelly),
        "snnTorch, float32": ("snntorch", _snntorch),
        "norse, float32": ("norse", _norse),
        "sinabs, float32": ("sinabs", _sinabs),
        EAGER: ("torch", _plain),
    }
    return {name: make for name, (package, make) in frameworks.items() if _usable(package)}


def differs(make: MakeNeuron) -> bool:
    """Whether a peer's neurons, as set up here, fire otherwise than the networks mean.

    They get currents that floats hold exactly, and a threshold that no potential comes near.
    """
    import torch

    rng = np.random.default_rng(0)
    currents = (rng.integers(-8, 12, (12, 1, 4, 64)) + 0.25).astype(np.float32)
    level, v = 7.1, np.zeros(currents.shape[1:])
    spikes = np.empty(currents.shape, np.float32)
    for step, current in enumerate(currents):
        v = KEEP * v + current
        spikes[step] = v >= level
        v[v >= level] = 0.0
    with torch.inference_mode():
        return bool((make(level)(torch.from_numpy(currents)).numpy() != spikes).any())


def unequal() -> list[str]:
    """Peers whose neurons, as set up here, are others."""
    return [name for name, make in neurons().items() if differs(make)]


def missing() -> list[str]:
    """Peers that cannot be imported here."""
    return [name for name in ("torch", "spikingjelly", "snntorch", "norse", "sinabs") if not _usable(name)]


def versions() -> dict[str, str]:
    """Of everything that takes part."""
    names = (
        "numpy", "onnxruntime", "numba", "torch", "spikingjelly", "snntorch", "norse", "sinabs",
    )  # fmt: skip
    return {name: version(name) for name in names if _usable(name)}


@cache
def _usable(package: str) -> bool:
    """Whether it is installed, with all that it needs itself."""
    try:
        import_module(package)
    except ImportError:
        return False
    return True


def _run(module: Any, threads: int) -> Contender:
    import torch

    def run(frames: NDArray[np.uint8]) -> object:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            return module(torch.from_numpy(frames).float())

    return run


def _plain(level: float) -> Any:
    """The neuron in four operations of torch."""
    import torch
    from torch import nn

    class Neuron(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            v = torch.zeros_like(x[0])
            spikes = []
            for current in x:
                v = v * KEEP + current
                fires = v >= level
                spikes.append(fires.float())
                v = v.masked_fill(fires, 0.0)
            return torch.stack(spikes)

    return Neuron()


def _spikingjelly(level: float) -> Any:
    """Its multi-step neuron."""
    from torch import nn

    kind = import_module("spikingjelly.activation_based.neuron").LIFNode

    class Neuron(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = kind(
                tau=1 / (1 - KEEP), decay_input=False, v_threshold=level, v_reset=0.0, step_mode="m"
            )

        def forward(self, x: Any) -> Any:
            self.neuron.reset()
            return self.neuron(x)

    return Neuron()


def _snntorch(level: float) -> Any:
    """Step after step, as it is used."""
    import torch
    from torch import nn

    kind = import_module("snntorch").Leaky

    class Neuron(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = kind(beta=KEEP, threshold=level, reset_mechanism="zero", reset_delay=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            v = torch.zeros_like(x[0])
            spikes = []
            for current in x:
                s, v = self.neuron(current, v)
                spikes.append(s)
            return torch.stack(spikes)

    return Neuron()


def _norse(level: float) -> Any:
    """Its box neuron; inputs are scaled by dt * tau_mem_inv inside, and so is the threshold."""
    import torch
    from torch import nn

    norse = import_module("norse.torch")

    class Neuron(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            inverse = (1 - KEEP) / 0.001
            self.neuron = norse.LIFBoxCell(
                norse.LIFBoxParameters(
                    tau_mem_inv=torch.tensor(inverse),
                    v_leak=torch.tensor(0.0),
                    v_th=torch.tensor(level * (1 - KEEP)),
                    v_reset=torch.tensor(0.0),
                )
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state = None
            spikes = []
            for current in x:
                s, state = self.neuron(current, state)
                spikes.append(s)
            return torch.stack(spikes)

    return Neuron()


def _sinabs(level: float) -> Any:
    """Its layer over a sequence; the input is not scaled by the decay."""
    import torch
    from torch import nn

    layers, activation = import_module("sinabs.layers"), import_module("sinabs.activation")

    class Neuron(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = layers.LIF(
                tau_mem=float(-1 / np.log(KEEP)),
                spike_threshold=torch.tensor(level),
                spike_fn=activation.SingleSpike,
                reset_fn=activation.MembraneReset(),
                norm_input=False,
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.neuron.reset_states()
            y: torch.Tensor = self.neuron(x.transpose(0, 1)).transpose(0, 1)
            return y

    return Neuron()
