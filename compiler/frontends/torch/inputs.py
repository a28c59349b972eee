"""Models that take several inputs: one that changes, and others that are fixed when they are compiled."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.errors import InputError

DTYPES = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool}


@dataclass(frozen=True)
class FixedInput:
    """An argument of a model's forward that is the same for every sample.

    Attributes:
        value: a number, or nested lists of numbers.
        each: whether every sample of the batch has one: the tensor is [B, ...] then.
        dtype: of the tensor.
    """

    value: Any
    each: bool = True
    dtype: str = "float32"

    def tensor(self, batch: int) -> Tensor:
        """The tensor for so many samples."""
        one = torch.tensor(self.value, dtype=DTYPES[self.dtype])
        return one.expand(batch, *one.shape).clone() if self.each else one


@dataclass(frozen=True)
class ModelInputs:
    """What a model's forward takes.

    Attributes:
        changing: name of the argument that the network's input goes to.
        shape: its axes, such as ``B,3,32,32``; "" if they are said elsewhere.
        dtype: what the model takes it as, such as int64 for tokens.
        fixed: the other arguments by name.
    """

    changing: str
    shape: str = ""
    dtype: str = "float32"
    fixed: Mapping[str, FixedInput] = field(default_factory=dict)


def read_inputs(path: Path) -> ModelInputs:
    r"""Read a description of a model's inputs.

    It is TOML with ``input``, the name of the changing argument, perhaps its ``shape`` and ``dtype``, and a
    table
    ``[fixed.NAME]`` with ``value`` and perhaps ``each`` and ``dtype`` for each of the others.

    Raises:
        InputError: SL0206, the file cannot be read or is malformed.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "unet.toml"
    ...     _ = file.write_text('input = "x"\n[fixed.t]\nvalue = 500\ndtype = "int64"\n')
    ...     read_inputs(file).fixed["t"].tensor(batch=2)
    tensor([500, 500])
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
        fixed = {name: FixedInput(**table) for name, table in content.pop("fixed", {}).items()}
        dtype = content.pop("dtype", "float32")
        inputs = ModelInputs(content.pop("input"), content.pop("shape", ""), dtype, fixed)
        _ = DTYPES[dtype]
        for name, one in fixed.items():
            _ = (name, one.tensor(1))
    except OSError as error:
        raise InputError.of("SL0206", path, f"cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise InputError.of(
            "SL0206",
            path,
            f"describes no inputs: {what}",
            wanted="input, shape and [fixed.NAME]",
            remedy="a TOML file with the name of the model's file says what its inputs are: rename it if "
            "it is something else",
        ) from error
    if content:
        got = ", ".join(content)
        raise InputError.of(
            "SL0206", path, "describes no inputs: unknown keys", wanted="input, shape, dtype, fixed", got=got
        )
    return inputs


class WithFixedInputs(nn.Module):
    """A model of several inputs as one of a single input.

    Attributes:
        model: as its authors wrote it.
    """

    def __init__(self, model: nn.Module, inputs: ModelInputs, batch_axis: int) -> None:
        """Fix the other inputs.

        Args:
            model: is called with all arguments by name.
            inputs: what it takes.
            batch_axis: of the changing input.
        """
        super().__init__()
        self.model = model
        self._inputs, self._batch_axis = inputs, batch_axis

    def forward(self, x: Tensor) -> Any:
        """Call the model; real numbers are of the precision of ``x``."""
        batch, dtype = x.shape[self._batch_axis], DTYPES[self._inputs.dtype]
        fixed = {name: one.tensor(batch) for name, one in self._inputs.fixed.items()}
        fixed = {name: t.to(x.dtype) if t.is_floating_point() else t for name, t in fixed.items()}
        changing = x if dtype.is_floating_point else x.to(dtype)
        return self.model(**{self._inputs.changing: changing}, **fixed)
