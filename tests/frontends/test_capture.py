"""Capture: the graph does what eager PyTorch does, the model is left as it was, and mixing is refused."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.axes import InputShape, Lead, classify
from spikeloom.compiler.frontends.torch.capture import Capture, capture
from spikeloom.compiler.frontends.torch.eager import prove_capture, run_eager
from spikeloom.compiler.frontends.torch.opaque import opaque_neurons
from spikeloom.compiler.frontends.torch.rule import supported_operations
from spikeloom.compiler.graph.graph import Graph, Stage
from spikeloom.compiler.graph.kinds import SPIKES, levels
from spikeloom.compiler.graph.printer import to_text
from spikeloom.errors import InputError, InternalError, UnsupportedError
from tests.trained_networks import (
    SMALL,
    SPIKFORMER_SHAPE,
    Attention,
    BatchFirst,
    Convolutional,
    Network,
    captured,
    captured_spikformer,
    fires,
    lif,
    spikformer,
    spikformer_frames,
)

VECTORS = InputShape.parse("T,B,6")


def _float(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(frames).float()


# --- the graph is the model ------------------------------------------------------------------------------


def test_spikformer_is_captured_exactly() -> None:
    proof = prove_capture(captured_spikformer(), _float(spikformer_frames(seed=3)))
    neurons = sum(
        captured_spikformer().graph.types[n.name].size for n in captured_spikformer().graph.neurons()
    )
    assert proof.cells == 5 * 6 * (neurons + 5)


@pytest.mark.parametrize("network", SMALL)
def test_small_networks_are_captured_exactly(network: type[Network]) -> None:
    proof = prove_capture(captured(network), _float(network.frames(seed=3)))
    assert (proof.samples, proof.steps) == (6, 5)


def test_the_reduced_spikformer_fires_in_every_layer() -> None:
    rates = fires(spikformer(), SPIKFORMER_SHAPE, spikformer_frames())
    assert len(rates) == 10
    assert "blocks.0.attn.attn_lif" in rates


@pytest.mark.parametrize("network", SMALL)
def test_stepping_is_what_the_trained_model_computes_on_all_steps_at_once(network: type[Network]) -> None:
    """Folded over time PyTorch rounds differently in the last bits; spikes of these networks agree."""
    model, shape = network.made(), network.shape()
    frames = _float(network.frames())
    stepped, _ = run_eager(model, shape, frames)
    batch_first = shape.lead is Lead.BATCH_TIME
    with torch.no_grad():
        at_once = model(frames.transpose(0, 1) if batch_first else frames)
    functional.reset_net(model)
    torch.testing.assert_close(stepped, at_once.transpose(0, 1) if batch_first else at_once)


def test_nodes_carry_the_module_and_the_line() -> None:
    graph = captured_spikformer().graph
    assert graph.stage is Stage.CAPTURED
    node = graph.node("blocks.0.mlp.fc1.0")
    assert node.source.module == "blocks.0.mlp.fc1.0"
    assert graph.node("patch_embed.add").source.file == "spikingjelly/activation_based/model/spikformer.py"
    assert captured(Convolutional).graph.node("add").source.file == "trained_networks.py"
    assert captured(Convolutional).graph.node("add").source.line > 0


def test_weights_are_found_again_in_the_model() -> None:
    found = captured_spikformer()
    model = found.model
    weighted = {node.name: node.op.weight for node in found.graph.nodes if hasattr(node.op, "weight")}
    assert len(weighted) == 10
    for name, weight in weighted.items():
        parameter = model.get_parameter(found.weights[name])
        np.testing.assert_array_equal(weight, parameter.detach().numpy())


def test_graded_input_keeps_its_kind() -> None:
    graph = capture(Convolutional.made(), Convolutional.shape(), levels(3)).graph
    assert graph.types["input"].kind == levels(3)


# --- sabotage is found -----------------------------------------------------------------------------------


def _with_op(found: Capture, name: str, **changes: Any) -> Capture:
    nodes = tuple(
        replace(node, op=replace(node.op, **changes)) if node.name == name else node
        for node in found.graph.nodes
    )
    return replace(found, graph=found.graph.replace(nodes=nodes))


def _one_ulp(array: np.ndarray, index: int) -> np.ndarray:
    changed = array.copy()
    changed.flat[index] = np.nextafter(changed.flat[index], np.float32(np.inf))
    return changed


@pytest.mark.parametrize(
    ("name", "index"),
    [("patch_embed.stages.0.conv_bn.block.0", 4), ("blocks.0.mlp.fc2.0", 0), ("head", 0)],
)
def test_a_weight_that_is_off_by_one_ulp_is_found(name: str, index: int) -> None:
    found = captured_spikformer()
    weight = _one_ulp(found.graph.node(name).op.weight, index)  # type: ignore[attr-defined]
    with pytest.raises(InternalError, match="SL0306"):
        prove_capture(_with_op(found, name, weight=weight), _float(spikformer_frames()))


def test_the_first_value_that_differs_is_named() -> None:
    found = captured_spikformer()
    norm = found.graph.node("blocks.0.mlp.fc1.1").op
    changed = _with_op(found, "blocks.0.mlp.fc1.1", bias=norm.bias + 0.01)  # type: ignore[attr-defined]
    with pytest.raises(InternalError, match=r"SL0306 blocks\.0\.mlp\.neuron1.* at step 0 by"):
        prove_capture(changed, _float(spikformer_frames()))


def test_a_scale_that_eager_pytorch_divides_by_must_be_divided_by() -> None:
    found = captured(Attention)
    assert {name: float(divisor) for name, divisor in found.divisors.items()} == {
        "div": np.float32(1.7),
        "div.1": 3.0,
    }
    prove_capture(found, _float(Attention.frames()))
    with pytest.raises(InternalError, match="SL0306 lif, potential: differs"):
        prove_capture(replace(found, divisors={}), _float(Attention.frames()))


def test_a_neuron_with_another_state_is_found() -> None:
    """The capture proves the modules as they are now, not as they were."""
    model = Convolutional.made()
    found = capture(model, Convolutional.shape(), SPIKES)
    frames = _float(Convolutional.frames())
    prove_capture(found, frames)
    interpreter_sees = replace(found, graph=_swapped(found.graph))
    with pytest.raises(InternalError, match="SL0306"):
        prove_capture(interpreter_sees, frames)


def _swapped(graph: Graph) -> Graph:
    """The residual adds a branch to itself."""
    nodes = tuple(
        replace(node, inputs=(node.inputs[0], node.inputs[0])) if node.name == "add" else node
        for node in graph.nodes
    )
    return graph.replace(nodes=nodes)


# --- the model is left as it was -------------------------------------------------------------------------


def test_the_model_is_unchanged() -> None:
    model = spikformer(seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [parameter.requires_grad for parameter in model.parameters()]
    own = {name: "forward" in vars(module) for name, module in model.named_modules()}
    with torch.no_grad():
        output = model(_float(spikformer_frames()))
    functional.reset_net(model)

    capture(model, SPIKFORMER_SHAPE, SPIKES)

    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert [parameter.requires_grad for parameter in model.parameters()] == gradients
    assert {name: "forward" in vars(module) for name, module in model.named_modules()} == own
    with torch.no_grad():
        assert torch.equal(model(_float(spikformer_frames())), output)
    functional.reset_net(model)


def test_a_forward_that_the_user_replaced_stays_replaced() -> None:
    module = lif()

    def own(x: Tensor) -> Tensor:
        return x

    module.forward = own
    with opaque_neurons([module]):
        assert module.forward is not own
    assert module.forward is own


def test_forwards_are_restored_when_the_export_fails() -> None:
    model = Convolutional.made()
    with pytest.raises(UnsupportedError, match="SL0301"):
        capture(model, InputShape.parse("T,B,3,8,8"), SPIKES)
    assert "forward" not in vars(model.lif1)


def test_state_that_is_left_over_does_not_leak_into_the_graph() -> None:
    clean = capture(spikformer(seed=2), SPIKFORMER_SHAPE, SPIKES)
    model = spikformer(seed=2)
    with torch.no_grad():
        model(_float(spikformer_frames(seed=5, batch=4)))  # membranes of another batch
    assert not isinstance(model.blocks[0].attn.attn_lif.v, float)
    dirty = capture(model, SPIKFORMER_SHAPE, SPIKES)
    assert to_text(dirty.graph) == to_text(clean.graph)
    assert model.blocks[0].attn.attn_lif.v == 0.0
    prove_capture(dirty, _float(spikformer_frames()))


def test_state_of_other_modules_is_reset_too() -> None:
    """It is no neuron, so that its state is a constant of the export."""

    class Remembers(_Vector):
        def __init__(self) -> None:
            super().__init__()
            vars(self)["memory"] = torch.full((6,), 7.0)

        def reset(self) -> None:
            vars(self)["memory"] = torch.zeros(6)

        def forward(self, x: Tensor) -> Any:
            return self.lif(self.fc(x) + vars(self)["memory"])

    (added,) = (
        node for node in capture(Remembers(), VECTORS, SPIKES).graph.nodes if node.op.name == "affine"
    )
    assert not added.op.offset.any()  # type: ignore[attr-defined]


def test_a_model_is_captured_twice() -> None:
    model = Convolutional.made()
    first, second = (capture(model, Convolutional.shape(), SPIKES) for _ in range(2))
    assert to_text(first.graph) == to_text(second.graph)


def test_a_model_in_training_mode_is_captured_as_it_evaluates() -> None:
    model = Convolutional.made()
    expected = capture(model, Convolutional.shape(), SPIKES)
    model.train()
    assert to_text(capture(model, Convolutional.shape(), SPIKES).graph) == to_text(expected.graph)


def test_neurons_that_nothing_reads_are_reported_and_left_out() -> None:
    class Unread(_Vector):
        def forward(self, x: Tensor) -> Any:
            self.spare(self.fc(x))
            return self.lif(self.fc(x))

        def __init__(self) -> None:
            super().__init__()
            self.spare, self.never = lif(), lif()

    found = capture(Unread(), VECTORS, SPIKES)
    assert found.dead == ("spare", "never")
    assert [node.name for node in found.graph.neurons()] == ["lif"]


# --- what is refused -------------------------------------------------------------------------------------


class _Vector(nn.Module):
    """A linear map and a neuron; subclasses say what they do with them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(6, 6)
        self.lif = lif(v_threshold=0.3)


