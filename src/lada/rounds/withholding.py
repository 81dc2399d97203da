"""A party withholds what would repeat a distinctive passage of its private samples (see lada.privacy.distinctive).

A path with such a passage is sampled again, at temperature 1, up to `tries` times. If all contain one, no path is sent,
and the sample is absent as if it had not been answered. Token scores are withheld with their text, and also if their
likeliest tokens spell a passage. What a party keeps for itself stays as it is. The party's report and a notice count
what was done. If nothing is caught, nothing is drawn and nothing changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from lada.core.plural import counted, plural
from lada.core.results import PartyReport, Withheld
from lada.core.seeds import seed_of
from lada.core.terms import Knowledge, Path, TokenScores, Vocabulary
from lada.core.words import words_of
from lada.models.base import Answer, Progress
from lada.rounds.party import Party
from lada.rounds.steps import answer_once, in_range, verified

INSTEAD = "answer-instead-{}"
"""The phase of a new sample, by number of the attempt."""
TEMPERATURE = 1.0
Prepare = Callable[[Knowledge], Knowledge]
"""What happens to paths before they leave, such as redaction."""


def keep_back(party: Party, knowledge: Knowledge, prepare: Prepare) -> Knowledge:
    """Return knowledge, prepared to leave, without distinctive passages of the party's private samples."""
    guard = party.distinctive()
    if guard is None:
        return knowledge
    caught = [path.sample_id for path in knowledge.paths if guard.found_in(path.text)]
    if not caught:
        return knowledge
    instead: dict[str, Path] = {}
    for attempt in range(1, guard.options.tries + 1):
        left = [id for id in caught if id not in instead]
        if left:
            others = prepare(_sample(party, knowledge.round, left, attempt)).paths
            instead |= {path.sample_id: path for path in others if not guard.found_in(path.text)}
    paths = tuple(
        instead.get(path.sample_id, path)
        for path in knowledge.paths
        if path.sample_id in instead or path.sample_id not in caught
    )
    again, withheld = len(instead), len(caught) - len(instead)
    of = counted(len(knowledge.paths), "path")
    what = f"{party.name} resampled {again} of {of} and withheld {withheld}, which repeated"
    _note(party, knowledge.round, what, paths=len(knowledge.paths), sampled_again=again, withheld=withheld)
    return replace(knowledge, paths=paths)


def keep_back_scores(party: Party, round: int, scores: Mapping[str, TokenScores]) -> dict[str, TokenScores]:
    """Return the token scores, on texts that may leave, whose likeliest tokens spell no distinctive passage."""
    guard = party.distinctive()
    if guard is None:
        return dict(scores)
    tokens = party.learner.vocabulary().tokens
    kept = {id: each for id, each in scores.items() if not guard.found_in(_likeliest(each, tokens))}
    if lost := len(scores) - len(kept):
        tokenize = plural(lost, "spells", "spell")
        what = f"{party.name} withheld {lost} of {counted(len(scores), 'token score')}, which {tokenize}"
        _note(party, round, what, paths=len(scores), scores=lost)
    return kept


def may_tell(party: Party, vocabulary: Vocabulary) -> bool:
    """Return whether no token of a party's vocabulary has a distinctive passage of more than one word.

    Vocabularies consist of single words, and the tokenizer reveals these anyway.
    """
    guard = party.distinctive()
    texts = (token.decode("utf-8", "replace") for token in vocabulary.tokens)
    return guard is None or not any(guard.found_in(text, alone=False) for text in texts if len(words_of(text)) > 1)


def keep_back_texts(party: Party, report: PartyReport) -> PartyReport:
    """Return a report without notices and domain names that contain a distinctive passage of more than one word."""
    guard = party.distinctive() if report.notices or report.parties else None
    if guard is None:
        return report

    def may_leave(text: str) -> bool:
        return not guard.found_in(text, alone=False)

    notices = tuple(filter(may_leave, report.notices))
    parties = tuple(
        each.model_copy(update={"domains": tuple(filter(may_leave, each.domains))}) for each in report.parties
    )
    lost = len(report.notices) - len(notices)
    lost += sum(len(a.domains) - len(b.domains) for a, b in zip(report.parties, parties, strict=True))
    if lost:
        notices += (f"{party.name} withheld {counted(lost, 'notice')} or names of domains that repeat private text",)
    return report.model_copy(update={"notices": notices, "parties": parties})


def _sample(party: Party, round: int, ids: list[str], attempt: int) -> Knowledge:
    """Return another path for each of some public samples."""
    asked = [sample for sample in party.task.shared if sample.id in set(ids)]
    questions = [sample.question for sample in asked]
    purpose = INSTEAD.format(attempt)
    seed = seed_of(party.seed, round, purpose, party.name)

    def do(progress: Progress) -> list[list[Answer]]:
        return party.learner.sample(questions, paths=1, seed=seed, temperature=TEMPERATURE, progress=progress)

    answers = answer_once(party, round, purpose, do, given=[questions, TEMPERATURE, seed])
    answered = [(sample, answer) for sample, (answer,) in zip(asked, answers, strict=True)]
    paths = verified(party, answered, round, purpose)
    return in_range(party, Knowledge(party.name, round, tuple(paths)))


def _likeliest(scores: TokenScores, tokens: tuple[bytes, ...]) -> str:
    """Return the text of the likeliest token at each position."""
    ids = scores.top.ids[np.arange(len(scores.top.ids)), scores.top.log_probs.argmax(1)]
    return b"".join(tokens[id] for id in ids.tolist()).decode("utf-8", "replace")


def _note(party: Party, round: int, what: str, *, paths: int, **counts: int) -> None:
    record = Withheld(party=party.name, round=round, paths=paths, **counts)
    party.note(withheld=(record,), notices=(f"round {round}: {what} distinctive passages of its private samples",))
