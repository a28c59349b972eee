"""The addresses of live sources, as a user names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from spikeloom.errors import InputError

SCHEMES = ("tcp", "udp", "stdin")
_WANTED = "tcp://HOST:PORT, udp://HOST:PORT?layout=LAYOUT or stdin:FORMAT"
_OPTIONS = {"tcp": (), "udp": ("layout",), "stdin": ()}


@dataclass(frozen=True)
class Address:
    """Where events come from.

    Attributes:
        scheme: «tcp», «udp» or «stdin».
        host, port: of a network address.
        name: of the format, of standard input.
        options: what follows the question mark.
    """

    scheme: str
    host: str = ""
    port: int = 0
    name: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.scheme == "stdin":
            return f"stdin:{self.name}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        options = "&".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.scheme}://{host}:{self.port}" + (f"?{options}" if options else "")


def is_live(source: str) -> bool:
    """Whether a source is named as live ones are, and not as files; of schemes that are not known, too.

    >>> is_live("udp://127.0.0.1:3333"), is_live("stdin:evt3"), is_live("a/b.raw")
    (True, True, False)
    """
    return "://" in source or source.startswith("stdin:")


def parse_address(text: str) -> Address:
    """The address of a text.

    Raises:
        InputError: SL0901, it is malformed.

    >>> parse_address("udp://[::1]:3333?layout=spif")
    Address(scheme='udp', host='::1', port=3333, name='', options={'layout': 'spif'})
    """
    try:
        parts = urlsplit(text)
        if parts.scheme == "stdin" and not parts.netloc and parts.path and not parts.query:
            return Address("stdin", name=parts.path)
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
        whole = parts.hostname and parts.port is not None and not parts.path.strip("/")
        if parts.scheme in _OPTIONS and whole and set(options) <= set(_OPTIONS[parts.scheme]):
            return Address(parts.scheme, str(parts.hostname), int(parts.port or 0), options=options)
    except ValueError:
        pass
    raise InputError.of("SL0901", text, "is no address of a live source", wanted=_WANTED)
