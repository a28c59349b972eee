"""A recorded network as a module: it makes the recorded calls, on inputs of any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.recorded.file import CaptureFile, Recording
from spikeloom.compiler.frontends.torch.recorded.functions import find_function
from spikeloom.compiler.frontends.torch.recorded.neurons import as_module, disagreements
from spikeloom.compiler.frontends.torch.recorded.sizes import DifferentCallsError, Size, same_calls
from spikeloom.compiler.frontends.torch.recorded.spikeloom_capture import SURROGATE_POINTS
from spikeloom.errors import InputError, Problem, UnsupportedError, counted

TOLERATED = 1e-3
"""Share of the reference spikes that other kernels of PyTorch may decide otherwise, at equal inputs."""


@dataclass(frozen=True)
class ReferenceCheck:
    """The recorded network here, against its spikes where it was recorded, each layer on equal inputs.

    Attributes:
        cells: neurons times steps.
        differing: decisions that differ.
        steps, samples: of the reference frames.
        torch, python: versions there.
    """

    cells: int
    differing: int
    steps: int
    samples: int
    torch: str
    python: str


class _Site(nn.Module):
    """Stands where a module of the user's stood, so that calls are named after it."""

    def forward(self, code: CodeType, call: Callable[[], Any]) -> Any:
        """Make a call from the line of the user's file that made it."""
        scope: dict[str, Any] = {"call": call}
        exec(code, scope)
        return scope["result"]


