"""From a trained network to one whose forward pass is its integer graph, for the user's own training loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from spikeloom.compiler.graph.target import find_target
from spikeloom.compiler.pipeline import Options, compile_model
from spikeloom.runtime.events.recipe import FrameRecipe

if TYPE_CHECKING:
    from torch import Tensor, nn

    from spikeloom.compiler.frontends.torch.axes import InputShape
    from spikeloom.compiler.training.network import PreparedNetwork


def prepare(
    model: nn.Module,
    input_shape: InputShape | str,
    calibration: NDArray[Any],
    *,
    target: str = "onnx",
    bits: int = 8,
    recipe: FrameRecipe | None = None,
    steps: int = 0,
    surrogate: Callable[[Tensor], Tensor] | None = None,
    options: Options | None = None,
) -> PreparedNetwork:
    """Make a trained network ready for fine-tuning on a target's grid.

    The result is an ``nn.Module`` that takes and gives what the network does, for any loss and optimiser::

        prepared = spikeloom.prepare(model, "T,B,2,34,34", frames, target="loihi2", bits=4)
        optimizer = torch.optim.AdamW(prepared.parameters(), 1e-3)
        for x, y in batches:                              # no reset is needed: a call is whole samples
            loss = cross_entropy(prepared(x).mean(0), y)
            optimizer.zero_grad(); loss.backward(); optimizer.step()
        spikeloom.compile_model(prepared, prepared.input_shape, recipe, frames, options, path)

    Its forward pass *is* the integer graph: what is compiled afterwards gives the same spikes, with no
    mismatch. Batch norms are folded before, with the statistics that were trained, and do not learn; nor
    do decays, steps of weights, and factors between units.

    Args:
        model: with its trained weights; it is captured, and not changed.
        input_shape: axes of its input, such as ``"T,B,2,34,34"``.
        calibration: as :func:`spikeloom.compile_model` takes it.
        target: whose grid.
        bits: width of a weight.
        recipe: how events become the network's frames; None if it takes arrays.
        steps: time steps a sample, where neither a recipe nor the model says it.
        surrogate: of spikes: takes potential - threshold in the units of the trained network; its gradient
            stands for that of a spike. By default the ``surrogate_function`` of the neurons' own modules.
        options: all settings of the quantizer, in the place of ``target``, ``bits`` and ``steps``.

    Raises:
        UnsupportedError: something in the model cannot be compiled for the target.
        InputError: the inputs of the compilation are bad.
    """
    from spikeloom.compiler.frontends.torch.axes import InputShape
    from spikeloom.compiler.training.network import PreparedNetwork

    given = options or Options(target, bits, steps=steps)
    shape = InputShape.parse(input_shape) if isinstance(input_shape, str) else input_shape
    settings = given.until("integer")
    run = compile_model(model, shape, recipe, calibration, settings, None)
    assert run.capture is not None
    assert run.canonical is not None
    assert run.quantized is not None
    assert run.activity is not None
    assert run.inputs is not None
    profile = find_target(given.target).profile(given.bits)
    return PreparedNetwork(
        given.target, run.capture, run.canonical, run.quantized, profile, run.activity, run.inputs.recipe,
        surrogate,
    )  # fmt: skip