def _refused(model: nn.Module, shape: str = "T,B,6") -> list[str]:
    with pytest.raises(UnsupportedError) as caught:
        capture(model, InputShape.parse(shape), SPIKES)
    assert caught.value.exit_status == 2
    return [str(problem) for problem in caught.value.problems]


def test_operations_without_a_counterpart_are_all_listed_with_their_lines() -> None:
    class Odd(_Vector):
        def __init__(self) -> None:
            super().__init__()
            self.gate = layer.SeqToANNContainer(nn.Hardtanh())

        def forward(self, x: Tensor) -> Any:
            gated = self.gate(self.fc(x))
            return self.lif(torch.sort(x, -1)[0] + gated).cumsum(-1) + x.sin()

    problems = _refused(Odd())
    assert len(problems) == 3
    assert re.match(r"SL0302 gate\.0 \(\S+\.py:\d+\): hardtanh has no counterpart", problems[0])
    assert re.match(r"SL0302 test_capture\.py:\d+: sort has no counterpart", problems[1])
    assert re.match(r"SL0302 test_capture\.py:\d+: sin has no counterpart", problems[2])


def test_unknown_neurons_and_operations_are_listed_together() -> None:
    class Odd(_Vector):
        def __init__(self) -> None:
            super().__init__()
            changed = {"neuronal_fire": lambda self: self.v > 0.5}
            self.lif = type("MyNode", (neuron.LIFNode,), changed)(step_mode="m")

        def forward(self, x: Tensor) -> Any:
            return self.lif(torch.sin(self.fc(x)))

    problems = _refused(Odd())
    assert [problem[:10] for problem in problems] == ["SL0304 lif", "SL0302 tes"]


