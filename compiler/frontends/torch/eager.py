"""The user's model as it is, stepped one time step at a time: what a capture must equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spikeloom.compiler.frontends.torch.axes import InputShape, Lead
from spikeloom.compiler.frontends.torch.capture import Capture
from spikeloom.compiler.frontends.torch.interpreter import TorchInterpreter
from spikeloom.compiler.frontends.torch.neurons import find_neurons, potential, reset_states
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


def as_input(frames: Tensor, shape: InputShape) -> Tensor:
    """Frames [steps, batch, ...] as the model's input of all of them."""
    if shape.lead is Lead.BATCH:
        return frames[0]
    return frames.transpose(0, 1) if shape.lead is Lead.BATCH_TIME else frames


@torch.no_grad()
def run_eager(
    model: nn.Module, shape: InputShape, frames: Tensor, steppable: bool = True
) -> tuple[Tensor, dict[str, Tensor]]:
    """Run the model, in eval mode, over frames [steps, batch, ...] from a fresh state, step by step.

    A model that mixes time steps or repeats its input inside is called once, and each of its layers
    computes one time step after the other (:class:`OneStepAtATime`).

    Args:
        model: as it is captured.
        shape: of its input.
        frames: [steps, batch, ...].
        steppable: as :class:`Capture` says.

    Returns:
        The output [steps, batch, ...] ([1, batch, ...] if the model gives one for all steps) and
        the spikes of every neuron layer [steps, batch, ...].
    """
    model.eval()
    reset_states(model)
    run = _run_stepped if steppable else _run_at_once
    output, spikes = run(model, shape, frames)
    reset_states(model)
    return output, spikes


