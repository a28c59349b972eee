"""What the trained network does on the trial samples, which later stages are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.pipeline.compilation import Compilation

if TYPE_CHECKING:
    pass


def run_trained(run: Compilation) -> tuple[Array, dict[str, Array]]:
    """Output and spikes of the trained network on the trial samples: PyTorch's, or those of its graph."""
    return _run_graph(run) if run.capture is None else _run_eager(run)


def _run_graph(run: Compilation) -> tuple[Array, dict[str, Array]]:
    assert run.captured is not None
    assert run.inputs is not None
    graph, frames = run.captured, run.inputs.trial_real
    interpreter = Interpreter(graph)
    interpreter.reset(frames.shape[1])
    wanted = {*(node.name for node in graph.neurons()), graph.outputs[0]}
    steps = [interpreter.step(frame, keep=wanted) for frame in frames]
    output = np.stack([values[graph.outputs[0]] for values in steps])
    spikes = {
        node.name: np.stack([values[node.name] for values in steps[graph.lateness[node.name] :]])
        for node in graph.neurons()
    }
    return output[-1:] if graph.answers_at_the_end else output, spikes


def _run_eager(run: Compilation) -> tuple[Array, dict[str, Array]]:
    """Output and spikes of the trained model on the trial samples."""
    import torch

    from spikeloom.compiler.frontends.torch.eager import run_eager

    assert run.capture is not None
    assert run.inputs is not None
    frames = torch.from_numpy(run.inputs.trial_samples)
    found = run.capture
    output, spikes = run_eager(found.model, found.input_shape, frames, found)
    return output.numpy(), {name: s.numpy() for name, s in spikes.items()}
