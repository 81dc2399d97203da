"""FedMKT's mutual round (arXiv 2406.02224), with reasoning paths and their losses as knowledge.

One round:

    clients   study their private data, answer the public questions, send their paths
              (which an LLM that only teaches does not need)                               `contribute`
    server    answers too; per client an allocator says which of its samples to learn; where several clients offer a
              path for one question the fuser takes one; the LLM studies, then answers anew
    clients   get the LLM's paths; an allocator says which to learn; they study              `learn`

Paths are texts, so tokenizers need no alignment here. A learner that studies another's paths forgets what these do
not cover; so a share of every study is replayed: own data and, for the server, its own paths.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import model_validator

from lada.allocators.base import Candidates
from lada.codecs.paths import decode, encode
from lada.core.errors import FederationError
from lada.core.registry import Options
from lada.core.results import AllocationRecord
from lada.core.seeds import generator, seed_of
from lada.core.terms import Allocation, Knowledge, Lesson, Path, Verb
from lada.evaluation.agreement import agreements
from lada.fusers.least_loss import LeastLoss, LeastLossOptions
from lada.hosts.base import HOSTS, Exchange, Payload
from lada.hosts.lessons import Pool, make_lessons, with_replay
from lada.hosts.party import Party
from lada.hosts.records import keep_rows
from lada.hosts.reports import collect, report_payload
from lada.hosts.steps import evaluate_party, gold_lessons, sft, study, write_paths

PATHS = "paths"


class Replay(Options):
    """Shares (0..1) of a study's lessons that are replayed, so that nothing is forgotten."""

    private: float
    """Of private samples, which a server has none of."""
    paths: float
    """Of the party's own paths on public questions, as far as they can be trusted."""
    general: float
    """Of questions that need skill alone, where the task has some."""

    @model_validator(mode="after")
    def _shares(self) -> "Replay":
        shares = (self.private, self.paths, self.general)
        if min(shares) < 0 or sum(shares) >= 1:
            raise ValueError(f"private, paths, general are {shares}: expected shares from 0 that add up to below 1")
        return self


class FedmktOptions(Options):
    """Options of the mutual round."""

    directions: Literal["both", "llm_to_slm"] = "both"
    client_replay: Replay = Replay(private=0.25, paths=0.1, general=0.1)
    """What a client replays beside the LLM's paths."""
    server_replay: Replay = Replay(private=0.0, paths=0.5, general=0.3)
    """What the server replays beside its clients' paths."""
    private_rounds: int | None = None
    """Study private data in the first so many rounds only; None: in every round, as the paper does."""


@HOSTS.register(
    "fedmkt",
    options=FedmktOptions,
    paper="arXiv 2406.02224",
    status="our reading",
    teacher_needs={Verb.ANSWER},
    student_needs={Verb.ANSWER, Verb.JUDGE, Verb.EMBED, Verb.STUDY},
)
class Fedmkt:
    """LLM and SLMs learn from each other's paths on public questions, both ways."""

    bare_allocator = "dual_min_ce"

    def __init__(self, options: FedmktOptions) -> None:
        self.options = options

    def serve(self, party: Party, exchange: Exchange, round: int) -> None:
        """See Host.serve. What the server can do meanwhile, it does while the clients work."""
        if round == 0:
            pending = exchange.ask("evaluate", round, {client: {} for client in exchange.clients})
            evaluate_party(party, round)
            collect(party, pending.wait())
            return
        pending = exchange.ask("contribute", round, {client: {} for client in exchange.clients})
        own = write_paths(party, party.task.public, round, "answer")
        vectors = _embed(party, round) if self._mutual else None
        replies = pending.wait()
        collect(party, replies)
        if vectors is not None:
            offers = {client: read_paths(party, reply[PATHS], client, round) for client, reply in replies.items()}
            self._learn_from_clients(party, round, own, offers, vectors)
            own = write_paths(party, party.task.public, round, "answer-anew")
        message = {PATHS: encode(own)}
        pending = exchange.ask("learn", round, dict.fromkeys(exchange.clients, message))
        evaluate_party(party, round)
        collect(party, pending.wait())

    def reply(self, phase: str, party: Party, round: int, payload: Payload) -> Payload:
        """See Host.reply."""
        if phase == "evaluate":
            evaluate_party(party, round)
            return report_payload(party)
        if phase == "contribute":
            if self.options.private_rounds is None or round <= self.options.private_rounds:
                study(
                    party,
                    gold_lessons(party, party.private),
                    sft(),
                    party.studies.private,
                    round=round,
                    phase="private",
                )
            paths = encode(write_paths(party, party.task.public, round, "answer"))
            party.memory[PATHS] = paths
            return {PATHS: paths, **report_payload(party)} if self._mutual else report_payload(party)
        teacher = read_paths(party, payload[PATHS], None, round)
        own = read_paths(party, party.memory.pop(PATHS), party.name, round)
        self._learn_from_server(party, round, teacher, own)
        evaluate_party(party, round)
        return report_payload(party)

    @property
    def _mutual(self) -> bool:
        return self.options.directions == "both"

    def _learn_from_server(self, party: Party, round: int, teacher: Knowledge, own: Knowledge) -> None:
        """LLM→SLM: a client allocates and studies."""
        allocation = allocate(party, round, teacher, own, _embed(party, round))
        lessons = self._lessons(party, allocation, teacher, own)
        _distil(party, round, lessons, own, replay=self.options.client_replay, teachers=teacher.party)

    def _learn_from_clients(
        self, party: Party, round: int, own: Knowledge, offers: dict[str, Knowledge], vectors: np.ndarray
    ) -> None:
        """SLM→LLM: the server allocates per client, fuses and studies."""
        allocations = {client: allocate(party, round, offer, own, vectors) for client, offer in sorted(offers.items())}
        proposals: dict[str, dict[str, Path]] = {}
        for client, allocation in allocations.items():
            paths = offers[client].by_id()
            for choice in allocation.choices:
                if choice.source == "teacher":
                    proposals.setdefault(choice.sample_id, {})[client] = paths[choice.sample_id]
        # Which offers beat the LLM's own path was the allocator's to say; here they are only held against each other.
        fuser = LeastLoss(LeastLossOptions(below_own=False))
        winners = {sample_id: fuser.fuse(offered) for sample_id, offered in proposals.items()}
        lessons: list[Lesson] = []
        for client, allocation in allocations.items():
            won = tuple(choice for choice in allocation.choices if winners.get(choice.sample_id) == client)
            lessons += self._lessons(party, Allocation(client, party.name, round, won), offers[client], own)
        _distil(party, round, lessons, own, replay=self.options.server_replay, teachers="its clients")

    def _lessons(self, party: Party, allocation: Allocation, teacher: Knowledge, own: Knowledge) -> list[Lesson]:
        samples = {sample.id: sample for sample in party.task.public}
        return make_lessons(allocation, samples, teacher.by_id(), own.by_id(), party.objective)


