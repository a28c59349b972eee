"""Events from standard input, in a file format that needs no search: ``zcat a.raw.gz | spikeloom stream``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Event
from typing import BinaryIO

from spikeloom.errors import InputError
from spikeloom.runtime.events.formats import format_named, format_names
from spikeloom.runtime.events.live.account import LiveAccount
from spikeloom.runtime.events.live.address import Address
from spikeloom.runtime.events.source import ByteStream
from spikeloom.runtime.events.stream import Chunk, Malformed

CHUNK_EVENTS = 16384


class StdinReceiver:
    """Decodes a pipe until it ends; a sender that is too fast waits."""

    when_full = "wait"

    def __init__(self, address: Address, pipe: BinaryIO | None = None) -> None:
        """``pipe`` stands for standard input.

        Raises:
            InputError: SL0106, the format is not known or cannot be read from a pipe.
        """
        found = format_named(address.name)
        if found is None or found.seeks:
            what = "is no event format that can be read from a pipe"
            formats = {name: format_named(name) for name in format_names()}
            wanted = [name for name, one in formats.items() if one is not None and not one.seeks]
            raise InputError.of("SL0106", address, what, wanted=" or ".join(wanted))
        self._decode = found.decode
        self._where = str(address)
        self._pipe = pipe or sys.stdin.buffer

    def run(self, give: Callable[[Chunk], None], stop: Event, account: LiveAccount) -> None:
        """Read until the pipe ends.

        Raises:
            InputError: SL0108, what comes is not of the format.
        """
        account.connections += 1
        try:
            for chunk in self._decode(ByteStream(self._pipe), CHUNK_EVENTS):
                account.malformed_bytes += chunk.left_over_bytes
                account.received += len(chunk.events)
                give(Chunk(chunk.events, None, 0, chunk.unplaced, chunk.unknown))
                if stop.is_set():
                    return
        except Malformed as error:
            problem = (self._where, error.what)
            raise InputError.of("SL0108", *problem, wanted=error.wanted, got=error.got) from error
