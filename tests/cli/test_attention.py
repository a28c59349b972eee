"""The form of attention that a user asks for: compiled, verified, estimated, in the bundle's own graph."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikeloom.compiler.bundle import read_bundle
from spikeloom.targets.loihi.attention import streamed_chains
from tests.cli.conftest import Workshop
from tests.cli.terminal import spikeloom


@pytest.mark.parametrize(("form", "slots"), [("rows", 8), ("memory", 16)])
def test_a_form_is_kept_in_the_bundle(form: str, slots: int, workshop: Workshop, tmp_path: Path) -> None:
    bundle = tmp_path / "a.loom"
    cost = spikeloom(*workshop.compile(bundle, "--attention", form, "--json")).json["lowering"]
    (taken,) = (way for way in cost["attention"] if way["taken"])
    assert taken["form"].startswith(form)
    assert (taken["chip_steps"], cost["chip_steps"]) == (slots, slots)
    ((_, stream),) = streamed_chains(read_bundle(bundle).graph).values()
    assert (stream.kind, stream.slots) == (form, slots)
    engines = "reference,loihi,onnx,event"
    verified = spikeloom("verify", bundle, "--events", workshop.test, "--engines", engines, "--json").json
    assert verified["mismatches"] == 0
    document = spikeloom("estimate", bundle, "--events", workshop.test, "--json").json
    assert document["chip"]["chip_steps_per_step"] == slots
    assert document["chip"]["pipeline_steps"] > slots


def test_other_words_and_other_targets_are_refused(workshop: Workshop, tmp_path: Path) -> None:
    wrong = spikeloom(*workshop.compile(tmp_path / "a.loom", "--attention", "slowly"), expect=4)
    assert "SL0901 --attention: no such form" in wrong.err
    onnx = workshop.compile(tmp_path / "a.loom", "--attention", "rows", "--target", "onnx")
    assert "SL0901 --attention: onnx executes attention in one way" in spikeloom(*onnx, expect=4).err
    loihi1 = workshop.compile(tmp_path / "a.loom", "--attention", "rows", "--target", "loihi1")
    assert "is streamed in 8 chip steps a network step" in spikeloom(*loihi1, expect=2).err


def test_what_lowering_costs_is_printed(workshop: Workshop, tmp_path: Path) -> None:
    told = spikeloom(*workshop.compile(tmp_path / "a.loom")).out
    for line in (
        "Lowered",
        "integer_neuron",
        "1 chip step a time step",
        "(taken)",
        "chip model known to exist",
    ):
        assert line in told
