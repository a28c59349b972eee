"""What the engines are meant to reach, looked up in the figures of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from spikeloom.benchmarks.suite import EVENT, EVENT_STEP, ONNX, ONNX_STEP, ORT_FLOAT, ORT_INT8

Document = Mapping[str, Any]
SPIKINGJELLY, COMPILED = "SpikingJelly, float32", "torch.compile, float32"
BASE = "Spikformer-4-384"


@dataclass(frozen=True)
class Goal:
    """A figure and what it should be.

    Attributes:
        what: in words.
        wanted: the figure; reached from there on upwards, or downwards if ``least`` is false.
        found: the figure of a run, or None where the run did not measure it.
        bound: what the machine's own limits allow on the same scale, where a bound is known.
    """

    what: str
    wanted: float
    least: bool
    found: float | None
    bound: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether it is reached; None where it was not measured."""
        if self.found is None:
            return None
        return self.found >= self.wanted if self.least else self.found <= self.wanted


def goals(document: Document) -> list[Goal]:
    """Every goal with what a run found."""
    return [*_of_base(document), *_of_layers(document), *_of_sizes(document)]


def _of_base(document: Document) -> Iterator[Goal]:
    entry = _network(document, BASE)
    best = {peer: _best(entry, peer) for peer in (SPIKINGJELLY, ORT_FLOAT)}
    yield Goal(f"{BASE}: onnx over SpikingJelly", 5, True, _ratio(entry, ONNX, SPIKINGJELLY))
    yield Goal(f"{BASE}: onnx over torch.compile", 4, True, _ratio(entry, ONNX, COMPILED))
    for peer, name, wanted in ((SPIKINGJELLY, "SpikingJelly", 12), (ORT_FLOAT, "ONNX Runtime float32", 8)):
        yield Goal(f"{BASE}: the best engine over {name}", wanted, True, best[peer], _allowed(entry, peer))
    step = None if entry is None else 1 / _ratio_of(entry, EVENT_STEP, EVENT)
    yield Goal(f"{BASE}: event step by step, over all steps at once", 1.15, False, step)
    step = None if entry is None else 1 / _ratio_of(entry, ONNX_STEP, ONNX)
    yield Goal(f"{BASE}: onnx step by step, over all steps at once", 1.15, False, step)
    second = None if entry is None else entry["second_core"]["median"]
    yield Goal(f"{BASE}: two workers over one, by the clock", 1.7, True, second)


def _of_layers(document: Document) -> Iterator[Goal]:
    for entry in document["layers"]:
        what = f"{entry['network']}, one row at {entry['input_rate']:.0%}: events over ONNX Runtime int8"
        yield Goal(what, 10, True, _ratio(entry, EVENT, ORT_INT8))


def _of_sizes(document: Document) -> Iterator[Goal]:
    memory, compiled = document.get("memory"), document.get("compile")
    peak = None if memory is None else memory["peak_bytes"] / 1e9
    yield Goal("Spikformer-8-768, 224 x 224, one step: peak memory of a process, GB", 0.9, False, peak)
    token = _network(document, "SpikeGPT-216M")
    share = None if token is None else 1 / _row(token, EVENT_STEP)["share_of_bound"]
    yield Goal("SpikeGPT-216M in size: a token over reading all weights once", 1.5, False, share)
    seconds = None if compiled is None else sum(compiled["seconds"].values())
    yield Goal(
        "Spikformer-8-768 to a bundle, capture and ledger included: s of the processor", 60, False, seconds
    )
    times = None if compiled is None else compiled["peak_bytes"] / compiled["float_bytes"]
    yield Goal("the same: peak memory over the float weights", 4, False, times)
    beyond = (
        None if compiled is None else (compiled["peak_bytes"] - compiled["before"]) / compiled["float_bytes"]
    )
    yield Goal("the same, beyond Python, PyTorch and the model, loaded and run once", 4, False, beyond)
    yield from _over_lava(document)


def _over_lava(document: Document) -> Iterator[Goal]:
    what = "over Lava's simulation on a processor, all frames in one call, by the clock"
    for entry in document.get("lava", ()):
        yield Goal(f"{entry['network']}: {what}", 100, True, entry["times_as_fast"]["median"])
    if not document.get("lava"):
        yield Goal(what, 100, True, None)


def _network(document: Document, name: str) -> Document | None:
    return next((entry for entry in document["networks"] if entry["network"] == name), None)


def _row(entry: Document, name: str) -> Document:
    row: Document = next(row for row in entry["contenders"] if row["name"] == name)
    return row


def _ratio(entry: Document | None, name: str, peer: str) -> float | None:
    if entry is None or not any(row["name"] == peer for row in entry["contenders"]):
        return None
    return _ratio_of(entry, name, peer)


def _ratio_of(entry: Document, name: str, peer: str) -> float:
    return float(_row(entry, name)["times_as_fast_as"][peer]["median"])


def _best(entry: Document | None, peer: str) -> float | None:
    ratios = [_ratio(entry, name, peer) for name in (EVENT, ONNX)]
    return max((ratio for ratio in ratios if ratio is not None), default=None)


def _allowed(entry: Document | None, peer: str) -> float | None:
    """How many times as fast as a peer a dense execution at the machine's limits would be."""
    if entry is None or not any(row["name"] == peer for row in entry["contenders"]):
        return None
    return float(_row(entry, peer)["seconds"]["median"] / entry["bound_seconds"])
