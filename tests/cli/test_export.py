"""``export``: a compiled spiking transformer as NIR, in its three modes."""

from __future__ import annotations

from pathlib import Path

from spikeloom.compiler.bundle import graph_members, read_bundle
from spikeloom.compiler.frontends.nir.export.graph import from_nir
from spikeloom.compiler.frontends.nir.export.partition import read_partition
from spikeloom.compiler.frontends.nir.file import read_nir
from tests.cli.terminal import refused, spikeloom


def test_the_command_exports_a_bundle(bundle: Path, tmp_path: Path) -> None:
    """A spiking transformer: refused with a list, written in parts, and whole with nodes of our own."""
    told = refused("export", bundle, "--to", "nir", "-o", tmp_path / "a.nir", status=2, within=tmp_path)
    assert {problem.code for problem in told} == {"SL0212"}
    assert any("matmul" in problem.what for problem in told)
    custom = ("--mode", "custom", "-o", tmp_path / "b.nir", "--json")
    document = spikeloom("export", bundle, "--to", "nir", *custom).json
    assert document["custom"] > 0
    again = from_nir(read_nir(tmp_path / "b.nir"))
    assert graph_members(again) == graph_members(read_bundle(bundle).graph)
    parts = ("--mode", "partition", "-o", tmp_path / "parts")
    assert "of them glue" in spikeloom("export", bundle, "--to", "nir", *parts).out
    assert read_partition(tmp_path / "parts").outputs == read_bundle(bundle).graph.outputs
    refused("export", bundle, "--to", "nir", *parts, within=tmp_path)
    (problem,) = refused("export", bundle, "--to", "svg", *parts, within=tmp_path)
    assert problem.where == "--to"
