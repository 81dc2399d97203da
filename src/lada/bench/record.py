"""The numbers of a suite's tables: `tables.json`, which results/recompute.py recomputes from the cells."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from lada.bench.curves import Curve
from lada.bench.estimates import SIDES
from lada.bench.outcome import Outcome
from lada.bench.parts import Table
from lada.bench.standings import COSTS, EVERYWHERE, FIGURES, TOKENS, TRYING, Section, Standing
from lada.bench.suite import Suite
from lada.bench.verdicts import Verdict
from lada.evaluation.comparison import Effect

FILE = "tables.json"
DECIMALS = 6
USUAL = {"area": "overall", "bound": 0.0, "budget": 1.0}
HYPOTHESES = "hypotheses"
"""The family of p-values that are corrected together; the p-values of a table's side form one too."""


def write(
    suite: Suite,
    outcomes: Sequence[Outcome],
    tables: Sequence[tuple[Table, Sequence[Section]]],
    hypotheses: Sequence[Verdict],
    drawn: Sequence[Curve],
    folder: Path,
) -> Path:
    """Write all numbers of a page into a folder; return the file.

    `cells` are the digests of its cells. Each entry of `estimates` names its rows, place and questions; `is` holds
    mean, low, high, p, and the p of the claim. Each entry of `figures` names its owner and how it follows from a cell's
    figures. Both have the units of cells.jsonl: percent, points, tokens, bytes, seconds.
    """
    told = {
        "suite": suite.name,
        "worlds": suite.worlds,
        "cells": sorted({each.digest for each in outcomes}),
        "estimates": [
            *(each for table, found in tables for section in found for each in _compared(suite, table, section)),
            *map(_claimed, hypotheses),
            *(each for curve in drawn for each in _drawn(curve)),
        ],
        "figures": [
            each
            for table, found in tables
            for section in found
            for standing in section.standings
            for each in _figures(suite, table, section, standing)
        ],
    }
    file = folder / FILE
    file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return file


def _compared(suite: Suite, table: Table, section: Section) -> Iterator[dict[str, Any]]:
    for standing in section.standings:
        for side, place in zip(SIDES, (standing.clients, standing.llm), strict=True):
            at, of = _place(suite, table, section), {**USUAL, "side": side, "name": standing.row}
            family, where = f"{at['where']}, {side}", f"{at['where']}: {standing.row}, {side}"
            yield {**at, **of, "where": where, "rows": [standing.row], "is": _numbers(place.mean)}
            if place.difference is not None:
                compared = {"where": f"{where}, against {table.against}", "rows": [standing.row, table.against]}
                corrected = {"family": family, "adjusted": _rounded(place.adjusted)}
                yield {**at, **of, **compared, "is": _numbers(place.difference), **corrected}
        for area, effect in standing.areas.items():
            at = _place(suite, table, section)
            where = f"{at['where']}: {standing.row}, clients, {area}, against {table.against}"
            of = {**USUAL, "side": "clients", "name": standing.row, "area": area, "rows": [standing.row, table.against]}
            yield {**at, **of, "where": where, "is": _numbers(effect)}


def _figures(suite: Suite, table: Table, section: Section, standing: Standing) -> Iterator[dict[str, Any]]:
    for name, figure in (FIGURES | TOKENS | TRYING | COSTS).items():
        at = _place(suite, table, section)
        of = {"where": f"{at['where']}: {standing.row}, {name}", "row": standing.row, "of": figure[:3]}
        yield {**at, **of, "is": _rounded(standing.figures[name])}


def _place(suite: Suite, table: Table, section: Section) -> dict[str, Any]:
    everywhere = section.scenario == EVERYWHERE
    return {
        "where": f"{table.title}, {section.scenario}",
        "track": suite.track_of(table.title, table.track, (*table.rows, table.against)),
        "scenarios": list(suite.scenarios) if everywhere else [section.scenario],
    }


def _claimed(verdict: Verdict) -> dict[str, Any]:
    of, estimate = verdict.hypothesis, verdict.estimate
    mixed = estimate and estimate.mixed
    return {
        **USUAL,
        "where": f"hypothesis {of.name}",
        "track": verdict.track,
        "scenarios": verdict.scenarios,
        "side": of.side,
        "area": of.area,
        "name": of.name,
        "rows": verdict.rows,
        "bound": of.bound,
        "is": estimate and _numbers(estimate.effect),
        "mixed": mixed and [*_numbers(mixed.effect), _rounded(mixed.between), _rounded(mixed.within)],
        "family": HYPOTHESES,
        "adjusted": _rounded(verdict.adjusted),
        "verdict": verdict.said,
        "complete": verdict.cells == verdict.wanted,
    }


def _drawn(curve: Curve) -> Iterator[dict[str, Any]]:
    for point in curve.points:
        at = {"track": curve.track, "scenarios": [curve.scenario]}
        for side, effect in zip(SIDES, (point.clients, point.llm), strict=True):
            at["where"] = f"curve, {curve.scenario}: {point.row}, {side}, {point.budget:g} times the tokens"
            of = {**USUAL, "side": side, "name": point.row, "rows": [point.row], "budget": point.budget}
            yield {**at, **of, "is": _numbers(effect)}


def _numbers(effect: Effect) -> list[float | None]:
    return [_rounded(value) for value in astuple(effect)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)