class RecordedNetwork(nn.Module):
    """A network recorded in another environment.

    Args:
        file: what was recorded.

    Raises:
        UnsupportedError: SL0302, functions that may not be called; SL0303, what is called depends on the
            sizes in a way that cannot be followed; SL0305, a neuron that disagrees with its equation.
    """

    def __init__(self, file: CaptureFile) -> None:
        super().__init__()
        self._file = file
        self._time, self._batch = (file.axes.index(x) if x in file.axes else None for x in ("T", "B"))
        self._programs: dict[tuple[int, int], Recording] = {}
        self._codes: dict[tuple[str, int], CodeType] = {}
        self._check_functions()
        self.layers = [
            self._place(about["path"], as_module(about, file.tensors, SURROGATE_POINTS, self._setting))
            for about in file.neurons
        ]
        self._constants = [self._parameter(number) for number in range(len(file.tensors))]
        self._sites = self._place_sites()
        if problems := disagreements({a["path"]: m for a, m in zip(file.neurons, self.layers, strict=True)}):
            raise UnsupportedError(problems)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Make the recorded calls on an input."""
        values = self._run(x, self._call_layer)
        answer: Tensor = values[self._program(x).output]
        return answer

    def check(self) -> ReferenceCheck:
        """Run each layer on what the layers before it sent where the network was recorded.

        Raises:
            UnsupportedError: SL0306, more than :data:`TOLERATED` of the spikes differ.
        """
        file = self._file
        frames = file.tensors[int(file.reference["frames"])].float()
        spikes = iter(file.reference["spikes"])
        cells = differing = 0
        worst: dict[str, float] = {}

        def forced(layer: int, x: Tensor) -> Tensor:
            nonlocal cells, differing
            index, number = next(spikes)
            wanted = file.tensors[int(number)]
            got = self._call_layer(layer, x)
            if int(index) != layer or got.shape != wanted.shape:
                raise InputError.of("SL0215", file.path, "its reference spikes are of another network")
            wrong = int((got != wanted).sum())
            cells, differing = cells + got.numel(), differing + wrong
            worst[file.neurons[layer]["path"]] = wrong / max(1, got.numel())
            return wanted.to(got.dtype)

        self._reset()
        with torch.no_grad():
            self._run(frames, forced)
        self._reset()
        if differing > TOLERATED * cells:
            layer = max(worst, key=lambda path: worst[path])
            part = f"{differing:,} of {counted(cells, 'spike')}"
            what = f"{part} differ from those where it was recorded, most in {layer}"
            raise UnsupportedError.of("SL0306", file.path, what, wanted=f"at most {TOLERATED:.1%}")
        steps, samples = self._sizes(frames)
        return ReferenceCheck(cells, differing, steps, samples, file.torch, file.python)

    def _reset(self) -> None:
        for layer in self.layers:
            getattr(layer, "reset", lambda: None)()

    def _call_layer(self, index: int, x: Tensor) -> Tensor:
        spikes: Tensor = self.layers[index](x)
        return spikes

    def _run(self, x: Tensor, layer: Callable[[int, Tensor], Tensor]) -> dict[int, Any]:
        program, sizes = self._program(x), self._sizes(x)
        values: dict[int, Any] = {0: x}
        for call in program.calls:
            args = [self._argument(each, values, sizes) for each in call["args"]]
            keywords = {name: self._argument(each, values, sizes) for name, each in call["kwargs"].items()}
            if "neuron" in call:
                result: Any = layer(call["neuron"], args[0])
            else:
                function = find_function(call["function"])
                assert function is not None
                result = self._made(call, partial(function, *args, **keywords))
            _keep(values, call["out"], result)
        return values

    def _made(self, call: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        at = str(call["file"]), int(call["line"])
        if at not in self._codes:  # an empty file with the call on that line: what is raised there names it
            self._codes[at] = compile(
                "\n" * max(0, at[1] - 1) + "result = call()", at[0] or "recorded", "exec"
            )
        return self._sites[call["module"], call["class"]](self._codes[at], make)

    def _sizes(self, x: Tensor) -> tuple[int, int]:
        steps = 1 if self._time is None else x.shape[self._time]
        return int(steps), int(x.shape[self._batch or 0])

    def _program(self, x: Tensor) -> Recording:
        sizes = self._sizes(x)
        if sizes not in self._programs:
            self._programs[sizes] = self._found(*sizes)
        return self._programs[sizes]

    def _found(self, steps: int, batch: int) -> Recording:
        """The recording of these sizes, or one that two of other sizes give."""
        recordings = self._file.recordings
        for one in recordings:
            if (one.steps, one.batch) == (steps, batch):
                return one
        alike = [one for one in recordings if one.steps == steps]
        faults = []
        for pair in (recordings[:2], alike[:2]):
            if len(pair) == 2:
                try:
                    return same_calls(*pair)
                except DifferentCallsError as error:
                    faults.append(str(error))
        raise UnsupportedError.of(
            "SL0303",
            self._file.path,
            f"was not recorded with {counted(steps, 'step')} of {counted(batch, 'sample')}, and what it "
            f"calls depends on them: {faults[0]}",
            remedy=f"record it with --steps {steps}",
        )

    def _check_functions(self) -> None:
        named = {
            call["function"]: call
            for recording in self._file.recordings
            for call in recording.calls
            if "function" in call
        }
        problems = [
            Problem("SL0302", f"{call['file']}:{call['line']}", f"{name} has no counterpart")
            for name, call in named.items()
            if find_function(name) is None
        ]
        if problems:
            raise UnsupportedError(problems)

    def _argument(self, told: Any, values: Mapping[int, Any], sizes: tuple[int, int]) -> Any:
        if isinstance(told, Size):
            return told.at(*sizes)
        if isinstance(told, Mapping):
            ((kind, content),) = told.items()
            if kind == "value":
                return values[content]
            if kind in ("tuple", "list", "slice"):
                parts = [self._argument(part, values, sizes) for part in content]
                return parts if kind == "list" else tuple(parts) if kind == "tuple" else slice(*parts)
            return self._setting(told)
        return "cpu" if isinstance(told, str) and told.startswith("cuda") else told

    def _setting(self, told: Any) -> Any:
        if not isinstance(told, Mapping):
            return told
        ((kind, content),) = told.items()
        if kind == "constant":
            return self._constants[content] if hasattr(self, "_constants") else self._file.tensors[content]
        if kind == "float":
            return float.fromhex(content)
        if kind == "ellipsis":
            return ...
        if kind == "dtype":
            dtype = getattr(torch, content)
            return dtype if isinstance(dtype, torch.dtype) else None
        return _default(content)

    def _parameter(self, number: int) -> Tensor:
        """A constant; a parameter of the model is one here, at the same path."""
        tensor, path = self._file.tensors[number], self._file.parameters.get(number)
        if path is None or not tensor.is_floating_point():
            return tensor
        parent, _, name = path.rpartition(".")
        holder = self._holder(parent)
        if isinstance(own := getattr(holder, name, None), Tensor):  # a setting of a neuron layer
            return own
        parameter = nn.Parameter(tensor, requires_grad=False)
        holder.register_parameter(name, parameter)
        return parameter

    def _place(self, path: str, module: nn.Module) -> nn.Module:
        parent, _, name = path.rpartition(".")
        self._holder(parent).add_module(name, module)
        return module

    def _place_sites(self) -> Mapping[tuple[str, str], nn.Module]:
        """A module at the path of each that made a call, with the name of its class."""
        sites: dict[tuple[str, str], nn.Module] = {}
        for recording in self._file.recordings:
            for call in recording.calls:
                key = (call["module"], call["class"])
                if "function" in call and key not in sites:
                    sites[key] = self._site(*key)
        return sites

    def _site(self, path: str, kind: str) -> nn.Module:
        holder = self._holder(path) if path else _Site()
        if kind.isidentifier() and isinstance(holder, _Site):
            holder.__class__ = type(kind, (_Site,), {})
        return holder

    def _holder(self, path: str) -> nn.Module:
        """The module at a path; empty ones are made on the way."""
        holder: nn.Module = self
        for name in filter(None, path.split(".")):
            child = dict(holder.named_children()).get(name)
            if child is None:
                child = _Site()
                holder.add_module(name, child)
            holder = child
        return holder


def _keep(values: dict[int, Any], numbers: Any, result: Any) -> None:
    if isinstance(numbers, int):
        values[numbers] = result
    elif isinstance(numbers, Sequence):
        for number, each in zip(numbers, result, strict=True):
            _keep(values, number, each)


def _default(name: str) -> Any:
    """A device, which is the processor here, or a layout or memory format."""
    known = getattr(torch, name.removeprefix("torch."), None)
    return known if isinstance(known, (torch.layout, torch.memory_format)) else torch.device("cpu")