def _run_stepped(model: nn.Module, shape: InputShape, frames: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    spikes: dict[str, list[Tensor]] = {path: [] for path in find_neurons(model)}
    outputs = []

    def keep(path: str, module: nn.Module, s: Tensor) -> None:
        spikes[path].append(s.squeeze(0) if s.ndim > 1 and hasattr(module, "v_threshold") else s)

    with watching(model, keep):
        for frame in frames:
            first = first_tensor(model(as_step(frame, shape)))
            outputs.append(first.reshape(frames.shape[1], *first.shape[2:]))
    return torch.stack(outputs), {path: torch.stack(s) for path, s in spikes.items() if s}


def _run_at_once(model: nn.Module, shape: InputShape, frames: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    steps, batch = frames.shape[:2]
    spikes: dict[str, Tensor] = {}

    def keep(path: str, module: nn.Module, s: Tensor) -> None:
        if s.shape[0] == batch and steps > 1:  # before the input is repeated
            s = s.expand(steps, *s.shape)
        own = s.shape[1:] if s.shape[0] == steps * batch and s.shape[:2] != (steps, batch) else s.shape[2:]
        spikes[path] = s.reshape(steps, batch, *own)

    with watching(model, keep), OneStepAtATime(steps, batch):
        output = first_tensor(model(as_input(frames, shape)))
    if shape.lead is Lead.BATCH_TIME and output.shape[:2] == (batch, steps):
        output = output.transpose(0, 1)
    elif output.shape[:2] != (steps, batch):
        output = output.unsqueeze(0)
    return output, spikes


SLICED = frozenset(
    {"conv1d", "conv2d", "conv3d", "linear", "matmul", "__matmul__", "bmm", "batch_norm", "mean", "sum",
     "layer_norm", "softmax", "avg_pool2d", "adaptive_avg_pool2d"}
)  # fmt: skip
"""Functions whose float results may depend on how many rows are computed together."""

PRODUCTS = frozenset({"matmul", "__matmul__", "bmm"})
"""Those whose second argument may have a time axis too; in others it is a weight."""


class OneStepAtATime(TorchFunctionMode):
    """While this is open, layers compute the time steps of their input one after the other.

    A model is then called once for all steps, and still rounds as if it were stepped. Time must be the
    outer part of the first axis, as in [T, B, ...] and [T * B, ...].

    Args:
        steps, batch: of the input; a batch that is a multiple of the steps could be taken for them.
    """

    def __init__(self, steps: int, batch: int) -> None:
        super().__init__()
        if steps > 1 and batch % steps == 0:
            raise ValueError(f"a batch of {batch} cannot be told from {steps} steps")
        self._steps = steps

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Slice the tensors that have a time axis, call, and join the results."""
        keywords = dict(kwargs or {})
        layer = args and func.__name__ in SLICED and self._has_time(args[0])
        if not layer or _reduces_time(func, args, keywords):
            return func(*args, **keywords)
        lead = args[0].shape[0]
        operands = 2 if func.__name__ in PRODUCTS else 1
        sliced = [a.ndim > 1 and a.shape[0] == lead for a in args[:operands]]
        columns = [
            a.chunk(self._steps) if index < operands and sliced[index] else (a,) * self._steps
            for index, a in enumerate(args)
        ]
        return torch.cat([func(*row, **keywords) for row in zip(*columns, strict=True)])

    def _has_time(self, x: Any) -> bool:
        return self._steps > 1 and isinstance(x, Tensor) and x.ndim > 1 and x.shape[0] % self._steps == 0


def _reduces_time(func: Any, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> bool:
    if func.__name__ not in ("mean", "sum", "softmax"):
        return False
    dims = keywords.get("dim", args[1] if len(args) > 1 else None)
    listed = [dims] if isinstance(dims, int) else dims
    return listed is None or any(axis % args[0].ndim == 0 for axis in listed)


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
    proof = _Proof(capture, frames.shape[1])
    reset_states(capture.model)
    if capture.steppable:
        spikes: dict[str, Tensor] = {}
        with watching(capture.model, lambda path, _, s: spikes.update({path: s})):
            for step, frame in enumerate(frames):
                output = first_tensor(capture.model(as_step(frame, capture.input_shape)))
                proof.step(step, frame, spikes, output)
                proof.potentials(step)
    else:
        output, trains = _run_at_once(capture.model, capture.input_shape, frames)
        for step, frame in enumerate(frames):
            now = {path: train[step] for path, train in trains.items()}
            final = step == len(frames) - 1
            seen = output[step] if len(output) == len(frames) else output[0] if final else None
            proof.step(step, frame, now, seen)
        proof.potentials(len(frames) - 1)
    reset_states(capture.model)
    return CaptureProof(frames.shape[1], len(frames), proof.cells)


class _Proof:
    """Steps the captured graph beside eager PyTorch."""

    def __init__(self, capture: Capture, batch: int) -> None:
        self._graph = capture.graph
        self._interpreter = TorchInterpreter(capture)
        self._interpreter.reset()
        self._neurons: dict[str, Any] = dict(find_neurons(capture.model))
        self.cells = 0

    def step(self, step: int, frame: Tensor, spikes: Mapping[str, Tensor], output: Tensor | None) -> None:
        """Step the graph; its spikes and its output must be these."""
        values = self._interpreter.step(frame)
        for node in self._graph.neurons():
            _same(node.name, step, values[node.name], spikes[node.name].reshape(values[node.name].shape))
            self.cells += spikes[node.name].numel()
        if output is not None:
            name = self._graph.outputs[0]
            _same(name, step, values[name], output.reshape(values[name].shape))
            self.cells += output.numel()

    def potentials(self, step: int) -> None:
        """The membranes must be equal."""
        for node in self._graph.neurons():
            wanted = potential(self._neurons[node.name])
            got = self._interpreter.potential(node.name)
            if wanted is not None and got is not None:
                _same(f"{node.name}, potential", step, got, wanted.reshape(got.shape))


def _same(name: str, step: int, got: Tensor, wanted: Tensor) -> None:
    if not torch.equal(got, wanted):
        worst = (got - wanted).abs().max().item()
        raise InternalError.of("SL0306", name, f"differs from eager PyTorch at step {step} by {worst:.3g}")
