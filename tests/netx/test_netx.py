"""lava-dl's netx files: what they mean, what is refused, and recordings of a real network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikeloom.compiler.frontends.netx.file import NetxFile, NetxLayer, read_netx
from spikeloom.compiler.frontends.netx.lower import lower_netx
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.errors import InputError
from spikeloom.targets.loihi import loihi2
from spikeloom.targets.loihi.engine import Chip
from spikeloom.targets.loihi.program import Process
from tests.cli.terminal import refused, spikeloom

NEURON = {"type": "LOIHI", "iDecay": 4096, "vDecay": 1024, "vThMant": 25, "refDelay": 1}
PERIOD = 17  # steps between resets in the recordings
RECORDED = {
    "layer0": "input", "layer1": "conv-0", "layer2": "conv-1", "layer3": "conv-2", "layer4": "conv-3",
    "layer5": "conv-4", "layer7": "fc-0", "layer8": "fc-1", "layer9": "fc-2",
}  # fmt: skip


def dense(weight: Any, **neuron: object) -> NetxLayer:
    array = np.asarray(weight, np.float32)
    shape = {"inFeatures": np.array(array.shape[1]), "outFeatures": np.array(array.shape[0])}
    return NetxLayer("dense", {"weight": array, **shape}, {**NEURON, **neuron})


def run(net: NetxFile, frames: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(lower_netx(net, 4).graph)
    interpreter.reset(1)
    return np.stack([interpreter.step(frame[None])[interpreter.graph.outputs[0]][0] for frame in frames])


def test_a_dense_layer_fires_as_its_equation_says() -> None:
    net = NetxFile("one", (dense([[20, -4], [30, 6]]),))
    assert run(net, np.array([[1, 0], [1, 0], [0, 1], [0, 1]])).tolist() == [[0, 1], [1, 1], [0, 0], [0, 0]]


def test_odd_weights_are_kept_as_in_netx() -> None:
    op = lower_netx(NetxFile("net", (dense([[27, -3]]),)), 4).graph.node("layer0").op
    assert isinstance(op, IntegerNeuron)
    assert op.fraction_bits == 6
    even = lower_netx(NetxFile("net", (dense([[26, -4]]),)), 4).graph
    assert even.node("layer0.weights").op.weight.tolist() == [[13, -2]]  # type: ignore[attr-defined]
    assert even.node("layer0").op.fraction_bits == 7  # type: ignore[attr-defined]


def test_weights_of_mixed_sign_are_clipped_as_in_netx() -> None:
    graph = lower_netx(NetxFile("net", (dense([[300, -300]]),)), 4).graph
    assert (2 * graph.node("layer0.weights").op.weight.astype(int)).tolist() == [[254, -256]]  # type: ignore[attr-defined]


def test_a_layer_that_is_only_read_is_a_sum_over_time() -> None:
    net = NetxFile("net", (dense([[20, -4]], vThMant=2**17 - 1, vDecay=0),))
    graph = lower_netx(net, 4).graph
    assert graph.answers_at_the_end
    assert float(graph.units[graph.outputs[0]].scale) == 2.0  # v >> 6


def test_an_average_is_the_mean_of_groups_in_a_row() -> None:
    average = NetxLayer("average", {"shape": np.array([2, 1, 1])})
    net = NetxFile("net", (dense([[60], [0], [60], [60]]), average))
    graph = lower_netx(net, 4).graph
    assert run(net, np.ones((2, 1), np.int64)).tolist() == [[1, 2], [1, 2]]
    assert float(graph.units[graph.outputs[0]].scale) == 0.5


@pytest.mark.parametrize(
    ("layer", "what"),
    [
        (NetxLayer("pool", {}), "has no integer meaning here"),
        (NetxLayer("concat", {}), "own netx does not load it either"),
        (dense([[2, 4]], type="ALIF"), "its neurons are not known"),
        (dense([[2, 4]], type="SDNN", activation="tanh"), "netx rectifies whatever is said"),
        (dense([[2, 4]], refDelay=2), "refractory time"),
        (dense([[2.5, 4]]), "something else than integers"),
        (dense([[np.nan, 4]]), "something else than integers"),
    ],
)
def test_what_has_no_integer_meaning_is_refused_by_name(layer: NetxLayer, what: str) -> None:
    with pytest.raises(InputError, match=f"SL0214 layer 0.*{what}"):
        lower_netx(NetxFile("net", (layer,)), 4)


def test_layers_that_do_not_fit_each_other_are_refused() -> None:
    net = NetxFile("net", (dense([[2, 4]]), dense([[2, 4, 6]])))
    with pytest.raises(InputError, match=r"SL0214 layer 1 .*does not fit the layers before it"):
        lower_netx(net, 4)


def test_a_sample_needs_a_length() -> None:
    with pytest.raises(InputError, match=r"SL0214 net: .*--steps N"):
        lower_netx(NetxFile("net", (dense([[2, 4]]),)))


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n garbage"])
def test_damaged_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    path.write_bytes(content)
    with pytest.raises(InputError, match="SL0214"):
        read_netx(path)
    with pytest.raises(InputError, match="SL0214"):
        read_netx(tmp_path / "none.net")


def test_a_file_that_leads_outside_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.net", "w") as file:
        file.create_group("layer")
        file["layer/0"] = h5py.ExternalLink("/etc/hostname", "/")
    with pytest.raises(InputError, match=r"SL0214 .*leads elsewhere"):
        read_netx(tmp_path / "a.net")


@pytest.fixture(scope="module")
def pilotnet(data: Path) -> Path:
    return data / "conformance" / "pilotnet_lif"


def recorded(folder: Path, name: str) -> np.ndarray:
    """[neurons, steps] in our order, from files in the order width, height, channels, steps."""
    array = np.load(folder / f"{name}.npy")
    axes = (*range(array.ndim - 2, -1, -1), array.ndim - 1)
    flat: np.ndarray = array.transpose(axes).reshape(-1, array.shape[-1])
    return flat


def test_pilotnet_reproduces_every_recorded_spike_current_and_potential(pilotnet: Path) -> None:
    """A free run from the picture alone, as recorded from Loihi: 5.9 million numbers, none differs.

    The last layer's recording (fc-3) has another length and other times of reset than the rest, and
    does not follow from the recorded spikes of the layer before; it is not compared.
    """
    program = loihi2().program(lower_netx(read_netx(pilotnet / "network.net")).graph)
    picture = np.load(pilotnet / "image.npy").transpose(2, 1, 0).reshape(-1, 1).astype(np.int64)
    chip = Chip(program)
    chip.reset(1)
    chip.preload({"input": picture})
    traces = {
        (layer, part): recorded(pilotnet, name)
        for layer, file in RECORDED.items()
        for part, name in (("s", file), ("u", f"{file}-u"), ("v", f"{file}-v"))
        if (pilotnet / f"{name}.npy").exists()
    }
    assert len(traces) == 9 + 7 + 7
    compared = 0
    for step in range(24):
        fresh = {one.name: chip.rest(one) for one in program.processes if _resets(one, step)}
        sent = chip.step({"input": picture}, fresh)
        for (layer, part), trace in traces.items():
            got = _read(chip, layer, part, sent[layer][:, 0])
            assert (trace[:, step] == got).all(), (layer, part, step)
            compared += len(got)
    assert compared == 5_862_240


def _resets(process: Process, step: int) -> bool:
    """The input layer, one synapse behind what the host sends, is the first."""
    return process.has_state and (step - (process.depth - 1)) % PERIOD == 0


def _read(chip: Chip, layer: str, part: str, spikes: np.ndarray) -> np.ndarray:
    """What the chip's registers hold; v reads 128 in the step of a spike, by its refractory field."""
    if part == "s":
        return spikes
    state = chip.state[layer]
    return state.u[:, 0] if part == "u" else np.where(spikes > 0, 128, state.v[:, 0])


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.net"
    with h5py.File(path, "w") as file:
        for number, weight in enumerate(([[20, -4], [30, 6]], [[40, 8]])):
            layer = file.create_group(f"layer/{number}")
            layer["type"] = np.array([b"dense"])
            layer["weight"] = np.array(weight, np.float32)
            layer["inFeatures"], layer["outFeatures"] = 2, len(weight)
            layer["shape"] = np.array([len(weight)])
            for key, value in NEURON.items():
                layer[f"neuron/{key}"] = value
    return path


