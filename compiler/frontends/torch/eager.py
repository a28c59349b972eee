"""The user's model as it is, stepped one time step at a time: what a capture must equal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from spikeloom.compiler.frontends.torch.along_time import recur
from spikeloom.compiler.frontends.torch.attention import attend_before
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
from spikeloom.compiler.frontends.torch.operands import Memory
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


ATTENTION = "scaled_dot_product_attention"

SLICED = frozenset(
    {"conv1d", "conv2d", "conv3d", "linear", "matmul", "__matmul__", "bmm", "batch_norm", "mean", "sum",
     "layer_norm", "rms_norm", "softmax", "avg_pool2d", "adaptive_avg_pool2d", ATTENTION}
)  # fmt: skip
"""Functions whose float results may depend on how many rows are computed together."""

CURVES = frozenset({"elu", "exp", "gelu", "log_sigmoid", "logsigmoid", "sigmoid", "silu", "softplus", "tanh"})
"""Functions of single numbers that PyTorch rounds differently at the end of a tensor than within."""

PRODUCTS = frozenset({"matmul", "__matmul__", "bmm"})
"""Those whose second argument may have a time axis too; in others it is a weight."""


class OneStepAtATime(TorchFunctionMode):
    """While this is open, layers compute the time steps of their input one after the other.

    A model is then called once for all steps, and still rounds as if it were stepped. Time must be the
    outer part of the first axis, as in [T, B, ...] and [T * B, ...]; in a model whose input has an axis
    of time, it may also be axis 1 behind the samples, or the last of [B, channels, T]. A linear memory
    that is computed in frequencies is computed by its recurrence.

    Args:
        steps, batch: of the input; a batch that is a multiple of the steps could be taken for them.
        found: what was captured of the model.
    """

    def __init__(self, steps: int, batch: int, found: Capture | None = None) -> None:
        super().__init__()
        if steps > 1 and batch % steps == 0:
            raise ValueError(f"a batch of {batch} cannot be told from {steps} steps")
        self._steps, self._batch = steps, batch
        self._timed = found is not None and found.input_shape.lead.has_time
        self._lasting = {steps}
        self._memories: tuple[Memory, ...] = ()
        if found is not None:
            self._lasting |= {steps + more for more in found.graph.overtime.values()}
            self._memories = found.memories
        self._spectra: list[tuple[Tensor, Tensor, Memory | None]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Slice the tensors that have a time axis, call, and join the results."""
        keywords = dict(kwargs or {})
        name = func.__name__
        if self._memories and name in ("fft_rfft", "fft_irfft", "mul", "__mul__"):
            return self._in_frequencies(func, args, keywords)
        if name == "conv1d" and self._timed and (along := _Window.of(args, keywords, self)) is not None:
            return torch.cat([func(window, *along.stored) for window in along.windows()], -1)
        if name == ATTENTION and self._attends_before(*args[:1]):
            return attend_before(args, keywords)
        if name not in SLICED | CURVES or not args:
            return func(*args, **keywords)
        axis = self._volume(*args[:2]) if name == "conv3d" else self._axis(name, args[0])
        if axis is None and (name in CURVES or name in ("layer_norm", "rms_norm")):
            axis = self._among(args[0])
        if _reduces_time(func, args, keywords, axis):
            return func(*args, **keywords)
        if axis is None:
            return func(*args, **keywords)
        return self._sliced(func, axis, args, keywords)

    def lasts(self, steps: int) -> bool:
        """Whether that is a number of time steps of a value."""
        return steps in self._lasting

    def is_batch(self, size: int) -> bool:
        """Whether that is the number of samples."""
        return size == self._batch

    def _sliced(self, func: Any, axis: int, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Tensor:
        size = args[0].shape[axis]
        count = size if axis else self._count(args[0])
        operands = {ATTENTION: 3}.get(func.__name__, 2 if func.__name__ in PRODUCTS else 1)
        sliced = [a.ndim > axis and a.shape[axis] == size and a.ndim > 1 for a in args[:operands]]
        columns = [
            [
                part.contiguous() if axis else part for part in a.chunk(count, axis)
            ]  # as one step lies in memory
            if index < operands and sliced[index]
            else (a,) * count
            for index, a in enumerate(args)
        ]
        return torch.cat([func(*row, **keywords) for row in zip(*columns, strict=True)], axis)

    def _axis(self, name: str, x: Any) -> int | None:
        """Where time stands in a tensor."""
        if self._steps == 1 or not isinstance(x, Tensor) or x.ndim < 2:
            return None
        if self._count(x):
            return 0
        if not self._timed or not self.is_batch(x.shape[0]):
            return None
        if name == "batch_norm":
            return x.ndim - 1 if x.ndim == 3 and self.lasts(x.shape[-1]) else None
        return 1 if self.lasts(x.shape[1]) else None

    def _attends_before(self, x: Tensor) -> bool:
        """Whether tokens [B, heads, T, features] attend along time."""
        timed = self._steps > 1 and self._timed and x.ndim == 4 and self.is_batch(len(x))
        return timed and self.lasts(x.shape[2]) and not self.lasts(x.shape[1])

    def _among(self, x: Any) -> int | None:
        """Where time stands behind the samples, among a sample's own axes."""
        if self._steps == 1 or not self._timed or not isinstance(x, Tensor) or not self.is_batch(len(x)):
            return None
        return next((axis for axis in range(1, x.ndim) if self.lasts(x.shape[axis])), None)

    def _volume(self, x: Tensor, weight: Tensor) -> int | None:
        """Where time stands in a volume: along it, the kernel has one element."""
        if self._steps == 1 or not self.is_batch(x.shape[0]):
            return None
        places = (n for n in (4, 3, 2) if weight.shape[n] == 1 and self.lasts(x.shape[n]))
        return next(places, None)

    def _count(self, x: Tensor) -> int:
        """The time steps in the first axis; 0 if it is none."""
        if x.shape[0] % self._steps == 0:
            return self._steps
        fitting = (n for n in self._lasting if x.shape[0] in (n, n * self._batch))
        return next(fitting, 0)

    def _in_frequencies(self, func: Any, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
        """Follow a transform, a product with a kernel, and compute the way back by the recurrence."""
        if func.__name__ == "fft_rfft":
            result = func(*args, **keywords)
            self._spectra.append((result, args[0], None))
            return result
        known = [entry for entry in self._spectra if any(entry[0] is a for a in args)]
        if not known:
            return func(*args, **keywords)
        ((_, u, memory),) = known
        if func.__name__ == "fft_irfft":
            assert memory is not None
            points = keywords.get("n", args[1] if len(args) > 1 else None)
            return _by_recurrence(memory, u, points)
        result = func(*args, **keywords)
        kernel = next(a for a in args if a is not known[0][0])
        (memory,) = (m for m in self._memories if torch.equal(m.kernel, kernel.reshape(m.kernel.shape)))
        self._spectra.append((result, u, memory))
        return result


@dataclass(frozen=True)
class _Window:
    """A convolution along the last axis, time: its windows one after the other, and what is stored."""

    x: Tensor
    stored: tuple[Any, ...]
    taps: int
    dilation: int
    steps: int

    @staticmethod
    def of(args: tuple[Any, ...], keywords: Mapping[str, Any], mode: OneStepAtATime) -> _Window | None:
        """None if the convolution is not along time."""
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        given = {**dict(zip(names, args, strict=False)), **keywords}
        x, weight = given["input"], given["weight"]
        single = {
            name: value[0] if isinstance(value, (tuple, list)) else value for name, value in given.items()
        }
        padding, dilation = single.get("padding", 0), single.get("dilation", 1)
        taps = weight.shape[2]
        steps = x.shape[-1] + 2 * padding - dilation * (taps - 1)
        if x.ndim != 3 or not mode.is_batch(x.shape[0]) or not mode.lasts(steps):
            return None
        stored = (weight, given.get("bias"), 1, 0, 1, given.get("groups", 1))
        return _Window(functional.pad(x, (padding, padding)), stored, taps, dilation, steps)

    def windows(self) -> Iterator[Tensor]:
        """What each step looks at, [batch, channels, taps]."""
        for step in range(self.steps):
            span = slice(step, step + self.dilation * (self.taps - 1) + 1, self.dilation)
            yield self.x[:, :, span].contiguous()


def _by_recurrence(memory: Memory, u: Tensor, points: int) -> Tensor:
    """The states [batch, n, points] of a memory for inputs [batch, 1, steps]; zeros after them."""
    m = torch.zeros(len(u), len(memory.matrix))
    states = []
    for now in u.unbind(-1):
        m = recur(memory.matrix, m, functional.linear(now.contiguous(), memory.given) * 1.0)
        states.append(m)
    return functional.pad(torch.stack(states, -1), (0, points - len(states)))


def _reduces_time(func: Any, args: tuple[Any, ...], keywords: Mapping[str, Any], time: int | None) -> bool:
    if func.__name__ not in ("mean", "sum", "softmax"):
        return False
    dims = keywords.get("dim", args[1] if len(args) > 1 else None)
    listed = [dims] if isinstance(dims, int) else dims
    return listed is None or any(axis % args[0].ndim == (time or 0) for axis in listed)


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
