"""``spikeloom stream`` for networks that take tokens: one step a token, and the state goes on."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from spikeloom.cli.console import counted
from spikeloom.cli.console import output as console
from spikeloom.cli.stopping import Stop, StoppedError, stopping
from spikeloom.compiler.graph.op import Array
from spikeloom.errors import InputError, Problem
from spikeloom.runtime.events.token_recipe import TokenRecipe
from spikeloom.runtime.events.token_stream import PIPE, read_tokens
from spikeloom.runtime.session import Session, StepResult
from spikeloom.runtime.session_state import SessionState, save_state


def stream_tokens(
    session: Session,
    recipe: TokenRecipe,
    source: str,
    before: SessionState | None,
    state: Path | None,
    json: bool,
) -> None:
    """Print what the network says after each token, until there are none left or the user wants the end.

    Args:
        session: of the network.
        recipe: of its tokens.
        source: an .npy file, or «stdin:tokens».
        before: where an earlier stream stood; of a file, its tokens are passed over.
        state: a file that keeps where this one stands at its end.
        json: a line of JSON for each.

    Raises:
        InputError: SL0106, this is no source of tokens; others as :meth:`Session.tokens` says.
    """
    if source != PIPE and Path(source).suffix != ".npy":
        wanted = f"an .npy file or {PIPE}"
        raise InputError.of("SL0106", source, "is no stream of tokens", wanted=wanted)
    done = before.step if before is not None and source != PIPE else 0
    count = 0
    waiting = _Waiting(read_tokens(source, recipe, done))
    with suppress(StoppedError), stopping(waiting.wake) as stop:
        for result in session.tokens(waiting.until(stop), before):
            _show(result, json)
            count += 1
    if state is not None:
        save_state(session.state(), state)
    if json:
        console.print(json_format.dumps({"summary": {"tokens": count}}), markup=False)
    else:
        console.print(counted(count, "token"))


def refuse_of_events(options: dict[str, object]) -> None:
    """Refuse the options that say how events become windows.

    Raises:
        InputError: SL0901, all that were given.
    """
    what = "belongs to streams of events, and the network takes tokens"
    if problems := [Problem("SL0901", name, what) for name, value in options.items() if value]:
        raise InputError(problems)


class _Waiting:
    """Tokens until the user wants the end, which also ends the wait for the next of a pipe."""

    def __init__(self, tokens: Iterator[Array]) -> None:
        self._tokens, self._waits = tokens, False

    def wake(self) -> None:
        """End the wait; a step that is being computed is finished first."""
        if self._waits:
            raise StoppedError

    def until(self, stop: Stop) -> Iterator[Array]:
        while not stop.asked:
            self._waits = True
            token = next(self._tokens, None)
            self._waits = False
            if token is None:
                return
            yield token


def _show(result: StepResult, json: bool) -> None:
    best = int(result.output.argmax())
    spikes = sum(result.spikes.values())
    if json:
        line = {"step": result.step, "prediction": best, "output": result.output[best], "spikes": spikes}
        console.print(json_format.dumps(line), markup=False, soft_wrap=True)
        return
    said = f"step {result.step:,}: token {best}, output {result.output[best]:.4g}, {counted(spikes, 'spike')}"
    console.print(said, markup=False)
