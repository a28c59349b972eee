"""Functions that a user names on the command line as ``FILE.py:function``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from spikeloom.errors import InputError


def load_factory(spec: str, repo: Path | None = None) -> tuple[Callable[..., Any], ModuleType]:
    """Import the file of ``FILE.py:function`` and return the function and the module.

    The file's folder is on the import path while it is imported and while the function is called, so that
    it finds its neighbours; a file in a package is imported as a part of it. The user's code runs: it is
    trusted as any program that they start. What it imported from its own folders is forgotten afterwards,
    so that the files of another repository are not taken for it.

    Args:
        spec: names the file and the function.
        repo: a folder from which the file imports.

    Raises:
        InputError: SL0201, no such file or function, or the file fails to import.
    """
    path, colon, name = spec.rpartition(":")
    file = Path(path)
    if not colon or not name.isidentifier() or file.suffix != ".py":
        raise InputError.of("SL0201", spec, "does not name a function", wanted="FILE.py:function")
    if not file.is_file():
        raise InputError.of("SL0201", file, "there is no such file")
    if repo is not None and not repo.is_dir():
        raise InputError.of("SL0201", repo, "there is no such folder")
    file = file.resolve()
    root = _package_root(file)
    places = (file.parent, root, None if repo is None else repo.resolve())
    folders = [str(folder) for folder in dict.fromkeys(places) if folder is not None]
    with _importing(folders):
        module = _import(file, root)
    function = getattr(module, name, None)
    if not callable(function):
        own = {key: v for key, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__}
        offered = sorted(key for key, value in own.items() if callable(value) and key[0] != "_")
        raise InputError.of("SL0201", spec, f"{file} has no function {name}", wanted=" or ".join(offered))
    return _calling(function, folders), module


def _import(file: Path, root: Path) -> ModuleType:
    try:
        if root == file.parent:
            return _run(file)
        return importlib.import_module(".".join(file.relative_to(root).with_suffix("").parts))
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        raise InputError.of("SL0201", file, f"fails to import: {type(error).__name__}: {error}") from error


@contextmanager
def _importing(folders: list[str]) -> Iterator[None]:
    """While this is open, files in these folders can be imported; they are forgotten afterwards."""
    before = dict(sys.modules)
    sys.path[:0] = folders
    try:
        yield
    finally:
        for folder in folders:
            with suppress(ValueError):  # the user's code may have taken it out
                sys.path.remove(folder)
        _forget(before, folders)


def _calling(function: Callable[..., Any], folders: list[str]) -> Callable[..., Any]:
    """The same function, able to import from these folders when it is called."""

    @wraps(function, updated=())
    def call(*arguments: Any, **keywords: Any) -> Any:
        with _importing(folders):
            return function(*arguments, **keywords)

    return call


def _package_root(file: Path) -> Path:
    """The folder that holds the outermost package of a file; its own folder if it is in none."""
    folder = file.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _run(file: Path) -> ModuleType:
    name = f"spikeloom_user_{file.stem}"
    location = importlib.util.spec_from_file_location(name, file)
    if location is None or location.loader is None:
        raise InputError.of("SL0201", file, "is not a Python file")
    module = importlib.util.module_from_spec(location)
    sys.modules[name] = module
    try:
        location.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _forget(before: dict[str, ModuleType], folders: list[str]) -> None:
    """Take out of ``sys.modules`` what came from these folders, but for an environment that lies in them."""
    installed = tuple(f"{sysconfig.get_path(kind)}/" for kind in ("purelib", "platlib"))
    inside = tuple(f"{folder}/" for folder in folders)
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None) or ""
        new = name not in before and not name.startswith("spikeloom_user_")
        if new and origin.startswith(inside) and not origin.startswith(installed):
            del sys.modules[name]
