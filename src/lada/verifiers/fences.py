"""Fenced blocks of a text, as models write them: indented, labelled, left open."""

import re
from dataclasses import dataclass
from textwrap import dedent

_FENCE = re.compile(r"(?m)^(?P<indent>[ \t]*+)(?P<marks>`{3,}+|~{3,}+)[ \t{.]*+(?P<label>[\w+-]*+)[^`\n]*+(?:\n|\Z)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its label in lower case ("" without one) and the text between the fences."""

    label: str
    body: str


def fenced(text: str) -> list[Block]:
    """Return the fenced blocks of a text that are not blank, without the indentation that their lines share.

    A block ends at the next fence of the same marks and length; if that fence has a label, the next block begins there.
    The last block may be left open.
    """
    blocks: list[Block] = []
    opening: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opening is not None:
            if not fence["marks"].startswith(opening["marks"]):
                continue
            blocks.append(_block(opening, text[opening.end() : fence.start()]))
        opening = fence if opening is None or fence["label"] else None
    if opening is not None:
        blocks.append(_block(opening, text[opening.end() :]))
    return [block for block in blocks if block.body.strip()]


def _block(opening: re.Match[str], body: str) -> Block:
    if indent := len(opening["indent"]):
        body = re.sub(rf"(?m)^[ \t]{{1,{indent}}}", "", body)
    if body.lstrip("\r\n")[:1] in " \t":  # otherwise dedent has nothing to do, and would empty blank lines of strings
        body = dedent(body)
    return Block(opening["label"].lower(), body)
