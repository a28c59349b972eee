"""A small integer graph."""

from __future__ import annotations

import pytest

from spikeloom.compiler.graph.graph import Graph
from tests.tiny_network import tiny_network


@pytest.fixture
def network() -> Graph:
    return tiny_network()
