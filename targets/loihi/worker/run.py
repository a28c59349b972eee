"""Run a program under Lava: ``python3.10 run.py [FOLDER]``.

The folder holds ``program.json`` and ``program.npz`` (processes and synapses as the chip stores them) and
``frames.npz`` (what the host injects in each chip step, as ``frames`` or for each input ``frames/<name>``,
the chip steps of a sample, and those from the start of one to the start of the next). What every layer sent
goes to ``results.npz``; where ``expected.npz`` lies beside, the two are compared, and the exit status is 3 if
a number differs. Needs lava-nc 0.10.0 alone. Nothing of the folder is executed.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

Arrays = Any


def main(folder: Path) -> int:
    """Run, write what was sent, compare."""
    if importlib.util.find_spec("lava") is None:
        sys.exit(
            "Lava is not installed here; it needs Python 3.10: python3.10 -m pip install lava-nc==0.10.0"
        )
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    document = json.loads((folder / "program.json").read_text())
    arrays = dict(np.load(folder / "program.npz", allow_pickle=False))
    given = dict(np.load(folder / "frames.npz", allow_pickle=False))
    interval, sample = int(given.pop("interval")), int(given.pop("sample"))
    results = run(document, arrays, given, interval)
    np.savez_compressed(folder / "results.npz", **results)
    if not (folder / "expected.npz").exists():
        return 0
    expected = np.load(folder / "expected.npz", allow_pickle=False)
    depths = {one["name"]: one["depth"] for one in document["processes"]}
    wrong = {}
    for name in expected.files:
        samples = len(expected[name]) * document["steps"] // sample
        starts = depths[name] + interval * np.arange(samples)
        sent = np.concatenate([results[name][start : start + sample] for start in starts])
        wrong[name] = int((by_network_step(sent, document["steps"]) != expected[name]).sum())
    cells = sum(expected[name].size for name in expected.files)
    print(f"{cells:,} numbers of {len(wrong)} populations compared, {sum(wrong.values())} differ")
    return 3 if any(wrong.values()) else 0


def by_network_step(sent: Arrays, steps: int) -> Arrays:
    """[network steps, neurons] of what was sent in each chip step: a neuron sends once in a network step."""
    whole = len(sent) // steps
    return sent[: whole * steps].reshape(whole, steps, -1).sum(1)


def run(document: Arrays, arrays: Arrays, frames: dict[str, Arrays], interval: int) -> dict[str, Arrays]:
    """What every layer and the output sent in each chip step, [steps, neurons].

    Where messages outlive a network step, Lava is made anew for each sample, so that nothing is on its way.

    Args:
        document: ``program.json``.
        arrays: ``program.npz``.
        frames: [steps, neurons] that each input sends.
        interval: steps between resets; each process is reset at its own depth.
    """
    steps = len(next(iter(frames.values())))
    ends = range(interval, steps + 1, interval) if document["remembers"] else [steps]
    pieces, start = [], 0
    for end in ends:
        given = {name: sent[start:end] for name, sent in frames.items()}
        pieces.append(run_once(document, arrays, given, interval))
        start = end
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def run_once(document: Arrays, arrays: Arrays, frames: dict[str, Arrays], interval: int) -> dict[str, Arrays]:
    """One run of Lava; arguments are those of :func:`run`."""
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer as Sink

    network = Builder(document, arrays, frames, interval)
    watched = [one for one in document["processes"] if one["layer"] or one["name"] == document["output"]]
    sinks = {}
    steps = len(next(iter(frames.values())))
    for one in watched:
        sink = Sink(shape=network.shape(one), buffer=steps)
        network.feed(one, sink.a_in)
        sinks[one["name"]] = sink
    first = next(iter(sinks.values()))
    try:
        first.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        return {name: np.asarray(sink.data.get()).T.astype(np.int64) for name, sink in sinks.items()}
    finally:
        first.stop()


class Builder:
    """Makes Lava processes of a program, and connects them."""

    def __init__(self, document: Arrays, arrays: Arrays, frames: dict[str, Arrays], interval: int) -> None:
        self.ours = importlib.import_module("processes")
        self.arrays = arrays
        self.frames = frames
        self.interval = interval
        self.steps = document["steps"]
        self.made = {one["name"]: self.process(one) for one in document["processes"]}
        self.synapses = document["synapses"]
        self.models = {one["name"]: one for one in document["processes"]}
        self.arriving: dict[str, list[Arrays]] = {}
        for number, one in enumerate(self.synapses):
            self.connect(number, one)

    def shape(self, one: Arrays) -> tuple[int]:
        """Neurons in a row."""
        return (int(np.prod(one["shape"])),)

    def process(self, one: Arrays) -> Arrays:
        """The Lava process of one process; a readout has none."""
        from lava.proc.io.source import RingBuffer as Source
        from lava.proc.prodneuron.process import ProdNeuron

        model, shape = one["model"], self.shape(one)
        if model in ("gate", "memory"):
            settings = {"shape": shape, "depth": one["depth"], "late": one["late"], "steps": self.steps}
            return self.ours.Gate(**settings) if model == "gate" else self.ours.Memory(**settings)
        bias = self.arrays[f"process/{one['name']}/bias"]
        if model == "input":
            own = f"frames/{one['name']}"
            return Source(data=self.frames[own if own in self.frames else "frames"].T.astype(np.int32))
        if model == "product":
            return ProdNeuron(shape=shape, vth=0, exp=0)
        if model == "readout":
            return None
        slots = self.slots(one)
        if model == "lif" and not slots:
            return self.lif(one, bias)
        if model in ("lif", "counter"):
            return self.counter(one, bias, slots)
        if model == "relay":
            return self.relay(one, bias, slots)
        if model == "sigma_delta":
            return self.coder(one, bias)
        if model == "resonator":
            return self.resonator(one)
        return self.sum(one, bias, slots)

    def sum(self, one: Arrays, bias: Arrays, slots: dict[str, Arrays]) -> Arrays:
        """What sends its sum: Lava's own process where nothing is added."""
        from lava.proc.graded.process import GradedVec

        shape = self.shape(one)
        if one["opens"]:
            return self.gated_sum(one, bias)
        if slots:
            return self.ours.SlottedSum(shape=shape, bias=bias, first=self.first(one), **slots)
        if one["model"] == "sum" and not bias.any():
            return GradedVec(shape=shape, vth=0, exp=0)
        return self.ours.Sum(shape=shape, bias=bias, first=self.first(one))

    def gated_sum(self, one: Arrays, bias: Arrays) -> Arrays:
        """A sum that is sent in some network steps of a sample."""
        start, count = one["opens"]
        settings = {"start": start, "count": count, "depth": one["depth"]}
        settings |= {"steps": self.steps, "interval": self.interval, "first": self.first(one)}
        return self.ours.GatedSum(shape=self.shape(one), bias=bias, **settings)

    def first(self, one: Arrays) -> int:
        """The chip step before which it sends nothing."""
        return int(one["depth"]) if one["waits"] else 0

    def slots(self, one: Arrays) -> dict[str, Arrays]:
        """When it takes and sends within a network step; empty where it does in every chip step."""
        name = f"process/{one['name']}"
        if f"{name}/takes" not in self.arrays:
            return {}
        slots = {key: self.arrays[f"{name}/{key}"].astype(np.int64) for key in ("takes", "sends")}
        return {**slots, "depth": one["depth"], "steps": self.steps}

    def resets(self, one: Arrays) -> dict[str, int]:
        """Lava counts its steps from 1."""
        return {"reset_interval": self.interval, "reset_offset": (one["depth"] + 1) % self.interval}

    def lif(self, one: Arrays, bias: Arrays) -> Arrays:
        """Lava's LIF where there is one threshold."""
        from lava.proc.lif.process import LIFReset

        vth = self.arrays[f"process/{one['name']}/threshold"][0].astype(np.int64) >> 6
        mantissa, exponent = bias_registers(bias)
        settings = {
            "shape": self.shape(one),
            "du": one["current_decay"] - 1,
            "dv": one["decay"],
            "bias_mant": mantissa,
            "bias_exp": exponent,
            **self.resets(one),
        }
        if (vth == vth[0]).all() and not self.first(one):
            return LIFReset(vth=int(vth[0]), **settings)
        return self.ours.GroupedLIF(vth=vth, first=self.first(one), **settings)

    def counter(self, one: Arrays, bias: Arrays, slots: dict[str, Arrays]) -> Arrays:
        """A neuron program."""
        name = f"process/{one['name']}"
        settings = {"decay": one["decay"], "current_decay": one["current_decay"], **self.resets(one)}
        theta = self.arrays[f"{name}/threshold"].astype(np.int64)
        common = {"shape": self.shape(one), "theta": theta, "bias": bias, **settings, **slots}
        common["first"] = self.first(one)
        kind = "SlottedCounter" if slots else "Counter"
        if f"{name}/reset_by" in self.arrays:
            kind = kind.replace("Counter", "SubtractingCounter")
            common["reset_by"] = self.arrays[f"{name}/reset_by"]
        return getattr(self.ours, kind)(**common)

    def relay(self, one: Arrays, bias: Arrays, slots: dict[str, Arrays]) -> Arrays:
        """A neuron program that sends its sum in another unit."""
        name = f"process/{one['name']}"
        factor, offset = (self.arrays[f"{name}/{key}"].astype(np.int64) for key in ("factor", "offset"))
        settings = {"shape": self.shape(one), "bias": bias.astype(np.int64), **one["rescaling"], **slots}
        settings["first"] = self.first(one)
        made = self.ours.SlottedRelay if slots else self.ours.Relay
        return made(factor=factor, offset=offset, **settings)

    def coder(self, one: Arrays, bias: Arrays) -> Arrays:
        """Lava's own sigma-delta neurons, which are reset."""
        coding, active = one["coding"], self.arrays[f"process/{one['name']}/activation_bias"]
        made = self.ours.ResetSigmaDelta if coding["integrates"] else self.ours.ResetDelta
        settings = {key: coding[key] for key in ("threshold", "input_shift", "rectifies", "limit")}
        settings |= {"shift": coding["output_shift"], "first": self.first(one), **self.resets(one)}
        return made(shape=self.shape(one), bias=active, arrives=bias, **settings)

    def resonator(self, one: Arrays) -> Arrays:
        """Lava's own resonators, which are reset."""
        turn = one["turn"]
        made = self.ours.ResetRF if turn["by_phase"] else self.ours.ResetRFIZ
        settings = {key: turn[key] for key in ("cosine", "sine", "threshold", "fraction_bits")}
        return made(shape=self.shape(one), **settings, **self.resets(one))

    def connect(self, number: int, one: Arrays) -> None:
        """Synapses between two processes."""
        synapses = self.synapse(number, one)
        if synapses is None:
            return
        self.made[one["source"]].s_out.connect(synapses.s_in)
        target = self.models[one["target"]]
        if target["model"] == "readout":
            self.arriving.setdefault(one["target"], []).append(synapses)
        elif target["model"] in ("product", "gate", "memory"):
            made = self.made[one["target"]]
            synapses.a_out.connect(made.a_in2 if one["port"] else made.a_in1)
        elif target["model"] == "resonator":
            made = self.made[one["target"]]
            synapses.a_out.connect(made.a_imag_in if one["port"] else made.a_real_in)
        else:
            synapses.a_out.connect(self.made[one["target"]].a_in)

    def synapse(self, number: int, one: Arrays) -> Arrays:
        """The Lava process of some synapses; None if there are none."""
        from lava.proc.sparse.process import DelaySparse, Sparse
        from scipy.sparse import csr_matrix

        starts, sources, weights, later = (
            self.arrays[f"synapses/{number}/{key}"].astype(np.int64)
            for key in ("starts", "sources", "weights", "later")
        )
        if not weights.size:
            return None
        target, inputs = self.models[one["target"]], self.shape(self.models[one["source"]])[0]
        if target["takes_largest"] or target["model"] == "largest":
            settings = {"weight": int(weights[0]), "inputs": inputs, "delay": one["delay"]}
            return self.ours.LargestSynapses(starts=starts, sources=sources, **settings)
        matrix = csr_matrix((weights.astype(np.int32), sources, starts), (self.shape(target)[0], inputs))
        settings = {
            "weight_exp": one["exponent"],
            "num_message_bits": 24 if one["largest_message"] > 1 else 0,
        }
        waits = later + one["delay"] if later.size else np.full(len(weights), one["delay"], int)
        if not waits.any():
            return Sparse(weights=matrix, **settings)
        delays = csr_matrix((waits, sources, starts), matrix.shape)
        return DelaySparse(weights=matrix, delays=delays, max_delay=int(waits.max()), **settings)

    def feed(self, one: Arrays, port: Arrays) -> None:
        """Connect a sink to what a process sends, or to what arrives at a readout."""
        if one["model"] != "readout":
            self.made[one["name"]].s_out.connect(port)
            return
        for synapses in self.arriving.get(one["name"], []):
            synapses.a_out.connect(port)


def bias_registers(bias: Arrays) -> tuple[Arrays, Arrays]:
    """Mantissas of 13 bits with sign and exponents: the least exponent that fits."""
    bias = bias.astype(np.int64)
    exponent = np.zeros_like(bias)
    for _ in range(7):
        mantissa = bias >> exponent
        exponent += (mantissa < -4096) | (mantissa > 4095)
    return bias >> exponent, exponent


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent))
