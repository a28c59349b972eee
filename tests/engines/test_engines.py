"""Engines are found by name, keep and give back their state, and refuse what does not fit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from spikeloom.compiler.graph.engine import Engine, Trace
from spikeloom.errors import InputError
from spikeloom.runtime.engines import engine_names, open_engine
from spikeloom.runtime.engines.onnx import SAMPLES_PER_CALL, Mode, OnnxEngine
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.targets.onnx import onnx
from tests.engines.agreement import engines
from tests.random_networks import RandomNetwork, random_network


@pytest.fixture(scope="module")
def network() -> RandomNetwork:
    return random_network(0, steps=6, batch=2 * SAMPLES_PER_CALL + 1)


@pytest.fixture(scope="module")
def files(network: RandomNetwork) -> Mapping[str, bytes]:
    return onnx().artifacts(network.graph)


@pytest.fixture(scope="module")
def trace(network: RandomNetwork) -> Trace:
    return run(ReferenceEngine(network.graph), network)


def run(engine: Engine, network: RandomNetwork, *cuts: int) -> Trace:
    engine.reset(network.frames.shape[1])
    parts = [engine.run(chunk) for chunk in np.split(network.frames, cuts)]
    layers = parts[0].spikes
    return Trace(
        np.concatenate([part.output for part in parts]),
        {layer: np.concatenate([part.spikes[layer] for part in parts]) for layer in layers},
    )


def same(first: Trace, second: Trace) -> bool:
    return np.array_equal(first.output, second.output) and all(
        np.array_equal(first.spikes[layer], second.spikes[layer]) for layer in {*first.spikes, *second.spikes}
    )


OF_CHIPS = {"loihi", "lava", "lava-parts"}  # engines that execute what their chip can


@pytest.mark.parametrize("name", sorted({*engine_names()} - OF_CHIPS))
def test_every_engine_opens_by_name_and_runs(
    name: str, network: RandomNetwork, files: Mapping[str, bytes], trace: Trace
) -> None:
    engine = open_engine(name, network.graph, files)
    assert engine.name == name
    result = run(engine, network)
    assert same(result, trace)
    assert result.output.dtype == np.int64
    assert {array.dtype for array in result.spikes.values()} == {np.dtype(np.uint8)}
    assert all(array.dtype == np.int64 for array in engine.state().values())


def test_an_unknown_engine_is_refused_with_the_known_names(network: RandomNetwork) -> None:
    with pytest.raises(InputError, match=r"SL0801 magic: no such engine \(wanted .*onnx or reference\)"):
        open_engine("magic", network.graph, {})


def test_the_onnx_engine_says_which_file_is_missing(network: RandomNetwork) -> None:
    with pytest.raises(InputError, match=r"SL0801 onnx: .* no sequence.onnx"):
        open_engine("onnx", network.graph, {"step.onnx": b""})


def test_a_broken_model_is_refused(network: RandomNetwork, files: Mapping[str, bytes]) -> None:
    with pytest.raises(InputError, match="SL0801 onnx: ONNX Runtime refuses the model"):
        OnnxEngine(b"", files["sequence.onnx"][:-100], network.graph)


@pytest.mark.parametrize("cuts", [(1,), (2, 3), (5,)])
@pytest.mark.parametrize("name", ["reference", "step", "sequence", "event"])
def test_chunks_do_not_matter(name: str, cuts: tuple[int, ...], network: RandomNetwork, trace: Trace) -> None:
    assert same(run(engines(network.graph)[name], network, *cuts), trace)


def test_workers_and_threads_do_not_matter(
    network: RandomNetwork, files: Mapping[str, bytes], trace: Trace
) -> None:
    for threads, workers in ((1, 3), (2, 1)):
        forms = (files["step.onnx"], files["sequence.onnx"])
        engine = OnnxEngine(*forms, network.graph, threads=threads, workers=workers)
        assert same(run(engine, network, 2), trace)


@pytest.mark.parametrize("mode", ["step", "sequence"])
def test_the_onnx_engine_may_keep_no_spikes(
    mode: Mode, network: RandomNetwork, files: Mapping[str, bytes], trace: Trace
) -> None:
    forms = (files["step.onnx"], files["sequence.onnx"])
    lean = OnnxEngine(*forms, network.graph, mode=mode, records=False)
    full = OnnxEngine(*forms, network.graph, mode=mode)
    got = run(lean, network, 2)
    run(full, network, 2)
    assert got.spikes == {}
    assert np.array_equal(got.output, trace.output)
    assert all(np.array_equal(array, full.state()[name]) for name, array in lean.state().items())


def test_a_state_moves_between_engines(network: RandomNetwork, trace: Trace) -> None:
    """Each engine goes on where another stopped, without a reset of its own."""
    half = len(network.frames) // 2
    opened = engines(network.graph)
    states = {}
    for name, engine in opened.items():
        engine.reset(network.frames.shape[1])
        engine.run(network.frames[:half])
        states[name] = engine.state()
    for giver, state in states.items():
        for engine in engines(network.graph).values():
            engine.restore(state)
            assert np.array_equal(engine.run(network.frames[half:]).output, trace.output[half:]), giver


def test_state_is_a_copy(network: RandomNetwork) -> None:
    for engine in engines(network.graph).values():
        engine.reset(network.frames.shape[1])
        engine.run(network.frames[:2])
        before = {name: array.copy() for name, array in engine.state().items()}
        for array in engine.state().values():
            array += 1000
        after = engine.state()
        assert all(np.array_equal(before[name], after[name]) for name in before)


def test_reset_forgets(network: RandomNetwork, trace: Trace) -> None:
    for engine in engines(network.graph).values():
        run(engine, network)
        assert same(run(engine, network), trace)


def test_frames_that_do_not_fit_are_refused(network: RandomNetwork) -> None:
    frames = network.frames
    high = network.graph.types[network.graph.inputs[0]].kind.bounds[1]
    for engine in engines(network.graph).values():
        with pytest.raises(InputError, match=r"SL0803 .*wrong shape.*reset the engine"):
            engine.run(frames)
        engine.reset(frames.shape[1])
        for bad in (frames[:, :1], frames[:0], frames[..., :-1], frames[0]):
            with pytest.raises(InputError, match=r"SL0803 .*wrong shape"):
                engine.run(bad)
        with pytest.raises(InputError, match=r"SL0803 .*wrong type \(wanted uint8, got int64\)"):
            engine.run(frames.astype(np.int64))
        with pytest.raises(InputError, match=rf"SL0803 .*counts.*wanted 0\.\.{high}, got 255"):
            engine.run(np.full_like(frames, 255))


def test_states_that_do_not_fit_are_refused_one_by_one(network: RandomNetwork) -> None:
    for engine in engines(network.graph).values():
        engine.reset(3)
        state = engine.state()
        lost, short = sorted(state)[:2]
        del state[lost]
        state[short] = state[short][:2]
        state["strange/v"] = np.zeros((3, 1))
        with pytest.raises(InputError) as caught:
            engine.restore(state)
        assert {problem.where for problem in caught.value.problems} == {lost, short, "strange/v"}
        assert {problem.code for problem in caught.value.problems} == {"SL0803"}


def test_opening_the_package_imports_no_runtime() -> None:
    heavy = "{'numba', 'onnx', 'onnxruntime', 'torch'}"
    script = f"import sys, spikeloom.runtime.engines; print({heavy} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown == "set()\n"


def test_a_model_reads_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Constants that a model keeps in a file beside it are refused, wherever the program runs."""
    secret = np.arange(4096, dtype=np.float32)
    (tmp_path / "secret.bin").write_bytes(secret.tobytes())
    tensor = numpy_helper.from_array(np.zeros(4096, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret.bin")
    tensor.external_data.add(key="length", value=str(secret.nbytes))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4100])
    node = helper.make_node("Concat", ["x", "w"], ["y"], axis=0)
    model = helper.make_model(
        helper.make_graph([node], "g", [x], [y], [tensor]),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    monkeypatch.chdir(tmp_path)
    graph = random_network(0).graph
    with pytest.raises(InputError, match="SL0801"):
        OnnxEngine(model.SerializeToString(), model.SerializeToString(), graph)