def read_paths(party: Party, data: bytes, writer: str | None, round: int) -> Knowledge:
    """Return the paths in a message: one for each public sample, of this round, by `writer` (None: by anybody).

    Raises CodecError for bytes that hold no paths, FederationError for other paths than these.
    """
    known = {sample.id for sample in party.task.public}
    knowledge = decode(data, known_ids=known)
    if writer not in (None, knowledge.party) or knowledge.round != round or len(knowledge.paths) != len(known):
        raise FederationError(
            f"paths: {len(knowledge.paths)} of {knowledge.party!r} in round {knowledge.round}; "
            f"expected {len(known)} of {writer or 'the server'!r} in round {round}"
        )
    return knowledge


def allocate(party: Party, round: int, teacher: Knowledge, own: Knowledge, vectors: np.ndarray) -> Allocation:
    """Let a student's allocator for one teacher choose, keep its state, and record the choice."""
    public = party.task.public
    paths, mine = teacher.by_id(), own.by_id()
    teacher_paths = tuple(paths[sample.id] for sample in public)
    student_paths = tuple(mine[sample.id] for sample in public)
    agree = agreements(teacher_paths, student_paths, party.task.same)
    with party.phase(round, "judge") as progress:
        judged = party.learner.judge([(sample.question, paths[sample.id].text) for sample in public], progress=progress)
    candidates = Candidates(
        round=round,
        teacher=teacher.party,
        student=party.name,
        samples=public,
        teacher_paths=teacher_paths,
        student_paths=student_paths,
        student_on_teacher=tuple(judged),
        agree=tuple(agree),
        embeddings=vectors,
        seed=seed_of(party.seed, round, "allocate", party.name, teacher.party),
    )
    key = f"{teacher.party}>{party.name}"
    state = party.states.get(key) or party.allocator.init(seed_of(party.seed, "allocator", key))
    party.states[key], allocation, diagnostics = party.allocator.apply(state, candidates)
    learnt = [(paths if choice.source == "teacher" else mine)[choice.sample_id] for choice in allocation.choices]
    known = [path.right for path in learnt if path.right is not None]
    party.note(
        allocations=(
            AllocationRecord(
                teacher=teacher.party,
                student=party.name,
                round=round,
                candidates=len(public),
                chosen=len(learnt),
                from_teacher=sum(choice.source == "teacher" for choice in allocation.choices),
                right=round_percent(known),
                agreement=round_percent(agree) or 0.0,
                diagnostics=diagnostics,
            ),
        )
    )
    keep_rows(party, candidates, allocation)
    return allocation


def round_percent(flags: Sequence[bool]) -> float | None:
    """Return the share of True in percent with four decimals; None of nothing."""
    return round(100 * sum(flags) / len(flags), 4) if flags else None


def _embed(party: Party, round: int) -> np.ndarray:
    with party.phase(round, "embed") as progress:
        return party.learner.embed([sample.question for sample in party.task.public], progress=progress)


def _distil(party: Party, round: int, lessons: list[Lesson], own: Knowledge, *, replay: Replay, teachers: str) -> None:
    """Let a party study what `teachers` have for it, with its replay; a notice where that is nothing."""
    if not lessons:
        party.note(notices=(f"round {round}: {party.name} found nothing to learn from {teachers}",))
        return
    pools = [
        Pool(gold_lessons(party, party.private), replay.private),
        Pool(_trusted(party, own, {lesson.sample_id for lesson in lessons}), replay.paths),
        Pool(gold_lessons(party, party.task.replay), replay.general),
    ]
    lessons, replayed = with_replay(lessons, pools, generator(party.seed, round, "replay", party.name))
    study(party, lessons, party.objective, party.studies.distil, round=round, phase="distil", replayed=replayed)


def _trusted(party: Party, own: Knowledge, taught: set[str]) -> list[Lesson]:
    """Return a party's own paths, but for those `taught`, that are right; the surer half where that is unknown."""
    questions = {sample.id: sample.question for sample in party.task.public}
    middle = float(np.median([path.likelihood.mean for path in own.paths]))
    return [
        Lesson(path.sample_id, questions[path.sample_id], path.text)
        for path in own.paths
        if path.sample_id not in taught
        and path.answer is not None
        and (path.likelihood.mean > middle if path.right is None else path.right)
    ]
