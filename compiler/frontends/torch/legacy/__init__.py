"""Model files of older environments import as they are: the modules that they name are stood in for.

Most published spiking transformers import ``spikingjelly.clock_driven`` 0.0.0.0.12 with its CuPy
backend, or arguments that newer versions of ``spikingjelly.activation_based`` no longer take, and a few
names of timm. Under :func:`legacy_imports` such files import and build on a processor alone; what is
installed is used as it is, and what is stood in for is listed in :data:`PROVIDED`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from spikeloom.compiler.frontends.torch.rwkv import without_cuda

_HERE = __name__

PROVIDED: Mapping[str, str] = {
    "spikingjelly": "",
    "spikingjelly.clock_driven": "",
    "spikingjelly.clock_driven.neuron": "clock_driven",
    "spikingjelly.clock_driven.surrogate": "surrogates",
    "spikingjelly.clock_driven.functional": "functions",
    "spikingjelly.clock_driven.layer": "layers",
    "timm": "",
    "timm.layers": "image_models",
    "timm.models": "image_models",
    "timm.models.layers": "image_models",
    "timm.models.registry": "image_models",
    "timm.models.vision_transformer": "image_models",
    "einops": "unused",
    "einops.layers": "unused",
    "einops.layers.torch": "unused",
    "fla": "",
    "fla.modules": "gated_layers",
    "fla.modules.activations": "gated_layers",
    "fla.ops": "",
    "fla.ops.gla": "gated_attention",
    "fla.ops.gla.naive": "gated_attention",
    "torchinfo": "unused",
    "torchsummary": "unused",
    "visualizer": "unused",
    "cupy": "unused",
}
"""Modules that are stood in for where they are not installed, and the file here that holds their names."""

_BACKENDS = ("cupy", "torch", "triton", "inductor")


@contextmanager
def legacy_imports() -> Iterator[None]:
    """While this is open, imports of model files find what they name.

    Afterwards ``sys.modules`` and ``sys.meta_path`` are as before; classes that were made stay valid.

    >>> with legacy_imports():
    ...     from spikingjelly.clock_driven.neuron import MultiStepLIFNode
    >>> MultiStepLIFNode(tau=2.0, detach_reset=True, backend="cupy").v_threshold
    1.0
    """
    finder, vendored = _Finder(), _Vendored()
    sys.meta_path.append(finder)
    sys.meta_path.insert(0, vendored)
    changed = _lenient_activation_based()
    try:
        with without_cuda():
            yield
    finally:
        sys.meta_path.remove(vendored)
        for owner, own in changed:
            owner.__init__ = own
        sys.meta_path.remove(finder)
        for name in [*finder.made, *vendored.made]:
            sys.modules.pop(name, None)
            parent, _, child = name.rpartition(".")
            if parent in sys.modules and hasattr(sys.modules[parent], child):
                delattr(sys.modules[parent], child)


class _Finder(MetaPathFinder, Loader):
    """Makes the modules of :data:`PROVIDED`; asked last, so that installed ones win."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module, if it is one of ours."""
        if fullname not in PROVIDED:
            return None
        return ModuleSpec(fullname, self, is_package=any(k.startswith(f"{fullname}.") for k in PROVIDED))

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module with the names of its file."""
        self.made.append(module.__name__)
        file = PROVIDED[module.__name__]
        if not file:
            return
        names = vars(importlib.import_module(f"{_HERE}.{file}"))
        module.__dict__.update({name: value for name, value in names.items() if name[:2] != "__"})
        if "__getattr__" in names:
            module.__dict__["__getattr__"] = names["__getattr__"]


class _Vendored(_Finder):
    """Stands in for the neurons of old SpikingJelly that a repository carries along; asked first."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module, if it is ``spikingjelly.clock_driven`` inside another package."""
        package, marker, rest = fullname.rpartition(".spikingjelly.clock_driven")
        if not package or not marker or f"spikingjelly.clock_driven{rest}" not in PROVIDED:
            return None
        return ModuleSpec(fullname, self, is_package=not rest)

    def exec_module(self, module: ModuleType) -> None:
        """Fill it as the one that it is a copy of."""
        own = module.__name__
        self.made.append(own)
        file = PROVIDED[own[own.index("spikingjelly.clock_driven") :]]
        if file:
            names = vars(importlib.import_module(f"{_HERE}.{file}"))
            module.__dict__.update({name: value for name, value in names.items() if name[:2] != "__"})


def _lenient_activation_based() -> list[tuple[Any, Any]]:
    """Let the neurons of an installed SpikingJelly 2 take the ``backend`` of 0.0.0.0.14, which it dropped."""
    try:
        base: Any = importlib.import_module("spikingjelly.activation_based.neuron")
    except ImportError:
        return []
    changed = []
    for kind in vars(base).values():
        if not (isinstance(kind, type) and kind.__name__.endswith("Node") and "__init__" in vars(kind)):
            continue
        owner: Any = kind
        own = owner.__init__
        owner.__init__ = _without_backend(own)
        changed.append((owner, own))
    return changed


def _without_backend(own: Any) -> Any:
    def init(self: Any, *arguments: Any, **keywords: Any) -> None:
        if keywords.get("backend") in _BACKENDS:
            keywords.pop("backend")
        own(self, *arguments, **keywords)

    return init
