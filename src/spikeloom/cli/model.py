"""The options that name a model, and the model that they name."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import tomllib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spikeloom.errors import InputError, Problem, SpikeloomError, UnsupportedError
from spikeloom.factories import load_factory
from spikeloom.runtime.events.recipe import FrameRecipe

if TYPE_CHECKING:
    from torch import nn

    from spikeloom.compiler.frontends.torch.axes import InputShape
    from spikeloom.compiler.frontends.torch.checkpoint import Checkpoint
    from spikeloom.compiler.frontends.torch.inputs import ModelInputs

SHAPE_CONSTANT = "INPUT_SHAPE"


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from.

    Attributes:
        spec: «FILE.py:factory».
        weights: a checkpoint.
        arguments: keywords of the factory.
        repo: a folder that the file imports from.
        inputs: a TOML file that describes the model's inputs, if it takes several; a file beside the
            factory with its name and the suffix .toml is found without being named.
    """

    spec: str
    weights: Path | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    repo: Path | None = None
    inputs: Path | None = None


@dataclass(frozen=True)
class BuildOptions:
    """The options that say how a factory builds a trained model."""

    PANEL = "The model"

    weights: Annotated[Path | None, typer.Option(help="A checkpoint: .pt, .pth or .safetensors.")] = None
    arg: Annotated[
        list[str] | None,
        typer.Option(help="A keyword of the factory; may be repeated.", metavar="NAME=VALUE"),
    ] = None
    model_config: Annotated[
        Path | None, typer.Option(help="Keywords of the factory in a .yaml, .toml or .json file.")
    ] = None
    repo: Annotated[Path | None, typer.Option(help="A folder that the model's file imports from.")] = None

    def source(self, spec: str) -> ModelSource:
        """Where the model comes from that ``spec`` names."""
        return ModelSource(spec, self.weights, arguments_of(self.arg, self.model_config), self.repo)


@dataclass(frozen=True)
class ModelOptions(BuildOptions):
    """The options that say how a model is built, and what it takes."""

    model_inputs: Annotated[
        Path | None,
        typer.Option(
            help="A TOML that fixes further inputs of the model; FILE.toml beside FILE.py is found."
        ),
    ] = None
    input_shape: Annotated[
        str | None,
        typer.Option(help="Axes of the model's input, such as T,B,2,34,34 or B,3,224,224.", metavar="AXES"),
    ] = None
    steps: Annotated[
        int, typer.Option(min=0, help="Time steps, where neither a recipe nor the model says them.")
    ] = 0

    def source(self, spec: str) -> ModelSource:
        """Where the model comes from that ``spec`` names, with its further inputs."""
        return replace(super().source(spec), inputs=self.model_inputs)


@dataclass(frozen=True)
class Loaded:
    """A model with its weights.

    Attributes:
        model: with the checkpoint's tensors in it.
        shape: of its input.
        config: keywords of its constructor that the checkpoint held.
        dead_keys: tensors of the checkpoint that the model has no place for.
        steps: time steps of a sample, where the source says them; else 0.
    """

    model: nn.Module
    shape: InputShape
    config: Mapping[str, Any]
    dead_keys: Sequence[str] = ()
    steps: int = 0

    @property
    def vocabulary(self) -> int:
        """How many tokens the model takes; 0 if its input is something else."""
        from spikeloom.compiler.frontends.torch.tokens import vocabulary_of

        found = vocabulary_of(self.model, self.shape)
        return 0 if found is None else found.size


