"""Mappers of the literature, re-implemented by us from their descriptions; each module names its variant."""
