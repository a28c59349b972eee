"""Functions that a user names on the command line as ``FILE.py:function``."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from spikeloom.errors import InputError


def load_factory(spec: str) -> tuple[Callable[..., Any], ModuleType]:
    """Import the file of ``FILE.py:function`` and return the function and the module.

    The file's folder is on the import path while it is imported, so that it finds its neighbours.
    The user's code runs: it is trusted as any program that they start.

    Raises:
        InputError: SL0201, no such file or function, or the file fails to import.
    """
    path, colon, name = spec.rpartition(":")
    file = Path(path)
    if not colon or not name.isidentifier() or file.suffix != ".py":
        raise InputError.of("SL0201", spec, "does not name a function", wanted="FILE.py:function")
    if not file.is_file():
        raise InputError.of("SL0201", file, "there is no such file")
    module = _import(file.resolve())
    function = getattr(module, name, None)
    if not callable(function):
        own = {key: v for key, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__}
        offered = sorted(key for key, value in own.items() if callable(value) and key[0] != "_")
        raise InputError.of("SL0201", spec, f"{file} has no function {name}", wanted=" or ".join(offered))
    return function, module


def _import(file: Path) -> ModuleType:
    name = f"spikeloom_user_{file.stem}"
    location = importlib.util.spec_from_file_location(name, file)
    if location is None or location.loader is None:
        raise InputError.of("SL0201", file, "is not a Python file")
    module = importlib.util.module_from_spec(location)
    sys.modules[name] = module
    sys.path.insert(0, str(file.parent))
    try:
        location.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        del sys.modules[name]
        raise InputError.of("SL0201", file, f"fails to import: {type(error).__name__}: {error}") from error
    finally:
        with suppress(ValueError):  # the user's code may have taken it out
            sys.path.remove(str(file.parent))
    return module