def arguments_of(given: Sequence[str] | None, config: Path | None) -> dict[str, Any]:
    """Keywords of a factory from ``--model-config`` and, over them, ``--arg``.

    A value is a Python literal, or else text.

    Raises:
        InputError: SL0901, an argument is not NAME=VALUE; SL0201, the file cannot be read.

    >>> arguments_of(["depths=2", "embed_dims=[64, 128]", "mode=lif"], None)
    {'depths': 2, 'embed_dims': [64, 128], 'mode': 'lif'}
    """
    keywords = {} if config is None else _read_config(config)
    for argument in given or []:
        name, equals, text = argument.partition("=")
        if not equals or not name.isidentifier():
            raise InputError.of("SL0901", "--arg", f"{argument!r} is no argument", wanted="NAME=VALUE")
        keywords[name] = _literal(text)
    return keywords


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _read_config(path: Path) -> dict[str, Any]:
    import yaml

    readers: dict[str, Callable[[str], Any]] = {
        ".toml": tomllib.loads,
        ".json": json.loads,
        ".yaml": yaml.safe_load,
        ".yml": yaml.safe_load,
    }
    if path.suffix not in readers:
        raise InputError.of("SL0201", path, "is no configuration", wanted=" or ".join(readers))
    try:
        content = readers[path.suffix](path.read_text("utf-8"))
    except OSError as error:
        raise InputError.of("SL0201", path, f"cannot be read: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise InputError.of("SL0201", path, f"cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError.of("SL0201", path, "holds no keywords", wanted="names and values")
    return content


def require_torch(what: str) -> None:
    """Refuse where PyTorch is not installed.

    Raises:
        UnsupportedError: SL0301.
    """
    if importlib.util.find_spec("torch") is None:
        remedy = "pip install 'spikeloom[torch]'"
        raise UnsupportedError.of("SL0301", "torch", f"{what} needs PyTorch", remedy=remedy)


def load_model(source: ModelSource, shape: str | None, recipe: FrameRecipe | None) -> Loaded:
    """Build a model, put its checkpoint in, and find out the shape of its input.

    The shape is ``shape``, else the constant INPUT_SHAPE beside the factory, else T,B and the recipe's
    frames. Modules of older environments that the file imports are stood in for.

    Raises:
        UnsupportedError: SL0301, PyTorch is not installed.
        InputError: SL0201 to SL0205, the factory or the checkpoint is bad; SL0215, a capture is; SL0307, no
            shape.
    """
    require_torch("compiling")
    if is_recorded(source.spec):
        return _load_recorded(source, shape)
    from torch import nn

    from spikeloom.compiler.frontends.torch.axes import InputShape
    from spikeloom.compiler.frontends.torch.checkpoint import read_checkpoint
    from spikeloom.compiler.frontends.torch.inputs import WithFixedInputs
    from spikeloom.compiler.frontends.torch.legacy import legacy_imports

    spec = source.spec
    checkpoint = None if source.weights is None else read_checkpoint(source.weights)
    config = dict(checkpoint.config) if checkpoint is not None else {}
    with legacy_imports(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the user's own code and of the versions it was written for
        factory, module = load_factory(spec, source.repo)
        model = _build(source, factory, config)
    if not isinstance(model, nn.Module):
        raise InputError.of(
            "SL0201", spec, "does not build a model", wanted="torch.nn.Module", got=type(model).__name__
        )
    dead = () if checkpoint is None else _load(model, checkpoint, source, factory)
    frames: Sequence[str | int] = ("T", "B", *recipe.shape) if recipe is not None else ()
    inputs = _described(source)
    declared: Sequence[str | int] = getattr(module, SHAPE_CONSTANT, frames)
    axes = shape or (inputs.shape if inputs else "") or ",".join(map(str, declared))
    if not axes:
        raise InputError.of("SL0307", spec, "does not say the shape of its input", wanted=SHAPE_CONSTANT)
    parsed = InputShape.parse(axes)
    if inputs is not None:
        model = WithFixedInputs(model, inputs, parsed.lead.tags.index("B")).eval()
    return Loaded(model, parsed, config, dead)


def is_recorded(spec: str) -> bool:
    """Whether what a user names was recorded in another environment.

    >>> is_recorded("model.capture"), is_recorded("model.py:factory")
    (True, False)
    """
    return spec.endswith(".capture")


def _load_recorded(source: ModelSource, shape: str | None) -> Loaded:
    """A network that spikeloom_capture.py recorded; weights and the shape of its input are in the file."""
    from spikeloom.compiler.frontends.torch.axes import InputShape
    from spikeloom.compiler.frontends.torch.recorded.file import read_capture
    from spikeloom.compiler.frontends.torch.recorded.network import RecordedNetwork

    given = {
        "--weights": source.weights,
        "--arg or --model-config": source.arguments,
        "--repo": source.repo,
        "--model-inputs": source.inputs,
        "--input-shape": shape,
    }
    what = "is told where the network is recorded, and holds in the file"
    if problems := [Problem("SL0901", name, what) for name, value in given.items() if value]:
        raise InputError(problems)
    file = read_capture(Path(source.spec))
    shaped = InputShape.parse(",".join(map(str, file.axes)))
    return Loaded(RecordedNetwork(file), shaped, {}, steps=file.steps)


def _described(source: ModelSource) -> ModelInputs | None:
    """What a TOML file says of the model's inputs: the one that is named, or one beside the factory."""
    from spikeloom.compiler.frontends.torch.inputs import read_inputs

    beside = Path(source.spec.rpartition(":")[0]).with_suffix(".toml")
    path = source.inputs or (beside if beside.is_file() else None)
    return None if path is None else read_inputs(path)


def _load(model: nn.Module, checkpoint: Checkpoint, source: ModelSource, factory: Any) -> Sequence[str]:
    """Put a checkpoint in; where it does not fit, say which arguments would make it."""
    from spikeloom.compiler.frontends.torch.checkpoint import load_into
    from spikeloom.compiler.frontends.torch.guess import guess_arguments
    from spikeloom.compiler.frontends.torch.legacy import legacy_imports

    try:
        return load_into(model, checkpoint).dead
    except InputError as error:
        with legacy_imports(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            guess = guess_arguments(factory, source.arguments, checkpoint)
        if not guess:
            raise
        remedy = "the checkpoint fits with " + " ".join(
            f"--arg {name}={value}" for name, value in guess.items()
        )
        raise InputError([replace(problem, remedy=remedy) for problem in error.problems]) from error


def _build(source: ModelSource, factory: Any, config: dict[str, Any]) -> Any:
    """Call a factory, with the checkpoint's configuration if it takes one."""
    from_checkpoint = {"config": config} if config and _takes_config(factory) else {}
    given = {**from_checkpoint, **source.arguments}
    try:
        return factory(**given)
    except SpikeloomError:
        raise
    except Exception as error:  # whatever the user's own code raises
        what = f" with the config of {source.weights}" if from_checkpoint else ""
        remedy = _arguments_told(factory, given)
        if from_checkpoint and not remedy:
            remedy = "check that the checkpoint is one of this model"
        raise InputError.of(
            "SL0201", source.spec, f"fails{what}: {type(error).__name__}: {error}", remedy=remedy
        ) from error


def _arguments_told(factory: Any, given: Mapping[str, Any]) -> str:
    """Which arguments a factory takes, if it was given others, or how to give those that it demands."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:
        return ""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [parameter for parameter in parameters if parameter.kind not in kinds]
    if len(named) == len(parameters) and set(given) - {parameter.name for parameter in named}:
        return "it takes " + (", ".join(parameter.name for parameter in named) or "no arguments")
    needed = [p.name for p in named if p.default is inspect.Parameter.empty and p.name not in given]
    return "give " + " ".join(f"--arg {name}=..." for name in needed) if needed else ""


def _takes_config(factory: Any) -> bool:
    try:
        return "config" in inspect.signature(factory).parameters
    except ValueError:  # some built-in types tell no signature
        return False
