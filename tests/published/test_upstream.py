"""The authors' own unmodified code: captured at the published size, run exactly at a reduced one."""

from __future__ import annotations

import re

import pytest

from spikeloom.compiler.frontends.torch.contents import Entry, guess_family
from spikeloom.compiler.models import KnownModel, known_models
from tests.published.calibrated import compiled, row_of
from tests.published.upstream import VARIABLE, build, clone_of

pytestmark = [pytest.mark.upstream, pytest.mark.filterwarnings("ignore")]  # of the authors' own code
KNOWN = pytest.mark.parametrize("model", known_models(), ids=lambda model: model.name)


@pytest.fixture(autouse=True)
def _needs_a_clone(request: pytest.FixtureRequest) -> None:
    model: KnownModel = request.getfixturevalue("model")
    if clone_of(model) is None:
        pytest.skip(f"no clone of {model.repository} in {VARIABLE}")


@KNOWN
def test_the_published_size_is_captured_exactly(model: KnownModel) -> None:
    built, shape = build(model, reduced=False)
    row = row_of(built, compiled(built, shape, model.steps, stop_after="capture"))
    assert row.proved > 0
    if model.parameters:
        assert row.parameters / 1e6 == pytest.approx(model.parameters, rel=0.005)


@KNOWN
def test_the_reduced_size_runs_exactly(model: KnownModel) -> None:
    built, shape = build(model, reduced=True)
    row = row_of(built, compiled(built, shape, model.steps))
    assert min(row.rates.values()) > 0
    assert row.mismatches == 0
    assert row.compared >= row.decisions > 0
    entries = [Entry(name, str(t.dtype), tuple(t.shape)) for name, t in built.state_dict().items()]
    words = re.split(r" \(| or | V\d", guess_family(entries))
    assert any(word in model.title for word in words if word)
    if "LSQ" in model.remark:
        assert row.taken_over >= row.weights - 1  # all but the readout
