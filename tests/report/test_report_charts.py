import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.report.charts import (
    Change,
    Point,
    Series,
    Span,
    bars,
    clip,
    dumbbell,
    line_chart,
    spread,
    ticks,
)
from lada.report.scatter import Spot, decades, scatter
from lada.report.strip import Dot, strip
from lada.report.words import difference, duration, number, size

values = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 100, 5, [0, 20, 40, 60, 80, 100]),
        (0, 0.22, 5, [0, 0.05, 0.1, 0.15, 0.2, 0.25]),
        (0.04, 0.96, 4, [0, 0.25, 0.5, 0.75, 1]),
        (-3, 7, 5, [-5, -2.5, 0, 2.5, 5, 7.5]),
        (0, 0, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 5e-324, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_ticks_by_hand(low: float, high: float, most: int, expected: list[float]) -> None:
    assert ticks(low, high, most) == pytest.approx(expected)


@given(values, values, st.integers(3, 8))
def test_ticks_enclose_and_are_few(a: float, b: float, most: int) -> None:
    low, high = min(a, b), max(a, b)
    marks = ticks(low, high, most)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert 2 <= len(marks) <= most + 1
    assert marks[0] <= low + slack
    assert marks[-1] >= high - slack


@given(st.lists(st.floats(0, 100), max_size=8))
def test_spread_keeps_the_order_and_the_distance(places: list[float]) -> None:
    moved = spread(places, 12, 0, 100)
    assert all(b - a >= 12 - 1e-9 for a, b in zip(sorted(moved), sorted(moved)[1:], strict=False))
    assert all(0 <= place <= 100 + 1e-9 for place in moved)
    order = sorted(range(len(places)), key=lambda i: places[i])
    assert order == sorted(range(len(places)), key=lambda i: moved[i])


def test_clip_keeps_both_ends() -> None:
    assert clip("warehouse", 9) == "warehouse"
    assert clip("hospital-number-17", 9) == "hosp…r-17"


def test_line_chart_by_hand() -> None:
    drawn = line_chart(
        "t", "d", [Series("ab", [Point(0, 0, 0, 10), Point(2, 100, 90, 100)], 1)], show=lambda v: f"{v:.0f}", top=100
    )
    # Left 44, right 360 - (16 + 2 * 6.9) = 330.2; 100 at 10, 0 at 224 - 34 = 190, 90 at 28, 10 at 172.
    assert '<path d="M44 190L330.2 10" class="line s1">' in drawn
    assert '<path d="M44 172L330.2 10L330.2 28L44 190z" class="band s1">' in drawn
    assert 'data-tip="ab, round 2: 100 (90 to 100)"' in drawn
    assert '<text x="339.2" y="10" dy="0.35em" text-anchor="start" class="name s1">ab</text>' in drawn


def test_one_point_is_drawn_in_the_middle_with_its_interval() -> None:
    drawn = line_chart("t", "d", [Series("", [Point(0, 50, 40, 60)], 0)], show=str, top=100)
    # Middle of 44 and 344; 40 at 118, 60 at 82.
    assert '<path d="M194 118L194 82" class="line s0">' in drawn


def test_dumbbell_by_hand() -> None:
    drawn = dumbbell(
        "t", "d", [("", [Change("a", 70, 20), Change("b", None, 100), Change("c", 0, None)]), ("none", [])]
    )
    # 0 at 14 + 6.2 = 20.2, 100 at 360 - 42 = 318; rows 19 apart from 17.5.
    assert '<path d="M228.7 17.5H79.8" class="stem fall">' in drawn
    assert 'class="fall">−50.0</text>' in drawn
    assert 'data-tip="a: before 70.0 %, after 20.0 %, −50.0 points"' in drawn
    assert '<circle cx="318" cy="36.5" r="4.4" class="disc rise">' in drawn
    assert '<circle cx="20.2" cy="55.5" r="4" class="ring">' in drawn
    assert drawn.count('class="stem') == 1
    assert "none" not in drawn


def test_bars_by_hand() -> None:
    spans = [
        Span(0, 70, 1, "1", "paths", "tip"),
        Span(70, 10, 2, "2", "metrics", "tip"),
        Span(80, 20, 3, "3", "x" * 9, ""),
    ]
    drawn = bars("t", "d", [("a", spans)], show=lambda v: f"{v:.0f}")
    # 100 units of 360 - 20.2 - 22 = 317.8; spans longer than 3 leave a gap of 0.8.
    assert '<rect x="20.2" y="9" width="221.7" height="18"' in drawn
    assert '<rect x="242.7" y="9" width="31" height="18"' in drawn
    inside = re.findall(r'class="on">([^<]*)<', drawn)
    assert inside == ["paths", "2", "x" * 9], "a name of 9 letters needs 61.8 units and has 63.6"


def test_strip_counts_all_and_draws_some() -> None:
    dots = [Dot(1, i / 99, i % 2 == 0, None) for i in range(100)] + [Dot(None, 0.5, True, False)]
    drawn = strip("t", "d", dots, most=20)
    assert drawn.count('class="soft small">50<') == 2
    assert drawn.count(">left out<") == drawn.count(">chosen<") == 2
    assert ">score<" in drawn
    assert ">unknown<" in drawn
    assert "threshold" not in drawn
    # 101 dots by steps of 6 are 17: the 16 of even places are chosen, the last is no dot but the step 96.
    assert drawn.count("h5") == 17
    assert 'class="dot in open" data-told="chosen, teacher not checked"' in drawn


def test_strip_marks_the_threshold_and_keeps_the_scores_of_its_dots() -> None:
    drawn = strip(
        "t", "d", [Dot(1, 0, False, False), Dot(1, 0.75, True, True), Dot(1, 1, True, True)], most=9, threshold=0.75
    )
    # 1 at 12, 0 at 242 - 58 = 184; the column from 46 to 354: left out around 123, chosen around 277.
    assert '<path d="M46 55H354" class="threshold">' in drawn
    assert ">chosen from 0.75</text>" in drawn
    dots = re.search(
        r'<path d="([^"]*)" class="dot in right" data-told="chosen, teacher right" data-values="([^"]*)"', drawn
    )
    assert dots is not None
    places, values = re.findall(r"M([\d.]+) ([\d.]+)h0", dots[1]), dots[2].split()
    assert [y for _, y in places] == ["55", "12"]
    assert values == ["0.75", "1"]


def test_a_quiet_line_tells_its_values() -> None:
    drawn = line_chart(
        "t", "d", [Series("one of many", [Point(1, 20), Point(2, 40)], 1, quiet=True)], show=str, top=100
    )
    assert re.findall('data-tip="([^"]*)"', drawn) == ["one of many, round 1: 20", "one of many, round 2: 40"]


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [
        (1, 10, [1, 2, 5, 10]),
        (12_000, 157_000, [10_000, 20_000, 50_000, 100_000, 200_000]),
        (3, 3, [2, 5]),
        (5, 5, [5, 10]),
        (0.5, 90_000, [0.1, 1, 10, 100, 1000, 10_000, 100_000]),
    ],
)
def test_decades_enclose_costs(least: float, most: float, expected: list[float]) -> None:
    assert decades(least, most) == pytest.approx(expected)


