"""Writes a page as one self-contained file. Templates escape everything; style and script are inlined.

The content security policy names the style and the script by their SHA-256, so nothing else in the file can run or be
fetched, even if a model wrote it.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lada.core.owner import for_owner
from lada.core.plural import MANY
from lada.core.shown import shown
from lada.report import choices, clients, costs, progress, story
from lada.report.reading import read_batches, read_candidates, read_results, rounds_over
from lada.report.roster import roster
from lada.report.view import View
from lada.report.words import duration

NOTICES = 100
"""The most notices that are shown; of more, only the number is given."""
OPEN_NOTICES = 3
"""How many of them are visible at first; the others are behind a heading."""


@cache
def _environment() -> Environment:
    loader = PackageLoader("lada.report")
    environment = Environment(
        loader=loader,
        autoescape=True,
        finalize=_finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (loader.get_source(environment, name)[0] for name in ("report.css", "report.js"))
    environment.globals |= {
        "style": Markup(style),
        "script": Markup(script),
        "policy": "; ".join(
            (
                "default-src 'none'",
                f"style-src '{_digest(style)}'",
                f"script-src '{_digest(script)}'",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
    }
    return environment


def _finalized(value: object) -> object:
    """Return a value for a template, with active characters in texts spelled out."""
    return shown(value) if isinstance(value, str) else value


def _told_once(config: Mapping[str, object]) -> dict[str, object]:
    """Return a configuration in which clients that differ only in their names appear once, with all names."""
    clients = config.get("clients")
    if not isinstance(clients, list) or len(clients) <= MANY:
        return dict(config)
    alike: dict[str, tuple[dict[str, object], list[str]]] = {}
    for client in clients:
        rest = {key: value for key, value in client.items() if key != "name"}
        alike.setdefault(json.dumps(rest, sort_keys=True), (rest, []))[1].append(str(client.get("name")))
    told = [{"names" if len(names) > 1 else "name": ", ".join(names), **rest} for rest, names in alike.values()]
    return {**config, "clients": told}


def _behind(run_folder: Path, view: View) -> tuple[str, ...]:
    """Return a notice if a run continued after its results.json, which is not written after every round."""
    told, over = max(view.rounds, default=-1), rounds_over(run_folder)
    if over <= told:
        return ()
    return (
        f"results.json, and so this page, has the rounds up to {told}, and round {over} is over; LaDa writes it again "
        f"as the run continues, or with: lada run {run_folder} --resume",
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def fill(template: str, **context: object) -> str:
    """Return a template of this package with its blanks filled in."""
    return _environment().get_template(template).render(context)


def write(template: str, target: Path, **context: object) -> Path:
    """Fill a template of this package into `target` and return it; missing folders are created."""
    page = fill(template, **context)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8", newline="\n")
    return target


@for_owner()
def render(run_folder: Path) -> Path:
    """Write `report.html` into a run folder from its results.json and allocations.parquet; return the page's path.

    Raises InputError, naming the folder and the fix, if results.json is missing or either file is malformed.
    """
    results = read_results(run_folder)
    view = View(results)
    if view.many:
        pairs = choices.pooled(view, read_batches(run_folder))
    else:
        pairs = choices.pairs(view, read_candidates(run_folder))
    return write(
        "run.html.j2",
        run_folder / "report.html",
        view=view,
        results=results,
        took=duration(results.wall_clock.seconds),
        sentence=story.sentence(view),
        notices=(*_behind(run_folder, view), *results.notices),
        summary=story.summary(view),
        extremes=story.extremes(view),
        roster=roster(view),
        few=OPEN_NOTICES,
        most=NOTICES,
        missing=story.missing(view),
        accuracy=progress.accuracy(view),
        domains=progress.domains(view),
        choices=choices.overview(view),
        pairs=pairs,
        drawn=choices.DRAWN,
        traffic=costs.traffic(view),
        time=costs.time(view),
        exchange=costs.exchange(view),
        generation=costs.generation(view),
        soundness=progress.soundness(view),
        fairness=clients.fairness(view),
        by_size=clients.by_size(view),
        studies=progress.studies(view),
        memberships=progress.memberships(view),
        config=yaml.safe_dump(_told_once(results.config), sort_keys=False, allow_unicode=True),
    )
