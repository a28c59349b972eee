"""docs/neurons.md names every neuron that is known, and every one that is refused by name."""

from __future__ import annotations

from pathlib import Path

from spikeloom.compiler.frontends.torch.neurons import LIBRARIES


def test_the_page_of_neurons_is_complete(root: Path) -> None:
    page = (root / "docs" / "neurons.md").read_text()
    for library in LIBRARIES:
        names = {*library.equations, *library.refused}
        assert {name for name in names if f"`{name}`" not in page} == set(), library.name
        assert not set(library.equations) & set(library.refused)