def test_a_net_file_is_checked_on_the_command_line(tiny: Path) -> None:
    for target in ("loihi2", "onnx"):
        found = spikeloom("check", tiny, "--target", target, "--steps", 6, "--json").json
        assert found["obstacles"] == []
        assert (found["neurons"], found["layers"]) == (3, 2)
    assert "nothing stands between" in spikeloom("check", tiny, "--steps", 6).out
    (problem,) = refused("check", tiny, "--weights", "model.pt", "--steps", 6, within=tiny.parent)
    assert (problem.code, problem.where) == ("SL0901", "--weights")
    tiny.write_bytes(b"no file of HDF5")
    (problem,) = refused("check", tiny, "--steps", 6, within=tiny.parent)
    assert problem.code == "SL0214"


def test_a_net_file_compiles_on_the_command_line(tiny: Path) -> None:
    path, tmp_path = tiny, tiny.parent
    arguments = ["compile", str(path), "--target", "loihi2", "--steps", "6", "--json"]
    document = spikeloom(*arguments, "-o", tmp_path / "tiny.loom").json
    stages = [entry["stage"] for entry in document["ledger"]]
    assert stages == ["onnx/sequence.onnx", "steps of loihi2"]
    assert document["cores"] == 1
    verified = spikeloom("verify", tmp_path / "tiny.loom", "--engines", "reference,onnx,loihi", "--json").json
    assert verified["mismatches"] == 0
