"""The value of a client's paths to the server, measured by how much they improve it on its own samples.

For each client, the server studies only that client's chosen paths for a few steps, by plain fine-tuning. It measures
its loss on validation samples and restores its weights. The gain is the drop of the loss. A client without a gain keeps
none of its paths. Each other keeps the share min(1, gain / median gain), the best of its allocator's choices first;
negative gains count as 0. Clients that are about equally good are therefore not limited, and the one with the greatest
gain never is.

The loss has two parts. The first is the mean loss per token of the gold texts. The second is that of telling each from
the same text with another answer in its place: log(1 + exp(b - a)), with the log-probs a of the gold text and b of the
other. The first alone would hardly tell right paths from those with wrong answers, since most of their tokens are
right.

The validation samples are a quarter of the public ones with a gold answer, at most 64, the same in every round. No
client's path for them is studied, and the other parties need not know the answers. If no public sample has one, the
server's replayed samples are used.

This is our reading of "trust from validation gain". The round's single study mixes all clients' paths, so a probe
stands in for each part. It costs `trust_steps` steps and two judgements of the validation samples per client and round.
It judges the current paths and gives no credit for past honesty. It misses effects that take more steps, or that need
another client's paths too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory

import numpy as np

from lada.core.errors import InputError
from lada.core.plural import counted
from lada.core.seeds import generator, seed_of
from lada.core.terms import Allocation, Knowledge, Lesson
from lada.models.base import Progress
from lada.models.objective import lesson_on
from lada.rounds.cached_phase import cached_phase
from lada.rounds.gold import gold_text
from lada.rounds.party import Party
from lada.rounds.restoring import restorer
from lada.rounds.steps import gold_lessons, sft
from lada.rounds.trust import limit
from lada.tasks.data import TaskData

MOST = 64
"""Maximum number of validation samples."""
SHARE = 4
"""One in this many public samples with a gold answer is for validation."""
GAINS = "gains.json"


def check_validation(task: TaskData) -> None:
    """Raise InputError for a task without samples for validation."""
    public, replay = (sum(gold_text(task, each) is not None for each in of) for of in (task.public, task.replay))
    if public < SHARE and not replay:
        raise InputError(
            f"host.options.trust: 'gain' needs samples with a gold answer, {SHARE} public ones or one to replay; there "
            f"are {public} and none. Add some answers, or set trust: agreement"
        )


def validation(party: Party) -> list[Lesson]:
    """Return a party's validation samples, as lessons on the gold texts; see check_validation."""
    known = gold_lessons(party, [sample for sample in party.task.public if sample.origin is None])
    return _drawn(party, known, len(known) // SHARE) or _drawn(party, gold_lessons(party, party.task.replay), MOST)


def limit_by_gain(
    party: Party, allocations: Mapping[str, Allocation], offers: Mapping[str, Knowledge], round: int, steps: int
) -> dict[str, Allocation]:
    """Return the allocations by client, each limited by its gain, and without the validation samples."""
    held = validation(party)
    ids = {lesson.sample_id for lesson in held}
    allocations = {
        client: replace(each, choices=tuple(choice for choice in each.choices if choice.sample_id not in ids))
        for client, each in allocations.items()
    }
    lessons = {client: _lessons(party, each, offers[client]) for client, each in sorted(allocations.items())}
    gains = _gains(party, {client: each for client, each in lessons.items() if each}, held, round, steps)
    worth = {client: max(gain, 0.0) if np.isfinite(gain) else 0.0 for client, gain in gains.items()}
    middle = float(np.median(list(worth.values()))) if worth else 0.0
    shares = {client: min(1.0, each / middle) if middle else float(each > 0) for client, each in worth.items()}
    reasons = {
        client: f"{counted(steps, 'step')} on them changed the loss of {party.name} on "
        f"{counted(len(held), 'sample')} of its own by "
        f"{-gain:+.4f} nats"
        for client, gain in gains.items()
    }
    return limit(party, round, allocations, {client: shares.get(client, 1.0) for client in allocations}, reasons)


def _gains(
    party: Party, lessons: Mapping[str, list[Lesson]], held: list[Lesson], round: int, steps: int
) -> dict[str, float]:
    def write(folder: FilePath, gains: dict[str, float]) -> None:
        (folder / GAINS).write_text(json.dumps(gains), encoding="utf-8")

    def read(folder: FilePath) -> dict[str, float]:
        return json.loads((folder / GAINS).read_bytes())

    def do(progress: Progress) -> dict[str, float]:
        return _probed(party, lessons, held, round, steps, progress) if lessons else {}

    return cached_phase(party, round, "trust", do, write=write, read=read)


def _probed(
    party: Party, lessons: Mapping[str, list[Lesson]], held: list[Lesson], round: int, steps: int, progress: Progress
) -> dict[str, float]:
    """Return how much a few steps on each client's lessons lower the loss; the party does not change."""
    options = party.studies.distil.model_copy(update={"steps": steps, "dp": None})
    seed = seed_of(party.seed, round, "trust", party.name)  # one seed for all, so that their luck is the same
    before, gains = _loss(party, held, progress), {}
    party.folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=party.folder) as folder:  # a model may be too large for the system's own place
        restore = restorer(party, FilePath(folder))
        for client in sorted(lessons):
            party.learner.study(lessons[client], sft(), options, seed=seed, progress=progress)
            gains[client] = before - _loss(party, held, progress)
            restore()
    return gains