def test_a_neuron_alone_is_no_network() -> None:
    assert _refused(lif()) == [
        "SL0304 LIFNode: is a neuron layer and no network; put layers with weights around it"
    ]


class _MeanOverTime(_Vector):
    def forward(self, x: Tensor) -> Any:
        return self.lif(self.fc(x)).mean(0)


class _TimeIntoChannels(_Vector):
    def forward(self, x: Tensor) -> Any:
        return self.lif(self.fc(x)).transpose(0, 1).flatten(1)


class _BatchIntoChannels(_Vector):
    def forward(self, x: Tensor) -> Any:
        return self.lif(self.fc(x)).flatten(1)


class _BatchProduct(_Vector):
    def forward(self, x: Tensor) -> Any:
        spikes = self.lif(self.fc(x))
        return spikes @ spikes.transpose(-2, -1)


class _TimeDependentShape(_Vector):
    def forward(self, x: Tensor) -> Any:
        return torch.cat([self.lif(self.fc(x[t : t + 1])) for t in range(x.shape[0])])


class _FoldedOutput(_Vector):
    def forward(self, x: Tensor) -> Any:
        return self.lif(self.fc(x)).flatten(0, 1)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (_TimeIntoChannels, "flatten.using_ints mixes time or batch with other axes: [3, 5, 6] to [3, 30]"),
        (_BatchIntoChannels, "flatten.using_ints mixes time or batch"),
        (_BatchProduct, "matmul mixes time or batch with other axes: a value laid out as [T, 6, B]"),
        (_TimeDependentShape, "computes something else when the number of steps or samples changes"),
        (_FoldedOutput, "the model's output: is laid out as [T*B, ...]"),
    ],
)
def test_what_mixes_time_or_batch_with_other_axes_is_refused(model: type[nn.Module], named: str) -> None:
    (problem,) = _refused(model())
    assert problem.startswith("SL0303")
    assert named in problem


