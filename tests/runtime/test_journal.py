"""The log of a run: whatever is cut off or damaged, what stands before it is read back exactly."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikeloom.compiler.bundle import Bundle
from spikeloom.errors import InputError
from spikeloom.runtime.early_exit.conformal import calibrate_conformal
from spikeloom.runtime.log.journal import About, Journal, SampleRecord, read_log
from spikeloom.runtime.log.records import MAGIC, RecordFile, read_records
from spikeloom.runtime.run_log import about_run, recorder_of
from spikeloom.runtime.session import Session
from spikeloom.runtime.tally import RunTally
from tests.runtime.test_early_exit import draws, samples
from tests.small_session import small_bundle, small_network

COUNT = 9


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small.loom", small_network())


@pytest.fixture(scope="module", params=["core", "neuron"])
def records(request: pytest.FixtureRequest, bundle: Bundle) -> list[SampleRecord]:
    recorder = recorder_of(bundle, request.param)
    return [recorder.record(result) for result in Session(bundle).run(samples(COUNT))]


def about(bundle: Bundle, records: list[SampleRecord]) -> About:
    detail = "neuron" if records[0].layers["lif"].train is not None else "core"
    return about_run(bundle, "onnx", [r.name for r in records], recorder_of(bundle, detail), None)


def written(path: Path, bundle: Bundle, records: list[SampleRecord]) -> bytes:
    journal = Journal.open(path, about(bundle, records))
    for record in records:
        journal.append(record)
    journal.close()
    return path.read_bytes()


def same(one: SampleRecord, other: SampleRecord) -> bool:
    scalars = ("name", "label", "prediction", "dropped", "candidates")
    if any(getattr(one, name) != getattr(other, name) for name in scalars):
        return False
    a, b = one.layers["lif"], other.layers["lif"]
    pairs = [(one.evidence, other.evidence), (a.cores, b.cores), (a.fired, b.fired), (a.levels, b.levels)]
    if a.train is not None and b.train is not None:
        pairs += [(getattr(a.train, n), getattr(b.train, n)) for n in ("steps", "neurons", "values")]
    return (a.train is None) == (b.train is None) and all(
        x.dtype == y.dtype and np.array_equal(x, y) for x, y in pairs
    )


def test_a_log_comes_back(bundle: Bundle, records: list[SampleRecord], tmp_path: Path) -> None:
    written(tmp_path / "a.spikelog", bundle, records)
    found, back = read_log(tmp_path / "a.spikelog")
    assert found == about(bundle, records)
    assert all(same(a, b) for a, b in zip(records, back, strict=True))


def test_a_log_cut_at_any_byte_goes_on(bundle: Bundle, records: list[SampleRecord], tmp_path: Path) -> None:
    """Every whole record stays, none is invented, and the rest can be appended."""
    path = tmp_path / "a.spikelog"
    content = written(path, bundle, records)
    rng = np.random.default_rng(0)
    for cut in [0, 1, len(MAGIC) - 1, len(MAGIC), *rng.integers(0, len(content), 60).tolist()]:
        path.write_bytes(content[:cut])
        journal = Journal.open(path, about(bundle, records))
        assert journal.done == {record.name for record in records[: len(journal.done)]}
        for record in records[len(journal.done) :]:
            journal.append(record)
        journal.close()
        assert path.read_bytes() == content


def test_damage_never_gives_another_record(
    bundle: Bundle, records: list[SampleRecord], tmp_path: Path
) -> None:
    path = tmp_path / "a.spikelog"
    content = written(path, bundle, records)
    rng = np.random.default_rng(1)
    for place in rng.integers(len(MAGIC), len(content), 200).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            back = list(read_log(path)[1])
        except InputError:
            continue
        assert len(back) < COUNT
        assert all(same(a, b) for a, b in zip(records, back, strict=False))


def test_a_log_of_another_run_is_left_alone(
    bundle: Bundle, records: list[SampleRecord], tmp_path: Path
) -> None:
    path = tmp_path / "a.spikelog"
    content = written(path, bundle, records)
    other = replace(about(bundle, records), samples="0", options={"engine": "reference", "exit": None})
    with pytest.raises(InputError, match=r"SL0811 .*another run: samples and options differ"):
        Journal.open(path, other)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"PAR1" + bytes(100), b"spikeloom log 2\n", b"x"])
def test_no_log_at_all(content: bytes, bundle: Bundle, records: list[SampleRecord], tmp_path: Path) -> None:
    path = tmp_path / "a.spikelog"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"SL0811 .*is no log"):
        Journal.open(path, about(bundle, records))
    assert path.read_bytes() == content
    with pytest.raises(InputError, match="SL0811"):
        read_log(path)
    with pytest.raises(InputError, match="SL0811"):
        read_log(tmp_path / "missing")
    with pytest.raises(InputError, match="SL0902"):
        RecordFile(tmp_path / "no" / "folder")


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.spikelog"
    with (
        RecordFile(path),
        pytest.raises(InputError, match=r"SL0902 .*another process writes this log"),
    ):
        RecordFile(path)
    RecordFile(path).close()


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Within, writing beyond so many bytes fails as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_keeps_what_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.spikelog"
    with RecordFile(path) as file:
        file.append(b"one")
        with (
            no_file_longer_than(path.stat().st_size + 100),
            pytest.raises(InputError, match=f"SL0902 {path}: cannot be written: File too large; make room"),
        ):
            file.append(bytes(200))
        file.flush()
    assert list(read_records(path)) == [b"one"]
    with RecordFile(path) as file:
        assert file.cut_off == 100
        file.append(b"two")
    assert list(read_records(path)) == [b"one", b"two"]


def _write_for_ever(path: Path) -> None:
    with RecordFile(path) as file:
        number = 0
        while True:
            file.append(number.to_bytes(4, "little") * 5000)
            number += 1


def test_killed_while_it_writes(tmp_path: Path) -> None:
    """Kill -9 at random moments: what is read back is records 0, 1, 2, ... without a gap."""
    path = tmp_path / "a.spikelog"
    context = multiprocessing.get_context("forkserver")  # this process may be too large to be doubled
    for delay in (0.05, 0.11, 0.2):
        path.unlink(missing_ok=True)
        process = context.Process(target=_write_for_ever, args=(path,))
        process.start()
        while not path.exists() or path.stat().st_size < 200_000:
            time.sleep(0.01)
        time.sleep(delay)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        found = list(read_records(path))
        assert len(found) > 9
        assert all(r == i.to_bytes(4, "little") * 5000 for i, r in enumerate(found))


def test_the_classes_that_are_left_are_logged(bundle: Bundle, tmp_path: Path) -> None:
    rule = calibrate_conformal(*draws(0, 300, steps=6, classes=3), 0.2, 1, 0.05)
    recorder = recorder_of(bundle, "core")
    results = list(Session(bundle).run(samples(COUNT), exit_rule=rule))
    made = [recorder.record(result) for result in results]
    content = written(tmp_path / "a.spikelog", bundle, made)
    assert content
    tally = RunTally(bundle.graph, recorder.places)
    for record, result in zip(read_log(tmp_path / "a.spikelog")[1], results, strict=True):
        assert record.candidates == result.candidates is not None
        tally.add(record)
    document = tally.document(early=True)
    sets = [result.candidates or () for result in results]
    assert document["candidates_mean"] == np.mean([len(one) for one in sets])
    assert document["covered"] == np.mean(
        [r.sample.label in one for r, one in zip(results, sets, strict=True)]
    )


def test_the_tally_is_that_of_the_spikes(bundle: Bundle, records: list[SampleRecord]) -> None:
    results = list(Session(bundle).run(samples(COUNT)))
    tally = RunTally(bundle.graph, recorder_of(bundle, "core").places)
    for record in records:
        tally.add(record)
    document = tally.document(early=True)
    assert document["spikes_total"] == sum(np.count_nonzero(r.spikes["lif"]) for r in results)
    assert document["right"] == sum(r.prediction == r.sample.label for r in results)
    assert document["steps_mean"] == 6
    assert document["labelled"] == document["samples"] == COUNT
