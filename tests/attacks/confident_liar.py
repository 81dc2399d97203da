"""A client claims certainty for wrong paths that no gold answer checks, to teach them to the LLM."""

from pathlib import Path
from tempfile import TemporaryDirectory

import harness
from actors import federation, make, task

from lada.core.terms import Knowledge, Likelihood, Sample
from lada.core.terms import Path as ReasoningPath
from lada.fusers.base import FUSERS
from lada.rounds.trust import Record, doubted, untrusted

QUESTIONS = 18
ALLOCATORS = ("dual_min_ce", "winner", "teachable", "rho_loss", "lada", "all")
PUBLIC = tuple(Sample(f"p{i}", f"public {i}", domain="farm") for i in range(QUESTIONS))
HONEST = set(range(12))


def taught(allocator: str, folder: Path) -> tuple[int, int]:
    """Return how many lies the LLM studied in two rounds, and whether a notice says that the record was cut."""
    knows = {"llm": HONEST, "a": HONEST, "b": HONEST - {3}, "liar": set[int]()}
    certain = {"liar": dict.fromkeys(range(QUESTIONS), 0.0)}
    all_of_them = federation(folder, "fedmkt", knows, allocator=allocator, data=task(PUBLIC), sure=certain)
    all_of_them.run(0, 1, 2)
    lies = sum("answer liar" in lesson.chosen for each in all_of_them.studies("llm") for lesson in each.lessons)
    return lies, any("chosen paths of liar: 0 of its 18 answers" in x for x in all_of_them.server.report.notices)


def fused() -> int:
    """Return how many of the fusions with an honest path a lie wins, where the judge finds it less likely."""

    def path(row: int, writer: str, loss: float) -> Knowledge:
        likelihood = Likelihood(-loss, -loss, 4, 10)
        return Knowledge(writer, 1, (ReasoningPath(f"p{row}", writer, "answer 12", "12", None, likelihood),))

    fuser, won = make(FUSERS, "least_loss", below_own=False), 0
    for row in range(QUESTIONS):
        own = path(row, "llm", 1.0)
        offers = {"honest": path(row, "honest", 2.0), "liar": path(row, "liar", 0.0)}
        judged = {"honest": Likelihood(-3.0, -3.0, 4, 10), "liar": Likelihood(-9.0, -9.0, 4, 10)}
        told = {name: doubted(each, {f"p{row}": judged[name]}, own).paths[0] for name, each in offers.items()}
        won += fuser.fuse({}, "llm", told)[1] == "liar"
    return won


def attack() -> harness.Count:
    """Try every allocator, the fuser and the record."""
    tried, succeeded = QUESTIONS + 1, fused()
    succeeded += "liar" not in untrusted({name: Record(k, QUESTIONS, 0.0) for name, k in RECORDS.items()})
    for allocator in ALLOCATORS:
        with TemporaryDirectory() as folder:
            lies, cut = taught(allocator, Path(folder))
            tried += 2 * QUESTIONS + 1
            succeeded += lies + (not cut)
    outcome = "Its claims do not count. It wins no choice and no fusion, and the server excludes it."
    return harness.Count(tried, succeeded, outcome)


RECORDS = {"a": 12, "b": 11, "liar": 0}

if __name__ == "__main__":
    harness.main(attack)
