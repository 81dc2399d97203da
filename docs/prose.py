"""Check the English of the pages and docstrings: `python docs/prose.py` (part of `make lint`) names what to change.

The rules are in prose.yaml: phrases to avoid, openings that make a fragment of a sentence, and the longest sentence.
Code, anchors and the addresses of links are skipped. Each cell of a table is a paragraph, and may be a note. Docstrings
are checked only for phrases, since `Return …` and `Shapes: …` are no sentences.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
RULES: dict[str, Any] = yaml.safe_load((ROOT / "docs/prose.yaml").read_text(encoding="utf-8"))
SKIPPED = re.compile(r"^ *```.*?^ *```|<!--.*?-->|<[^<>\n]+>|\{ #[\w-]+ \}", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`]*`")
LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()]*\)")
STARTS = re.compile(r"^\s*(?:[-*+] |\d+\. |#+ |> |!!! )|^\s*$")
"""A line that begins a paragraph, or parts two."""
ENDS = re.compile(r"(?<=[.!?])[\"”*_)]*\s+(?=[\"“*_(]*[A-Z`])(?<!e\.g\. )(?<!i\.e\. )")


@dataclass(frozen=True)
class Finding:
    """What is wrong on a line of a page, and what to write instead."""

    line: int
    found: str
    say: str


def findings(text: str) -> Iterator[Finding]:
    """Yield what is wrong with a Markdown text, from top to bottom."""
    for first, paragraph, is_cell in _paragraphs(text):
        start = 0
        for sentence in ENDS.split(paragraph):
            start = paragraph.index(sentence, start)
            for offset, found, say in _wrong(sentence, is_cell):
                yield Finding(first + paragraph.count("\n", 0, start + offset), " ".join(found.split()), say)
            start += len(sentence)


def docstring_findings(source: str) -> Iterator[Finding]:
    """Yield what is wrong with the docstrings of a Python file, also of those below a variable or a field."""
    bodies = (body for node in ast.walk(ast.parse(source)) if isinstance(body := getattr(node, "body", None), list))
    for statement in (statement for body in bodies for statement in body):
        match statement:
            case ast.Expr(ast.Constant(str(text)), lineno=first):
                bare = CODE.sub(lambda code: "`code`" + "\n" * code[0].count("\n"), text)
                for offset, found, say in _phrases(bare, in_docstring=True):
                    yield Finding(first + bare.count("\n", 0, offset), " ".join(found.split()), say)


def files(root: Path) -> list[Path]:
    """Return the files that are checked: the pages in order, then the modules."""
    return [*sorted(root.glob("*.md")), *sorted(root.glob("docs/*.md")), *sorted(root.glob("src/lada/**/*.py"))]


def main() -> int:
    """Check all files and return 1 if one has more findings than prose.yaml allows, else 0."""
    reports = [report(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")) for file in files(ROOT)]
    print("".join(reports), end="")
    return int(any(reports))


def report(name: str, text: str) -> str:
    """Return a line for each finding of a file that has more of them than it may have, else nothing."""
    found = sorted((docstring_findings if name.endswith(".py") else findings)(text), key=lambda each: each.line)
    allowed = RULES["allowed"].get(name, 0)
    if len(found) <= allowed:
        return ""
    lines = [f"{name}:{each.line}: {each.found!r}: {each.say}\n" for each in found]
    return "".join(lines) + f"{name}: {len(found)} findings; docs/prose.yaml allows {allowed}\n"


def _wrong(sentence: str, is_cell: bool) -> Iterator[tuple[int, str, str]]:
    """Yield offset, text and remedy of each finding within a sentence."""
    bare = sentence.lstrip('*_("“ ')
    for rule in [] if is_cell else RULES["openings"]:
        if found := re.match(rule["find"], bare):
            yield len(sentence) - len(bare), found[0], rule["say"]
    yield from _phrases(sentence)
    words = re.findall(r"\S*\w\S*", sentence)
    if len(words) > RULES["longest"]:
        yield 0, " ".join(words[:6]) + " …", f"{len(words)} words; split it, {RULES['longest']} are the most"


def _phrases(text: str, in_docstring: bool = False) -> Iterator[tuple[int, str, str]]:
    """Yield offset, text and remedy of each phrase to avoid."""
    rules = RULES["phrases"]
    if in_docstring:
        rules = [rule for rule in rules if rule.get("only") != "pages"] + RULES["docstrings"]
    for rule in rules:
        for found in re.finditer(rule["find"].replace(" ", r"\s+"), text, re.IGNORECASE):
            yield found.start(), found[0], rule["say"]


def _paragraphs(text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield each paragraph, item or cell with the number of its first line, and whether it is a cell."""
    text = SKIPPED.sub(lambda match: "\n" * match[0].count("\n"), text)
    text = CODE.sub(lambda match: "`code`" + "\n" * match[0].count("\n"), text)
    text = LINK.sub(lambda match: match[1] + "\n" * (match[0].count("\n") - match[1].count("\n")), text)
    first, lines = 1, list[str]()
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        is_row = line.startswith("|")
        if lines and (is_row or STARTS.match(line)):
            yield first, "\n".join(lines), False
            lines = []
        if is_row:
            yield from ((number, cell.strip(), True) for cell in line.strip("|").split("|") if cell.strip())
        elif words := STARTS.sub("", line):
            first = first if lines else number
            lines.append(words)


if __name__ == "__main__":
    sys.exit(main())
