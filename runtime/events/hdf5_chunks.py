"""Whether the chunks of an HDF5 data set are as long as they must be.

HDF5 hands out a whole chunk whatever its stored bytes decode to: where they are too few, the rest is what lay
in memory before, other in each reading. A data set whose chunks are so is refused before it is read.
"""

from __future__ import annotations

import zlib
from math import prod
from typing import TYPE_CHECKING, Any

from spikeloom.runtime.events.stream import Malformed

if TYPE_CHECKING:
    import h5py

_DEFLATE = 1
_KEEP_LENGTH = (2, 3)  # shuffle, and Fletcher's sum


def require_whole_chunks(found: h5py.Dataset, name: str) -> None:
    """Refuse a data set with stored chunks that hold less than the layout says.

    Chunks that are stored as they are need that many bytes, each of them. Of deflated ones the first is
    inflated: a damaged layout makes all of them too short, and damage in one alone breaks its checksum. What
    other codecs hold cannot be known here.

    Raises:
        Malformed: there is such a chunk.
    """
    if found.chunks is None or not found.size:
        return
    wanted = prod(found.chunks) * found.id.get_type().get_size()
    plist = found.id.get_create_plist()
    filters = [plist.get_filter(index)[0] for index in range(plist.get_nfilters())]
    if found.id.chunk_iter(lambda chunk: _is_short(chunk, filters, wanted) or None):
        raise Malformed(f"{name} is stored in chunks that are cut off", f"{wanted:,} bytes each")
    if _DEFLATE in filters and (got := _inflated(found, wanted)) < wanted:
        raise Malformed(f"{name} is stored in chunks that are cut off", f"{wanted:,} bytes each", f"{got:,}")


def _is_short(chunk: Any, filters: list[int], wanted: int) -> bool:
    """Whether a chunk that no codec has shortened is shorter than it must be."""
    used = [number for place, number in enumerate(filters) if not chunk.filter_mask >> place & 1]
    return set(used) <= set(_KEEP_LENGTH) and chunk.size < wanted


def _inflated(found: h5py.Dataset, wanted: int) -> int:
    """Bytes in the first chunk, counted up to ``wanted``; as many where that cannot be told."""
    if not found.id.get_num_chunks():
        return wanted
    mask, data = found.id.read_direct_chunk(found.id.get_chunk_info(0).chunk_offset)
    try:
        return wanted if mask else len(zlib.decompressobj().decompress(data, wanted))
    except zlib.error:
        return wanted  # HDF5 will find that too
