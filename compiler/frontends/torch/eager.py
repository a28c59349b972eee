"""The user's model as it is, stepped one time step at a time: what a capture must equal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from spikeloom.compiler.frontends.torch.axes import InputShape, Lead
from spikeloom.compiler.frontends.torch.capture import Capture
from spikeloom.compiler.frontends.torch.interpreter import TorchInterpreter
from spikeloom.compiler.frontends.torch.libraries.held import holding
from spikeloom.compiler.frontends.torch.neurons import (
    find_neurons,
    holders,
    potential,
    reset_states,
    spikes_of,
)
from spikeloom.compiler.frontends.torch.one_step import OneStepAtATime
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
        stack.enter_context(holding(holders(model)))
        for path, module in find_neurons(model).items():

            def leave(module: nn.Module, _: Any, result: Any, path: str = path) -> Tensor | None:
                return after(path, module, spikes_of(result).clone())  # the model may add to them in place

            def enter(module: nn.Module, inputs: Any, path: str = path) -> None:
                if before is not None:
                    before(path, module, inputs[0])

            stack.callback(module.register_forward_hook(leave).remove)
            stack.callback(module.register_forward_pre_hook(enter).remove)
        yield


def as_step(frame: Tensor, shape: InputShape) -> Tensor:
    """A frame [batch, ...] as the model's input of a single time step."""
    if shape.one_step:
        return frame
    return frame.unsqueeze(1 if shape.lead is Lead.BATCH_TIME else 0)


def as_input(frames: Tensor, shape: InputShape) -> Tensor:
    """Frames [steps, batch, ...] as the model's input of all of them."""
    if shape.lead is Lead.BATCH:
        return frames[0]
    return frames.transpose(0, 1) if shape.lead is Lead.BATCH_TIME else frames


