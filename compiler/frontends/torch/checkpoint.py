"""Checkpoints: read without running their code, unwrapped, and matched with the model."""

from __future__ import annotations

import argparse
import pathlib
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from spikeloom.errors import InputError, Problem, counted

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "model_ema", "state_dict_ema")
PREFIXES = ("module.", "_orig_mod.", "model.")
_OPTIONAL_SUFFIX = "num_batches_tracked"


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a checkpoint, and what else its file says.

    Attributes:
        path: of the file.
        tensors: by the names that the file gives them, wrappers and prefixes taken off.
        config: keywords of the model's constructor, where the file holds them.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadReport:
    """What loading left over: ``dead`` keys of the checkpoint that the model has no place for."""

    dead: tuple[str, ...] = ()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a ``.safetensors`` file or a PyTorch checkpoint; pickled code is never run.

    Raises:
        InputError: SL0202, the file is missing, damaged or holds more than tensors and plain
            values; SL0204, a tensor is not finite.
    """
    if not path.is_file():
        raise InputError.of("SL0202", path, "there is no such file")
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else _load_pickle(path)
    except Exception as error:  # a damaged file makes the readers raise nearly anything
        foreign = _foreign(path) if isinstance(error, pickle.UnpicklingError) else ()
        remedy = "save it with torch.save(model.state_dict(), ...) or as .safetensors"
        if foreign:
            remedy = f"if you trust it: spikeloom weights strip --trust {path} {path.stem}.safetensors"
        raise InputError.of(
            "SL0202",
            path,
            f"cannot be read as a checkpoint: {_reason(error)}",
            wanted="tensors, numbers and text" if foreign else "",
            got=", ".join(foreign),
            remedy=remedy,
        ) from error
    tensors = _unwrap(content)
    if not tensors:
        raise InputError.of("SL0202", path, "holds no tensors", wanted="a state_dict")
    _check_finite(path, tensors)
    config = content.get("config", {}) if isinstance(content, dict) else {}
    return Checkpoint(path, tensors, config if isinstance(config, dict) else {})


def read_trusted(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint that is trusted: the code in it runs.

    Objects of classes that are not installed here, such as a trainer's own, are passed over.

    Raises:
        InputError: SL0202, the file is missing or damaged, or holds no tensors.
    """
    if not path.is_file():
        raise InputError.of("SL0202", path, "there is no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=False, pickle_module=_passing_over())
    except Exception as error:  # whatever the file's own code raises
        raise InputError.of("SL0202", path, f"cannot be read: {type(error).__name__}: {error}") from error
    tensors = _unwrap(content.state_dict() if isinstance(content, nn.Module) else content)
    if not tensors:
        raise InputError.of("SL0202", path, "holds no tensors", wanted="a state_dict")
    return tensors


def load_into(model: nn.Module, checkpoint: Checkpoint) -> LoadReport:
    """Put a checkpoint's tensors into a model.

    Keys of the checkpoint without a place in the model are reported, not refused: models of the
    field carry parameters that no forward pass reads.

    Raises:
        InputError: SL0203, the model has parameters that the checkpoint lacks, or shapes differ;
            every such key is listed.
    """
    wanted = model.state_dict()
    tensors = _renamed(checkpoint.tensors, wanted)
    problems = []
    for name, value in wanted.items():
        got = tensors.get(name)
        if got is None and not name.endswith(_OPTIONAL_SUFFIX):
            problems.append(Problem("SL0203", name, f"is missing in {checkpoint.path.name}", _shape(value)))
        elif got is not None and got.shape != value.shape:
            problems.append(
                Problem(
                    "SL0203", name, f"has another shape in {checkpoint.path.name}", _shape(value), _shape(got)
                )
            )
    dead = tuple(name for name in tensors if name not in wanted)
    if problems:
        problems += [
            Problem("SL0203", name, "has no place in the model", got=_shape(tensors[name])) for name in dead
        ]
        raise InputError(problems)
    model.load_state_dict({name: v for name, v in tensors.items() if name in wanted}, strict=False)
    return LoadReport(dead)


def _renamed(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put a prefix back that reading took off, where the model has a part of that very name."""
    prefix = max(("", *PREFIXES), key=lambda prefix: sum(prefix + name in wanted for name in tensors))
    return {prefix + name: value for name, value in tensors.items()}


def _load_pickle(path: Path) -> Any:
    with warnings.catch_warnings(), safe_globals(_harmless()):
        warnings.simplefilter("ignore")  # of formats and protocols; what matters is raised
        return torch.load(path, map_location="cpu", weights_only=True)


class _Absent:
    """Stands for an object whose class is not to be had; takes whatever it is built from."""

    def __new__(cls, *_: Any, **__: Any) -> _Absent:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Nothing is kept."""

    def __setstate__(self, _: Any) -> None:
        """Nothing is kept."""

    def __setitem__(self, _: Any, __: Any) -> None:
        """Nothing is kept."""

    def append(self, _: Any) -> None:
        """Nothing is kept."""

    def extend(self, _: Any) -> None:
        """Nothing is kept."""


class _PassingOver(pickle.Unpickler):
    """Reads on where a class cannot be imported."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError):
            return type(name, (_Absent,), {"__module__": module})


def _passing_over() -> ModuleType:
    """What ``torch.load`` takes for the module ``pickle``."""
    module: Any = ModuleType("passing_over")
    module.Unpickler = _PassingOver
    module.load = lambda file, **options: _PassingOver(file, **options).load()
    return cast(ModuleType, module)


def _harmless() -> list[Any]:
    """What trainers put beside the tensors and cannot run code: settings, NumPy numbers, paths.

    timm and MAE save their ``args`` as a Namespace, SpikingJelly's scripts save best accuracies as NumPy
    scalars.
    """
    from numpy._core.multiarray import _reconstruct, scalar

    kinds = [
        np.dtype(code) for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")
    ]
    return [
        argparse.Namespace,
        pathlib.PosixPath,
        (scalar, "numpy.core.multiarray.scalar"),
        (_reconstruct, "numpy.core.multiarray._reconstruct"),
        scalar,
        _reconstruct,
        np.ndarray,
        np.dtype,
        *(type(kind) for kind in kinds),
    ]


def _foreign(path: Path) -> tuple[str, ...]:
    """Names of what a checkpoint holds beside tensors and what is harmless; nothing of it is run."""
    try:
        with safe_globals(_harmless()):
            return tuple(sorted(get_unsafe_globals_in_checkpoint(path)))
    except Exception:  # an old format, or no checkpoint at all
        return ()


def _reason(error: Exception) -> str:
    """The library's own words, but where they advise to load pickled code."""
    if isinstance(error, pickle.UnpicklingError):
        return "it is none, or it holds more than tensors and plain values"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _unwrap(content: Any) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            return _unwrap(content[wrapper])
    if not isinstance(content, dict):
        return {}
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            return _unwrap({name.removeprefix(prefix): value for name, value in tensors.items()})
    return tensors


def _check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    problems = [
        Problem(
            "SL0204",
            name,
            f"is not finite in {path.name}",
            got=counted(int((~value.isfinite()).sum()), "value"),
        )
        for name, value in tensors.items()
        if value.is_floating_point() and not bool(value.isfinite().all())
    ]
    if problems:
        raise InputError(problems)


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a number"
