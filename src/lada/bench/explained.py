"""The explanations on a page, for readers who have never seen the project."""

from lada.bench.search import Frozen
from lada.bench.suite import Suite

_SETTING = """A large language model (*LLM*) on a server and small ones (*clients*, each with private data of its own)
learn from each other. What they send are mostly their answers, with reasoning, to public questions that all of them
have. A *row* is one method of doing so, a *scenario* one piece of work, a *cell* one row in one scenario, run once.
Figures are percent of test questions right after the last round, on all domains but general skill; of clients the
mean."""
_WORLDS = """A *world* has rules of its own: the same words mean other things in another one. Its LLM was trained in it;
clients learn it from their private data. The world is the unit: figures are means over seeds, then over worlds.
Intervals are 95 %, Student's t over worlds; differences are paired by world and seed, and their p-values are of the
paired t-test over worlds."""
_ONE_WORLD = """All cells are of one world, with one set of models. Intervals are 95 %, of a bootstrap over seeds,
drawn together for all scenarios, and, within them, over questions; with one seed over questions alone. They say how
sure a figure is in this world, and **nothing about other worlds**, which may differ by more. Differences are paired
by seed and question."""
_TRACKS = """On the track *unlabelled* nobody can know any public answer, on *answers* everybody can, on *rationales*
everybody has worked solutions too. Rows of two tracks never stand in one table. *What it reads* is derived from what
the row's configuration does, beside a client's own private data."""
_READS = """*What it reads* is derived from what the row's configuration does, beside a client's own private data."""
_HYPOTHESES = """*Hypotheses* were written into the suite's file before the cells were run; each cell keeps a digest
of those that stood there, and the table says where a cell is older. A p-value is twice the one-sided one of the
claim, so that it is below 0.05 just where the interval lies above what is claimed (0, or minus the margin). Holm's
method corrects it for the number of hypotheses. A hypothesis *holds* where the corrected p-value is below 0.05,
*fails* where the interval lies below what is claimed, and is *inconclusive* else; as long as cells are missing it is
*incomplete*. The mixed model has a random intercept of the world and seeds within. **All other comparisons on this
page are exploratory**: their p-values are corrected within their own table alone."""
_EXPLORATORY = """No hypothesis was written down before: **all comparisons on this page are exploratory**. Their
p-values are corrected for the number of rows of their table, by Holm's method."""
_COSTS = """Everybody studies equally many tokens but for what *more* says; what a filter spends on trying lessons
counts among them. Lessons, updates and texts judged stand beside. These leave out what is done on trial, so a filter
with trials does more of them than its row says."""


def explained(suite: Suite) -> str:
    """Return how to read a suite's page, in paragraphs."""
    worlds = _WORLDS if suite.over_worlds else _ONE_WORLD
    tracks = _TRACKS if any(row.tracks for row in suite.rows.values()) else _READS
    return "\n\n".join([_SETTING, worlds, tracks, _HYPOTHESES if suite.hypotheses else _EXPLORATORY, _COSTS])


def searched(frozen: Frozen) -> str:
    """Return a description of a search."""
    side = "the clients'" if frozen.side == "clients" else "the LLM's"
    worlds = ", ".join(map(str, frozen.development))
    return (
        f"Configurations of rows were tried in the development worlds ({worlds}), none of which is reported. The best "
        f"of each row, by {side} mean accuracy ({frozen.area}), is in `search.json`; rows named *best* have it, where "
        "it is not the row as it stands."
    )
