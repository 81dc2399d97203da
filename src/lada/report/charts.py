"""Charts as inline SVG, drawn by hand: no script and no request, readable in light and dark, on paper and by ear.

A chart is 360 units wide, so that its text stays legible on a phone; small charts stand side by side on a desk. Colours
are classes `s0` … `s7` (see report.css); a shape, a position or a word always repeats the meaning of the colour. All
data is escaped when it is added.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH = 360
STYLES = 8
GLYPH, BOLD_GLYPH = 6.2, 6.9
"""Mean advance of a letter at the chart's font size, units."""


class Point(NamedTuple):
    """A value with its interval, if it has one."""

    x: float
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """One line. A `quiet` one is thin, grey and unlabelled: one of many."""

    name: str
    points: Sequence[Point]
    style: int
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of a bar, in the units of its axis; `key` is its number in the legend, `name` its name there."""

    start: float
    length: float
    style: int
    key: str
    name: str
    tip: str


@dataclass(frozen=True, slots=True)
class Change:
    """One row of a dumbbell chart; either end may be unknown. A change that is `noise` has no colour."""

    label: str
    before: float | None
    after: float | None
    noise: bool = False


class Canvas:
    """Collects SVG elements. `add("line", x1=3, class_="grid")` writes `<line x1="3" class="grid"/>`, escaped."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._parts: list[Markup] = []

    def add(self, tag: str, content: str = "", **attributes: object) -> None:
        """Append one element; attributes that are None are omitted."""
        self._parts.append(_element(tag, content, attributes))

    def text(self, x: float, y: float, content: str, *, anchor: str = "start", class_: str | None = None) -> None:
        """Append text whose middle line is at `y`."""
        self.add("text", content, x=x, y=y, dy="0.35em", text_anchor=anchor, class_=class_)

    def done(self, title: str, description: str, kind: str) -> Markup:
        """Return the figure: its visible title, then the SVG, with title and description for screen readers."""
        drawing = _element(
            "svg",
            _element("title", title, {}) + _element("desc", description, {}) + Markup("").join(self._parts),
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {coordinate(self.width)} {coordinate(self.height)}",
                "role": "img",
            },
        )
        return _element("figure", _element("figcaption", title, {}) + drawing, {"class_": f"chart {kind}"})


def coordinate(value: float) -> str:
    """Return a length for SVG, to a tenth of a unit: `12.5`, `3`."""
    return f"{value:.1f}".removesuffix(".0")


