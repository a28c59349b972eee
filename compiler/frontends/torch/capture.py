"""Capture: a PyTorch model becomes a graph for one time step, neurons as single operations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from spikeloom.compiler.frontends.torch.axes import Captures, InputShape, Lead, Sizes, captures
from spikeloom.compiler.frontends.torch.libraries.library import SpikingNeuron
from spikeloom.compiler.frontends.torch.libraries.spikingjelly import SPIKINGJELLY
from spikeloom.compiler.frontends.torch.lowering import Lowering
from spikeloom.compiler.frontends.torch.neurons import (
    find_neurons,
    is_neuron,
    library_of,
    reset_states,
    survey_neurons,
)
from spikeloom.compiler.frontends.torch.opaque import opaque_neurons
from spikeloom.compiler.frontends.torch.operands import Folded, Memory, Value
from spikeloom.compiler.frontends.torch.quiet import quiet_torch
from spikeloom.compiler.frontends.torch.tokens import TakingTokens, vocabulary_of
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage, live_nodes
from spikeloom.compiler.graph.kinds import Kind, Type, index
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.passes import run_passes
from spikeloom.compiler.graph.verify import verify
from spikeloom.compiler.passes.retime import Retime
from spikeloom.errors import Problem, UnsupportedError, counted

LOOKED_AT = Sizes(3, 2)
"""Time steps and samples with which a model is called to see whether it loops."""

STAND_IN = Neuron(decay=0.5, gain=0.5, threshold=1.0)
"""In the place of a neuron that is not known, so that everything else in the way is found too."""


@dataclass(frozen=True)
class Capture:
    """What was captured.

    Attributes:
        graph: for one time step, at stage CAPTURED; neuron nodes are called by their module path.
        model: the user's own module, in eval mode and reset.
        input_shape: how the model wants its input.
        leads: for each node, the time and batch axes with which PyTorch called it.
        weights: for each node with stored weights, the path of that parameter in the model.
        divisors: for each scale that PyTorch computes by a division, what it divides by.
        joint: for each reduction that PyTorch computes together with one over time, the node of that
            one, and the axes of [T, B, ...].
        dead: paths of neuron layers that no output depends on.
        steps: how many time steps one forward of the model computes, where it says so itself or was
            told; 0 where any number will do.
        steppable: whether the model may be called one time step at a time, its state kept between.
        over_samples: paths of the neuron layers that the model lets run on from one sample of a batch
            to the next, along a folded axis of both; it has a meaning for single samples only.
        layouts: for each neuron layer whose axes are not [T, B, ...], what they are.
        batch: with how many samples constants were computed that PyTorch rounds by their number; 0 if none.
        volumes: for each convolution over two axes that PyTorch computes over three, which of them is time.
        readouts: for each node that gives the potentials of a neuron layer that never fires, the node
            before it and the path of the layer.
        memories: linear memories that the model computes by Fourier transforms.
    """

    graph: Graph
    model: nn.Module
    input_shape: InputShape
    leads: dict[str, Lead]
    weights: dict[str, str]
    divisors: dict[str, Array]
    joint: dict[str, tuple[str, tuple[int, ...]]]
    dead: tuple[str, ...]
    steps: int = 0
    steppable: bool = True
    over_samples: tuple[str, ...] = ()
    layouts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    readouts: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    volumes: Mapping[str, int] = field(default_factory=dict)
    batch: int = 0
    memories: tuple[Memory, ...] = ()

    @property
    def contaminated(self) -> tuple[str, ...]:
        """The layers of ``over_samples``, each with the line of the model that calls it."""
        return tuple(str(replace(self.graph.node(path).source, module=path)) for path in self.over_samples)


@quiet_torch()
def capture(
    model: nn.Module, input_shape: InputShape, input_kind: Kind, name: str = "model", steps: int = 0
) -> Capture:
    """Capture a model without changing it.

    It is exported twice with other numbers of steps and samples, so that time and batch are told
    from its own axes; what does not depend on the input is evaluated once.

    Args:
        model: the module; it is put in eval mode and its state is reset.
        input_shape: time and batch axes and a sample's own shape.
        input_kind: which integers the input may hold; of a model that looks its input up in a table, the
            rows of that table.
        name: of the graph.
        steps: how many the network is to run; 0 if the model says it itself, or nothing in it asks.

    Raises:
        UnsupportedError: SL0301, it cannot be exported; SL0302 to SL0305, one problem for each
            operation or neuron that stands in the way.
    """
    model.eval()
    reset_states(model)
    if is_neuron(model):
        what, remedy = "is a neuron layer and no network", "put layers with weights around it"
        raise UnsupportedError.of("SL0304", type(model).__name__, what, remedy=remedy)
    if (vocabulary := vocabulary_of(model, input_shape)) is not None:
        input_kind = index(vocabulary.size)
        model = model if vocabulary.converts else TakingTokens(model).eval()
    equations, problems = survey_neurons(model)
    modules = find_neurons(model)
    if input_shape.lead.has_time and _loops_over_time(model, modules, input_shape):
        input_shape = replace(input_shape, loops=True)
    elif input_shape.lead.has_time and _takes_one_step(modules, equations):
        input_shape = replace(input_shape, one_step=True)
    survey = _Survey(model, modules, equations, tuple(problems), input_shape, input_kind, name, steps)
    graph, lowering = _captured(survey)
    live = {node.name for node in graph.nodes}
    live.update(path for name, (_, path) in lowering.readouts.items() if name in live)
    dead = tuple(path for path in modules if path not in live)
    mixes = any(op.work != "update" for _, op in graph.stateful())
    return Capture(
        graph,
        model,
        input_shape,
        lowering.leads,
        lowering.weights,
        lowering.divisors,
        lowering.joint,
        dead,
        lowering.steps or (0 if input_shape.lead.has_time else 1),
        steppable=input_shape.one_step or (input_shape.lead.has_time and not mixes and not input_shape.loops),
        over_samples=tuple(lowering.over_samples),
        layouts=lowering.layouts,
        readouts=lowering.readouts,
        volumes=lowering.volumes,
        batch=lowering.batch,
        memories=tuple(lowering.memories),
    )


def _leaks(modules: Mapping[str, nn.Module]) -> dict[str, Neuron]:
    """For each neuron layer whose potentials may be read, one that never fires with the same."""
    leaks = {path: library_of(module).leak(module) for path, module in modules.items()}
    return {path: leak for path, leak in leaks.items() if leak is not None}


def _loops_over_time(model: nn.Module, modules: Mapping[str, nn.Module], shape: InputShape) -> bool:
    """Whether a model calls neurons of one step once for each time step of its input."""
    calls = dict.fromkeys(modules, 0)

    def count(path: str) -> None:
        calls[path] += 1

    example = torch.zeros(shape.concrete(LOOKED_AT))
    with ExitStack() as stack, torch.no_grad():
        for path, module in modules.items():
            if not library_of(module).one_step(module):
                return False
            hook = module.register_forward_pre_hook(lambda *_, path=path: count(path))
            stack.callback(hook.remove)
        try:
            model(example)
        except Exception:  # whatever the model's own code raises: the capture will say it
            return False
        finally:
            reset_states(model)
    return set(calls.values()) - {0} == {LOOKED_AT.steps}


def _takes_one_step(modules: Mapping[str, nn.Module], equations: Mapping[str, SpikingNeuron]) -> bool:
    """Whether a model is called once for each time step, by the neurons that it is made of."""
    remembering = [m for path, m in modules.items() if not equations.get(path, STAND_IN).memoryless]
    libraries = [library_of(module) for module in remembering]
    return bool(remembering) and all(
        library is not SPIKINGJELLY and library.one_step(module)
        for library, module in zip(libraries, remembering, strict=True)
    )


@dataclass(frozen=True)
class _Survey:
    """What is known of a model before it is exported."""

    model: nn.Module
    neurons: Mapping[str, nn.Module]
    equations: Mapping[str, SpikingNeuron]
    problems: tuple[Problem, ...]
    shape: InputShape
    kind: Kind
    name: str
    steps: int


def _captured(survey: _Survey) -> tuple[Graph, Lowering]:
    """The graph, from captures of different lengths; of its own length if the model takes no other."""
    try:
        return _captured_at(survey, captures(survey.shape))
    except UnsupportedError as error:
        if not survey.shape.given.has_time or survey.shape.loops or survey.steps < 2:
            raise
        batches = (3, 2) if survey.steps > 3 else (7, 5)
        own = (Sizes(survey.steps, batches[0]), Sizes(survey.steps, batches[1]))
        try:
            return _captured_at(survey, own)
        except UnsupportedError:
            if {problem.code for problem in error.problems} == {"SL0301"}:
                raise
            raise error from None


def _captured_at(survey: _Survey, sizes: Captures) -> tuple[Graph, Lowering]:
    modules = survey.neurons
    try:
        first, second = (_export(survey.model, [*modules.values()], survey.shape, size) for size in sizes)
    except UnsupportedError as error:
        raise UnsupportedError([*survey.problems, *error.problems]) from error
    builder = GraphBuilder(survey.name, Stage.CAPTURED)
    lowering = Lowering(builder, [(path, survey.equations.get(path, STAND_IN)) for path in modules])
    lowering.problems += survey.problems
    lowering.sizes, lowering.steps, lowering.loops = sizes, survey.steps, survey.shape.loops
    lowering.buffers = {
        path: [tensor.detach() for tensor in module.buffers(recurse=False)]
        for path, module in survey.model.named_modules()
    }
    lowering.parameters = first.graph_signature.inputs_to_parameters
    lowering.leaks = _leaks(modules)
    lowering.single_step = {path for path, module in modules.items() if library_of(module).one_step(module)}
    _declare_input(lowering, first, survey.shape, survey.kind)
    lowering.walk(_paired(first, second), _constants(first))
    _declare_output(lowering, first)
    if lowering.problems:
        raise UnsupportedError(lowering.problems)
    graph = _retimed(_without_dead(builder.build()), lowering)
    verify(graph)
    return graph, lowering


def _export(model: nn.Module, neurons: list[nn.Module], shape: InputShape, sizes: Sizes) -> ExportedProgram:
    example = torch.zeros(shape.concrete(sizes))
    try:
        with opaque_neurons(neurons), _single_precision(), torch.no_grad():
            return torch.export.export(model, (example,), strict=False)
    except Exception as error:  # whatever the model's own code or the exporter raises
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise UnsupportedError.of(
            "SL0301",
            type(model).__name__,
            f"cannot be exported with an input of {list(example.shape)}: {type(error).__name__}: {reason}",
            remedy="check --input-shape, and that the model runs on such an input",
        ) from error


@contextmanager
def _single_precision() -> Iterator[None]:
    """While this is open, ``torch.autocast(enabled=False)`` is nothing, as outside of mixed precision."""
    modes: Any = torch
    own = modes.autocast

    def autocast(*arguments: Any, **keywords: Any) -> Any:
        off = keywords.get("enabled") is False and not torch.is_autocast_enabled("cpu")
        return nullcontext() if off else own(*arguments, **keywords)

    modes.autocast = autocast
    try:
        yield
    finally:
        modes.autocast = own


def _constants(program: ExportedProgram) -> dict[str, Tensor]:
    """Parameters, buffers and lifted constants by the name of their placeholder."""
    stored = {**program.state_dict, **program.constants}
    return {
        spec.arg.name: stored[spec.target].detach()
        for spec in program.graph_signature.input_specs
        if spec.target is not None and isinstance(stored.get(spec.target), Tensor)
    }


def _paired(first: ExportedProgram, second: ExportedProgram) -> Iterator[tuple[fx.Node, fx.Node]]:
    pairs = list(zip(first.graph.nodes, second.graph.nodes, strict=False))
    if len(first.graph.nodes) != len(second.graph.nodes) or any(a.target != b.target for a, b in pairs):
        raise UnsupportedError.of(
            "SL0303", "the model", "computes something else when the number of steps or samples changes"
        )
    return iter(pairs)


def _declare_input(lowering: Lowering, program: ExportedProgram, shape: InputShape, kind: Kind) -> None:
    (name,) = program.graph_signature.user_inputs
    lowering.builder.input("input", Type(shape.sample, kind))
    lowering.operands[str(name)] = Value("input", shape.given, shape.sample)


def _declare_output(lowering: Lowering, program: ExportedProgram) -> None:
    if lowering.problems:
        return
    results = [lowering.operands.get(str(name)) for name in program.graph_signature.user_outputs]
    if results[0] is None and lowering.unread:
        lowering.problems += lowering.unread
        return
    if isinstance(results[0], Folded):
        fault = f"{results[0].fault}; the model's output needs them apart"
        lowering.problems.append(Problem("SL0303", str(results[0].source), fault))
        return
    found = [result for result in results if isinstance(result, Value)]
    values = [*found[:1], *(value for value in found[1:] if not _is_record(lowering, value))]
    if len(values) != 1 or results[0] is not values[0]:
        lowering.problems.append(
            Problem(
                "SL0302",
                "the model's output",
                f"{len(values)} of {len(results)} outputs depend on the input",
                wanted="the first, and no other",
            )
        )
    elif lowering.loops and not values[0].lead.has_time and not _sums_time(lowering, values[0]):
        lowering.problems.append(
            Problem(
                "SL0302",
                "the model's output",
                "is made of all time steps inside of a loop over them",
                wanted="torch.stack of what each step gives; it may be summed behind that",
            )
        )
    elif not _is_laid_out(values[0].lead, lowering):
        lowering.problems.append(
            Problem(
                "SL0303",
                "the model's output",
                f"is laid out as [{values[0].lead.value}, ...]",
                wanted="an axis of time and one of samples, or of samples alone",
            )
        )
    else:
        lowering.builder.output(values[0].name)


def _is_record(lowering: Lowering, value: Value) -> bool:
    """Whether a value is potentials or spikes, which models of snnTorch give beside their answer."""
    graph = lowering.builder.build()
    spikes = lowering.sizes[0].steps == 1 and graph.producers[value.name].op.work == "update"
    return spikes or any(node.name in lowering.readouts for node in live_nodes(graph.nodes, [value.name]))


def _sums_time(lowering: Lowering, answer: Value) -> bool:
    graph = lowering.builder.build()
    return graph.replace(outputs=(answer.name,)).answers_at_the_end


def _is_laid_out(lead: Lead, lowering: Lowering) -> bool:
    """Whether samples can be told apart; a folded axis of a single step is one of samples."""
    one_step = lowering.sizes[0].steps == 1
    return lead in (Lead.TIME_BATCH, Lead.BATCH_TIME, Lead.BATCH) or (one_step and lead is Lead.FOLDED)


def _retimed(graph: Graph, lowering: Lowering) -> Graph:
    """The graph run on what has arrived, if the model looks ahead in time."""
    if not any(node.op.lateness or node.op.overtime for node in graph.nodes):
        return graph
    if lowering.steps == 0:
        raise UnsupportedError.of(
            "SL0302",
            "the model",
            f"looks ahead or goes on in time, by {counted(graph.flush, 'step')}; "
            "how many a sample has is not known",
            remedy="give --steps, or a recipe that says it",
        )
    retimed = run_passes(graph, [Retime(lowering.steps)])
    made = {node.name for node in retimed.nodes} - {node.name for node in graph.nodes}
    lowering.leads.update(dict.fromkeys(made, Lead.BATCH))
    return retimed


def _without_dead(graph: Graph) -> Graph:
    nodes = live_nodes(graph.nodes, graph.outputs)
    kept = {*graph.inputs, *(name for node in nodes for name in node.outputs)}
    return graph.replace(
        nodes=nodes, types={name: kind for name, kind in graph.types.items() if name in kept}
    )
