"""A bundle as a program that Lava runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spikeloom.atomic import replacing
from spikeloom.compiler.bundle import Bundle
from spikeloom.compiler.graph.target import find_target
from spikeloom.compiler.mapping.placement import Mapping
from spikeloom.errors import InputError
from spikeloom.runtime.engines import open_engine
from spikeloom.runtime.session import run_from_reset


def write_lava(bundle: Bundle, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Write ``run.py``, the processes it needs, the network and recorded inputs into a new folder.

    Returns:
        The folder, and the bytes of each file; and how to run it, in a sentence.

    Raises:
        InputError: SL0901, the bundle is not compiled for a chip that Lava runs; SL0902, the folder exists.
    """
    if folder.exists():
        raise InputError.of("SL0902", folder, "exists", remedy="name a new folder")
    files = _files(bundle)
    with replacing(folder) as draft:
        draft.mkdir()
        for name, data in files.items():
            (draft / name).write_bytes(data)
    document = {"output": str(folder), "files": {name: len(data) for name, data in sorted(files.items())}}
    return document, [f"wrote {folder}: run it with python3.10 {folder}/run.py"]


def _files(bundle: Bundle) -> dict[str, bytes]:
    from spikeloom.targets.loihi.cores import core_files
    from spikeloom.targets.loihi.lava import program_files, sample_files, worker_files
    from spikeloom.targets.loihi.target import Loihi

    target = find_target(bundle.manifest["target"])
    if not isinstance(target, Loihi):
        what = "is not compiled for a chip that Lava runs"
        raise InputError.of("SL0901", bundle.path, what, wanted="loihi1 or loihi2", got=target.name)
    program = target.program(bundle.graph)
    frames = bundle.tensors("traces.safetensors")["frames"]
    trace = run_from_reset(open_engine("reference", bundle.graph, {}), frames)
    files = program_files(program) | sample_files(program, frames, trace) | worker_files()
    if "mapping.json" not in bundle.members:
        return files
    return files | core_files(
        program, Mapping.from_json(bundle.json("mapping.json"), bundle.json("network.json"))
    )
