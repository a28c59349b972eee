"""The report of each layer: which weights drive it, and when it gives alarm."""

from __future__ import annotations

from spikeloom.compiler.agreement import compare_free_running, teacher_forced
from spikeloom.compiler.frontends.torch.eager import run_eager
from spikeloom.compiler.layer_report import LayerReport, report_layers
from tests.integer_networks import canonical, capture_of, frames_of, quantized


def _reports(name: str, bits: int = 8) -> dict[str, LayerReport]:
    import torch

    found, frames, result = capture_of(name), frames_of(name), quantized(name, "onnx", bits)
    output, spikes = run_eager(found.model, found.input_shape, torch.from_numpy(frames).float())
    arrays = {layer: train.numpy() for layer, train in spikes.items()}
    agreement = compare_free_running(output.numpy(), arrays, result.graph, frames)
    forced = teacher_forced(canonical(name)[0], result, frames, frames)
    assert set(forced.shares) == {node.name for node in result.graph.neurons()}
    return {
        one.layer or one.weights: one
        for one in report_layers(canonical(name)[0], result, agreement, forced.shares)
    }


def test_weights_stand_with_the_neurons_that_they_drive() -> None:
    found = _reports("Convolutional")
    assert [(one.layer, one.weights) for one in found.values()] == [
        ("lif1", "stem.0"),
        ("lif2", "grouped.0"),
        ("lif3", "narrow.0"),
        ("", "head"),
    ]
    assert found["head"].trained is None
    assert found["head"].bits == 8


def test_neurons_behind_products_have_no_weights() -> None:
    found = _reports("spikformer")["blocks.0.attn.attn_lif"]
    assert (found.weights, found.bits, found.error) == ("", 0, None)
    assert found.forced == 0
    assert found.trained


def test_rates_and_flips_are_those_that_were_measured() -> None:
    found = _reports("Convolutional", 2)["lif1"]
    assert found.forced is not None
    assert found.cumulative is not None
    assert 0 < found.forced < found.cumulative
    assert found.limit == 1
    assert found.largest == 1
