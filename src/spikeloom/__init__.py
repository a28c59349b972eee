"""Spikeloom puts trained spiking transformers on neuromorphic hardware."""

from __future__ import annotations

__version__ = "0.1.0"
