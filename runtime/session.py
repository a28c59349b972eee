"""A session: a bundle, an engine, and samples or events that stream through them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.bundle import Bundle
from spikeloom.compiler.graph.engine import Engine, Trace
from spikeloom.compiler.graph.kinds import frame_dtype
from spikeloom.compiler.graph.op import Array
from spikeloom.errors import InputError, Problem
from spikeloom.runtime.early_exit.rule import ExitRule
from spikeloom.runtime.engines import open_engine
from spikeloom.runtime.events.array_recipe import (
    empty_frames,
    event_recipe,
    integer_kind,
    read_recipe,
    token_recipe,
)
from spikeloom.runtime.events.framer import Framer, FramerState
from spikeloom.runtime.events.recipe import require_streamable
from spikeloom.runtime.events.samples.sample import Sample
from spikeloom.runtime.events.stream import DropReport, Events
from spikeloom.runtime.evidence import added, evidence_of
from spikeloom.runtime.session_state import SessionState, network_digest
from spikeloom.runtime.windows import Latest, WindowResult, Windows, check_windows, needs_resets

BATCH = 8
_AHEAD = 2  # batches that wait for a thread, for each thread


@dataclass(frozen=True)
class StepResult:
    """One time step of a stream.

    Attributes:
        step: counted from the last reset.
        evidence: of each class so far, in the model's own units: the sum of the outputs, or the output
            of a network that itself sums them over time.
        prediction: the class with the most evidence, the first of them where several have it.
        spikes: number of neurons that fired in this step, by layer.
        output: of this step alone, in the model's own units.
    """

    step: int
    evidence: NDArray[np.float64]
    prediction: int
    spikes: Mapping[str, int]
    output: NDArray[np.float64]


@dataclass(frozen=True)
class SampleResult:
    """One sample, run from a fresh state.

    Attributes:
        sample: what went in.
        evidence: [steps, classes], the sum of the outputs up to each step (the output of a network that
            itself sums over time), in the model's units; as many steps as were run.
        prediction: the class with the most evidence at the end.
        spikes: of each neuron layer [steps, ...].
        candidates: the classes that the exit rule could not rule out; None without such a rule.
    """

    sample: Sample
    evidence: NDArray[np.float64]
    prediction: int
    spikes: Mapping[str, NDArray[np.uint8]]
    candidates: tuple[int, ...] | None = None


class Session:
    """Runs a bundle on one engine.

    Args:
        bundle: a compiled network.
        engine: name of the engine.

    Attributes:
        recipe: how events become frames, or what the bytes of an array mean; from the bundle.

    One thread at a time may use a session.

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
        self._engine_name = engine
        self._total: Array = np.zeros(0, np.int64)
        self._step = 0
        self._framer: Framer | None = None
        self._frames = Latest(self.recipe.steps, self.input_shape, frame_dtype(integer_kind(self.recipe)))
        self._outputs = Latest(self.recipe.steps, bundle.graph.types[output].shape, np.int64)
        self.reset()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of a frame."""
        graph = self.bundle.graph
        return graph.types[graph.inputs[0]].shape

    @property
    def dropped(self) -> DropReport:
        """Events of the latest stream that are in no frame."""
        return self._framer.report if self._framer else DropReport()

    def reset(self) -> None:
        """Begin a new stream: forget the state, the evidence and the step count."""
        self.engine.reset(1)
        self._total = np.zeros(self.bundle.graph.types[self.bundle.graph.outputs[0]].shape, np.int64)
        self._step = 0

    def step(self, frame: Array) -> StepResult:
        """Advance one time step on a frame [2, height, width] (or the network's own shape).

        Raises:
            InputError: SL0803, the frame is not of the shape or the type that the network takes.
        """
        trace = self.engine.run(np.asarray(frame)[None, None])
        self._total = added(self.bundle.graph, self._total, trace.output[0, 0])
        self._step += 1
        evidence = evidence_of(self.bundle.graph, self._total, self._step)
        output = evidence_of(self.bundle.graph, trace.output[0, 0], 1)
        return StepResult(self._step - 1, evidence, int(evidence.argmax()), _fired(trace), output)

    def tokens(self, tokens: Iterable[Any], state: SessionState | None = None) -> Iterator[StepResult]:
        """Run tokens as they come, one time step each, for as long as they come; yields a result for each.

        The network is reset at the start, and never again: its memory is its state, which does not grow.

        Args:
            tokens: whole numbers of the vocabulary, or arrays [...] of them if a step takes several.
            state: of an earlier stream, between two of its steps; the steps go on as if nothing had happened.

        Raises:
            InputError: SL0110, the network takes no tokens; SL0121, one is not of its vocabulary; SL0803, the
                network must be reset after a sample; SL0811, the state is not one of this network.
        """
        recipe = token_recipe(self.recipe, str(self.bundle.path))
        if problems := needs_resets(self.bundle.graph):
            raise InputError(problems)
        if state is None:
            self.reset()
        else:
            self.restore(state)
        for token in tokens:
            yield self.step(recipe.encode(np.asarray(token), f"token {self._step}"))

    def stream(self, chunks: Iterable[Events], state: SessionState | None = None) -> Iterator[StepResult]:
        """Run events as they come, in chunks of any size; yields a result for each finished frame.

        The network is reset at the start. There are as many frames as the recipe has steps; events
        after the last of them are dropped. A network that is late runs on after them.

        Args:
            chunks: events in order of time.
            state: of an earlier stream, between two of its steps; ``chunks`` then begin with the event
                after the ``state.consumed`` events that went in, and the steps go on as if nothing had
                happened.

        Raises:
            InputError: SL0110, the recipe makes no frames of events, or none before the recording ends;
                SL0811, the state is not one of this network.
        """
        framer = self._begin(state, endless=False)
        for chunk in chunks:
            for frame in framer.feed(chunk):
                yield self.step(frame)
        for frame in framer.finish():
            yield self.step(frame)
        for _ in range(self.recipe.flush):
            yield self.step(self._empty(1)[0])

    def windows(
        self, chunks: Iterable[Events], windows: Windows | None = None, state: SessionState | None = None
    ) -> Iterator[WindowResult]:
        """Run a stream that need not end, and give a result for each of its windows.

        Frames after the last whole window give none. Memory does not grow with the stream.

        Args:
            chunks: events in order of time.
            windows: their stride, and when the network is reset.
            state: as for :meth:`stream`.

        Raises:
            InputError: SL0110, as :meth:`stream`; SL0901, SL0803, as
                :func:`~spikeloom.runtime.windows.check_windows`; SL0811, as :meth:`restore`.
        """
        windows = windows or Windows()
        stride = check_windows(windows, self.recipe.steps, self.bundle.graph, self.bundle.path)
        framer = self._begin(state, endless=True)
        fired: dict[str, int] = {}
        for frame in _endless_frames(framer, chunks):
            if windows.reset == "never":
                fired = _added(fired, self._carry_on(frame))
            else:
                self._frames.add(frame)
            self._step += 1
            if self._step < self.recipe.steps or (self._step - self.recipe.steps) % stride:
                continue
            yield self._window(framer, fired if windows.reset == "never" else None)
            fired = {}

    def state(self) -> SessionState:
        """Where the stream stands; taken between two steps, also inside the loop over a stream."""
        return SessionState(
            network_digest(self.bundle),
            self._step,
            self._total.copy(),
            self.engine.state(),
            self._framer.state() if self._framer else None,
            self._frames.stacked(),
            self._outputs.stacked(),
        )

    def restore(self, state: SessionState) -> None:
        """Put a state back, here or in another session of the same network, with any engine.

        Raises:
            InputError: SL0811, the state is not one of this network.
        """
        if state.network != network_digest(self.bundle):
            raise InputError.of("SL0811", self.bundle.path, "the state is one of another network or recipe")
        self.engine.restore(state.engine)
        self._total = state.total.copy()
        self._step = state.step
        self._frames.refill(state.frames)
        self._outputs.refill(state.outputs)

    def run(
        self,
        samples: Iterable[Sample],
        batch: int = BATCH,
        workers: int = 1,
        exit_rule: ExitRule | None = None,
    ) -> Iterator[SampleResult]:
        """Run samples, each from a fresh state, ``batch`` of them side by side.

        Results come in the order of the samples, whatever ``workers`` is: the number of threads, each
        with an engine of its own. A few batches a thread are in memory. With an exit rule a sample is run
        for as many steps as the rule asks for, and no more are computed.

        Raises:
            InputError: SL0803, a label is no class of the network, or the samples differ in their steps.
        """
        batches = _batches(samples, batch)
        if workers == 1:
            for waiting in batches:
                yield from self._run_batch(waiting, self.engine, exit_rule)
            return
        idle: SimpleQueue[Engine] = SimpleQueue()
        for _ in range(workers):
            idle.put(open_bundle_engine(self.bundle, self._engine_name))

        def work(waiting: list[Sample]) -> list[SampleResult]:
            engine = idle.get()
            try:
                return list(self._run_batch(waiting, engine, exit_rule))
            finally:
                idle.put(engine)

        with ThreadPoolExecutor(workers) as pool:
            running: deque[Future[list[SampleResult]]] = deque()
            try:
                for waiting in batches:
                    running.append(pool.submit(work, waiting))
                    if len(running) == _AHEAD * workers:
                        yield from running.popleft().result()
                while running:
                    yield from running.popleft().result()
            finally:
                for future in running:
                    future.cancel()

    def _empty(self, count: int) -> Array:
        return empty_frames(self.recipe, count, self.input_shape)

    def _begin(self, state: SessionState | None, endless: bool) -> Framer:
        recipe = event_recipe(self.recipe, str(self.bundle.path))
        require_streamable(recipe, str(self.bundle.path))
        self._framer = framer = Framer(recipe, endless=endless)
        if state is None:
            self.reset()
            self._frames.clear()
            self._outputs.clear()
        else:
            self.restore(state)
            if state.framer is not None:
                self._restore(framer, state.framer)
        return framer

    def _restore(self, framer: Framer, state: FramerState) -> None:
        try:
            framer.restore(state)
        except (KeyError, ValueError) as error:
            raise InputError.of(
                "SL0811", self.bundle.path, "the state's frame is none of this recipe"
            ) from error

    def _carry_on(self, frame: Array) -> dict[str, int]:
        """Run a frame without a reset; how many neurons fired."""
        trace = self.engine.run(frame[None, None])
        self._outputs.add(trace.output[0, 0])
        return _fired(trace)

    def _window(self, framer: Framer, fired: dict[str, int] | None) -> WindowResult:
        """The result of the latest frames; ``fired`` says what fired if they have been run already."""
        steps = self.recipe.steps
        if fired is None:
            empty = self._empty(self.recipe.flush)
            trace = run_from_reset(self.engine, np.concatenate([self._frames.stacked(), empty])[:, None])
            fired = _fired(trace)
            output = trace.output[:, 0]
            total = output[-1] if self.bundle.graph.answers_at_the_end else output.sum(0)
            steps += self.recipe.flush
        else:
            total = self._outputs.total()
        evidence = evidence_of(self.bundle.graph, total, steps)
        first, end = self._step - self.recipe.steps, self._step
        times = framer.begins_at(first), framer.begins_at(end)
        return WindowResult(first, *times, evidence, int(evidence.argmax()), fired)

    def _run_batch(
        self, samples: list[Sample], engine: Engine, exit_rule: ExitRule | None
    ) -> Iterator[SampleResult]:
        self._check_labels(samples)
        if exit_rule is not None:
            yield from self._run_until_sure(samples, engine, exit_rule)
            return
        trace = run_from_reset(engine, stack_frames(samples))
        totals = trace.output if self.bundle.graph.answers_at_the_end else trace.output.cumsum(0)
        counts = np.arange(1, len(totals) + 1).reshape(-1, *(1,) * (totals.ndim - 1))
        evidence = evidence_of(self.bundle.graph, totals, counts)
        for index, sample in enumerate(samples):
            spikes = {layer: s[:, index] for layer, s in trace.spikes.items()}
            yield SampleResult(sample, evidence[:, index], int(evidence[-1, index].argmax()), spikes)

    def _run_until_sure(self, samples: list[Sample], engine: Engine, rule: ExitRule) -> list[SampleResult]:
        """Step by step; a sample that is answered leaves the batch, and nothing more is computed of it."""
        frames = stack_frames(samples)
        runs: list[list[tuple[NDArray[np.float64], Mapping[str, NDArray[np.uint8]]]]] = [[] for _ in samples]
        sets: list[tuple[int, ...] | None] = [None] * len(samples)
        left = np.arange(len(samples))
        totals = np.zeros((len(samples), *self._total.shape), np.int64)
        engine.reset(len(samples))
        for step, frame in enumerate(frames, 1):
            trace = engine.run(np.ascontiguousarray(frame[None, left]))
            totals = added(self.bundle.graph, totals, trace.output[0])
            evidence = evidence_of(self.bundle.graph, totals, step)
            kept = rule.candidates(evidence, step)
            for row, index in enumerate(left):
                runs[index].append((evidence[row], {n: s[0, row] for n, s in trace.spikes.items()}))
                sets[index] = None if kept is None else tuple(np.flatnonzero(kept[row]).tolist())
            going = ~rule.stops(evidence, step)
            if not going.any():
                break
            if not going.all():
                left, totals = left[going], totals[going]
                keep_samples(engine, going)
        return [_joined(*parts) for parts in zip(samples, runs, sets, strict=True)]

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


def _batches(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    source = iter(samples)
    while batch := list(islice(source, size)):
        yield batch


def keep_samples(engine: Engine, kept: NDArray[np.bool_]) -> None:
    """Go on with some of the samples side by side, and forget the others."""
    state = {name: array[kept] for name, array in engine.state().items()}
    engine.reset(int(kept.sum()))
    engine.restore(state)


def _joined(
    sample: Sample,
    run: list[tuple[NDArray[np.float64], Mapping[str, NDArray[np.uint8]]]],
    candidates: tuple[int, ...] | None,
) -> SampleResult:
    """The result of a sample from its steps."""
    evidence = np.stack([step for step, _ in run])
    spikes = {layer: np.stack([step[layer] for _, step in run]) for layer in run[0][1]}
    return SampleResult(sample, evidence, int(evidence[-1].argmax()), spikes, candidates)


def _fired(trace: Trace) -> dict[str, int]:
    """Number of spikes of each layer."""
    return {layer: int(np.count_nonzero(spikes)) for layer, spikes in trace.spikes.items()}


def _added(counts: dict[str, int], more: dict[str, int]) -> dict[str, int]:
    return {layer: counts.get(layer, 0) + count for layer, count in more.items()}


def _endless_frames(framer: Framer, chunks: Iterable[Events]) -> Iterator[NDArray[np.uint8]]:
    for chunk in chunks:
        yield from framer.feed(chunk)
    yield from framer.finish()


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


def run_from_reset(engine: Engine, frames: Array) -> Trace:
    """Run frames [steps, samples, ...] from a fresh state."""
    engine.reset(frames.shape[1])
    return engine.run(frames)


def stack_frames(samples: list[Sample]) -> Array:
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
