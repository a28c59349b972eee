"""Models of our own after published ones without public code: captured and run exactly."""

from __future__ import annotations

import pytest

from spikeloom.compiler.models import KnownModel
from tests.published.calibrated import compiled, row_of
from tests.published.factories import convolutional_stem
from tests.published.own import OWN, build_own

EACH = pytest.mark.parametrize("model", OWN, ids=lambda model: model.name)


@EACH
def test_a_reduced_size_runs_exactly(model: KnownModel) -> None:
    built, shape = build_own(model, reduced=True)
    row = row_of(built, compiled(built, shape, model.steps))
    assert row.proved > 0
    assert min(row.rates.values()) > 0
    assert row.mismatches == 0
    assert row.compared >= row.decisions > 0


def test_spikformer_v2_is_as_large_as_its_paper_says() -> None:
    network = convolutional_stem.SpikformerV2(16, 768, 12, 1000, 1)
    counted = sum(parameter.numel() for parameter in network.parameters())
    assert round(counted / 1e6) == 172  # «a 172M 16-layer Spikformer V2», abstract
