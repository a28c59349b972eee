"""The names of files to write: they say the format, and the format says them."""

from __future__ import annotations

from pathlib import Path

from spikeloom.errors import InputError


def require_suffix(option: str, path: Path | None, *suffixes: str) -> None:
    """Refuse a name that says another format than what is written to it.

    Args:
        option: as the user types it.
        path: to write; None if it is not asked for.
        suffixes: that are allowed.

    Raises:
        InputError: SL0901, it ends in none of them.

    >>> require_suffix("--log", Path("a.csv"), ".parquet")
    Traceback (most recent call last):
    spikeloom.errors.InputError: SL0901 --log: cannot be in that format (wanted a name in .parquet, got ...
    """
    if path is not None and path.suffix not in suffixes:
        wanted = f"a name in {' or '.join(suffixes)}"
        raise InputError.of("SL0901", option, "cannot be in that format", wanted=wanted, got=path)