class _Rolled(_Vector):
    def forward(self, x: Tensor) -> Any:
        return self.lif(self.fc(x.roll(1, 0)))


class _JoinedOverTime(_Vector):
    def forward(self, x: Tensor) -> Any:
        return torch.cat([x, self.lif(self.fc(x))], 0)


class _SumOverBatch(_Vector):
    def forward(self, x: Tensor) -> Any:
        return self.lif(self.fc(x)).sum(1)


@pytest.mark.parametrize("model", [_Rolled, _JoinedOverTime, _SumOverBatch])
def test_other_ways_to_mix_time_are_refused_too(model: type[nn.Module]) -> None:
    (problem,) = _refused(model())
    assert problem.startswith(("SL0302", "SL0303"))


class _NeuronAlongBatch(_Vector):
    def forward(self, x: Tensor) -> Any:
        return self.lif(self.fc(x))


class _WrongUnfold(_Vector):
    """Folds [B, T] and unfolds [T, B]: with one step or one sample at a time it seems to work."""

    def forward(self, x: Tensor) -> Any:
        samples, steps = x.shape[:2]
        return self.lif(self.fc(x.flatten(0, 1)).reshape(steps, samples, 6))


class _WrongFold(_Vector):
    """Adds a branch that was folded the other way round."""

    def forward(self, x: Tensor) -> Any:
        samples, steps = x.shape[:2]
        both = self.fc(x.flatten(0, 1)) + self.fc(x.transpose(0, 1).flatten(0, 1))
        return self.lif(both.reshape(samples, steps, 6).transpose(0, 1))


class _Exchanged(_Vector):
    def forward(self, x: Tensor) -> Any:
        samples, steps = x.shape[:2]
        return self.lif(x.reshape(steps, samples, 6))


