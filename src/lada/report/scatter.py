"""The chart of a leaderboard: the accuracy of each method against its cost."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lada.report.charts import GLYPH, STYLES, WIDTH, Canvas, clip, coordinate, marker, spread, ticks

NAME = 16
"""The most letters of a name in the chart."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One method: its cost, 0 or more, and its value in percent, with its interval if it has one."""

    name: str
    cost: float
    value: float
    low: float | None = None
    high: float | None = None
    about: str = ""
    """The text that appears under the pointer."""


def decades(least: float, most: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten that enclose two costs above 0; beyond three decades, only powers of
    ten."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most) + 1e-9)
    factors = (1,) if last - first > 3 else (1, 2, 5)
    marks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    low = max(mark for mark in marks if mark <= least * (1 + 1e-9))
    high = min((mark for mark in marks if mark >= most * (1 - 1e-9) and mark > low), default=10 * low)
    return [mark for mark in marks if low <= mark <= high]


def scatter(
    title: str, description: str, spots: Sequence[Spot], *, along: str, up: str, show: Callable[[float], str]
) -> Markup:
    """Draw each spot at its cost, on a logarithmic axis, and its value, with its interval as a line and its name.

    The axis of values ends at round numbers around all values and their intervals; it need not start at 0. A cost of 0
    has a place of its own at the left end. `along` and `up` name the axes; `show` writes a cost.
    """
    left, right, above, below = 44.0, 12.0, 14.0, 34.0
    height = max(250.0, above + below + 13 * len(spots))
    canvas = Canvas(WIDTH, height)
    known = [spot.cost for spot in spots if spot.cost > 0]
    marks = decades(min(known), max(known)) if known else [1.0, 10.0]
    origin = left + (34 if any(spot.cost <= 0 for spot in spots) else 0)
    ends = [end for spot in spots for end in (spot.value, spot.low, spot.high) if end is not None] or [0.0, 100.0]
    values = ticks(min(ends), max(ends))
    bottom = height - below

    def at_x(cost: float) -> float:
        if cost <= 0:
            return left + 8
        return origin + (WIDTH - right - origin) * math.log(cost / marks[0]) / math.log(marks[-1] / marks[0])

    def at_y(value: float) -> float:
        return bottom - (bottom - above) * (value - values[0]) / (values[-1] - values[0])

    for value in values:
        canvas.add(
            "path", d=f"M{coordinate(left)} {coordinate(at_y(value))}H{coordinate(WIDTH - right)}", class_="grid"
        )
        canvas.text(left - 6, at_y(value), f"{value:.3g}", anchor="end", class_="soft")
    for mark in [0.0] * (origin > left) + marks[:: math.ceil(len(marks) / 5)]:
        canvas.add("path", d=f"M{coordinate(at_x(mark))} {coordinate(above)}V{coordinate(bottom)}", class_="grid")
        canvas.text(at_x(mark), bottom + 12, show(mark) if mark else "0", anchor="middle", class_="soft")
    canvas.text((left + WIDTH - right) / 2, height - 7, along, anchor="middle", class_="soft")
    turned = f"rotate(-90 8 {coordinate((above + bottom) / 2)})"
    middle = (above + bottom) / 2
    canvas.add("text", up, x=8, y=middle, dy="0.35em", transform=turned, text_anchor="middle", class_="soft")
    places = spread([at_y(spot.value) for spot in spots], 12, above, bottom - 4)
    for i, (spot, place) in enumerate(zip(spots, places, strict=True)):
        _draw(canvas, spot, i % STYLES, at_x(spot.cost), at_y, place, show)
    return canvas.done(title, description, "scatter")


def _draw(
    canvas: Canvas,
    spot: Spot,
    style: int,
    x: float,
    at_y: Callable[[float], float],
    place: float,
    show: Callable[[float], str],
) -> None:
    """Draw a spot with its name at the height `place`, on the side of it that has more room."""
    y, name, class_ = at_y(spot.value), clip(spot.name, NAME), f"s{style}"
    interval = ""
    if spot.low is not None and spot.high is not None:
        canvas.add(
            "path",
            d=f"M{coordinate(x)} {coordinate(at_y(spot.low))}V{coordinate(at_y(spot.high))}",
            class_=f"line {class_}",
        )
        interval = f" ({spot.low:.1f} to {spot.high:.1f})"
    side = 1 if x + 14 + GLYPH * len(name) < WIDTH else -1
    if abs(place - y) > 5:
        canvas.add(
            "path",
            d=f"M{coordinate(x)} {coordinate(y)}L{coordinate(x + side * 9)} {coordinate(place)}",
            class_=f"leader {class_}",
        )
    canvas.add("path", d=marker(x, y, style), class_=f"mark {class_}")
    canvas.text(x + side * 11, place, name, anchor="start" if side > 0 else "end", class_=f"name over {class_}")
    tip = f"{spot.name}: {spot.value:.1f} %{interval}, {show(spot.cost)}{f'. {spot.about}' if spot.about else ''}"
    canvas.add("circle", cx=x, cy=y, r=9, class_="hit", data_tip=tip)
