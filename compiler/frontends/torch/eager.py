"""The user's model as it is, stepped one time step at a time: what a capture must equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.axes import InputShape, Lead
from spikeloom.compiler.frontends.torch.capture import Capture
from spikeloom.compiler.frontends.torch.interpreter import TorchInterpreter
from spikeloom.compiler.frontends.torch.neurons import find_neurons, reset_states
from spikeloom.errors import InternalError

After = Callable[[str, nn.Module, Tensor], Tensor | None]
Before = Callable[[str, nn.Module, Tensor], None]


@contextmanager
def watching(model: nn.Module, after: After, before: Before | None = None) -> Iterator[None]:
    """Watch every neuron layer of a model while this is open.

    Args:
        model: whose neurons are watched.
        after: called as ``after(path, module, spikes)``; a tensor that it returns replaces the spikes.
        before: called as ``before(path, module, currents)``.
    """
    with ExitStack() as stack:
        for path, module in find_neurons(model).items():

            def leave(module: nn.Module, _: Any, spikes: Tensor, path: str = path) -> Tensor | None:
                return after(path, module, spikes)

            def enter(module: nn.Module, inputs: Any, path: str = path) -> None:
                if before is not None:
                    before(path, module, inputs[0])

            stack.callback(module.register_forward_hook(leave).remove)
            stack.callback(module.register_forward_pre_hook(enter).remove)
        yield


def as_step(frame: Tensor, shape: InputShape) -> Tensor:
    """A frame [batch, ...] as the model's input of a single time step."""
    return frame.unsqueeze(1 if shape.lead is Lead.BATCH_TIME else 0)


@torch.no_grad()
def run_eager(model: nn.Module, shape: InputShape, frames: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Step the model, in eval mode, over frames [steps, batch, ...] from a fresh state.

    Returns:
        The output [steps, batch, ...] and the spikes of every neuron layer [steps, batch, ...].
    """
    spikes: dict[str, list[Tensor]] = {path: [] for path in find_neurons(model)}
    outputs = []
    model.eval()
    reset_states(model)
    with watching(model, lambda path, _, s: spikes[path].append(s.reshape(frames.shape[1], *s.shape[2:]))):
        for frame in frames:
            first = first_tensor(model(as_step(frame, shape)))
            outputs.append(first.reshape(frames.shape[1], *first.shape[2:]))
    reset_states(model)
    return torch.stack(outputs), {path: torch.stack(s) for path, s in spikes.items() if s}


def first_tensor(result: Any) -> Tensor:
    """The output that a capture takes, whatever it is wrapped in."""
    while not isinstance(result, Tensor):
        result = next(iter(result.values() if isinstance(result, dict) else result))
    return result


@dataclass(frozen=True)
class CaptureProof:
    """How far the comparison with eager PyTorch went: all of it was equal."""

    samples: int
    steps: int
    cells: int


@torch.no_grad()
def prove_capture(capture: Capture, frames: Tensor) -> CaptureProof:
    """Compare the captured graph with eager PyTorch, both stepped one time step at a time.

    The output, every spike and every membrane potential must be equal to the last bit.

    Args:
        capture: what was captured.
        frames: [steps, batch, ...].

    Raises:
        InternalError: SL0306, a value differs; the first is named.
    """
    interpreter = TorchInterpreter(capture)
    interpreter.reset()
    reset_states(capture.model)
    neurons: dict[str, Any] = dict(find_neurons(capture.model))
    spikes: dict[str, Tensor] = {}
    cells = 0
    with watching(capture.model, lambda path, _, s: spikes.update({path: s.reshape(s.shape[1:])})):
        for step, frame in enumerate(frames):
            result = first_tensor(capture.model(as_step(frame, capture.input_shape)))
            values = interpreter.step(frame)
            for node in capture.graph.neurons():
                _same(node.name, step, values[node.name], spikes[node.name])
                potential = interpreter.potential(node.name)
                _same(f"{node.name}, potential", step, potential, neurons[node.name].v)
                cells += spikes[node.name].numel()
            output = capture.graph.outputs[0]
            _same(output, step, values[output], result.reshape(values[output].shape))
            cells += result.numel()
    reset_states(capture.model)
    return CaptureProof(frames.shape[1], len(frames), cells)


def _same(name: str, step: int, got: Tensor, wanted: Tensor) -> None:
    if not torch.equal(got, wanted):
        worst = (got - wanted).abs().max().item()
        raise InternalError.of("SL0306", name, f"differs from eager PyTorch at step {step} by {worst:.3g}")
