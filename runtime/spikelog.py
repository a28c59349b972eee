"""The spike log: how many spikes each layer and core fired at each step, and the evidence for each class.

Both are tables in Parquet files. Rows wait in a temporary file, so that memory does not grow with the
length of a run; ``write`` makes a whole file of them or none.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any
from weakref import finalize

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeloom.atomic import replacing

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_A_GROUP = 1 << 18
_BYTES_IN_MEMORY = 16 << 20
_MAX_STEPS = 1 << 16


def spike_columns() -> pa.Schema:
    """The columns of a :class:`SpikeLog`: a row for each sample, step, layer and core.

    Rows are there also where nothing fired. ``core`` is null for a layer that is not mapped to cores.
    ``spikes`` is the number of neurons that fired: a graded spike is one spike. ``levels`` is the sum
    of the absolute values of the spikes: equal to ``spikes`` where they are binary.
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("sample", pa.string(), nullable=False),
            pa.field("step", pa.uint16(), nullable=False),
            pa.field("layer", pa.string(), nullable=False),
            pa.field("core", pa.int32()),
            pa.field("spikes", pa.uint32(), nullable=False),
            pa.field("levels", pa.uint64(), nullable=False),
        ]
    )


def prediction_columns() -> pa.Schema:
    """The columns of :class:`Predictions`: a row for each sample and step; ``label`` may be null."""
    import pyarrow as pa

    evidence = pa.list_(pa.field("class", pa.float32(), nullable=False))
    return pa.schema(
        [
            pa.field("sample", pa.string(), nullable=False),
            pa.field("label", pa.int32()),
            pa.field("step", pa.uint16(), nullable=False),
            pa.field("prediction", pa.int32(), nullable=False),
            pa.field("evidence", evidence, nullable=False),
        ]
    )


@dataclass(frozen=True)
class LayerTotal:
    """What a layer fired over all samples recorded.

    Attributes:
        name: the layer.
        neurons: how many it has.
        steps: time steps recorded, summed over samples.
        spikes: neurons × steps in which a neuron fired.
        levels: the sum of the absolute values of these spikes.
    """

    name: str
    neurons: int
    steps: int
    spikes: int
    levels: int

    @property
    def rate(self) -> float:
        """Firing rate: spikes per neuron and time step; 0 where nothing was recorded."""
        return self.spikes / (self.neurons * self.steps) if self.steps else 0.0

    def to_json(self) -> dict[str, Any]:
        """The attributes and the rate as a JSON object."""
        return {
            "name": self.name,
            "neurons": self.neurons,
            "steps": self.steps,
            "spikes": self.spikes,
            "levels": self.levels,
            "rate": self.rate,
        }


