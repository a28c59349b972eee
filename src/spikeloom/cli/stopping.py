"""Ctrl-C and SIGTERM: how a command that works for long comes to an end in good order."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Any

from spikeloom.runtime.events.stream import Events

TERMINATED = 143
"""Exit status after SIGTERM, as a shell gives it."""


class StoppedError(Exception):
    """A stream ends here because the user wants it; what was begun is not finished."""


class Stop:
    """Whether the user asked for the end.

    Attributes:
        asked: so.
        wake: called when it is asked, to end what waits; from a signal handler.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.asked = False
        self.wake = wake

    def events(self, chunks: Iterable[Events]) -> Iterator[Events]:
        """The chunks until the end is asked for.

        Raises:
            StoppedError: it was; all chunks that were given have been taken whole.
        """
        for chunk in chunks:
            if self.asked:
                break
            yield chunk
        if self.asked:
            raise StoppedError


@contextmanager
def stopping(wake: Callable[[], None]) -> Iterator[Stop]:
    """Within, the first Ctrl-C or SIGTERM only asks for the end; the second works as ever."""
    stop = Stop(wake)
    with ExitStack() as handlers:

        def ask(number: int, frame: FrameType | None) -> None:
            stop.asked = True
            handlers.close()
            stop.wake()

        handlers.enter_context(_handling((signal.SIGINT, signal.SIGTERM), ask))
        yield stop


@contextmanager
def interrupted_by_sigterm() -> Iterator[Stop]:
    """Within, SIGTERM interrupts this process as Ctrl-C does: what is begun is undone or closed."""
    stop = Stop(lambda: None)

    def terminate(number: int, frame: FrameType | None) -> None:
        stop.asked = True
        raise KeyboardInterrupt

    with _handling((signal.SIGTERM,), terminate):
        yield stop


@contextmanager
def _handling(numbers: Iterable[signal.Signals], handler: Any) -> Iterator[None]:
    """Within, handle these signals; those that this process was started to ignore it goes on to ignore."""
    if current_thread() is not main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    heard = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    try:
        for number in heard:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in heard.items():
            signal.signal(number, old)
