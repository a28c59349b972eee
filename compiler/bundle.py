"""The bundle: a compiled network on disk.

A directory, or one ``.loom`` file (a zip of it)::

    manifest.json         format version, every member with its size and SHA-256, versions, options
    graph.json            the integer graph: structure and types
    weights.safetensors   its arrays
    recipe.json           how events become frames
    ledger.json           what was compared on the way, and with what result
    activity.json         firing rates, flips and rounding errors by layer
    network.json, mapping.json   populations, and the cores that they are on (chips only)
    explanation.json      what binds the mapping, its bounds, and what would change it (chips only)
    onnx/step.onnx, onnx/sequence.onnx   the same network for ONNX Runtime
    traces.safetensors    input and spikes of eager PyTorch on some samples, for `verify`

Nothing in a bundle is ever executed as code. A reader checks the name, size and SHA-256 of every
member before it uses one; the manifest is sealed by a SHA-256 of itself, and a ``.loom`` file by one
of everything before its last 64 bytes, the comment of the zip. So no bit can change unnoticed.
The bytes depend on nothing but the content.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from spikeloom import __version__
from spikeloom.atomic import replacing, require_writable
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.serialize import from_json, to_json
from spikeloom.errors import InputError

FORMAT = 1
SEAL_LENGTH = 64
MANIFEST = "manifest.json"
LARGEST_BUNDLE = 8 << 30
_EPOCH = (1980, 1, 1, 0, 0, 0)
_ZIP_START = b"PK\x03\x04"
_SEAL = re.compile(rb"[0-9a-f]{64}")
_COMPILE = "name what `spikeloom compile ... -o X.loom` wrote"


@dataclass(frozen=True)
class Bundle:
    """The members of a bundle, all checked against its manifest.

    Attributes:
        path: where it was read from.
        manifest: the checked manifest.
        members: content by name, without the manifest.
    """

    path: Path
    manifest: Mapping[str, Any]
    members: Mapping[str, bytes]

    @cached_property
    def graph(self) -> Graph:
        """The integer graph.

        Raises:
            InputError: SL0703, it is not one of this version.
        """
        return from_json(self.json("graph.json"), self.tensors("weights.safetensors"))

    def json(self, name: str) -> Any:
        """A member that is JSON.

        Raises:
            InputError: SL0703, it is missing or not JSON.
        """
        try:
            return json.loads(self.members[name])
        except (KeyError, ValueError, RecursionError) as error:
            raise InputError.of("SL0703", f"{self.path}/{name}", "is missing or is not JSON") from error

    def tensors(self, name: str) -> dict[str, Array]:
        """A member that holds tensors.

        Raises:
            InputError: SL0703, it is missing or not a safetensors file.
        """
        try:
            return load_tensors(self.members[name])
        except (KeyError, SafetensorError) as error:
            raise InputError.of("SL0703", f"{self.path}/{name}", "is missing or holds no tensors") from error


def graph_members(graph: Graph) -> dict[str, bytes]:
    """The members that hold a graph."""
    document, tensors = to_json(graph)
    return {"graph.json": json_member(document), "weights.safetensors": tensor_member(tensors)}


def json_member(document: Any) -> bytes:
    """A JSON document as a member: sorted keys, readable, the same bytes for the same content."""
    return (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def tensor_member(tensors: Mapping[str, Array]) -> bytes:
    """Tensors as a member.

    They are laid out in order first: safetensors writes the memory of a view as it lies there, which is
    neither the view's numbers nor, for a repeated axis, memory of the view alone.
    """
    return save_tensors({name: np.asarray(tensor, order="C") for name, tensor in sorted(tensors.items())})


def write_bundle(path: Path, members: Mapping[str, bytes], about: Mapping[str, Any]) -> Bundle:
    """Write a bundle, whole or not at all: a ``.loom`` file, or a directory for any other name.

    Args:
        path: of the bundle.
        members: content by relative name.
        about: what else the manifest says: versions, target, options.

    Raises:
        InputError: SL0902, the path cannot be written, or is a folder that holds something else.
    """
    require_free(path)
    entries = {name: {"size": len(data), "sha256": _digest(data)} for name, data in sorted(members.items())}
    manifest = _sealed({**about, "format": FORMAT, "members": entries})
    content = {MANIFEST: json_member(manifest), **dict(sorted(members.items()))}
    if path.suffix == ".loom":
        with replacing(path) as draft:
            _zip(draft, content)
    else:
        with replacing(path) as draft:
            draft.mkdir()
            for name, data in content.items():
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                (draft / name).write_bytes(data)
    return Bundle(path, manifest, dict(members))


def require_free(path: Path) -> None:
    """Refuse a path that no bundle can be written to; a folder is replaced only if it is a bundle or empty.

    Raises:
        InputError: SL0902, the path cannot be written, is a folder that holds something else, or is a file
            and does not end in .loom.
    """
    if path.suffix != ".loom" and path.is_file():
        raise InputError.of(
            "SL0902",
            path,
            "is a file, and a bundle of that name is a folder",
            remedy="name a file ending in .loom",
        )
    if path.suffix == ".loom" or not path.is_dir():
        require_writable(path)
    elif any(path.iterdir()) and not _is_bundle(path):
        raise InputError.of(
            "SL0902",
            path,
            "is a folder, and what it holds is no bundle",
            remedy="name a new folder, or a file ending in .loom",
        )


def _is_bundle(folder: Path) -> bool:
    """Whether a folder has a manifest of ours, of this version of the format or another, intact or not."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        return bool({"format", "members", "seal"} <= manifest.keys())
    except (OSError, ValueError, AttributeError):
        return False