class SpikeLog:
    """Counts the spikes of each layer, and of each of its cores, at each step of each sample.

    One thread at a time may use a log; rows are written in the order in which they were recorded.

    >>> log = SpikeLog({"lif": 4}, {"lif": np.array([[0, 0], [7, 7]])})
    >>> log.record("a", "lif", np.array([[[1, 1], [0, 1]], [[0, 0], [0, 0]]]))
    >>> [total] = log.totals()
    >>> total.spikes, total.rate, log.spikes_total
    (3, 0.375, 3)
    >>> import pyarrow.parquet as pq
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     log.write(Path(folder) / "counts.parquet")
    ...     pq.read_table(Path(folder) / "counts.parquet").select(["step", "core", "spikes"]).to_pylist()[:2]
    [{'step': 0, 'core': 0, 'spikes': 2}, {'step': 0, 'core': 7, 'spikes': 1}]
    """

    def __init__(
        self,
        layers: Mapping[str, int],
        cores: Mapping[str, NDArray[np.integer[Any]]] | None = None,
        rows: bool = True,
        places: Mapping[str, Places] | None = None,
    ) -> None:
        """Prepare a log.

        Args:
            layers: neurons per layer, in the order in which totals are given.
            cores: per layer the core, 0 or higher, of each neuron, in the shape of the layer; layers
                that are left out are not mapped.
            rows: keep the rows that :meth:`write` writes; without them only totals are counted.
            places: instead of ``cores``, where they are known already.
        """
        self.layers = dict(layers)
        self._places = places or {n: Places(size, (cores or {}).get(n)) for n, size in layers.items()}
        self._numbers = {name: number for number, name in enumerate(self.layers)}
        self._steps = dict.fromkeys(self.layers, 0)
        self._spikes = dict.fromkeys(self.layers, 0)
        self._levels = dict.fromkeys(self.layers, 0)
        self._rows = _Rows(_SPIKE_ROW) if rows else None
        self._samples = _Names()

    @property
    def spikes_total(self) -> int:
        """The spikes of all layers."""
        return sum(self._spikes.values())

    def totals(self) -> list[LayerTotal]:
        """What each layer fired, in the order of ``layers``."""
        return [
            LayerTotal(name, count, self._steps[name], self._spikes[name], self._levels[name])
            for name, count in self.layers.items()
        ]

    def record(self, sample: str, layer: str, spikes: ArrayLike, first_step: int = 0) -> None:
        """Count the spikes of a layer for a sample, or for a part of it that begins at ``first_step``.

        Args:
            sample: the sample's name.
            layer: one of ``layers``.
            spikes: integers [T, ...] with as many per step as the layer has neurons, in their order; 0
                is no spike, any other value a spike of that value.
            first_step: the time step of ``spikes[0]``.

        Raises:
            ValueError: the layer is not known, or the array is not of its size or not of integers.
        """
        if layer not in self.layers:
            raise ValueError(f"layer {layer!r} is not in the log")
        values = np.asarray(spikes)
        neurons = self.layers[layer]
        if values.dtype.kind not in "biu" or not values.ndim or values.size != len(values) * neurons:
            raise ValueError(f"{layer}: wanted integers [T, {neurons}], got {values.dtype} {values.shape}")
        if not 0 <= first_step <= _MAX_STEPS - len(values):
            raise ValueError(f"a sample has at most {_MAX_STEPS} steps")
        fired, levels = self._places[layer].count(values.reshape(len(values), -1))
        self.add(sample, layer, fired, levels, first_step)

    def add(
        self,
        sample: str,
        layer: str,
        fired: NDArray[np.int64],
        levels: NDArray[np.int64],
        first_step: int = 0,
    ) -> None:
        """Add what :meth:`record` counts: of each step and core [T, cores], spikes and their sizes."""
        self._steps[layer] += len(fired)
        self._spikes[layer] += int(fired.sum())
        self._levels[layer] += int(levels.sum())
        if self._rows is not None:
            rows = np.empty(fired.shape, _SPIKE_ROW)
            rows["sample"] = self._samples.number(sample)
            rows["step"] = np.arange(first_step, first_step + len(fired))[:, None]
            rows["layer"] = self._numbers[layer]
            rows["core"] = self._places[layer].cores
            rows["spikes"] = fired
            rows["levels"] = levels
            self._rows.append(rows.reshape(-1))

    def write(self, path: Path | str) -> None:
        """Write what was recorded so far as a Parquet file of :func:`spike_columns`, whole or not at all.

        Raises:
            InputError: SL0902, the path cannot be written.
            ValueError: the log keeps no rows.
        """
        if self._rows is None:
            raise ValueError("this log keeps totals only")
        _write(path, spike_columns(), self._rows, self._columns)

    def _columns(self, rows: NDArray[np.void]) -> list[pa.Array]:
        import pyarrow as pa

        return [
            self._samples.of(rows["sample"]),
            pa.array(rows["step"]),
            pa.array(list(self.layers), pa.string()).take(pa.array(rows["layer"])),
            _nullable(rows["core"]),
            pa.array(rows["spikes"]),
            pa.array(rows["levels"]),
        ]


class Predictions:
    """The evidence for each class after each step of each sample, and the class that it favours.

    >>> log = Predictions()
    >>> log.record("a", 1, np.array([[0.5, 0.5], [0.0, 2.0]]))
    >>> import pyarrow.parquet as pq
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     log.write(Path(folder) / "preds.parquet")
    ...     pq.read_table(Path(folder) / "preds.parquet").to_pylist()[1]
    {'sample': 'a', 'label': 1, 'step': 1, 'prediction': 1, 'evidence': [0.0, 2.0]}
    """

    def __init__(self) -> None:
        self._rows: _Rows | None = None
        self._classes = 0
        self._samples = _Names()

    def record(self, sample: str, label: int | None, evidence: ArrayLike, first_step: int = 0) -> None:
        """Record the evidence [T, classes] of a sample, from ``first_step`` on.

        The prediction is the class of the most evidence, the first of them where several have it. It
        is taken before evidence is rounded to float32.

        Raises:
            ValueError: the evidence has not this shape, or another number of classes than before.
        """
        values = np.asarray(evidence)
        if values.ndim != 2 or not values.shape[1] or (self._rows and values.shape[1] != self._classes):
            raise ValueError(f"wanted evidence [T, {self._classes or 'classes'}], got {values.shape}")
        if not 0 <= first_step <= _MAX_STEPS - len(values):
            raise ValueError(f"a sample has at most {_MAX_STEPS} steps")
        if self._rows is None:
            self._classes = values.shape[1]
            self._rows = _Rows(_prediction_row(self._classes))
        rows = np.empty(len(values), self._rows.dtype)
        rows["sample"] = self._samples.number(sample)
        rows["label"] = _NONE if label is None else label
        rows["step"] = np.arange(first_step, first_step + len(values))
        rows["prediction"] = values.argmax(axis=1)
        rows["evidence"] = values
        self._rows.append(rows)

    def write(self, path: Path | str) -> None:
        """Write what was recorded so far as a Parquet file of :func:`prediction_columns`.

        Raises:
            InputError: SL0902, the path cannot be written.
        """
        _write(path, prediction_columns(), self._rows, self._columns)

    def _columns(self, rows: NDArray[np.void]) -> list[pa.Array]:
        import pyarrow as pa

        ends = pa.array(np.arange(len(rows) + 1, dtype=np.int32) * self._classes)
        values = pa.array(rows["evidence"].reshape(-1))
        evidence = prediction_columns().field("evidence").type
        return [
            self._samples.of(rows["sample"]),
            _nullable(rows["label"]),
            pa.array(rows["step"]),
            pa.array(rows["prediction"]),
            pa.ListArray.from_arrays(ends, values, type=evidence),
        ]


