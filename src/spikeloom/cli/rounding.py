"""The options that say how weights are rounded, and the table of what that did to each layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args

import typer
from rich.table import Table

from spikeloom.cli.console import counted, percent, table
from spikeloom.cli.console import output as console
from spikeloom.compiler.pipeline.chains import FORMS, ChainChoice
from spikeloom.compiler.quantize.sensitivity import NARROWEST, Budget
from spikeloom.compiler.quantize.weights import Method, Range
from spikeloom.errors import InputError

WIDEST = 8
AUTO = "auto"


@dataclass(frozen=True)
class RoundingOptions:
    """The options that say how weights are rounded; asking for a choice that there is not raises SL0901."""

    PANEL = "Rounding"

    bits: Annotated[
        str,
        typer.Option(
            help=f"Width of a weight, {NARROWEST} to {WIDEST}; or auto, for each layer what it needs."
        ),
    ] = str(WIDEST)
    max_flips: Annotated[
        float | None,
        typer.Option(help="With --bits auto: the share of decisions that may differ, summed over layers."),
    ] = None
    max_bytes: Annotated[
        int | None, typer.Option(help="With --bits auto: the bytes that all weights may take.", min=1)
    ] = None
    range_: Annotated[
        str, typer.Option("--range", help=f"How ranges are chosen: {', '.join(get_args(Method))}.")
    ] = "error"
    percentile: Annotated[
        float, typer.Option(help="Of the magnitudes, for --range percentile.", min=50.0, max=100.0)
    ] = 99.9
    correct: Annotated[
        bool | None,
        typer.Option(
            "--correct/--no-correct",
            help="Correct weights, biases and thresholds after rounding; by default below 6 bits.",
            show_default=False,
        ),
    ] = None
    repconv: Annotated[
        str,
        typer.Option(
            help=f"What becomes of chains of convolutions without a neuron between them: {', '.join(FORMS)}; "
            "dense makes one of each, auto the cheaper where no trained grid is lost."
        ),
    ] = "auto"

    @property
    def width(self) -> int:
        """The width of weights; with ``auto`` the widest that a layer may get."""
        return widths(self.bits, self.max_flips, self.max_bytes)[0]

    @property
    def budget(self) -> Budget | None:
        """The budget for which each layer gets its own width."""
        return widths(self.bits, self.max_flips, self.max_bytes)[1]

    @property
    def within(self) -> Range:
        """How ranges are chosen."""
        return ranges(self.range_, self.percentile)

    @property
    def chains(self) -> str:
        """What becomes of chains of convolutions."""
        if self.repconv not in FORMS:
            raise InputError.of(
                "SL0901", "--repconv", "there is no such form", wanted=" or ".join(FORMS), got=self.repconv
            )
        return self.repconv


def print_chains(chains: Sequence[ChainChoice]) -> None:
    """What became of chains of convolutions, and why."""
    for form, what in (("dense", "made one convolution each"), ("chain", "left as chains")):
        for reason in dict.fromkeys(chain.reason for chain in chains if chain.form == form):
            of = [chain for chain in chains if (chain.form, chain.reason) == (form, reason)]
            before, after = (sum(getattr(chain, kind) for chain in of) for kind in ("chain", "dense"))
            number = counted(len(of), "RepConv chain")
            costs = f"{before:,.0f} operations a step as chains, {after:,.0f} as one convolution each"
            console.print(f"{number} {what} ({reason}): {costs}", markup=False)


def widths(bits: str, flips: float | None, size: int | None) -> tuple[int, Budget | None]:
    """The width of weights, and the budget for which each layer gets its own.

    Raises:
        InputError: SL0901, these options do not go together.

    >>> widths("4", None, None), widths("auto", 0.01, None)
    ((4, None), (8, Budget(flips=0.01, size=None)))
    """
    if bits == AUTO:
        return WIDEST, Budget(flips, size)
    if not bits.isdecimal() or not NARROWEST <= int(bits) <= WIDEST:
        raise InputError.of(
            "SL0901",
            "--bits",
            "is no width of a weight",
            wanted=f"{NARROWEST} to {WIDEST}, or auto",
            got=bits,
        )
    if flips is not None or size is not None:
        option = "--max-flips" if flips is not None else "--max-bytes"
        raise InputError.of("SL0901", option, "is a budget without a choice", remedy="give --bits auto")
    return int(bits), None


def ranges(method: str, percentile: float) -> Range:
    """How ranges are chosen.

    Raises:
        InputError: SL0901, there is no such method.
    """
    for known in get_args(Method):
        if method == known:
            return Range(known, percentile)
    known = " or ".join(get_args(Method))
    raise InputError.of("SL0901", "--range", "there is no such method", wanted=known, got=method)


def layers_table(title: str, layers: Sequence[Any]) -> Table:
    """One line a layer: bits, range in use of all there is, flips, firing rates before and after, alarm."""
    shown = table(title, "layer", "bits", "range", "forced", "cumul.", "float", "integer", "alarm")
    shown.padding = (0, 1)
    for column in shown.columns[1:-1]:
        column.no_wrap = True  # a narrow terminal folds the names, not the figures
    for one in layers:
        used = f"{one.largest}/{one.limit}" if one.bits else "-"
        shares = [_share(value) for value in (one.forced, one.cumulative, one.trained, one.integer)]
        shown.add_row(one.layer or one.weights, str(one.bits or "-"), used, *shares, one.alarm)
    return shown


def _share(value: float | None) -> str:
    return "-" if value is None else percent(value)
