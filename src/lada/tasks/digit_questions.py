"""Turns scans, and pictures of no digit, into questions of the task `digits`."""

from collections.abc import Sequence

import numpy as np

from lada.core.grids import write_grids
from lada.core.seeds import generator
from lada.core.terms import Sample
from lada.models.label_sets import CENTRE
from lada.tasks.options import DigitsTask
from lada.tasks.scans import DOMAINS, graph, levels, looks, scans, scene, strokes
from lada.tasks.web import drawn_letter, shuffled_pixels

PLAIN = "plain"
UNSEEN = "unseen"
"""The domain of test scenes with a pair of attribute and digit that no other scene shows."""
Row = int
"""The number of a scan."""


def of_scan(
    options: DigitsTask,
    row: Row,
    domain: str,
    id: str,
    others: Sequence[Row] | np.ndarray,
    attribute: str | None = None,
) -> Sample:
    """Return the question about a scan. Its rationale is its label, since a classifier's whole path is that.

    With an `attribute`, the scan looks like this in its scene.
    """
    look, grids, seen, place = _look(options, domain), {}, PLAIN, CENTRE
    for name in options.grids:
        match name:
            case "scan":
                grids["scan"] = looks(options.world, look)[row]
            case "strokes":
                grids["strokes"] = strokes(looks(options.world, look)[row])
            case "graph":
                grids |= graph(options.world, look, row, options.neighbours)
            case "scene":
                drawn = scene(options.world, look, row, others, barred=options.unseen, attribute=attribute)
                grids, seen, place = {**grids, **drawn.grids}, drawn.attribute, drawn.place
    label = options.label_of(int(scans(options.world).labels[row]), seen, place)
    return Sample(id, write_grids(grids), label, label, domain)


def of_no_digit(options: DigitsTask, row: Row, domain: str, id: str, seed: int, *, letter: bool) -> Sample:
    """Return a question without a label that shows a letter, or else a scan with its pixels shuffled."""
    rng, look = generator(seed, "task", "digits", "web", id), _look(options, domain)
    if letter:
        image = levels(DOMAINS[look](drawn_letter(rng)[None]))[0]
    else:
        image = shuffled_pixels(looks(options.world, look)[row], rng)
    grids = {name: strokes(image) if name == "strokes" else image for name in options.grids}
    return Sample(id, write_grids(grids), domain=domain)


def _look(options: DigitsTask, domain: str) -> str:
    return domain if options.split == "domains" and domain in DOMAINS else PLAIN
