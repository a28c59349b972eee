"""A capture file: a zip of one JSON document and the bytes of its tensors; nothing in it is trusted."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikeloom.errors import InputError

SUFFIX = ".capture"
FORMAT = 1
DOCUMENT = "capture.json"
LARGEST = 2**34
"""Bytes that all tensors may take together."""
LARGEST_DOCUMENT = 2**28
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
        torch.int8, torch.uint8, torch.bool, torch.complex64, torch.complex128,
    )
}  # fmt: skip
BAD = (zipfile.BadZipFile, KeyError, TypeError, ValueError, IndexError, EOFError, RecursionError)
"""What reading a damaged file raises."""
Axes = tuple[str | int, ...]


@dataclass(frozen=True)
class Recording:
    """The calls of one forward pass, on an input of one size.

    Attributes:
        steps, batch: of the input.
        calls: each a function of PyTorch or the index of a neuron layer, arguments, the numbers of its
            results, and where it stands in the user's code.
        output: the number of the answer; the input is number 0.
    """

    steps: int
    batch: int
    calls: Sequence[Mapping[str, Any]]
    output: int


@dataclass(frozen=True)
class CaptureFile:
    """What a capture file holds.

    Attributes:
        path: of the file.
        axes: of the input, as ``("T", "B", 2, 34, 34)``.
        steps: time steps of a sample; 0 if they were not told.
        neurons: of each layer its path, and its class, settings and answers to probes, or its stairs.
        recordings: of at least two sizes.
        tensors: constants, probes and reference, by number.
        parameters: the path of each of these that is a parameter of the model.
        reference: numbers of the frames, and of the spikes of each call of a layer on them.
        torch, python: versions where it was made.
    """

    path: Path
    axes: Axes
    steps: int
    neurons: Sequence[Mapping[str, Any]]
    recordings: Sequence[Recording]
    tensors: Sequence[Tensor]
    parameters: Mapping[int, str]
    reference: Mapping[str, Any]
    torch: str
    python: str


def read_capture(path: Path) -> CaptureFile:
    """Read a capture file.

    Raises:
        InputError: SL0215, it is missing, damaged, of another format, or too large.
    """
    if not path.is_file():
        raise InputError.of("SL0215", path, "there is no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(path, archive)
    except (
        zipfile.BadZipFile,
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        EOFError,
        RecursionError,
    ) as error:
        raise InputError.of(
            "SL0215",
            path,
            f"is damaged, or no capture: {type(error).__name__}: {error}",
            remedy="make it anew with spikeloom_capture.py",
        ) from error


def _read(path: Path, archive: zipfile.ZipFile) -> CaptureFile:
    sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    if sum(sizes.values()) > LARGEST or sizes[DOCUMENT] > LARGEST_DOCUMENT:
        raise InputError.of(
            "SL0215", path, "is too large", wanted=f"{LARGEST} bytes", got=sum(sizes.values())
        )
    told = json.loads(archive.read(DOCUMENT))
    if told["format"] != FORMAT:
        raise InputError.of("SL0215", path, "is of another format", wanted=FORMAT, got=told["format"])
    tensors = [
        _tensor(entry, archive.read(f"tensors/{number}")) for number, entry in enumerate(told["tensors"])
    ]
    recordings = [
        Recording(int(one["steps"]), int(one["batch"]), one["calls"], int(one["output"]))
        for one in told["recordings"]
    ]
    if len(recordings) < 2:
        raise ValueError("fewer than two recordings")
    return CaptureFile(
        path,
        tuple(axis if axis in ("T", "B") else int(axis) for axis in told["shape"]),
        int(told["steps"]),
        [_checked(one) for one in told["neurons"]],
        recordings,
        tensors,
        {number: entry["parameter"] for number, entry in enumerate(told["tensors"]) if entry["parameter"]},
        told["reference"],
        str(told["torch"]),
        str(told["python"]),
    )


def _checked(neuron: Mapping[str, Any]) -> Mapping[str, Any]:
    path = neuron["path"]
    if not isinstance(path, str) or not all(
        part.isidentifier() or part.isdigit() for part in path.split(".")
    ):
        raise ValueError(f"a neuron layer called {path!r}")
    return neuron


def _tensor(entry: Mapping[str, Any], data: bytes) -> Tensor:
    dtype, shape = DTYPES[entry["dtype"]], [int(axis) for axis in entry["shape"]]
    stored = torch.uint8 if dtype is torch.bool else dtype
    if min(shape, default=0) < 0 or len(data) != math.prod(shape) * stored.itemsize:
        raise ValueError(f"a tensor of {len(data)} bytes for the shape {shape}")
    if not data:
        return torch.zeros(shape, dtype=dtype)
    order = [int(axis) for axis in entry["order"]]
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"axes {order} in memory")
    flat = torch.frombuffer(bytearray(data), dtype=stored).to(dtype)
    if not shape:
        return flat.reshape(())
    return flat.reshape([shape[axis] for axis in order]).permute(*map(order.index, range(len(shape))))
