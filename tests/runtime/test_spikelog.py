from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from spikeloom.errors import InputError
from spikeloom.runtime import spikelog
from spikeloom.runtime.spikelog import Predictions, SpikeLog, prediction_columns, spike_columns

LAYERS = {"conv": 12, "attn.q": 5}
CORES = {"conv": np.arange(12).reshape(2, 3, 2) // 5 * 3}


def rows_of(log: SpikeLog | Predictions, path: Path) -> list[dict[str, Any]]:
    log.write(path)
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def recorded(
    rng: np.random.Generator, log: SpikeLog, samples: int = 3, steps: int = 4
) -> list[dict[str, Any]]:
    """Random spikes into the log; the rows that it must hold, counted neuron by neuron."""
    rows: dict[tuple[Any, ...], list[int]] = {}
    for sample in range(samples):
        for layer, shape in (("conv", (2, 3, 2)), ("attn.q", (5,))):
            spikes = rng.integers(-2, 3, (steps, *shape)).astype(np.int8)
            log.record(f"s{sample}", layer, spikes)
            for index, value in np.ndenumerate(spikes):
                core = int(CORES[layer][index[1:]]) if layer in CORES else None
                row = rows.setdefault((f"s{sample}", index[0], layer, core), [0, 0])
                row[0] += int(value != 0)
                row[1] += abs(int(value))
    keys = ("sample", "step", "layer", "core", "spikes", "levels")
    return [dict(zip(keys, (*place, *counts), strict=True)) for place, counts in rows.items()]


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["sample"], row["step"], row["layer"], row["core"] or 0)


def test_rows_are_what_neuron_by_neuron_counting_gives(tmp_path: Path) -> None:
    log = SpikeLog(LAYERS, CORES)
    wanted = recorded(np.random.default_rng(0), log)
    assert len(wanted) == 3 * 4 * (3 + 1)
    assert sorted(rows_of(log, tmp_path / "a.parquet"), key=key) == sorted(wanted, key=key)


def test_totals_and_rates_are_sums_of_the_rows() -> None:
    log = SpikeLog(LAYERS, CORES)
    wanted = recorded(np.random.default_rng(1), log)
    for total in log.totals():
        rows = [row for row in wanted if row["layer"] == total.name]
        assert total.spikes == sum(row["spikes"] for row in rows) > 0
        assert total.levels == sum(row["levels"] for row in rows) > total.spikes
        assert total.steps == 12
        assert total.rate == total.spikes / (LAYERS[total.name] * 4 * 3)
        assert total.to_json() == {
            "name": total.name,
            "neurons": LAYERS[total.name],
            "steps": 12,
            "spikes": total.spikes,
            "levels": total.levels,
            "rate": total.rate,
        }
    assert [total.name for total in log.totals()] == list(LAYERS)
    assert log.spikes_total == sum(row["spikes"] for row in wanted)


def test_a_layer_that_was_never_recorded_has_rate_0() -> None:
    assert [total.rate for total in SpikeLog(LAYERS).totals()] == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int64])
def test_dtypes_and_a_recording_in_parts(tmp_path: Path, dtype: Any) -> None:
    spikes = np.random.default_rng(2).integers(0, 2, (6, 12)).astype(dtype)
    whole, parts = SpikeLog(LAYERS, CORES), SpikeLog(LAYERS, CORES)
    whole.record("a", "conv", spikes)
    parts.record("a", "conv", spikes[:2])
    parts.record("a", "conv", spikes[2:], first_step=2)
    assert rows_of(whole, tmp_path / "a") == rows_of(parts, tmp_path / "b")
    assert whole.totals() == parts.totals()


def test_steps_and_cores_without_spikes_have_rows_too(tmp_path: Path) -> None:
    log = SpikeLog(LAYERS, CORES)
    log.record("a", "conv", np.zeros((2, 12), np.uint8))
    rows = rows_of(log, tmp_path / "a")
    assert [(row["step"], row["core"], row["spikes"]) for row in rows] == [
        (step, core, 0) for step in (0, 1) for core in (0, 3, 6)
    ]


def test_the_file_has_the_documented_columns(tmp_path: Path) -> None:
    log = SpikeLog(LAYERS)
    assert rows_of(log, tmp_path / "empty.parquet") == []
    recorded(np.random.default_rng(3), log)
    log.write(tmp_path / "a.parquet")
    for name in ("empty.parquet", "a.parquet"):
        assert pq.read_schema(tmp_path / name).equals(spike_columns())