def _element(tag: str, content: str, attributes: dict[str, object]) -> Markup:
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(coordinate(value) if isinstance(value, float) else value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{written}>{escape(content)}</{tag}>")


def clip(text: str, length: int) -> str:
    """Return `text`, cut to `length` characters with an ellipsis in its middle: names often differ at their ends."""
    tail = (length - 1) // 2
    return text if len(text) <= length else f"{text[: length - 1 - tail]}…{text[-tail:]}"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most `most` + 1 round numbers that enclose [low, high]; the first and last end the axis."""
    if high - low < 1e-300:  # a tenth of a subnormal number does not exist
        high = low + 1
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1, 2, 2.5, 5, 10, 20):
        step = factor * power
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first <= most:
            break
    return [i * step for i in range(first, last + 1)]


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return `places` moved apart to at least `gap`, in the same order, within [low, high] if they fit."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    floor = low
    for i in order:
        moved[i] = max(moved[i], floor)
        floor = moved[i] + gap
    ceiling = high
    for i in reversed(order):
        moved[i] = min(moved[i], ceiling)
        ceiling = moved[i] - gap
    return moved


def marker(x: float, y: float, style: int) -> str:
    """Return path data: square, circle, triangle or diamond, by style."""
    start, outline = (
        ((-3.6, -3.6), "h7.2v7.2h-7.2z"),
        ((-3.6, 0), "a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0 -7.2 0z"),
        ((0, -4.2), "l4.4 7.2h-8.8z"),
        ((0, -4.6), "l4.6 4.6l-4.6 4.6l-4.6 -4.6z"),
    )[style % 4]
    return f"M{coordinate(x + start[0])} {coordinate(y + start[1])}{outline}"


def line_chart(
    title: str,
    description: str,
    series: Sequence[Series],
    *,
    show: Callable[[float], str],
    top: float | None = None,
    along: str = "round",
) -> Markup:
    """Draw values over rounds, or over `along`, with their intervals as bands and each line's name at its end.

    The y axis starts at 0 and ends at `top`, or at a round number over the highest value; `show` writes its labels.
    """
    loud = [line for line in series if not line.quiet and line.points]
    names = [clip(line.name, 15) for line in loud]
    left, right, above, below, height = 44.0, 16 + BOLD_GLYPH * max(map(len, names), default=0), 10.0, 34.0, 224.0
    canvas = Canvas(WIDTH, height)
    points = [point for line in series for point in line.points]
    xs = sorted({point.x for point in points})
    marks = ticks(0, top if top is not None else max((p.high or p.value for p in points), default=1))
    span = (xs[-1] - xs[0]) if len(xs) > 1 else 0

    def at_x(x: float) -> float:
        return left + (WIDTH - left - right) * ((x - xs[0]) / span if span else 0.5)

    def at_y(y: float) -> float:
        return height - below - (height - above - below) * y / marks[-1]

    for mark in marks:
        canvas.add("path", d=f"M{coordinate(left)} {coordinate(at_y(mark))}H{coordinate(WIDTH - right)}", class_="grid")
        canvas.text(left - 6, at_y(mark), show(mark), anchor="end", class_="soft")
    for x in xs[:: math.ceil(len(xs) / 8)]:
        canvas.text(at_x(x), height - below + 12, coordinate(x), anchor="middle", class_="soft")
    canvas.text((left + WIDTH - right) / 2, height - 7, along, anchor="middle", class_="soft")
    for line in series:
        _draw_line(canvas, line, at_x, at_y, show, along)
    ends = [at_y(line.points[-1].value) for line in loud]
    for line, name, y in zip(loud, names, spread(ends, 13, above, height - below), strict=True):
        canvas.text(at_x(line.points[-1].x) + 9, y, name, class_=f"name s{line.style}")
    return canvas.done(title, description, "lines")


def _draw_line(
    canvas: Canvas,
    line: Series,
    at_x: Callable[[float], float],
    at_y: Callable[[float], float],
    show: Callable,
    along: str,
) -> None:
    def path(pairs: Iterable[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{coordinate(at_x(x))} {coordinate(at_y(y))}" for x, y in pairs)

    def hit(p: Point, radius: int) -> None:
        interval = "" if p.low is None or p.high is None else f" ({show(p.low)} to {show(p.high)})"
        tip = f"{line.name}, {along} {coordinate(p.x)}: {show(p.value)}{interval}"
        canvas.add("circle", cx=at_x(p.x), cy=at_y(p.value), r=radius, class_="hit", data_tip=tip)

    if line.quiet:
        canvas.add("path", d=path((p.x, p.value) for p in line.points), class_="line quiet")
        for p in line.points:
            hit(p, 4)
        return
    style = f"s{line.style}"
    banded = [p for p in line.points if p.low is not None and p.high is not None]
    if len(banded) > 1:
        around = [(p.x, p.high or 0.0) for p in banded] + [(p.x, p.low or 0.0) for p in reversed(banded)]
        canvas.add("path", d=path(around) + "z", class_=f"band {style}")
    elif banded:
        canvas.add(
            "path",
            d=path([(banded[0].x, banded[0].low or 0.0), (banded[0].x, banded[0].high or 0.0)]),
            class_=f"line {style}",
        )
    canvas.add("path", d=path((p.x, p.value) for p in line.points), class_=f"line {style}")
    for p in line.points:
        canvas.add("path", d=marker(at_x(p.x), at_y(p.value), line.style), class_=f"mark {style}")
        hit(p, 9)


def dumbbell(
    title: str,
    description: str,
    groups: Sequence[tuple[str, Sequence[Change]]],
    *,
    ends: tuple[str, str] = ("before", "after"),
) -> Markup:
    """Draw rows of two values in percent, joined by a line, with the difference in words at the right.

    `groups` are headed blocks of rows; the first value is a ring, the second a disc; a fall is dashed.
    """
    groups = [(heading, rows) for heading, rows in groups if rows]
    longest = max((len(row.label) for _, rows in groups for row in rows), default=0)
    left, right, row_height, above, below = 14 + GLYPH * min(longest, 17), 42.0, 19.0, 8.0, 20.0
    lines = sum(len(rows) + bool(heading) for heading, rows in groups)
    canvas = Canvas(WIDTH, above + row_height * lines + below)

    def at_x(value: float) -> float:
        return left + (WIDTH - left - right) * value / 100

    bottom = canvas.height - below
    for mark in (0, 25, 50, 75, 100):
        canvas.add("path", d=f"M{coordinate(at_x(mark))} {coordinate(above)}V{coordinate(bottom)}", class_="grid")
        canvas.text(at_x(mark), bottom + 10, f"{mark}", anchor="middle", class_="soft")
    y = above - row_height / 2
    for heading, rows in groups:
        if heading:
            y += row_height
            canvas.text(0, y, clip(heading, 44), class_="heading")
        for row in rows:
            y += row_height
            canvas.text(left - 8, y, clip(row.label, 17), anchor="end")
            _draw_change(canvas, row, y, at_x, ends)
    return canvas.done(title, description, "dumbbell")


def _draw_change(canvas: Canvas, row: Change, y: float, at_x: Callable[[float], float], ends: tuple[str, str]) -> None:
    change = None if row.before is None or row.after is None else row.after - row.before
    direction = "noise" if row.noise else "rise" if change is None or change >= 0 else "fall"
    if row.before is not None and row.after is not None:
        d = f"M{coordinate(at_x(row.before))} {coordinate(y)}H{coordinate(at_x(row.after))}"
        canvas.add("path", d=d, class_=f"stem {direction}")
    if row.before is not None:
        canvas.add("circle", cx=at_x(row.before), cy=y, r=4, class_="ring")
    if row.after is not None:
        canvas.add("circle", cx=at_x(row.after), cy=y, r=4.4, class_=f"disc {direction}")
    told = [
        f"{end} {value:.1f} %" for end, value in zip(ends, (row.before, row.after), strict=True) if value is not None
    ]
    if change is not None:
        told.append(f"{change:+.1f} points".replace("-", "−"))
        canvas.text(WIDTH, y, f"{change:+.1f}".replace("-", "−"), anchor="end", class_=direction)
    canvas.add("rect", x=0, y=y - 9, width=WIDTH, height=18, class_="hit", data_tip=f"{row.label}: {', '.join(told)}")


def bars(
    title: str,
    description: str,
    rows: Sequence[tuple[str, Sequence[Span]]],
    *,
    show: Callable[[float], str],
    width: float = WIDTH,
) -> Markup:
    """Draw one horizontal bar per row, made of spans: stacked amounts, or a timeline.

    A span shows its name or, if that does not fit, its key in the legend.
    """
    row_height = 24.0 if len(rows) <= 16 else 15.0
    longest = max((len(label) for label, _ in rows), default=0)
    left, right, above, below = 14 + GLYPH * min(longest, 20), 22.0, 6.0, 22.0
    canvas = Canvas(width, above + row_height * len(rows) + below)
    end = max((span.start + span.length for _, spans in rows for span in spans), default=0)
    scale = (width - left - right) / (end or 1)
    bottom = canvas.height - below
    for mark in ticks(0, end or 1, 4 if width <= WIDTH else 8):
        if mark <= (end or 1):
            x = left + mark * scale
            canvas.add("path", d=f"M{coordinate(x)} {coordinate(above)}V{coordinate(bottom)}", class_="grid")
            canvas.text(x, bottom + 11, show(mark), anchor="middle", class_="soft")
    for i, (label, spans) in enumerate(rows):
        y = above + row_height * i
        canvas.text(left - 8, y + row_height / 2, clip(label, 20), anchor="end")
        for span in spans:
            x, long = left + span.start * scale, max(span.length * scale, 0.8)
            gap = 0.8 if long > 3 else 0.0
            canvas.add(
                "rect",
                x=x,
                y=y + 3,
                width=long - gap,
                height=row_height - 6,
                rx=1.5,
                class_=f"span s{span.style}",
                data_tip=span.tip,
            )
            inside = span.name if len(span.name) * GLYPH + 6 < long else span.key
            if len(inside) * GLYPH + 3 < long and row_height > 20:
                canvas.text(x + long / 2, y + row_height / 2, inside, anchor="middle", class_="on")
    return canvas.done(title, description, "bars")
