"""The log of a run: a record for each sample, so that a run which was killed goes on after the last.

A record holds what the run reports of a sample: the evidence for each class after each step, what was
dropped, and the spikes at the chosen detail. A log belongs to one network, one engine and one list of
samples; the first record says which, and another run does not append to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from spikeloom.compiler.graph.op import Array
from spikeloom.errors import InputError
from spikeloom.runtime.events.stream import DropReport
from spikeloom.runtime.log.records import RecordFile, read_records
from spikeloom.runtime.session import SampleResult
from spikeloom.runtime.spikelog import Places

SUFFIX = ".spikelog"
Detail = Literal["core", "neuron"]


@dataclass(frozen=True)
class About:
    """What a log is of.

    Attributes:
        network: digest of the network and its recipe.
        target: it was compiled for.
        samples: digest of the samples' names.
        options: whatever else changes the results, by name: the engine, an early exit.
        shapes: of each layer.
        detail: «core»: spikes are counted for each core; «neuron»: each is kept.
        step_us: duration of a time step of the sensor in microseconds; None where it has none.
    """

    network: str
    target: str
    samples: str
    options: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    detail: Detail = "core"
    step_us: int | None = None

    @property
    def layers(self) -> dict[str, int]:
        """Neurons of each layer."""
        return {name: int(np.prod(shape)) for name, shape in self.shapes.items()}


@dataclass(frozen=True)
class SpikeTrain:
    """The spikes of a layer one by one, in order of time.

    Attributes:
        steps, neurons: [n], the time step and the index of the neuron in the flattened layer.
        values: [n], the spikes; 1 where they are binary.
    """

    steps: NDArray[np.uint32]
    neurons: NDArray[np.uint32]
    values: NDArray[np.int16]


@dataclass(frozen=True)
class LayerActivity:
    """What a layer did in a sample.

    Attributes:
        cores: [cores], the numbers of the cores that hold it; -1 where it is not mapped.
        fired: [steps, cores], neurons that fired.
        levels: [steps, cores], sum of the absolute values of their spikes.
        train: each spike, at detail «neuron».
    """

    cores: NDArray[np.int64]
    fired: NDArray[np.int64]
    levels: NDArray[np.int64]
    train: SpikeTrain | None = None


@dataclass(frozen=True)
class SampleRecord:
    """A sample that was run.

    Attributes:
        name: of the sample.
        label: its class, or None.
        prediction: the class that it was given.
        evidence: [steps, classes]; fewer steps than the recipe has where inference stopped early.
        dropped: of its events.
        layers: what each layer did.
        candidates: the classes that an exit rule could not rule out; None without such a rule.
    """

    name: str
    label: int | None
    prediction: int
    evidence: NDArray[np.float64]
    dropped: DropReport
    layers: Mapping[str, LayerActivity]
    candidates: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Recorder:
    """Makes records of results.

    Attributes:
        places: of the neurons of each layer.
        detail: how much of the spikes is kept.
    """

    places: Mapping[str, Places]
    detail: Detail = "core"

    def __post_init__(self) -> None:
        if self.detail not in get_args(Detail):
            known = " or ".join(get_args(Detail))
            raise InputError.of(
                "SL0901", "--detail", "there is no such detail", wanted=known, got=self.detail
            )

    def record(self, result: SampleResult) -> SampleRecord:
        """The record of a sample."""
        layers = {}
        for name, spikes in result.spikes.items():
            values = spikes.reshape(len(spikes), -1)
            fired, levels = self.places[name].count(values)
            train = _train(values) if self.detail == "neuron" else None
            layers[name] = LayerActivity(self.places[name].cores, fired, levels, train)
        sample = result.sample
        return SampleRecord(
            sample.name,
            sample.label,
            result.prediction,
            result.evidence,
            sample.report,
            layers,
            result.candidates,
        )


@dataclass
class Journal:
    """A log that a run appends to; use :meth:`open`.

    Attributes:
        about: what it is of.
        done: names of the samples that it held when it was opened.
        cut_off: bytes of an unfinished record that were found at its end.
    """

    about: About
    done: frozenset[str] = field(default_factory=frozenset)
    cut_off: int = 0
    _file: RecordFile | None = None

    @classmethod
    def open(cls, path: Path | str, about: About) -> Self:
        """Open a log to go on with it, or begin one.

        Raises:
            InputError: SL0811, it is damaged or of another run; SL0902, it cannot be written.
        """
        file = RecordFile(path)
        try:
            records = read_records(path)
            first = next(records, None)
            if first is None:
                file.append(_about_record(about))
                return cls(about, frozenset(), file.cut_off, file)
            _require_same(path, _read_about(first, path), about)
            names = frozenset(unpack_sample(record, path).name for record in records)
            return cls(about, names, file.cut_off, file)
        except BaseException:
            file.close()
            raise

    def append(self, record: SampleRecord) -> None:
        """Add a sample; it outlives this process when this returns."""
        assert self._file is not None
        self._file.append(pack_sample(record))

    def close(self) -> None:
        """Wait until everything is on the disk, and let go of the file."""
        assert self._file is not None
        self._file.flush()
        self._file.close()


def read_log(path: Path | str) -> tuple[About, Iterator[SampleRecord]]:
    """What a log is of, and its samples, each read when it is asked for.

    Raises:
        InputError: SL0811, the file is missing, damaged or no log.
    """
    records = read_records(path)
    first = next(records, None)
    if first is None:
        raise InputError.of("SL0811", path, "is a log without a beginning")
    return _read_about(first, path), (unpack_sample(record, path) for record in records)


def names_digest(names: list[str]) -> str:
    """SHA-256 of a list of names."""
    return sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()


def _require_same(path: Path | str, found: About, wanted: About) -> None:
    theirs, ours = _about_document(found), _about_document(wanted)
    if differing := [name for name in ours if theirs[name] != ours[name]]:
        raise InputError.of(
            "SL0811",
            path,
            f"is the log of another run: {' and '.join(differing)} differ",
            remedy="name another file, or remove this one to begin anew",
        )


def _train(values: NDArray[Any]) -> SpikeTrain:
    steps, neurons = np.nonzero(values)
    return SpikeTrain(
        steps.astype(np.uint32), neurons.astype(np.uint32), values[steps, neurons].astype(np.int16)
    )


def _about_document(about: About) -> dict[str, Any]:
    document = asdict(about)
    document["shapes"] = {name: list(shape) for name, shape in about.shapes.items()}
    return json.loads(json.dumps(document))  # type: ignore[no-any-return]  # as it will be read


def _about_record(about: About) -> bytes:
    return save({}, {"log": json.dumps(_about_document(about))})


def _read_about(record: bytes, path: Path | str) -> About:
    try:
        document = json.loads(_metadata(record)["log"])
        document["shapes"] = {name: tuple(shape) for name, shape in document["shapes"].items()}
        return About(**document)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError.of("SL0811", path, "does not say what it is a log of") from error


def pack_sample(record: SampleRecord) -> bytes:
    """A sample as a record of a log."""
    arrays: dict[str, Array] = {"evidence": record.evidence}
    for name, layer in record.layers.items():
        arrays |= {f"cores/{name}": layer.cores, f"fired/{name}": layer.fired, f"levels/{name}": layer.levels}
        if layer.train is not None:
            arrays |= {f"{key}/{name}": value for key, value in vars(layer.train).items()}
    facts = {
        "name": record.name,
        "label": record.label,
        "prediction": record.prediction,
        "dropped": record.dropped.counts(),
        "layers": list(record.layers),
        "candidates": record.candidates,
    }
    laid = {key: _narrowed(array) for key, array in arrays.items()}
    return save(laid, {"sample": json.dumps(facts)})


def _narrowed(array: Array) -> Array:
    """Whole numbers in as few bytes as hold them."""
    if array.dtype.kind in "iu" and array.size:
        low, high = int(array.min()), int(array.max())
        array = array.astype(np.promote_types(np.min_scalar_type(low), np.min_scalar_type(high)))
    return np.asarray(array, order="C")


def unpack_sample(record: bytes, path: Path | str) -> SampleRecord:
    """The sample of a record; ``path`` is where it comes from.

    Raises:
        InputError: SL0811, it is no sample.
    """
    try:
        facts = json.loads(_metadata(record)["sample"])
        arrays = load(record)
        return SampleRecord(
            facts["name"],
            facts["label"],
            facts["prediction"],
            arrays["evidence"],
            DropReport(**facts["dropped"]),
            {name: _layer(arrays, name) for name in facts["layers"]},
            None if facts["candidates"] is None else tuple(facts["candidates"]),
        )
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise InputError.of("SL0811", path, "holds a record that is no sample") from error


def _layer(arrays: Mapping[str, Array], name: str) -> LayerActivity:
    train = None
    if f"steps/{name}" in arrays:
        train = SpikeTrain(
            arrays[f"steps/{name}"].astype(np.uint32),
            arrays[f"neurons/{name}"].astype(np.uint32),
            arrays[f"values/{name}"].astype(np.int16),
        )
    cores, fired, levels = (arrays[f"{key}/{name}"].astype(np.int64) for key in ("cores", "fired", "levels"))
    return LayerActivity(cores, fired, levels, train)


def _metadata(record: bytes) -> dict[str, str]:
    length = int.from_bytes(record[:8], "little")
    metadata: dict[str, str] = json.loads(record[8 : 8 + length])["__metadata__"]
    return metadata
