"""Where a node of a graph came from, so that an error can name it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """The origin of a node: the module path in the user's model, and the line that called it.

    >>> str(Source("blocks.0.attn", "model.py", 12))
    'blocks.0.attn (model.py:12)'
    """

    module: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file else ""
        if self.module and place:
            return f"{self.module} ({place})"
        return self.module or place or "the compiler"


NOWHERE = Source()
"""The source of what the compiler made by itself."""
