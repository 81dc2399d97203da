"""The columns of tables of standings, and the format of their numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lada.bench.hypotheses import SideName
from lada.bench.parts import DEFAULT
from lada.bench.standings import COSTS, FIGURES, SAID, TRYING, Figure, Place, Standing
from lada.bench.verdicts import Verdict
from lada.evaluation.comparison import Effect
from lada.report.words import NONE

Column = tuple[str, Callable[[Any], str]]
MILLION = 1e6
AREAS_SAID = {"overall": "all domains", **SAID}


def interval(effect: Effect | None, sign: str = "") -> str:
    """Return a mean with its interval, if it has one."""
    if effect is None:
        return NONE
    if effect.low is None or effect.high is None:
        return f"{effect.value:{sign}.1f}"
    return f"{effect.value:{sign}.1f} [{effect.low:{sign}.1f}, {effect.high:{sign}.1f}]"


def p_value(p: float | None) -> str:
    """Return a p-value to three digits, never as 0."""
    return NONE if p is None else "< 0.001" if p < 0.0005 else f"{p:.3f}"


def _number(value: float | None, figure: Figure) -> str:
    return NONE if value is None else f"{value / figure.per:.{figure.digits}f}"


def accuracy(against: str) -> list[Column]:
    """Return the columns of accuracy on both sides, with differences from a row."""

    def side(name: str, of: Callable[[Standing], Place]) -> list[Column]:
        return [
            (f"{name}, %", lambda s: interval(of(s).mean)),
            (f"{name}, against {against}", lambda s: interval(of(s).difference, "+")),
            ("p (Holm)", lambda s: p_value(of(s).adjusted)),
        ]

    return [*side("clients", lambda s: s.clients), *side("LLM", lambda s: s.llm)]


def counts(worlds: bool) -> list[Column]:
    """Return the columns of what an accuracy is a mean over."""
    seeds: Column = ("seeds", lambda s: str(s.seeds))
    return [("worlds", lambda s: str(s.worlds)), seeds] if worlds else [seeds]


def by_area(standings: Sequence[Standing]) -> list[Column]:
    """Return the columns of the clients' differences by kind of question; none if no row has one."""
    known = [area for area in SAID if any(area in s.areas for s in standings)]
    return [(SAID[area], lambda s, area=area: interval(s.areas.get(area), "+")) for area in known]


def further(standings: Sequence[Standing], figures: Mapping[str, Figure] = FIGURES) -> list[Column]:
    """Return the columns of further figures, except those that no row has."""
    known = [name for name in figures if any(s.figures[name] is not None for s in standings)]
    return [(name, lambda s, name=name: _number(s.figures[name], figures[name])) for name in known]


def costs(standings: Sequence[Standing]) -> list[Column]:
    """Return the columns of a row's costs; the cost of trials only if a filter has any."""

    def tokens(name: SideName, of: Callable[[Standing], Place]) -> list[Column]:
        return [
            (f"{name}: tokens studied, millions", lambda s: f"{of(s).tokens / MILLION:.3f}"),
            ("more, %", lambda s: NONE if (more := of(s).more_tokens) is None else f"{more:+.2f}"),
        ]

    tried = {name: figure for name, figure in TRYING.items() if any(s.figures[name] for s in standings)}
    return [
        *tokens("clients", lambda s: s.clients),
        *tokens("LLM", lambda s: s.llm),
        *further(standings, tried),
        *further(standings, COSTS),
    ]


def claim(verdict: Verdict) -> str:
    """Return a hypothesis in words."""
    of = verdict.hypothesis
    better = "better" if of.claim == "better" else f"at most {of.margin:g} points worse"
    side = "the clients are" if of.side == "clients" else "the LLM is"
    area = AREAS_SAID.get(of.area, of.area)
    where = ", ".join([*([f"track {verdict.track}"] if verdict.track else []), *(of.scenarios or ())])
    return f"{side} {better} under {of.row} than under {of.against}, on {area}{f' ({where})' if where else ''}"


def _mixed(verdict: Verdict) -> str:
    found = verdict.estimate and verdict.estimate.mixed
    return f"{interval(found.effect, '+')}, p {p_value(found.effect.p_above)}" if found else NONE


READS: Column = ("what it reads", lambda s: ", ".join(s.reads))
"""Of what a row's parties can know besides private data."""
SEARCH: list[Column] = [
    ("row", lambda pair: pair[0].row),
    ("track", lambda pair: pair[0].track or NONE),
    ("configuration", lambda pair: "the row as it stands" if pair[1].setting == DEFAULT else pair[1].setting),
    ("%, mean", lambda pair: f"{pair[1].mean:.1f}"),
    ("chosen", lambda pair: "chosen" if pair[1].setting == pair[0].chosen else ""),
]
"""Columns for a search: pairs of a choice and one of its configurations."""
HYPOTHESES: list[Column] = [
    ("hypothesis", lambda v: v.hypothesis.name),
    ("claim", claim),
    ("difference, points", lambda v: NONE if v.estimate is None else interval(v.estimate.effect, "+")),
    ("p", lambda v: NONE if v.estimate is None else p_value(v.estimate.effect.p_above)),
    ("p (Holm)", lambda v: p_value(v.adjusted)),
    ("mixed model", _mixed),
    ("verdict", lambda v: f"**{v.said}**"),
    ("cells", lambda v: f"{v.cells} of {v.wanted}{f', {v.earlier} run before it was written' if v.earlier else ''}"),
]
"""Columns of a table of hypotheses; Markdown."""
CURVE: list[Column] = [
    ("row", lambda p: p.row),
    ("times the tokens", lambda p: f"{p.budget:g}"),
    ("tokens of the clients, millions", lambda p: f"{p.tokens / 1e6:.3f}"),
    ("clients, %", lambda p: interval(p.clients)),
    ("LLM, %", lambda p: interval(p.llm)),
]
"""Columns of a curve: accuracy under several budgets of tokens."""
