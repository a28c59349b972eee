"""A bundle as a netx file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spikeloom.atomic import replacing
from spikeloom.compiler.bundle import Bundle
from spikeloom.compiler.frontends.netx.write import netx_bytes
from spikeloom.runtime.events.array_recipe import read_recipe


def write_as_netx(bundle: Bundle, path: Path) -> tuple[dict[str, Any], list[str]]:
    """Write the integer graph of a bundle as ``.net``.

    Returns:
        The file and its bytes; and what was written, in a sentence.

    Raises:
        UnsupportedError: SL0602, what netx cannot hold; all is listed.
    """
    data = netx_bytes(bundle.graph, read_recipe(bundle.json("recipe.json")).steps)
    with replacing(path) as draft:
        draft.write_bytes(data)
    return {"output": str(path), "bytes": len(data)}, [f"wrote {path} ({len(data):,} bytes)"]
