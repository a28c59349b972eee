"""Numbers as a person reads them: SI prefixes, percentages, digits in groups."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, log10

THIN = "\u202f"
"""A narrow space that no line breaks at: between digits, and before a unit."""

PREFIXES = (
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
    (1e-12, "p"),
)


SCALED = ("J", "s", "W", "Hz", "1/s")
"""Units that take a prefix."""

_NOTHING = 1e-9
"""Per cent that arithmetic on floating-point numbers may leave."""


def si(value: float, unit: str) -> str:
    """Three digits and an SI prefix; the unit may be a reciprocal, such as 1/s.

    >>> si(0.000153, "s"), si(1.6e8, "1/s"), si(0, "J"), si(2.5e-17, "J")
    ('153\u202fµs', '160\u202fM/s', '0\u202fJ', '2.5e-05\u202fpJ')
    """
    unit = unit.removeprefix("1")
    if value == 0:
        return f"0{THIN}{unit}"
    factor, prefix = next(
        ((f, p) for f, p in PREFIXES if abs(value) >= f * 0.9995), PREFIXES[-1]
    )  # 0.9995 of a prefix is rounded up to it
    return f"{_digits(value / factor)}{THIN}{prefix}{unit}".rstrip(THIN)


def quantity(value: float, unit: str) -> str:
    """A number with its unit; only units of the SI take a prefix.

    >>> quantity(2.5e-11, "J"), quantity(4095, "neurons/core"), quantity(7, "1")
    ('25\u202fpJ', '4\u202f095\u202fneurons/core', '7')
    """
    if unit in SCALED:
        return si(value, unit)
    number = count(value) if value == int(value) else _digits(value)
    return number if unit == "1" else f"{number}{THIN}{unit}"


def band(figure: Mapping[str, float], unit: str) -> str:
    """The two ends of a band.

    >>> band({"low": 1e-6, "high": 3e-6}, "s"), band({"low": 120, "high": 128}, "cores/chip")
    ('1\u202fµs to 3\u202fµs', '120 to 128\u202fcores/chip')
    """
    return f"{quantity(figure['low'], unit if unit in SCALED else '1')} to {quantity(figure['high'], unit)}"


def percent(share: float) -> str:
    """A share as a percentage: one decimal, more where that would read as none or all.

    >>> percent(0.12345), percent(0.00012), percent(0.9999), percent(0), percent(1)
    ('12.3\u202f%', '0.012\u202f%', '99.99\u202f%', '0\u202f%', '100\u202f%')
    """
    value = 100 * share
    rest = min(abs(value), abs(100 - value))
    if rest < _NOTHING:
        return f"{value:.0f}{THIN}%"
    if rest >= 0.05:
        return f"{value:.1f}{THIN}%"
    return f"{value:.{1 - floor(log10(rest))}f}".rstrip("0") + f"{THIN}%"


def count(value: float) -> str:
    """A whole number, or one decimal where there is one, with its digits in groups of three.

    >>> count(1205037), count(4471.6), count(12), count(60.0)
    ('1\u202f205\u202f037', '4\u202f471.6', '12', '60')
    """
    return f"{value:,.1f}".removesuffix(".0").replace(",", THIN)


def ratio(value: float, bound: float) -> str:
    """How many times a bound a value is.

    >>> ratio(196, 193), ratio(5, 0)
    ('1.016', '–')
    """
    return f"{value / bound:.3f}" if bound > 0 else "–"


def size(value: int) -> str:
    """A number of bytes.

    >>> size(312913), size(12)
    ('313\u202fkB', '12\u202fB')
    """
    return si(value, "B")


def _digits(value: float) -> str:
    """Three significant digits, never in powers of ten where they can be avoided.

    >>> _digits(999.96), _digits(12.345)
    ('1000', '12.3')
    """
    text = f"{value:.3g}"
    return f"{value:.0f}" if "e+" in text else text
