"""A log as spikes in SONATA, the format that simulators and analysis tools of neuroscience share.

Dai et al., PLoS Comput. Biol. 16, e1007696 (2020), and the SONATA developer guide: a group
``/spikes/<population>`` for each layer, with ``timestamps`` in milliseconds and ``node_ids``, sorted by
time. Samples follow each other in time, each as long as the longest; a spike of step t stands at the
beginning of that step. SONATA's spikes have no size: a graded spike is one spike.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spikeloom.atomic import replacing
from spikeloom.errors import InputError
from spikeloom.runtime.log.journal import read_log
from spikeloom.runtime.log.tables import require_trains

MAGIC = 0x0A7A
VERSION = (0, 1)
_BY_TIME = 2
_STEP_MS = 1.0


def write_sonata(log: Path | str, path: Path | str, sample: str | None = None) -> dict[str, int]:
    """Write the spikes of a log of detail «neuron», of all samples or of one; return spikes by layer.

    Raises:
        InputError: SL0811, the log cannot be read, keeps no spikes, or has no such sample; SL0902, the path
            cannot be written.
    """
    import h5py

    about, records = read_log(log)
    require_trains(about.detail, log)
    step_ms = about.step_us / 1000 if about.step_us else _STEP_MS
    chosen = [record for record in records if sample in (None, record.name)]
    if not chosen:
        raise InputError.of("SL0811", log, "has no such sample", got=sample or "no sample at all")
    longest = max(len(record.evidence) for record in chosen)
    counts = {}
    with replacing(Path(path)) as draft, h5py.File(draft, "w") as file:
        file.attrs["magic"] = np.uint32(MAGIC)
        file.attrs["version"] = np.array(VERSION, np.uint32)
        sorting = h5py.enum_dtype({"none": 0, "by_id": 1, "by_time": _BY_TIME}, basetype="u1")
        for name in about.shapes:
            trains = [record.layers[name].train for record in chosen]
            steps = [t.steps + number * longest for number, t in enumerate(trains) if t is not None]
            neurons = [t.neurons for t in trains if t is not None]
            group = file.create_group(f"spikes/{_population(name)}")
            group.attrs.create("sorting", _BY_TIME, dtype=sorting)
            times = group.create_dataset("timestamps", data=np.concatenate(steps) * step_ms)
            times.attrs["units"] = "ms"
            group.create_dataset("node_ids", data=np.concatenate(neurons).astype(np.uint64))
            counts[name] = len(times)
    return counts


def _population(layer: str) -> str:
    """A layer's name as that of one group: HDF5 separates groups by a slash."""
    return layer.replace("/", "|")
