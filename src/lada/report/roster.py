"""Many clients, a row each, as data that the page's script searches, sorts and shows by the page."""

import json
import math
from collections import Counter

from markupsafe import Markup

from lada.core.results import PartyInfo
from lada.core.shown import shown
from lada.report.story import TOLD, value_of
from lada.report.view import View

HEAD = (
    "client", "model", "all before", "all after", "change", "own before", "own after", "other before", "other after",
    "general before", "general after", "sent, bytes", "received, bytes", "compute, s", "times missing",
)  # fmt: skip
WORDS = 2
"""The number of columns that hold text; the others hold numbers."""


def roster(view: View) -> Markup | None:
    """Return JSON with `head`, `words` and a row per client, safe within a script element; None for few clients."""
    if not view.many:
        return None
    missing = Counter(gone.party for gone in view.results.missing)
    rows = [_row(view, client, missing[client.name]) for client in view.clients]
    text = json.dumps({"head": HEAD, "words": WORDS, "rows": rows}, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _row(view: View, client: PartyInfo, missing: int) -> list[str | float | None]:
    ends = view.ends(client.name)
    (before, after), *rest = ([_rounded(value_of(end, measure)) for end in ends] for measure in TOLD)
    change = None if before is None or after is None else _rounded(after - before)
    spent = (view.sent(client.name), view.received(client.name), _rounded(view.seconds(client.name)), missing)
    return [shown(client.name), shown(client.model), before, after, change, *(v for both in rest for v in both), *spent]


def _rounded(value: float | None) -> float | None:
    return round(value, 1) if value is not None and math.isfinite(value) else None