def _loss(party: Party, held: Sequence[Lesson], progress: Progress) -> float:
    """Return the loss on validation samples, nats: per token of their texts, and of the choice of their answers."""
    others = {i: text for i, text in enumerate(_with_other_answers(party, held)) if text is not None}
    pairs = [(lesson.question, lesson.chosen) for lesson in held]
    pairs += [(held[i].question, others[i]) for i in others]
    judged = party.learner.judge(pairs, progress=progress)
    with np.errstate(invalid="ignore"):  # a probe may leave a learner whose log-probs are not finite
        chances = [
            np.logaddexp(0.0, other.total - judged[i].total)
            for i, other in zip(others, judged[len(held) :], strict=True)
        ]
    return -float(np.mean([gold.mean for gold in judged[: len(held)]])) + float(np.mean(chances or [0.0]))


def _with_other_answers(party: Party, held: Sequence[Lesson]) -> list[str | None]:
    """Return each text with the next of all answers in place of its own; None if that is impossible."""
    said = [party.task.extract(lesson.chosen) for lesson in held]
    answers = sorted({answer for answer in said if answer is not None})
    texts: list[str | None] = []
    for lesson, answer in zip(held, said, strict=True):
        text = None
        if answer is not None and answer in lesson.chosen:
            head, _, tail = lesson.chosen.rpartition(answer)
            text = f"{head}{answers[(answers.index(answer) + 1) % len(answers)]}{tail}"
        answer_given = None if text is None else party.task.extract(text)
        texts.append(None if answer_given is None or party.task.same(answer_given, answer or "") else text)
    return texts


def _lessons(party: Party, allocation: Allocation, offer: Knowledge) -> list[Lesson]:
    """Return lessons on the chosen paths of the teacher."""
    samples, paths = {sample.id: sample for sample in party.task.public}, offer.by_id()
    chosen = [choice.sample_id for choice in allocation.choices if choice.source == "teacher"]
    return [lesson_on(samples[id], paths[id]) for id in chosen if paths[id].text]


def _drawn(party: Party, lessons: list[Lesson], most: int) -> list[Lesson]:
    """Return up to `most` and MOST of the lessons, in their order, the same each time."""
    order = generator(party.seed, "trust", party.name).permutation(len(lessons))[: min(most, MOST)]
    return [lessons[i] for i in sorted(order.tolist())]
