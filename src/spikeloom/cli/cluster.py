"""``spikeloom run --cluster``: the same run on the machines of a Dask cluster.

Each machine opens the bundle and the samples by their paths, which it must see as this one does, runs its
share, and sends back records as they stand in a log. A batch whose worker dies is given to another; each is
taken once, in the order of the samples. Dask moves tasks between its processes by pickle: whoever reaches a
scheduler can run code on its workers, so keep it among machines that trust each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from threading import local
from typing import Any

from spikeloom.cli.sources import SampleOptions
from spikeloom.compiler.bundle import read_bundle
from spikeloom.errors import InputError, Problem, SpikeloomError
from spikeloom.runtime.early_exit.calibrate import read_rule
from spikeloom.runtime.early_exit.rule import ExitRule
from spikeloom.runtime.events.samples.sample import Samples
from spikeloom.runtime.log.journal import Recorder, SampleRecord, pack_sample, unpack_sample
from spikeloom.runtime.run_log import recorder_of
from spikeloom.runtime.session import Session
from spikeloom.runtime.session_state import network_digest

LOCAL = "local"
"""Instead of an address: a cluster of processes on this machine, for as long as the run lasts."""

_AHEAD = 4  # batches under way, for each thread of the cluster
_PATIENCE = "20s"


@dataclass(frozen=True)
class ClusterJob:
    """What every worker must know of a run, in plain words.

    Attributes:
        bundle: its path.
        network: digest that the bundle must have there too.
        engine: what executes it.
        events, inputs, data, labels: as the options of ``run``; paths.
        strict: whether damaged recordings are refused.
        detail: of the records.
        exit_rule: path of an early exit, or None.
    """

    bundle: str
    network: str
    engine: str
    events: str | None
    inputs: str | None
    data: str | None
    labels: str | None
    strict: bool
    detail: str
    exit_rule: str | None


@dataclass(frozen=True)
class _Opened:
    """A job, ready to run in one thread."""

    session: Session
    samples: Samples
    recorder: Recorder
    rule: ExitRule | None


_HERE = local()


def run_on_cluster(
    address: str, job: ClusterJob, indices: list[int], batch: int, workers: int
) -> Iterator[SampleRecord]:
    """Records of samples, run by a cluster, in their order.

    Args:
        address: of the scheduler, or :data:`LOCAL`.
        job: what is run.
        indices: of the samples.
        batch: samples of a task.
        workers: processes of a local cluster.

    Raises:
        InputError: SL0813, Dask is not installed, the cluster cannot be reached, or tasks were lost with
            their workers again and again; what the run itself raises.
    """
    with ExitStack() as stack:
        client = _client(address, workers, stack)
        ahead = _AHEAD * max(1, sum(client.nthreads().values()))
        source = iter(indices)
        running: deque[Any] = deque()
        while tasks := list(islice(source, batch)) or running:
            if isinstance(tasks, list):
                running.append(client.submit(run_batch, asdict(job), tasks, pure=False))
                if len(running) < ahead:
                    continue
            yield from _records(running.popleft(), address)


def run_batch(job: dict[str, Any], indices: list[int]) -> tuple[list[bytes], list[dict[str, str]]]:
    """Run on a worker: the records of some samples, or the problems that they have."""
    try:
        opened = _open(ClusterJob(**job))
        samples = opened.samples.at(indices)
        results = opened.session.run(samples, len(indices), exit_rule=opened.rule)
        return [pack_sample(opened.recorder.record(result)) for result in results], []
    except SpikeloomError as error:
        return [], [problem.to_json() for problem in error.problems]


def _open(job: ClusterJob) -> _Opened:
    """The job in this thread, opened once."""
    known: dict[ClusterJob, _Opened] = _HERE.__dict__.setdefault("opened", {})
    if job not in known:
        known.clear()
        known[job] = _reopened(job)
    return known[job]


def _reopened(job: ClusterJob) -> _Opened:
    bundle = read_bundle(Path(job.bundle))
    if network_digest(bundle) != job.network:
        raise InputError.of("SL0813", job.bundle, "is another network on a worker than here")
    session = Session(bundle, job.engine)
    inputs, labels = (Path(path) if path else None for path in (job.inputs, job.labels))
    samples = SampleOptions(job.events, inputs, job.data, labels, job.strict)
    rule = read_rule(job.exit_rule, job.network) if job.exit_rule else None
    return _Opened(session, samples.open(bundle), recorder_of(bundle, job.detail), rule)


def _client(address: str, workers: int, stack: ExitStack) -> Any:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        remedy = "pip install 'spikeloom[cluster]'"
        raise InputError.of("SL0813", "--cluster", "needs Dask distributed", remedy=remedy) from error
    try:
        if address == LOCAL:
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
            return stack.enter_context(Client(stack.enter_context(cluster), timeout=_PATIENCE))
        return stack.enter_context(Client(address, timeout=_PATIENCE))
    except (OSError, ValueError, TypeError) as error:
        raise InputError.of("SL0813", address, f"the cluster cannot be reached: {error}") from error


def _records(future: Any, address: str) -> Iterator[SampleRecord]:
    try:
        records, problems = future.result()
    except Exception as error:  # a worker died again and again, or the scheduler is gone
        what = f"the cluster lost a task: {type(error).__name__}: {error}"
        raise InputError.of("SL0813", address, what, remedy="see the logs of its workers") from error
    if problems:
        raise InputError(Problem(**problem) for problem in problems)
    for record in records:
        yield unpack_sample(record, address)