def test_rows_that_do_not_fit_memory_go_through_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = SpikeLog(LAYERS, CORES)
    wanted = recorded(np.random.default_rng(4), plain, samples=20)
    monkeypatch.setattr(spikelog, "_BYTES_IN_MEMORY", 100)
    monkeypatch.setattr(spikelog, "ROWS_A_GROUP", 64)
    log = SpikeLog(LAYERS, CORES)
    recorded(np.random.default_rng(4), log, samples=20)
    rows = rows_of(log, tmp_path / "a.parquet")
    assert sorted(rows, key=key) == sorted(wanted, key=key)
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == -(-len(rows) // 64)


def test_a_log_can_be_written_while_it_grows(tmp_path: Path) -> None:
    log = SpikeLog(LAYERS)
    for sample in ("a", "b"):
        log.record(sample, "attn.q", np.ones((1, 5), int))
        rows = rows_of(log, tmp_path / "log")
    assert [row["sample"] for row in rows] == ["a", "b"]


def test_a_write_that_fails_half_way_harms_neither_folder_nor_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(values: object) -> None:
        raise RuntimeError("disk gone")

    log = SpikeLog(LAYERS)
    for sample in "abc":
        log.record(sample, "attn.q", np.ones((1, 5), int))
    with monkeypatch.context() as patch:
        patch.setattr(spikelog, "ROWS_A_GROUP", 1)
        patch.setattr(spikelog, "_nullable", refuse)
        with pytest.raises(RuntimeError, match="disk gone"):
            log.write(tmp_path / "log")
    assert list(tmp_path.iterdir()) == []
    log.record("d", "attn.q", np.ones((1, 5), int))
    assert [row["sample"] for row in rows_of(log, tmp_path / "log")] == ["a", "b", "c", "d"]


def test_memory_does_not_grow_with_the_run() -> None:
    log = SpikeLog({"layer": 100}, {"layer": np.arange(100)})
    spikes = np.ones((100, 100), np.uint8)
    peaks = []
    for records in (100, 500):
        tracemalloc.start()
        for _ in range(records):  # 240 kB of rows each
            log.record("a", "layer", spikes)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] < 60e6


def test_totals_alone_keep_no_rows(tmp_path: Path) -> None:
    log = SpikeLog(LAYERS, rows=False)
    log.record("a", "attn.q", np.ones((1, 5), int))
    assert log.spikes_total == 5
    with pytest.raises(ValueError, match="totals only"):
        log.write(tmp_path / "a")


@pytest.mark.parametrize(
    ("layer", "spikes", "first_step"),
    [
        ("none", np.zeros((1, 5), int), 0),
        ("attn.q", np.zeros((1, 6), int), 0),
        ("attn.q", np.zeros(4, int), 0),
        ("attn.q", np.array(3), 0),
        ("attn.q", np.zeros((1, 5)), 0),
        ("attn.q", np.zeros((2, 5), int), 65535),
        ("attn.q", np.zeros((2, 5), int), -1),
    ],
)
def test_what_is_not_the_layers_spikes_is_refused(layer: str, spikes: Any, first_step: int) -> None:
    log = SpikeLog(LAYERS)
    with pytest.raises(ValueError, match=r"layer|integers|steps"):
        log.record("a", layer, spikes, first_step)
    assert log.spikes_total == 0


@pytest.mark.parametrize("cores", [np.zeros(11, int), np.full(12, -1)])
def test_a_layer_needs_a_core_for_each_neuron(cores: Any) -> None:
    with pytest.raises(ValueError, match="core"):
        SpikeLog(LAYERS, {"conv": cores})


def test_nothing_is_left_where_a_log_cannot_be_written(tmp_path: Path) -> None:
    log = SpikeLog(LAYERS)
    with pytest.raises(InputError, match="SL0902"):
        log.write(tmp_path / "none" / "a.parquet")
    assert list(tmp_path.iterdir()) == []


def test_predictions(tmp_path: Path) -> None:
    log = Predictions()
    log.record("a", 2, np.array([[0, 1, 1], [4, 5, 6]]))
    log.record("b", None, np.array([[0.25, -1.0, 0.0]]), first_step=7)
    assert rows_of(log, tmp_path / "p.parquet") == [
        {"sample": "a", "label": 2, "step": 0, "prediction": 1, "evidence": [0.0, 1.0, 1.0]},
        {"sample": "a", "label": 2, "step": 1, "prediction": 2, "evidence": [4.0, 5.0, 6.0]},
        {"sample": "b", "label": None, "step": 7, "prediction": 0, "evidence": [0.25, -1.0, 0.0]},
    ]
    assert pq.read_schema(tmp_path / "p.parquet").equals(prediction_columns())


def test_predictions_are_taken_before_rounding(tmp_path: Path) -> None:
    log = Predictions()
    log.record("a", 0, np.array([[2**24, 2**24 + 1]]))
    [row] = rows_of(log, tmp_path / "p.parquet")
    assert row["prediction"] == 1
    assert row["evidence"][0] == row["evidence"][1]


def test_no_predictions_make_an_empty_table(tmp_path: Path) -> None:
    assert rows_of(Predictions(), tmp_path / "p.parquet") == []


@pytest.mark.parametrize("shape", [(3,), (2, 0), (1, 4), (1, 2, 3)])
def test_evidence_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    log = Predictions()
    log.record("a", 0, np.zeros((1, 3)))
    with pytest.raises(ValueError, match="evidence"):
        log.record("b", 0, np.zeros(shape))