@torch.no_grad()
@sdpa_kernel(SDPBackend.MATH)
def run_eager(
    model: nn.Module, shape: InputShape, frames: Tensor, found: Capture | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Run the model, in eval mode, over frames [steps, batch, ...] from a fresh state, step by step.

    A model that mixes time steps or repeats its input inside is called once, and each of its layers
    computes one time step after the other (:class:`OneStepAtATime`).

    Args:
        model: as it is captured.
        shape: of its input.
        frames: [steps, batch, ...].
        found: what was captured, of a model that may not be steppable.

    Returns:
        The output [steps, batch, ...] ([1, batch, ...] if the model gives one for all steps) and
        the spikes of every neuron layer [steps, batch, ...]; layers may go on after the last frame.
    """
    model.eval()
    reset_states(model)
    if found is None or found.steppable:
        output, spikes = _run_stepped(model, shape, frames, found)
    else:
        output, spikes = _run_at_once(model, shape, frames, found)
    reset_states(model)
    return output, spikes


def _run_stepped(
    model: nn.Module, shape: InputShape, frames: Tensor, found: Capture | None
) -> tuple[Tensor, dict[str, Tensor]]:
    spikes: dict[str, list[Tensor]] = {path: [] for path in find_neurons(model)}
    outputs = []

    def keep(path: str, module: nn.Module, s: Tensor) -> None:
        s = s if found is None else _laid_out(s, path, found, frames.shape[1])
        timed = not shape.one_step and s.ndim > 1 and hasattr(module, "v_threshold")
        spikes[path].append(s.squeeze(0) if timed else s)

    with watching(model, keep):
        for frame in frames:
            first = first_tensor(model(as_step(frame, shape)))
            own = first.shape[1:] if shape.one_step else first.shape[2:]
            outputs.append(first.reshape(frames.shape[1], *own))
    return torch.stack(outputs), {path: torch.stack(s) for path, s in spikes.items() if s}


def _run_at_once(
    model: nn.Module, shape: InputShape, frames: Tensor, found: Capture
) -> tuple[Tensor, dict[str, Tensor]]:
    steps, batch = frames.shape[:2]
    spikes: dict[str, Tensor] = {}

    turns: dict[str, list[Tensor]] = {}

    def keep(path: str, module: nn.Module, s: Tensor) -> None:
        if shape.loops:
            turns.setdefault(path, []).append(s)
            return
        s = _laid_out(s, path, found, batch)
        if s.shape[0] == batch and steps > 1:  # before the input is repeated
            s = s.expand(steps, *s.shape)
        own = s.shape[1:] if s.shape[0] == steps * batch and s.shape[:2] != (steps, batch) else s.shape[2:]
        spikes[path] = s.reshape(-1, batch, *own)

    with watching(model, keep), OneStepAtATime(steps, batch, found):
        output = first_tensor(model(as_input(frames, shape)))
    spikes.update({path: torch.stack(each) for path, each in turns.items()})
    lasting = steps + found.graph.overtime[found.graph.outputs[0]]
    if shape.lead is Lead.BATCH_TIME and output.shape[:2] == (batch, lasting):
        output = output.transpose(0, 1)
    elif output.shape[:2] != (lasting, batch):
        output = output.unsqueeze(0)
    return output, spikes


def _laid_out(s: Tensor, path: str, found: Capture, batch: int) -> Tensor:
    """The spikes of a layer with time and samples in front, wherever the model has them."""
    if path not in found.layouts or path not in found.graph.types:
        return s
    return _time_first(s, found.layouts[path], batch, found.graph.types[path].shape)


def _time_first(s: Tensor, tags: Sequence[str], batch: int, own: Sequence[int]) -> Tensor:
    """What a neuron layer gives as [T, B, ...], or as [B, ...] if these axes have no time.

    Args:
        s: with these axes, or with some of them folded.
        tags: what they are.
        batch: samples.
        own: a sample's own sizes.
    """
    sizes = iter(own)
    apart = s.reshape([{"T": -1, "B": batch}[tag] if tag else next(sizes) for tag in tags])
    lead = [tags.index(tag) for tag in ("T", "B") if tag in tags]
    return apart.permute(*lead, *(axis for axis in range(len(tags)) if axis not in lead))


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
@sdpa_kernel(SDPBackend.MATH)
def prove_capture(capture: Capture, frames: Tensor) -> CaptureProof:
    """Compare the captured graph with eager PyTorch, both stepped one time step at a time.

    The output, every spike and every membrane potential must be equal to the last bit. Of a model
    that is called once for all steps, the potentials after the last step are seen.

    Args:
        capture: what was captured.
        frames: [steps, batch, ...].

    Raises:
        InternalError: SL0306, a value differs; the first is named.
        ValueError: several samples, and the model lets neurons run on from one to the next.
    """
    if capture.over_samples and frames.shape[1] != 1:
        raise ValueError(f"{', '.join(capture.over_samples)} have a meaning for single samples only")
    if capture.batch:  # as many samples as its constants were computed with
        frames = frames[:, torch.arange(capture.batch) % frames.shape[1]]
    proof = _Proof(capture, frames.shape[1])
    reset_states(capture.model)
    if capture.steppable:
        spikes: dict[str, Tensor] = {}

        def keep(path: str, _: nn.Module, s: Tensor) -> None:
            spikes[path] = _laid_out(s, path, capture, frames.shape[1])

        with watching(capture.model, keep):
            for step, frame in enumerate(frames):
                output = first_tensor(capture.model(as_step(frame, capture.input_shape)))
                proof.step(step, frame, spikes, output)
                proof.potentials(step)
    else:
        proof.whole(frames, *_run_at_once(capture.model, capture.input_shape, frames, capture))
    reset_states(capture.model)
    return CaptureProof(frames.shape[1], len(frames), proof.cells)


class _Proof:
    """Steps the captured graph beside eager PyTorch."""

    def __init__(self, capture: Capture, batch: int) -> None:
        self._graph, self._layouts = capture.graph, capture.layouts
        self._interpreter = TorchInterpreter(capture)
        self._interpreter.reset()
        self._neurons: dict[str, Any] = dict(find_neurons(capture.model))
        self.cells = 0

    def whole(self, frames: Tensor, output: Tensor, trains: Mapping[str, Tensor]) -> None:
        """Step the graph over all frames and until it has answered; each layer is as late as it says."""
        graph = self._graph
        late, answer = graph.lateness, graph.outputs[0]
        last = len(frames) + graph.flush - 1
        flushed = torch.cat([frames, torch.zeros(graph.flush, *frames.shape[1:])])
        for step, frame in enumerate(flushed):
            now = {
                path: train[step - late[path]]
                for path, train in trains.items()
                if path in late and 0 <= step - late[path] < len(train)
            }
            at = step - late[answer] if len(output) > 1 or last == 0 else step - last
            self.step(step, frame, now, output[at] if 0 <= at < len(output) else None)
        ending = {path for path, train in trains.items() if path in late and late[path] + len(train) > last}
        self.potentials(last, ending)

    def step(self, step: int, frame: Tensor, spikes: Mapping[str, Tensor], output: Tensor | None) -> None:
        """Step the graph; its spikes and its output must be these."""
        values = self._interpreter.step(frame)
        for node in self._graph.neurons():
            if node.name in spikes:
                wanted = spikes[node.name].reshape(values[node.name].shape)
                _same(node.name, step, values[node.name], wanted)
                self.cells += wanted.numel()
        if output is not None:
            name = self._graph.outputs[0]
            _same(name, step, values[name], output.reshape(values[name].shape))
            self.cells += output.numel()

    def potentials(self, step: int, of: Collection[str] | None = None) -> None:
        """The membranes must be equal; ``of`` these layers, or of all."""
        for node in self._graph.neurons():
            if node.name not in self._neurons or (of is not None and node.name not in of):
                continue
            wanted = potential(self._neurons[node.name])
            got = self._interpreter.potential(node.name)
            if wanted is not None and got is not None:
                if node.name in self._layouts:
                    tags = [tag for tag in self._layouts[node.name] if tag != "T"]
                    wanted = _time_first(wanted, tags, len(got), got.shape[1:])
                _same(f"{node.name}, potential", step, got, wanted.reshape(got.shape))


def _same(name: str, step: int, got: Tensor, wanted: Tensor) -> None:
    if not torch.equal(got, wanted):
        worst = (got - wanted).abs().max().item()
        raise InternalError.of("SL0306", name, f"differs from eager PyTorch at step {step} by {worst:.3g}")
