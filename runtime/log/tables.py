"""A log as Parquet tables: spike counts, class evidence, and each spike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spikeloom.atomic import replacing
from spikeloom.errors import InputError
from spikeloom.runtime.log.journal import read_log
from spikeloom.runtime.spikelog import Places, Predictions, SpikeLog

if TYPE_CHECKING:
    import pyarrow as pa


def write_counts(log: Path | str, path: Path | str) -> None:
    """Spikes by sample, step, layer and core: the columns of
    :func:`~spikeloom.runtime.spikelog.spike_columns`.

    Raises:
        InputError: SL0811, the log cannot be read; SL0902, the path cannot be written.
    """
    about, records = read_log(log)
    table: SpikeLog | None = None
    for record in records:
        if table is None:
            places = {name: _Known(layer.cores) for name, layer in record.layers.items()}
            table = SpikeLog(about.layers, places=places)
        for name, layer in record.layers.items():
            table.add(record.name, name, layer.fired, layer.levels)
    (table or SpikeLog(about.layers)).write(path)


def write_evidence(log: Path | str, path: Path | str) -> None:
    """Evidence by sample and step: the columns of
    :func:`~spikeloom.runtime.spikelog.prediction_columns`.

    Raises:
        InputError: SL0811, the log cannot be read; SL0902, the path cannot be written.
    """
    table = Predictions()
    for record in read_log(log)[1]:
        table.record(record.name, record.label, record.evidence)
    table.write(path)


def train_columns() -> pa.Schema:
    """The columns of :func:`write_trains`: a row for each spike, in order of sample, layer and time.

    ``neuron`` is the index in the flattened layer; ``value`` is 1 where spikes are binary.
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("sample", pa.dictionary(pa.int32(), pa.string()), nullable=False),
            pa.field("layer", pa.dictionary(pa.int32(), pa.string()), nullable=False),
            pa.field("step", pa.uint32(), nullable=False),
            pa.field("neuron", pa.uint32(), nullable=False),
            pa.field("value", pa.int16(), nullable=False),
        ]
    )


def write_trains(log: Path | str, path: Path | str) -> None:
    """Each spike of a log of detail «neuron», as a table of :func:`train_columns`.

    Raises:
        InputError: SL0811, the log cannot be read or keeps no spikes; SL0902, the path cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    about, records = read_log(log)
    require_trains(about.detail, log)
    schema = train_columns()
    with replacing(Path(path)) as draft, pq.ParquetWriter(draft, schema, compression="zstd") as writer:
        for record in records:
            for name, layer in record.layers.items():
                assert layer.train is not None
                train = layer.train
                columns = [
                    _repeated(record.name, len(train.steps)),
                    _repeated(name, len(train.steps)),
                    pa.array(train.steps),
                    pa.array(train.neurons),
                    pa.array(train.values),
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def require_trains(detail: str, log: Path | str) -> None:
    """Refuse a log that does not keep each spike.

    Raises:
        InputError: SL0811.
    """
    if detail != "neuron":
        what = "keeps counts, not each spike"
        raise InputError.of("SL0811", log, what, remedy="run with --detail neuron")


class _Known(Places):
    """Places of which only the cores are needed, since spikes are counted already."""

    def __init__(self, cores: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> None:
        self.cores = cores


def _repeated(word: str, count: int) -> pa.Array:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), [word])
