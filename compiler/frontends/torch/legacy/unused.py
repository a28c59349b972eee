"""Modules that model files import and, building a model, do not use: each use is an error that names it."""

from __future__ import annotations

from typing import Any

from spikeloom.errors import InputError


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*_: Any, **__: Any) -> Any:
        raise InputError.of(
            "SL0205",
            name,
            "belongs to a package that is not installed, and the model uses it",
            remedy="install the package that the model file imports it from",
        )

    return missing