_NONE = -1  # no core, no label: null in the files
_SPIKE_ROW = np.dtype(
    [("sample", "u4"), ("step", "u2"), ("layer", "u2"), ("core", "i4"), ("spikes", "u4"), ("levels", "u8")]
)


def _prediction_row(classes: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("sample", "u4"),
            ("label", "i4"),
            ("step", "u2"),
            ("prediction", "i4"),
            ("evidence", "f4", (classes,)),
        ]
    )


class Places:
    """Where the neurons of a layer are.

    Attributes:
        cores: numbers of the cores that hold any; -1 alone for a layer that is not mapped.
    """

    def __init__(self, neurons: int, cores: NDArray[np.integer[Any]] | None) -> None:
        if cores is None:
            self.cores = np.array([_NONE])
            self._core_of = np.zeros(neurons, np.int64)
            return
        if cores.size != neurons or cores.min() < 0:
            raise ValueError(f"wanted a core for each of {neurons} neurons, got {cores.shape}")
        self.cores, self._core_of = np.unique(cores.reshape(-1), return_inverse=True)

    def count(self, values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Per step and core [T, cores]: the spikes and the sum of their absolute values."""
        steps, neurons = np.nonzero(values)
        cell = steps * len(self.cores) + self._core_of[neurons]
        shape = (len(values), len(self.cores))
        fired = np.bincount(cell, minlength=shape[0] * shape[1])
        sizes = np.abs(values[steps, neurons].astype(np.int64))
        levels = fired if (sizes == 1).all() else _sums(cell, sizes, len(fired))
        return fired.reshape(shape), levels.reshape(shape)


def _sums(cell: NDArray[np.int64], sizes: NDArray[np.int64], cells: int) -> NDArray[np.int64]:
    sums = np.zeros(cells, np.int64)
    np.add.at(sums, cell, sizes)
    return sums


class _Names:
    """The samples' names, numbered in the order in which they appear."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    def of(self, numbers: NDArray[np.uint32]) -> pa.Array:
        import pyarrow as pa

        return pa.array(list(self._numbers), pa.string()).take(pa.array(numbers))


class _Rows:
    """Rows of a structured dtype, in memory while they are few, then in a temporary file."""

    def __init__(self, dtype: np.dtype[np.void]) -> None:
        self.dtype = dtype
        # Closed with the last reference to this object: a log has no other end.
        self._file = SpooledTemporaryFile(max_size=_BYTES_IN_MEMORY)  # noqa: SIM115
        finalize(self, self._file.close)

    def append(self, rows: NDArray[np.void]) -> None:
        self._file.write(rows.tobytes())

    def groups(self) -> Generator[NDArray[np.void]]:
        """All rows so far, :data:`ROWS_A_GROUP` at a time."""
        try:
            self._file.seek(0)
            while content := self._file.read(ROWS_A_GROUP * self.dtype.itemsize):
                yield np.frombuffer(content, self.dtype)
        finally:
            self._file.seek(0, 2)


def _no_groups() -> Generator[NDArray[np.void]]:
    yield from ()


def _nullable(values: NDArray[np.int32]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, mask=values == _NONE)


def _write(
    path: Path | str,
    schema: pa.Schema,
    rows: _Rows | None,
    columns: Callable[[NDArray[np.void]], list[pa.Array]],
) -> None:
    """Write the columns of all rows; None stands for no rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    groups = rows.groups() if rows is not None else _no_groups()
    with (
        closing(groups),
        replacing(Path(path)) as draft,
        pq.ParquetWriter(draft, schema, compression="zstd") as writer,
    ):
        for group in groups:
            writer.write_table(pa.Table.from_arrays(columns(group), schema=schema))
