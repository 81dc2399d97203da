"""Clients side by side: how fair a run is to them, and what their accuracy goes together with."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from statistics import fmean, pstdev

from lada.core.plural import counted
from lada.core.results import PartyInfo, Record, Results
from lada.evaluation.clients import rank_correlation, worst_tenth
from lada.report.view import Table, View, mean
from lada.report.words import difference, number

GROUPS = 5
"""Of many clients, so many groups of equal size are told, from the least private samples to the most."""


SHOWN: dict[str, Callable[[float | None], str]] = {
    "before": number,
    "after": number,
    "gain": difference,
    "agreement": number,
    "fidelity": number,
    "self_bleu": number,
}
"""The figures of a client in a table, each with how it is written."""


class ClientFigures(Record):
    """What one client had, did and reached; percent and points where nothing else is said."""

    client: str
    private_samples: int
    lessons: int
    """Lessons of its studies, all rounds together."""
    tokens: int
    """Tokens that it studied."""
    before: float | None
    """Accuracy on all domains at the first evaluation."""
    after: float | None
    """The same at the last evaluation."""
    gain: float | None
    """`after` minus `before`, points."""
    agreement: float | None
    """With the LLM, at the last evaluation."""
    fidelity: float | None
    """Rationale fidelity, BLEU, likewise."""
    self_bleu: float | None
    """Likewise."""


class RoundFigures(Record):
    """How the clients stand after one round, percent. Correlations are Spearman's, -1..1."""

    round: int
    clients: int
    """How many were evaluated in this round."""
    mean: float
    worst_tenth: float
    """Mean of the worst tenth of the clients, at least one."""
    spread: float
    """Standard deviation over clients, points."""
    gain_and_agreement: float | None
    """Rank correlation of the gain since the first evaluation and agreement with the LLM. None if it is unknown."""
    accuracy_and_size: float | None
    """Rank correlation of accuracy and the number of private samples. None if it is unknown."""


def by_client(results: Results) -> list[ClientFigures]:
    """Return a row for each client."""
    view = View(results)
    return [_of_client(view, client) for client in view.clients]


def _of_client(view: View, client: PartyInfo) -> ClientFigures:
    first, last = view.ends(client.name)
    last = last or first
    studies = [study for study in view.results.studies if study.party == client.name]
    before, after = (None if each is None else each.overall.value for each in (first, last))
    return ClientFigures(
        client=client.name,
        private_samples=client.private_samples,
        lessons=sum(study.lessons for study in studies),
        tokens=sum(study.tokens for study in studies),
        before=before,
        after=after,
        gain=None if before is None or after is None else after - before,
        agreement=last and last.agreement,
        fidelity=last and last.fidelity,
        self_bleu=last and last.self_bleu,
    )


def by_round(results: Results) -> list[RoundFigures]:
    """Return a row for each round in which clients were evaluated."""
    view = View(results)
    return list(_rounds(view))


def _rounds(view: View) -> Iterator[RoundFigures]:
    starts = {client.name: start.overall.value for client in view.clients if (start := view.ends(client.name)[0])}
    for round in view.rounds:
        found = [(client, each) for client in view.clients if (each := view.evaluation(client.name, round)) is not None]
        if not found:
            continue
        accuracies = [each.overall.value for _, each in found]
        gains = [each.overall.value - starts[client.name] for client, each in found]
        yield RoundFigures(
            round=round,
            clients=len(found),
            mean=fmean(accuracies),
            worst_tenth=worst_tenth(accuracies),
            spread=pstdev(accuracies),
            gain_and_agreement=rank_correlation(gains, [each.agreement for _, each in found]),
            accuracy_and_size=rank_correlation(accuracies, [client.private_samples for client, _ in found]),
        )


def fairness(view: View) -> Table:
    """Return how the clients stand after each round; without rows for a single client."""
    head = ("round", "clients", "mean", "worst tenth", "spread", "gain and agreement", "accuracy and data size")
    rows = [
        (f"{row.round}", f"{row.clients}", number(row.mean), number(row.worst_tenth), number(row.spread),
         number(row.gain_and_agreement, 2), number(row.accuracy_and_size, 2))
        for row in _rounds(view)
    ] if len(view.clients) > 1 else []  # fmt: skip
    caption = (
        "Accuracy of the clients on all domains: the mean, the mean of the worst tenth of them (at least one), and the "
        "standard deviation in points. The last two columns are Spearman’s rank correlations over clients, from −1 to "
        "1, for three clients or more. The first is between a client’s gain and its agreement with the LLM; a gain "
        "without agreement was learnt elsewhere. The second is between accuracy and the number of private samples."
    )
    return Table(head, rows, caption, 1)


def by_size(view: View) -> Table:
    """Return accuracy by the number of private samples: a row per client, or of many clients one per group."""
    known = sorted(by_client(view.results), key=lambda each: (each.private_samples, each.client))
    groups = _groups(known) if view.many else [[each] for each in known]
    head = ("private samples", "clients", "tokens studied", "before", "after", "gain", "agreement", "fidelity",
            "self-BLEU")  # fmt: skip
    rows = [_row(group) for group in groups] if len(known) > 1 else []
    caption = (
        "Accuracy by data size, from the fewest private samples to the most. Fidelity is the BLEU of a client’s paths "
        "against the LLM’s for the same questions. High accuracy with low fidelity means that the client reasons in "
        "another way. Self-BLEU compares each path with the client’s others; a high value means little variety."
    )
    return Table(head, rows, caption, 2)


def _groups(known: Sequence[ClientFigures]) -> list[Sequence[ClientFigures]]:
    ends = [round(len(known) * place / GROUPS) for place in range(GROUPS + 1)]
    return [known[a:b] for a, b in pairwise(ends) if a < b]


def _row(group: Sequence[ClientFigures]) -> tuple[str, ...]:
    sizes = sorted({group[0].private_samples, group[-1].private_samples})
    who = group[0].client if len(group) == 1 else counted(len(group), "client")
    return (
        "–".join(map(str, sizes)),
        who,
        f"{fmean(each.tokens for each in group):.0f}",
        *(show(mean(getattr(each, name) for each in group)) for name, show in SHOWN.items()),
    )