@pytest.mark.parametrize(
    ("model", "shape", "named"),
    [
        (_NeuronAlongBatch, "B,T,6", "the neuron lif runs along axis 0 of [B,T, ...], which is not time"),
        (_WrongUnfold, "B,T,6", "exchanges time and batch by a reshape, which mixes the samples"),
        (_WrongFold, "B,T,6", "its operands are laid out as [B*T, ...] and [T*B, ...]"),
        (_Exchanged, "B,T,6", "exchanges time and batch by a reshape, which mixes the samples"),
    ],
)
def test_time_and_batch_in_each_others_place_are_refused(
    model: type[nn.Module], shape: str, named: str
) -> None:
    (problem,) = _refused(model(), shape)
    assert problem.startswith("SL0302")
    assert named in problem


def test_the_wrong_unfold_really_computes_something_else_when_it_is_stepped() -> None:
    """Why it must be refused although each single step agrees with eager PyTorch."""
    model = _WrongUnfold().eval()
    frames = (torch.rand(5, 3, 6, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    stepped, _ = run_eager(model, InputShape.parse("B,T,6"), frames)
    with torch.no_grad():
        at_once = model(frames.transpose(0, 1))
    assert not torch.equal(stepped, at_once)


class _SingleStep(_Vector):
    def __init__(self) -> None:
        super().__init__()
        self.lif = neuron.LIFNode(v_threshold=0.3)  # step_mode is "s" by default

    def forward(self, x: Tensor) -> Any:
        return self.lif(self.fc(x))


def test_a_neuron_that_takes_time_for_a_batch_is_refused() -> None:
    (problem,) = _refused(_SingleStep())
    assert "SL0302" in problem
    assert "single-step mode" in problem
    assert "set_step_mode(model, 'm')" in problem


class _Twice(_Vector):
    def forward(self, x: Tensor) -> Any:
        return self.lif(self.lif(self.fc(x)))


class _OnAConstant(_Vector):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.full((1, 1, 6), 0.4))
        self.token_lif = lif()

    def forward(self, x: Tensor) -> Any:
        return self.lif(self.fc(x)) + self.token_lif(self.token)


class _TwoOutputs(_Vector):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.lif(self.fc(x)), self.fc(x)


class _NoOutput(_Vector):
    def forward(self, x: Tensor) -> Any:
        return self.fc(torch.ones(1, 1, 6))


class _ScaledResidual(_Vector):
    def forward(self, x: Tensor) -> Any:
        return self.lif(torch.add(self.fc(x), x, alpha=2))


class _TimeConstant(_Vector):
    def forward(self, x: Tensor) -> Any:
        return self.lif(self.fc(x) + torch.arange(float(x.shape[0])).reshape(-1, 1, 1))


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (_Twice, "the neuron lif is called twice, and its state is shared"),
        (_OnAConstant, "the neuron token_lif runs on a constant"),
        (_TwoOutputs, "2 of 2 outputs depend on the input"),
        (_NoOutput, "0 of 1 outputs depend on the input"),
        (_ScaledResidual, "it scales one operand"),
        (_MeanOverTime, "it reduces time, and the number of steps is not known: give --steps"),
        (_TimeConstant, "its constant differs over time, and the number of steps is not known"),
    ],
)
def test_other_things_without_a_counterpart(model: type[nn.Module], named: str) -> None:
    (problem,) = _refused(model())
    assert problem.startswith("SL0302")
    assert named in problem


def test_a_model_that_does_not_run_on_its_input() -> None:
    (problem,) = _refused(_NeuronAlongBatch(), "T,B,7")
    assert problem.startswith("SL0301 _NeuronAlongBatch: cannot be exported with an input of [5, 3, 7]")
    assert "--input-shape" in problem


def test_a_model_that_fixes_its_number_of_steps_is_refused() -> None:
    class Fixed(_Vector):
        def forward(self, x: Tensor) -> Any:
            return self.lif(self.fc(x).reshape(5, -1, 6))

    (problem,) = _refused(Fixed())
    assert problem.startswith(("SL0301", "SL0303"))


