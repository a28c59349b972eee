"""The engine that runs ``step.onnx`` or ``sequence.onnx`` on ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import numpy as np

from spikeloom.compiler.graph.engine import Trace
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.kinds import spike_dtype
from spikeloom.compiler.graph.op import Array
from spikeloom.errors import InputError
from spikeloom.runtime.engines.frames import check_frames, check_state

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, OrtValue, RunOptions

Mode = Literal["step", "sequence"]
_EXTERNAL_DATA_FOLDER = "session.model_external_initializers_file_folder_path"

# What one call of ONNX Runtime works on should stay in the cache of a core.
SAMPLES_PER_CALL = 4
FRAMES_PER_CALL = 16


class OnnxEngine:
    """Executes one of the two ONNX forms of a network; either keeps its state over calls.

    Samples run in micro-batches, since larger ones leave the cache and are slower per sample.

    Attributes:
        mode: ``sequence`` computes the stateless parts of several steps at once; ``step`` makes
            one call a step.
    """

    name = "onnx"

    def __init__(
        self,
        step: bytes,
        sequence: bytes,
        graph: Graph,
        mode: Mode = "sequence",
        threads: int = 1,
        workers: int = 1,
        records: bool = True,
    ) -> None:
        """Load the model of the mode.

        Args:
            step: the content of ``step.onnx``.
            sequence: the content of ``sequence.onnx``.
            graph: the integer graph that both were made from.
            mode: which of the two is executed.
            threads: threads inside an operation; helps a single sample a little.
            workers: micro-batches that run side by side; helps many samples.
            records: whether traces hold the spikes of every layer; else they are not brought into the graph's
                order and copied.

        Raises:
            InputError: SL0801, ONNX Runtime is missing or refuses the model.
        """
        self.mode: Mode = mode
        self._graph = graph
        self._workers = workers
        self._session = _open(step if mode == "step" else sequence, threads)
        self._options = _only_what_is_wanted()
        metadata = self._session.get_modelmeta().custom_metadata_map
        axes: dict[str, list[int]] = json.loads(metadata.get("spikeloom.state_axes", "{}"))
        self._axes = {name: (0, *(1 + axis for axis in order)) for name, order in axes.items()}
        self._results: dict[str, type] = dict.fromkeys(graph.outputs, np.int64)
        self._records = records
        for node in graph.neurons() if records else ():
            self._results[node.output] = spike_dtype(graph.types[node.output].kind)
        self._states: list[dict[str, OrtValue]] = []
        self._batch = 0

    def reset(self, batch: int) -> None:
        """Forget everything and expect ``batch`` samples side by side."""
        types = {node.name: (op, self._graph.input_types(node)) for node, op in self._graph.stateful()}
        start = {
            f"{node}/{name}": np.broadcast_to(array, (batch, *array.shape))
            for node, (op, inputs) in types.items()
            for name, array in op.initial(*inputs).items()
        }
        self._put(start, batch)

    def run(self, frames: Array) -> Trace:
        """Advance by frames [steps, batch, ...].

        Raises:
            InputError: SL0803, the frames do not fit the network.
        """
        check_frames(self._graph, frames, self._batch)
        lead = (len(frames), self._batch)
        results: dict[str, Array] = {
            name: np.empty((*lead, *self._graph.types[name].shape), dtype)
            for name, dtype in self._results.items()
        }
        groups = range(len(self._states))
        if self._workers == 1:
            for group in groups:
                self._advance(group, frames, results)
        else:
            with ThreadPoolExecutor(self._workers) as pool:
                for done in [pool.submit(self._advance, group, frames, results) for group in groups]:
                    done.result()
        return self._trace(results)

    def state(self) -> dict[str, Array]:
        """A copy of the state, ``"node/state"`` to int64 [batch, ...]."""
        return {
            name: np.concatenate([group[name].numpy() for group in self._states])
            .transpose(np.argsort(axes))
            .astype(np.int64, order="C")
            for name, axes in self._axes.items()
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        """Put a state back that :meth:`state` gave, here or in another engine.

        Raises:
            InputError: SL0803, the state is not one of this network.
        """
        check_state(self._graph, state)
        self._put(state, max((len(array) for array in state.values()), default=self._batch))

    def _put(self, state: Mapping[str, Array], batch: int) -> None:
        from onnxruntime import OrtValue

        def held(name: str, samples: slice) -> OrtValue:
            laid = state[name][samples].transpose(self._axes[name])
            return OrtValue.ortvalue_from_numpy(np.array(laid, np.int32, order="C"))

        self._batch = batch
        self._states = [
            {name: held(name, _group(group, batch)) for name in self._axes}
            for group in range(-(-batch // SAMPLES_PER_CALL))
        ]

    def _advance(self, group: int, frames: Array, results: Mapping[str, Array]) -> None:
        """Advance one micro-batch by its part of the frames and fill in its part of the results."""
        samples = _group(group, self._batch)
        length = 1 if self.mode == "step" else max(1, FRAMES_PER_CALL // (samples.stop - samples.start))
        for start in range(0, len(frames), length):
            steps = slice(start, start + length)
            part = self._call(group, np.ascontiguousarray(frames[steps, samples]))
            for name, array in part.items():
                results[name][steps, samples] = array

    def _call(self, group: int, frames: Array) -> dict[str, Array]:
        """Advance one micro-batch by frames [steps, samples, ...]; a step model takes one step."""
        from onnxruntime import OrtValue

        single = self.mode == "step"
        (name,) = self._graph.inputs
        feed = {name: OrtValue.ortvalue_from_numpy(frames[0] if single else frames), **self._states[group]}
        wanted = [*self._results, *(f"{state}'" for state in self._axes)]
        values = dict(
            zip(wanted, self._session.run_with_ort_values(wanted, feed, self._options), strict=True)
        )
        self._states[group] = {state: values[f"{state}'"] for state in self._axes}
        arrays = {name: values[name].numpy() for name in self._results}
        return {name: array[None] if single else array for name, array in arrays.items()}

    def _trace(self, results: Mapping[str, Array]) -> Trace:
        (output,) = self._graph.outputs
        layers = self._graph.neurons() if self._records else ()
        spikes = {node.name: results[node.output] for node in layers}
        return Trace(results[output].astype(np.int64, copy=False), spikes)


def _group(group: int, batch: int) -> slice:
    """The samples of a micro-batch."""
    return slice(group * SAMPLES_PER_CALL, min((group + 1) * SAMPLES_PER_CALL, batch))


def _only_what_is_wanted() -> RunOptions:
    """Nodes that lead to no output that is asked for are left out."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.only_execute_path_to_fetches = True
    return options


def _open(model: bytes, threads: int) -> InferenceSession:
    try:
        import onnxruntime
    except ImportError as error:
        remedy = "pip install onnxruntime"
        raise InputError.of("SL0801", "onnx", "ONNX Runtime is not installed", remedy=remedy) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        with TemporaryDirectory() as empty:  # a model from a file must not read other files
            options.add_session_config_entry(_EXTERNAL_DATA_FOLDER, str(Path(empty).resolve()))
            return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        text = str(error).splitlines()[0]
        raise InputError.of("SL0801", "onnx", f"ONNX Runtime refuses the model: {text}") from error
