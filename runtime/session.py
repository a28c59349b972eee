"""A session: a bundle, an engine, and samples or events that stream through them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.bundle import Bundle
from spikeloom.compiler.graph.engine import Engine, Trace
from spikeloom.compiler.graph.op import Array
from spikeloom.errors import InputError, Problem
from spikeloom.runtime.engines import open_engine
from spikeloom.runtime.events.array_recipe import event_recipe, read_recipe
from spikeloom.runtime.events.framer import Framer
from spikeloom.runtime.events.recipe import require_streamable
from spikeloom.runtime.events.samples import Sample
from spikeloom.runtime.events.stream import Events

BATCH = 8


@dataclass(frozen=True)
class StepResult:
    """One time step of a stream.

    Attributes:
        step: counted from the last reset.
        evidence: of each class so far, in the model's own units: the sum of the outputs, or the output
            of a network that itself sums them over time.
        prediction: the class with the most evidence, the first of them where several have it.
        spikes: number of neurons that fired in this step, by layer.
    """

    step: int
    evidence: NDArray[np.float64]
    prediction: int
    spikes: Mapping[str, int]


@dataclass(frozen=True)
class SampleResult:
    """One sample, run from a fresh state.

    Attributes:
        sample: what went in.
        evidence: [steps, classes], the sum of the outputs up to each step (the output of a network that
            itself sums over time), in the model's units.
        prediction: the class with the most evidence at the end.
        spikes: of each neuron layer [steps, ...].
    """

    sample: Sample
    evidence: NDArray[np.float64]
    prediction: int
    spikes: Mapping[str, NDArray[np.uint8]]


class Session:
    """Runs a bundle on one engine.

    Args:
        bundle: a compiled network.
        engine: name of the engine.

    Attributes:
        recipe: how events become frames, or what the bytes of an array mean; from the bundle.

    Raises:
        InputError: SL0801, the engine is not known or cannot run here; SL0803, the bundle's output
            is not a vector of classes.
    """

    def __init__(self, bundle: Bundle, engine: str = "onnx") -> None:
        self.bundle = bundle
        self.recipe = read_recipe(bundle.json("recipe.json"))
        self.engine = open_bundle_engine(bundle, engine)
        output = bundle.graph.outputs[0]
        if len(bundle.graph.types[output].shape) != 1:
            raise InputError.of(
                "SL0803", bundle.path, "the output is not a vector of classes", got=bundle.graph.types[output]
            )
        unit = bundle.graph.units[output]
        self._scale, self._offset = unit.scale, unit.offset
        self._total: Array = np.zeros(0, np.int64)
        self._step = 0
        self.reset()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of a frame."""
        graph = self.bundle.graph
        return graph.types[graph.inputs[0]].shape

    def reset(self) -> None:
        """Begin a new stream: forget the state, the evidence and the step count."""
        self.engine.reset(1)
        self._total = np.zeros(self.bundle.graph.types[self.bundle.graph.outputs[0]].shape, np.int64)
        self._step = 0

    def step(self, frame: NDArray[np.uint8]) -> StepResult:
        """Advance one time step on a frame [2, height, width] (or the network's own shape)."""
        trace = self.engine.run(frame[None, None])
        self._total = trace.output[0, 0] + (0 if self.bundle.graph.answers_at_the_end else self._total)
        self._step += 1
        evidence = self._evidence(self._total, self._step)
        return StepResult(
            self._step - 1,
            evidence,
            int(evidence.argmax()),
            {layer: int(np.count_nonzero(spikes)) for layer, spikes in trace.spikes.items()},
        )

    def stream(self, chunks: Iterable[Events]) -> Iterator[StepResult]:
        """Run events as they come, in chunks of any size; yields a result for each finished frame.

        The network is reset at the start. There are as many frames as the recipe has steps; events
        after the last of them are dropped. A network that is late runs on after them.

        Raises:
            InputError: SL0110, the recipe makes no frames of events, or none before the recording ends.
        """
        recipe = event_recipe(self.recipe, str(self.bundle.path))
        require_streamable(recipe, str(self.bundle.path))
        self.reset()
        framer = Framer(recipe)
        for chunk in chunks:
            for frame in framer.push(chunk):
                yield self.step(frame)
        for frame in framer.finish():
            yield self.step(frame)
        for _ in range(self.recipe.flush):
            yield self.step(np.full(self.input_shape, self.recipe.empty_byte, np.uint8))

    def run(self, samples: Iterable[Sample], batch: int = BATCH) -> Iterator[SampleResult]:
        """Run samples, each from a fresh state, ``batch`` of them side by side.

        Raises:
            InputError: SL0803, a label is no class of the network, or the samples differ in their steps.
        """
        waiting: list[Sample] = []
        for sample in samples:
            waiting.append(sample)
            if len(waiting) == batch:
                yield from self._run_batch(waiting)
                waiting = []
        if waiting:
            yield from self._run_batch(waiting)

    def _run_batch(self, samples: list[Sample]) -> Iterator[SampleResult]:
        self._check_labels(samples)
        trace = run_from_reset(self.engine, stack_frames(samples))
        totals = trace.output if self.bundle.graph.answers_at_the_end else trace.output.cumsum(0)
        counts = np.arange(1, len(totals) + 1).reshape(-1, *(1,) * (totals.ndim - 1))
        evidence = self._evidence(totals, counts)
        for index, sample in enumerate(samples):
            spikes = {layer: s[:, index] for layer, s in trace.spikes.items()}
            yield SampleResult(sample, evidence[:, index], int(evidence[-1, index].argmax()), spikes)

    def _check_labels(self, samples: list[Sample]) -> None:
        classes = len(self._total)
        problems = [
            Problem(
                "SL0803",
                sample.name,
                "its label is no class of the network",
                f"0 to {classes - 1}",
                str(label),
            )
            for sample in samples
            if (label := sample.label) is not None and label >= classes
        ]
        if problems:
            raise InputError(problems)

    def _evidence(self, totals: Array, steps: int | Array) -> NDArray[np.float64]:
        offsets = 1 if self.bundle.graph.answers_at_the_end else steps
        evidence: NDArray[np.float64] = totals * self._scale + offsets * self._offset
        return evidence


def open_bundle_engine(bundle: Bundle, name: str) -> Engine:
    """The engine of that name on a bundle's network.

    Raises:
        InputError: SL0801, the engine is not known or cannot run here.
    """
    forms = {
        member.removeprefix("onnx/"): data
        for member, data in bundle.members.items()
        if member.startswith("onnx/")
    }
    return open_engine(name, bundle.graph, forms)


def run_from_reset(engine: Engine, frames: NDArray[np.uint8]) -> Trace:
    """Run frames [steps, samples, ...] from a fresh state."""
    engine.reset(frames.shape[1])
    return engine.run(frames)


def stack_frames(samples: list[Sample]) -> NDArray[np.uint8]:
    """Frames of several samples side by side, [steps, samples, ...].

    Raises:
        InputError: SL0803, the samples have different numbers of steps.
    """
    steps = {len(sample.frames) for sample in samples}
    if len(steps) != 1:
        raise InputError.of(
            "SL0803", samples[0].name, "samples have different numbers of steps", got=sorted(steps)
        )
    return np.stack([sample.frames for sample in samples], 1)