# --- what is evaluated once ------------------------------------------------------------------------------


def test_weights_that_are_computed_from_parameters_are_evaluated_once() -> None:
    class Computed(_Vector):
        def __init__(self) -> None:
            super().__init__()
            self.raw = nn.Parameter(torch.randn(12, 6))

        def forward(self, x: Tensor) -> Any:
            first, _ = (self.raw.clamp(-0.5, 0.5) * 2).chunk(2)  # as a quantizer of weights does
            return self.lif(nn.functional.linear(x, first))

    model = Computed()
    found = capture(model, VECTORS, SPIKES)
    weight = found.graph.nodes[0].op.weight  # type: ignore[attr-defined]
    np.testing.assert_array_equal(weight, (model.raw[:6].clamp(-0.5, 0.5) * 2).detach().numpy())
    assert found.weights == {}
    prove_capture(found, (torch.rand(5, 3, 6) < 0.5).float())


def test_outputs_may_be_wrapped() -> None:
    class Wrapped(_Vector):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": self.fc(self.lif(self.fc(x)))}

    prove_capture(capture(Wrapped(), VECTORS, SPIKES), (torch.rand(5, 3, 6) < 0.5).float())


def test_a_layout_that_is_turned_round_within_the_model() -> None:
    assert captured(BatchFirst).leads["conv"] is Lead.FOLDED_BATCH_FIRST
    assert captured(BatchFirst).leads["lif"] is Lead.TIME_BATCH


# --- quiet -----------------------------------------------------------------------------------------------


def test_pytorch_logs_nothing_while_a_model_is_captured(caplog: pytest.LogCaptureFixture) -> None:
    """A failed export makes PyTorch log the whole stack of it before it raises."""
    logger = logging.getLogger("torch")
    logger.addHandler(caplog.handler)
    level = logger.level
    try:
        _refused(_NeuronAlongBatch(), "T,B,7")
        capture(_NeuronAlongBatch(), VECTORS, SPIKES)
    finally:
        logger.removeHandler(caplog.handler)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert logger.level == level


# --- shapes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        ((5, 3, 8, 4), (7, 2, 8, 4), (Lead.TIME_BATCH, (8, 4))),
        ((3, 5, 8), (2, 7, 8), (Lead.BATCH_TIME, (8,))),
        ((15, 8), (14, 8), (Lead.FOLDED, (8,))),
        ((8, 4), (8, 4), (Lead.NONE, (8, 4))),
        ((5, 3), (7, 2), (Lead.TIME_BATCH, ())),
        ((15,), (14,), (Lead.FOLDED, ())),
        ((5, 8, 3), (7, 8, 2), None),
        ((5, 24), (7, 16), None),
        ((3, 8), (2, 8), (Lead.BATCH, (8,))),
        ((5, 8), (7, 8), None),
        ((5, 3, 3), (7, 2, 2), None),
        ((15, 15), (14, 14), None),
    ],
)
def test_axes_are_told_by_two_captures(first: Any, second: Any, result: Any) -> None:
    assert classify(first, second) == result


@pytest.mark.parametrize(
    "text", ["", "T", "2,34,34", "T*B,4", "B,T,T", "T,B,x", "T,B,0", "T,B,-1", "t,b,3", "T,B,"]
)
def test_malformed_shapes_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"SL0901 --input-shape"):
        InputShape.parse(text)


@pytest.mark.parametrize("text", ["T,B,2,34,34", "B,T,2,34,34", "B,3,32,32", "T,B"])
def test_shapes_as_text(text: str) -> None:
    assert str(InputShape.parse(text)) == text
    assert str(InputShape.parse(text.replace(",", " , "))) == text


def test_the_list_of_operations_has_what_spikformer_needs() -> None:
    assert {"conv2d", "conv1d", "linear", "batch_norm", "matmul", "add.Tensor"} <= set(supported_operations())
