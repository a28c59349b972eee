"""SpikingBrain's counts: spread over finer steps by its authors' own coder, they are the same counts."""

from __future__ import annotations

import pytest
import torch

from spikeloom.compiler.models import known_models
from tests.published.upstream import VARIABLE, build, clone_of


@pytest.mark.upstream
def test_counts_come_back_from_the_bits_of_their_authors() -> None:
    known = next(model for model in known_models() if model.name == "spikingbrain-blocks")
    if clone_of(known) is None:
        pytest.skip(f"no clone of {known.repository} in {VARIABLE}")
    model, _ = build(known, reduced=True)
    layer = next(module for module in model.modules() if type(module).__name__ == "QuantLinear")
    names = type(layer).forward.__globals__
    if "spike_fake_quant" not in names:
        pytest.skip("their coder needs matplotlib")
    tokens = torch.randint(0, 64, (2, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain = model(tokens)
        names["spike_is_available"] = True
        assert torch.equal(model(tokens), plain)
    assert plain.std() > 0
