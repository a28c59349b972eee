"""``spikeloom stream``: events without an end through a compiled network, window by window; or tokens."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from spikeloom.atomic import require_writable
from spikeloom.cli.console import counted, errors, print_dropped, printable
from spikeloom.cli.console import output as console
from spikeloom.cli.options import BundleFile, EngineName
from spikeloom.cli.sources import Json, Strict
from spikeloom.cli.stopping import Stop, StoppedError, stopping
from spikeloom.cli.token_stream import refuse_of_events, stream_tokens
from spikeloom.compiler.bundle import read_bundle
from spikeloom.errors import InputError
from spikeloom.runtime.events.array_recipe import event_recipe
from spikeloom.runtime.events.formats import EventFile, open_events
from spikeloom.runtime.events.live.address import is_live
from spikeloom.runtime.events.live.queue import WhenFull
from spikeloom.runtime.events.live.source import QUEUE_EVENTS, LiveEvents, open_live
from spikeloom.runtime.events.stream import Events
from spikeloom.runtime.events.token_recipe import TokenRecipe
from spikeloom.runtime.session import Session
from spikeloom.runtime.session_state import SessionState, load_state, save_state
from spikeloom.runtime.windows import Reset, WindowResult, Windows

_ACCOUNT = {
    "received": ("event", "received"),
    "given": ("event", "given to the network"),
    "queue_dropped": ("event", "dropped by the full queue"),
    "lost": ("event", "lost on the way"),
    "repeated": ("event", "repeated or too late"),
    "malformed_bytes": ("byte", "of no event"),
    "packets": ("datagram", ""),
    "system_dropped_packets": ("datagram", "dropped by the operating system"),
    "connections": ("connection", "made"),
    "failures": ("connection", "failed or ended"),
    "clock_restarts": ("restart", "of the sender's clock"),
}

SAVED_EVERY = 100
"""Windows from one saving of the state to the next."""


def stream(
    bundle: BundleFile,
    source: Annotated[
        str,
        typer.Argument(
            help="A recording, tcp://HOST:PORT (a dv server), udp://HOST:PORT?layout=t64|t32|spif|numbered "
            "(a port to open here), or stdin:FORMAT; for a network of tokens FILE.npy or stdin:tokens."
        ),
    ],
    stride: Annotated[
        int | None, typer.Option(help="Frames from window to window; by default those of a sample.")
    ] = None,
    reset: Annotated[
        str, typer.Option(help="window: each window starts from rest; never: the state goes on.")
    ] = "window",
    engine: EngineName = "onnx",
    state: Annotated[
        Path | None,
        typer.Option(
            help=f"Go on from this file if it is there; save the state to it every {SAVED_EVERY} windows and "
            "at the end."
        ),
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop after so long; live sources.")] = None,
    queue: Annotated[int, typer.Option(min=1, help="Events that may wait; live sources.")] = QUEUE_EVENTS,
    when_full: Annotated[
        str | None,
        typer.Option(help="wait: the sender waits (tcp, stdin); drop: what finds the queue full (udp)."),
    ] = None,
    strict: Strict = True,
    json: Json = False,
) -> None:
    """Run a stream of events window by window, or of tokens one by one, and print each answer as it comes.

    With --json every line is an object: a window, and at the end a summary. Ctrl-C or SIGTERM stops it
    between two windows; the state is saved as at the end.
    """
    if when_full not in (None, "wait", "drop"):
        raise InputError.of("SL0901", "--when-full", "there is no such choice", wanted="wait or drop")
    if state is not None:
        require_writable(state)
    session = Session(read_bundle(bundle), engine)
    before = load_state(state) if state is not None and state.exists() else None
    if isinstance(session.recipe, TokenRecipe):
        refuse_of_events({"--stride": stride, "--seconds": seconds, "--when-full": when_full})
        stream_tokens(session, session.recipe, source, before, state, json)
        return
    windows = Windows(stride, cast(Reset, reset))
    with ExitStack() as stack:
        events: LiveEvents | EventFile
        sensor = event_recipe(session.recipe, source).geometry
        if is_live(source):
            full = cast("WhenFull | None", when_full)
            events = stack.enter_context(open_live(source, sensor, queue, full, seconds, _tell))
        else:
            events = open_events(source, sensor, strict)
        skipped = before.consumed if before and isinstance(events, EventFile) else 0
        stop = stack.enter_context(stopping(events.stop if isinstance(events, LiveEvents) else _go_on))
        count = _follow(session, _after(events, skipped), stop, windows, before, state, json)
    _summarize(session, events, count, json)


def _follow(
    session: Session,
    events: Iterable[Events],
    stop: Stop,
    windows: Windows,
    before: SessionState | None,
    state: Path | None,
    json: bool,
) -> int:
    """Run to the end, or until the user has seen enough; how many windows there were."""
    count = 0
    with suppress(StoppedError):
        for window in session.windows(stop.events(events), windows, before):
            _show(window, json)
            count += 1
            if stop.asked:
                break
            if state is not None and count % SAVED_EVERY == 0:
                save_state(session.state(), state)
    if state is not None:
        save_state(session.state(), state)
    return count


def _tell(what: str) -> None:
    """Why nothing comes, on standard error."""
    errors.print(printable(what), markup=False, soft_wrap=True)


def _go_on() -> None:
    """A recording waits for nothing."""


def _after(events: Iterable[Events], skipped: int) -> Iterator[Events]:
    """The events after the first so many."""
    for chunk in events:
        if skipped < len(chunk):
            yield chunk[skipped:]
        skipped = max(0, skipped - len(chunk))


def _show(window: WindowResult, json: bool) -> None:
    if json:
        line = {
            "first_frame": window.first_frame,
            "start_us": window.start_us,
            "end_us": window.end_us,
            "prediction": window.prediction,
            "evidence": window.evidence.tolist(),
            "spikes": sum(window.spikes.values()),
        }
        console.print(json_format.dumps(line), markup=False, soft_wrap=True)
        return
    when = f"frame {window.first_frame:,}" if window.end_us is None else f"{window.end_us / 1e6:,.3f} s"
    spikes = counted(sum(window.spikes.values()), "spike")
    console.print(
        f"{when}: class {window.prediction}, evidence {window.evidence[window.prediction]:.4g}, {spikes}",
        markup=False,
    )


def _summarize(session: Session, events: LiveEvents | EventFile, windows: int, json: bool) -> None:
    dropped = (events.report + session.dropped).to_json()
    account = events.account.to_json() if isinstance(events, LiveEvents) else None
    summary: dict[str, Any] = {"windows": windows, "dropped_events": dropped}
    if account is not None:
        summary["account"] = account
    if json:
        console.print(json_format.dumps({"summary": summary}), markup=False, soft_wrap=True)
        return
    console.print(counted(windows, "window"))
    print_dropped(dropped)
    if account is not None:
        told = [
            f"{counted(account[name], thing)} {what}".rstrip()
            for name, (thing, what) in _ACCOUNT.items()
            if account[name] or name == "received"
        ]
        console.print("live: " + ", ".join(told), markup=False, soft_wrap=True)
