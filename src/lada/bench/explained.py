"""How to read a suite's page, for somebody who has never seen the project."""

from lada.bench.search import Frozen
from lada.bench.suite import Suite

_SETTING = """A large language model (*LLM*) on a server and small ones (*clients*, each with its own private data)
learn from each other. They mainly send their answers to public questions that all of them have, with the reasoning. A
*row* is one method, a *scenario* is one federation with its data, and a *cell* is one row in one scenario, run once.
Figures are the percentage of test questions answered right after the last round, on all domains without general skill.
Those of clients are means."""
_WORLDS = """A *world* has its own rules: the same words mean other things in another world. The LLM was trained in its
world, and clients learn it from their private data. The world is the unit: a figure is the mean over the seeds of a
world, then over worlds. Intervals are 95 %, by Student's t over worlds. Differences are paired by world and seed, and
their p-values come from the paired t-test over worlds."""
_ONE_WORLD = """All cells share one world and one set of models. Intervals are 95 %, by Student's t over seeds. With one
seed, those over all domains come from a bootstrap over questions, and single kinds of question, such as new domains,
have none. They show how certain a figure is in this world and **nothing about other worlds**, which may differ by more.
Differences are paired by seed and, in the bootstrap, by question."""
_TRACKS = """On the track *unlabelled*, no party can read any public answer. On *answers*, all parties can. On
*rationales*, all parties have worked solutions too. A table never mixes rows of two tracks."""
_READS = """*What it reads* is what a row's parties can know besides their own private data. It follows from the row's
configuration."""
_HYPOTHESES = """*Hypotheses* were written into the suite's file before the cells were run. Each cell keeps a digest of
the hypotheses that the file had when it ran. The table says how many cells ran before a hypothesis was written. A
p-value is twice the claim's one-sided p-value. It is below 0.05 exactly if the interval lies above what is claimed (0,
or minus the margin). Holm's method corrects it for the number of hypotheses. A hypothesis *holds* if the corrected
p-value is below 0.05. It *fails* if the interval lies below what is claimed, and is *inconclusive* otherwise. It is
*incomplete* as long as cells are missing. The mixed model has a random intercept for the world, with seeds within
worlds. **All other comparisons on this page are exploratory**: their p-values are corrected only within their own
table."""
_EXPLORATORY = """No hypothesis was written down before the cells were run: **all comparisons on this page are
exploratory**. Holm's method corrects their p-values for the number of rows in their table."""
_COSTS = """All rows study equally many tokens, up to the difference in the column *more*. This includes the tokens
that a filter spends on trying lessons. The columns for lessons, updates and texts judged leave out such trials, so a
filter with trials does more of these than its row shows."""


def explained(suite: Suite) -> str:
    """Return how to read a suite's page, in paragraphs."""
    worlds = _WORLDS if suite.over_worlds else _ONE_WORLD
    tracks = [_TRACKS] if any(row.tracks for row in suite.rows.values()) else []
    compared = _HYPOTHESES if suite.hypotheses else _EXPLORATORY
    return "\n\n".join([_SETTING, worlds, *tracks, _READS, compared, _COSTS])


def searched(frozen: Frozen) -> str:
    """Return a description of a search."""
    side = "the clients'" if frozen.side == "clients" else "the LLM's"
    worlds = ", ".join(map(str, frozen.development))
    return (
        f"The search tried configurations of rows in the development worlds ({worlds}), which no table reports. "
        f"`search.json` has the best of each row, by {side} mean accuracy ({frozen.area}). A row named *best* runs it; "
        "there is no such row if the row as it stands was the best."
    )
