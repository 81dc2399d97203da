"""The chart of an allocator's scores: every candidate by its difficulty, chosen or not."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lada.report.charts import GLYPH, WIDTH, Canvas, coordinate, ticks

ROOM = 5 * GLYPH
"""The width that the words under half a column need, units."""


@dataclass(frozen=True, slots=True)
class Dot:
    """One candidate of a strip chart: its difficulty is its `column`."""

    column: int | None
    value: float
    chosen: bool
    right: bool | None
    """Whether the teacher's answer is right; None if it could not be checked."""

    @property
    def kind(self) -> str:
        """Return the class with which it is drawn."""
        right = {True: "right", False: "wrong", None: "open"}[self.right]
        return f"dot {'in' if self.chosen else 'out'} {right}"

    @property
    def told(self) -> str:
        """Return in words what all dots of its kind share."""
        right = {True: "teacher right", False: "teacher wrong", None: "teacher not checked"}[self.right]
        return f"{'chosen' if self.chosen else 'left out'}, {right}"


def strip(
    title: str,
    description: str,
    dots: Sequence[Dot],
    *,
    most: int,
    counts: Mapping[tuple[int | None, bool], int] | None = None,
    threshold: float | None = None,
) -> Markup:
    """Draw scores by difficulty: omitted candidates on the left of a column, chosen ones on its right.

    The `counts` under a column, by its difficulty and whether it was chosen, are by default of all dots; at most `most`
    are drawn, taken evenly from all. A dashed line marks the `threshold` from which candidates were chosen. A dot is a
    teacher that was right, a cross one that was wrong, a short bar one that could not be checked. Each path of dots has
    their scores in `data-values`, in its own order, for the page's script to show.
    """
    left, right, above, below, height = 46.0, 6.0, 12.0, 58.0, 242.0
    canvas = Canvas(WIDTH, height)
    counts = Counter((dot.column, dot.chosen) for dot in dots) if counts is None else counts
    columns = sorted({column for column, _ in counts}, key=lambda column: (column is None, column or 0))
    marks = ticks(min(dot.value for dot in dots), max(dot.value for dot in dots), 4)
    wide, bottom = (WIDTH - left - right) / len(columns), height - below

    def at_y(value: float) -> float:
        return bottom - (bottom - above) * (value - marks[0]) / (marks[-1] - marks[0])

    def along(y: float, class_: str) -> None:
        canvas.add("path", d=f"M{coordinate(left)} {coordinate(y)}H{coordinate(WIDTH - right)}", class_=class_)

    for mark in marks:
        along(at_y(mark), "grid")
        canvas.text(left - 6, at_y(mark), f"{mark:.2g}", anchor="end", class_="soft")
    middle = (above + bottom) / 2
    turned = f"rotate(-90 8 {coordinate(middle)})"
    canvas.add("text", "score", x=8, y=middle, dy="0.35em", transform=turned, text_anchor="middle", class_="soft")
    for i, column in enumerate(columns):
        middle = left + wide * (i + 0.5)
        for chosen, word, place in ((False, "left out", middle - wide / 4), (True, "chosen", middle + wide / 4)):
            count = f"{counts.get((column, chosen), 0)}"
            canvas.text(place, bottom + 10, count, anchor="middle", class_="soft small")
            if wide / 2 > ROOM:
                canvas.text(place, bottom + 21, word, anchor="middle", class_="soft small")
        canvas.text(middle, bottom + 34, "unknown" if column is None else f"{column}", anchor="middle")
        if i:
            x = coordinate(left + wide * i)
            canvas.add("path", d=f"M{x} {coordinate(above)}V{coordinate(bottom + 37)}", class_="grid")
    canvas.text((left + WIDTH - right) / 2, height - 7, "difficulty (reasoning steps)", anchor="middle", class_="soft")
    kinds: dict[str, list[tuple[Dot, str]]] = {}
    for i, dot in enumerate(dots[:: math.ceil(len(dots) / most)]):
        # Golden-ratio steps fill a half column evenly without a random number.
        offset = (i * 0.618034 % 1 - 0.5) * wide * 0.36
        x = left + wide * (columns.index(dot.column) + (0.75 if dot.chosen else 0.25)) + offset
        kinds.setdefault(dot.kind, []).append((dot, _drawn(x, at_y(dot.value), dot.right)))
    for kind, drawn in sorted(kinds.items()):
        values = " ".join(f"{dot.value:.3g}" for dot, _ in drawn)
        d = "".join(path for _, path in drawn)
        canvas.add("path", d=d, class_=kind, data_told=drawn[0][0].told, data_values=values)
    if threshold is not None:
        along(at_y(threshold), "threshold")
        name = f"chosen from {threshold:.3g}"
        canvas.text(WIDTH - right, max(at_y(threshold) - 7, 5.0), name, anchor="end", class_="small over")
    return canvas.done(title, description, "strip")


def _drawn(x: float, y: float, right: bool | None) -> str:
    """Return path data that begins at the dot's own place, which the page's script reads."""
    at = f"M{coordinate(x)} {coordinate(y)}"
    if right is None:
        return f"{at}m-2.5 0h5"
    if right:
        return f"{at}h0"  # drawn as a dot by its round line caps
    return f"{at}m-2.2 -2.2l4.4 4.4m0 -4.4l-4.4 4.4"