def read_bundle(path: Path | str) -> Bundle:
    """Read and check a bundle.

    Raises:
        InputError: SL0701, it is missing or not a bundle; SL0702, a member is missing, foreign or
            changed; SL0703, its format is another version.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise InputError.of("SL0701", path, "there is no such bundle", remedy=_COMPILE)
        content = _read_directory(path) if path.is_dir() else _read_zip(path, path.read_bytes())
    except OSError as error:
        raise InputError.of("SL0701", path, f"cannot be read: {error.strerror}") from error
    manifest = _read_manifest(path, content.pop(MANIFEST, None))
    _check_members(path, manifest["members"], content)
    return Bundle(path, manifest, content)


def _zip(path: Path, content: Mapping[str, bytes]) -> None:
    """Pack the members, and seal the file: the comment at its end is the digest of all before it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
        archive.comment = b"0" * SEAL_LENGTH
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - SEAL_LENGTH)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, io.SEEK_END)
        file.write(digest.encode())


def _sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    unsealed = {name: value for name, value in manifest.items() if name != "seal"}
    return {**unsealed, "seal": _digest(json_member(unsealed))}


def _read_zip(path: Path, data: bytes) -> dict[str, bytes]:
    if not _ZIP_START.startswith(data[:4]) and not _SEAL.fullmatch(data[-SEAL_LENGTH:]):
        raise InputError.of(
            "SL0701", path, "is not a bundle", wanted="a .loom file or the folder of one", remedy=_COMPILE
        )
    if _digest(data[:-SEAL_LENGTH]).encode() != data[-SEAL_LENGTH:]:
        what = "was changed or cut off after it was written, or is not a bundle"
        raise InputError.of("SL0702", path, what, remedy="compile it again")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if len(set(names)) != len(names) or sum(entry.file_size for entry in entries) > LARGEST_BUNDLE:
                raise InputError.of("SL0702", path, "has two members of one name, or unpacks to too much")
            return {entry.filename: archive.read(entry) for entry in entries}
    except InputError:
        raise
    except Exception as error:  # a zip that was made to mislead makes its readers raise nearly anything
        raise InputError.of(
            "SL0702", path, f"is not an intact bundle: {error}", remedy="compile it again"
        ) from error


def _read_directory(path: Path) -> dict[str, bytes]:
    if not (path / MANIFEST).is_file():  # before a folder that is anything else is read through
        return {}
    inside = sorted(path.rglob("*"))
    foreign = [file for file in inside if file.is_symlink() or not (file.is_file() or file.is_dir())]
    if foreign:
        raise InputError.of("SL0702", foreign[0], "is a link or not a plain file")
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in inside if file.is_file()}


def _read_manifest(path: Path, data: bytes | None) -> dict[str, Any]:
    if data is None:
        what = "has no manifest.json, so it is not a bundle"
        raise InputError.of("SL0701", path, what, remedy=_COMPILE)
    try:
        manifest = json.loads(data)
        intact = json_member(_sealed(manifest)) == data
        version = manifest["format"]
        members = {
            name: (int(entry["size"]), str(entry["sha256"])) for name, entry in manifest["members"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError.of("SL0702", path, "has a damaged manifest", remedy="compile it again") from error
    if not intact:
        raise InputError.of("SL0702", path, "has a manifest that was changed", remedy="compile it again")
    if version != FORMAT:
        writer = f"format {version} of Spikeloom {manifest.get('spikeloom', 'of an unknown version')}"
        raise InputError.of(
            "SL0703",
            path,
            "was written in another format",
            wanted=f"format {FORMAT} of Spikeloom {__version__}",
            got=writer,
            remedy="compile the model again, or read it with the version that wrote it",
        )
    if any(PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts for name in members):
        raise InputError.of("SL0702", path, "names a member outside of itself")
    return dict(manifest)


def _check_members(path: Path, entries: Mapping[str, Any], content: Mapping[str, bytes]) -> None:
    missing, foreign = set(entries) - set(content), set(content) - set(entries)
    if missing or foreign:
        raise InputError.of(
            "SL0702", path, "has other members than its manifest", wanted=sorted(missing), got=sorted(foreign)
        )
    changed = [
        name
        for name, data in content.items()
        if (len(data), _digest(data)) != (entries[name]["size"], entries[name]["sha256"])
    ]
    if changed:
        raise InputError.of(
            "SL0702",
            path,
            f"{', '.join(sorted(changed))} was changed after it was written",
            remedy="compile it again",
        )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
