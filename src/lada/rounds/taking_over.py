"""The LLM continues a client's path from the point where it goes wrong, so that the path begins as the client writes.

An LLM may skip steps that a client has to write down. Its right path then teaches this client nothing. Where the client
gave a wrong answer, or another one than the LLM, the LLM reads the client's path and takes over at the first token that
it finds unlikely. What it writes goes on as the client began. If it reaches the right answer or, where that is unknown,
the LLM's own one, this client is taught that path instead of the LLM's own.

Source: the idea is that of speculative knowledge distillation (arXiv 2410.11325), in which a teacher replaces tokens of
the student as these are drawn. Ours: one change of hands per path and round; whole texts, so tokenizers may differ; and
a check of the answer.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path as FilePath

import numpy as np

from lada.core.plural import counted, plural
from lada.core.seeds import seed_of
from lada.core.terms import Knowledge, Likelihood, Path, TokenScores, Verb
from lada.evaluation.agreement import agreements
from lada.models.base import Answer, Progress
from lada.rounds.base import Round, Slot, Step, Turn
from lada.rounds.cached_phase import cached_phase
from lada.rounds.knowledge import score
from lada.rounds.outline import MINE, WRITTEN
from lada.rounds.party import Party
from lada.rounds.steps import in_range, verified

READING, PHASE, ANSWERS = "find-mistakes", "take-over", "answers.json"
Begun = Mapping[str, Sequence[tuple[str, str]]]
"""By client, the ids of samples and the beginnings of its paths, as far as the LLM finds them likely."""
BEGUN: Slot[Begun] = Slot("beginnings of clients' paths")
TAUGHT: Slot[Mapping[str, Knowledge]] = Slot("what each client is taught")


def taking_over(below: float) -> Round:
    """Return the server's steps after it has its own paths and `WRITTEN`; they leave `TAUGHT`.

    It takes over at the first token whose probability is lower than `below`.
    """

    def read(turn: Turn) -> None:
        party, written = turn.party, turn[WRITTEN]
        mistaken = {client: mistakes(party, turn[MINE], written[client]) for client in sorted(written)}
        turn[BEGUN] = {
            client: _begun(party, replace(texts, round=turn.round), below) for client, texts in mistaken.items()
        }

    def write(turn: Turn) -> None:
        found = _continued(turn.party, turn.round, turn[BEGUN])
        turn[TAUGHT] = {
            client: _replaced(turn.party, turn[MINE], client, answers) for client, answers in sorted(found.items())
        }

    return (
        Step("server", READING, Verb.LOG_PROBS, "public", run=read),
        Step("server", PHASE, Verb.CONTINUE, "public", run=write),
    )


def taught(turn: Turn, client: str) -> Knowledge:
    """Return what the server tells a client: its own paths, as far as it took over none of the client's."""
    return turn[TAUGHT].get(client, turn[MINE])


def mistakes(party: Party, mine: Knowledge, theirs: Knowledge) -> Knowledge:
    """Return the paths of `theirs` with a wrong answer or, where that is unknown, with another one than the party's.

    Left out are empty paths, and those on questions that the party left out. If nobody knows the right answer, those on
    questions that the party gave no answer to are left out as well.
    """
    own = mine.by_id()
    both = [path for path in theirs.paths if path.text and path.sample_id in own]
    answered = [own[path.sample_id] for path in both]
    same = agreements(answered, both, party.task.same)
    wrong = [
        path
        for path, its, agrees in zip(both, answered, same, strict=True)
        if path.right is False or (path.right is None and its.answer is not None and not agrees)
    ]
    return replace(theirs, paths=tuple(wrong))


def beginning(text: str, scores: TokenScores, below: float) -> str | None:
    """Return `text` up to the first token whose probability is lower than `below` (0..1); None if there is none.

    A character of which only some bytes come before is left out.
    """
    unlikely = np.flatnonzero(scores.own() < np.log(below))
    if not len(unlikely):
        return None
    end = int(scores.offsets[unlikely[0], 0])
    return text.encode()[:end].decode(errors="ignore")


def _begun(party: Party, texts: Knowledge, below: float) -> list[tuple[str, str]]:
    scores = score(party, texts, 1, phase=READING, what="text", sender=party.name) if texts.paths else {}
    found = {
        path.sample_id: beginning(path.text, scores[path.sample_id], below)
        for path in texts.paths
        if path.sample_id in scores
    }
    return [(id, begun) for id, begun in found.items() if begun is not None]


def _continued(party: Party, round: int, begun: Begun) -> dict[str, list[tuple[str, Answer]]]:
    """Return by client the answers that the party wrote from these beginnings, with the ids of their samples."""
    questions = {sample.id: sample.question for sample in party.task.public}

    def do(progress: Progress) -> dict[str, list[tuple[str, Answer]]]:
        complete = partial(party.learner.complete, temperature=party.temperature, progress=progress)
        return {
            client: [
                (id, answer)
                for (id, _), answer in zip(
                    each,
                    complete(
                        [(questions[id], text) for id, text in each], seed=seed_of(party.seed, round, PHASE, client)
                    ),
                    strict=True,
                )
            ]
            for client, each in begun.items()
        }

    def write(folder: FilePath, found: dict[str, list[tuple[str, Answer]]]) -> None:
        rows = {client: [[id, *astuple(answer)] for id, answer in each] for client, each in found.items()}
        (folder / ANSWERS).write_text(json.dumps(rows), encoding="utf-8")

    def read(folder: FilePath) -> dict[str, list[tuple[str, Answer]]]:
        rows = json.loads((folder / ANSWERS).read_bytes())
        return {
            client: [(id, Answer(text, Likelihood(*likelihood), *how)) for id, text, likelihood, *how in each]
            for client, each in rows.items()
        }

    return cached_phase(party, round, PHASE, do, write=write, read=read)


def _replaced(party: Party, mine: Knowledge, client: str, answers: Sequence[tuple[str, Answer]]) -> Knowledge:
    """Return the party's knowledge with its continuations in place of its own paths, as far as they are confirmed."""
    samples, own = {sample.id: sample for sample in party.task.public}, mine.by_id()
    written = verified(party, [(samples[id], answer) for id, answer in answers], mine.round, PHASE)
    written = in_range(party, Knowledge(party.name, mine.round, tuple(written))).paths
    same = agreements([own[path.sample_id] for path in written], written, party.task.same)
    confirmed: dict[str, Path] = {
        path.sample_id: path
        for path, agrees in zip(written, same, strict=True)
        if not path.cut and (agrees if path.right is None else path.right)
    }
    if answers:
        party.note(
            notices=(
                f"round {mine.round}: {party.name} takes over {counted(len(answers), 'path')} of {client}; "
                f"{len(confirmed)} {plural(len(confirmed), 'has', 'have')} the wanted answer and "
                f"{plural(len(confirmed), 'replaces', 'replace')} its own",
            )
        )
    return replace(mine, paths=tuple(confirmed.get(path.sample_id, path) for path in mine.paths))
