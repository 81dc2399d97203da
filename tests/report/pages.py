"""Reading a page the way a browser would, as far as a test needs it."""

import re
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "br", "link", "img", "input"}


class Page(HTMLParser):
    """A parsed page: its elements, text without style and script, and what stands inside those two."""

    def __init__(self, file: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = file.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"style": [], "script": []}
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self._words: list[str] = []
        self.feed(self.source)
        self.close()
        assert self._open == [], f"never closed: {self._open}"
        self.text = re.sub(r"\s+", " ", " ".join(self._words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.raw:
            self.raw[self._open[-1]].append(data)
            return
        self._words.append(data)
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data

    def attributes(self, name: str) -> list[str]:
        """Every value of an attribute, wherever it stands."""
        return [attributes[name] or "" for _, attributes in self.elements if name in attributes]

    def count(self, tag: str) -> int:
        """How many elements of a kind there are."""
        return sum(name == tag for name, _ in self.elements)
