"""A page as a reader finds it: its tables, its texts, its elements."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "wbr", "hr", "input"}


class Page(HTMLParser):
    """A parsed page.

    Attributes:
        elements: every tag with its attributes, in order.
        tables: for each section, by its id, its tables as lists of rows of cell texts.
        texts: the text of each element that has an id.
        text: all text, style sheets left out.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.tables: dict[str, list[list[list[str]]]] = {}
        self.texts: dict[str, str] = {}
        self.text = ""
        self._section = ""
        self._open: list[tuple[str, str]] = []
        self._in_cell = False
        self.feed(html)
        self.texts = {name: _plain(text) for name, text in self.texts.items()}
        for tables in self.tables.values():
            tables[:] = [[[_plain(cell) for cell in row] for row in table] for table in tables]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        if tag == "section":
            self._section = found["id"]
        if tag == "table":
            self.tables.setdefault(self._section, []).append([])
        if tag == "tr":
            self.tables[self._section][-1].append([])
        if tag in ("td", "th"):
            self.tables[self._section][-1][-1].append("")
            self._in_cell = True
        if tag not in VOID | {"tr", "td", "th", "dt", "dd"}:  # these are not closed
            self._open.append((tag, found.get("id", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("tbody", "thead", "tfoot", "table"):
            self._in_cell = False
        while self._open and self._open[-1][0] != tag:
            self._open.pop()
        if self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if any(tag == "style" for tag, _ in self._open):
            return
        self.text += data
        if self._in_cell:
            self.tables[self._section][-1][-1][-1] += data
        for _, name in self._open:
            if name:
                self.texts[name] = self.texts.get(name, "") + data


def _plain(text: str) -> str:
    """Text without line breaks and repeated spaces; narrow spaces stay."""
    return re.sub(r"[\n ]+", " ", text).strip("\n ")