@given(st.floats(1e-3, 1e12), st.floats(1e-3, 1e12))
def test_any_two_costs_lie_between_the_first_and_the_last_mark(a: float, b: float) -> None:
    marks = decades(min(a, b), max(a, b))
    assert len(marks) > 1
    assert marks[0] <= min(a, b) * (1 + 1e-6)
    assert marks[-1] >= max(a, b) * (1 - 1e-6)


def test_scatter_by_hand() -> None:
    spots = [Spot("cheap", 10, 20, 10, 30), Spot("dear", 1000, 50, about="All of it."), Spot("free", 0, 40)]
    drawn = scatter("t", "d", spots, along="bytes", up="percent", show=lambda cost: f"{cost:g} B")
    # 0 at 44 + 8; 10 at 44 + 34 = 78, 1000 at 360 - 12 = 348. 10 % at 250 - 34 = 216, 50 % at 14: 5.05 a point.
    assert '<path d="M78 216V115" class="line s0">' in drawn
    assert '<circle cx="78" cy="165.5" r="9" class="hit" data-tip="cheap: 20.0 % (10.0 to 30.0), 10 B">' in drawn
    assert '<circle cx="348" cy="14" r="9" class="hit" data-tip="dear: 50.0 %, 1000 B. All of it.">' in drawn
    assert '<circle cx="52" cy="64.5" r="9" class="hit" data-tip="free: 40.0 %, 0 B">' in drawn
    assert '<text x="337" y="14" dy="0.35em" text-anchor="end" class="name over s1">dear</text>' in drawn
    assert {">bytes<", ">percent<"} <= set(re.findall(r">\w+<", drawn))


def test_names_of_spots_in_one_place_stand_apart() -> None:
    drawn = scatter("t", "d", [Spot(f"m{i}", 5, 50) for i in range(3)], along="x", up="y", show=str)
    places = sorted(float(y) for y in re.findall(r'y="([\d.]+)"[^>]*class="name', drawn))
    assert [b - a for a, b in pairwise(places)] == pytest.approx([12, 12])
    assert drawn.count('class="leader') == 2


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_949, "99.9 kB"), (99_960, "100 kB"), (999_600, "1.0 MB"),
     (12_345_678, "12.3 MB"), (4.2e15, "4200 TB")],
)  # fmt: skip
def test_sizes(value: float, told: str) -> None:
    assert size(value).replace("\u202f", " ") == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.97, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7380, "2 h 03 min"),
    ],
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds).replace("\u202f", " ") == told


def test_numbers() -> None:
    assert (number(None), number(-1.25, 2), difference(None)) == ("–", "−1.25", "–")
    assert (difference(3), difference(-0.04)) == ("+3.0", "−0.0")
