"""Images, signals and small graphs as text: named grids of levels that people and learners can read.

A question is one or more grids. Each has a line with its name and shape, then a line for each row:

    scan 8x8
    005d9100
    …

A cell is one character, a level from 0 to 35 in base 36. A question thus stays a text: it has an id and a digest,
crosses the wire, is searched for by privacy scans and is checked like every other question.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lada.core.errors import InputError

if TYPE_CHECKING:
    import numpy as np

LEVELS = "0123456789abcdefghijklmnopqrstuvwxyz"
"""The character of each level."""
MOST = 2**16
"""Maximum number of cells in a question."""
HEADER = re.compile(r"([a-z]+) ([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
WANTED = "expected grids, such as `scan 8x8` and 8 lines of 8 levels (0-9, a-z)"


def write_grids(grids: "Mapping[str, np.ndarray]") -> str:
    """Return grids [rows, columns] of integers 0..35 as a text. Raises ValueError for other arrays or names."""
    lines: list[str] = []
    for name, grid in grids.items():
        if grid.ndim != 2 or grid.dtype.kind not in "iu" or grid.min() < 0 or grid.max() >= len(LEVELS):
            raise ValueError(f"grid {name!r}: expected integers 0..{len(LEVELS) - 1} [rows, columns]")
        header = f"{name} {grid.shape[0]}x{grid.shape[1]}"
        if not HEADER.fullmatch(header):
            raise ValueError(f"grid {name!r}: expected a name of small letters")
        lines += [header, *("".join(LEVELS[level] for level in row) for row in grid.tolist())]
    return "\n".join(lines)


def read_grids(text: str) -> "dict[str, np.ndarray]":
    """Return the grids of a text by name, uint8 [rows, columns].

    Raises InputError for any other text. The message tells a line's number but not its content, which may be private.
    """
    import numpy as np

    lines, grids, place, cells = text.strip("\n").split("\n"), {}, 0, 0
    while place < len(lines):
        header = HEADER.fullmatch(lines[place])
        if header is None:
            raise InputError(f"question: line {place + 1} names no grid; {WANTED}")
        name, (rows, columns) = header[1], (int(size) for size in header.groups()[1:])
        cells += rows * columns
        if cells > MOST:
            raise InputError(f"question: more than {MOST} cells; expected smaller grids")
        if name in grids:
            raise InputError(f"question: line {place + 1} names {name!r} again; expected each grid once")
        content = lines[place + 1 : place + 1 + rows]
        for number, line in enumerate(content, start=place + 2):
            if len(line) != columns or not set(line) <= set(LEVELS):
                raise InputError(f"question: line {number} is no row of {columns} levels; {WANTED}")
        if len(content) < rows:
            raise InputError(f"question: grid {name!r} has {len(content)} of {rows} rows; {WANTED}")
        codes = np.frombuffer("".join(content).encode(), np.uint8)
        grids[name] = np.where(codes < ord("a"), codes - ord("0"), codes - ord("a") + 10).reshape(rows, columns)
        place += rows + 1
    return grids
