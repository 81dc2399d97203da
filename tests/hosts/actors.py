"""Parties whose learners follow a script, and an exchange that calls the clients directly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from lada.allocators.base import ALLOCATORS
from lada.core.registry import Registry
from lada.core.terms import Lesson, Likelihood, Sample, SparseLogProbs, TokenizedText, TokenScores, Verb, Vocabulary
from lada.hosts.base import HOSTS, Host
from lada.models.base import Answer, Course, LearnerBase, Progress, Studies, Study, StudyReport, silent
from lada.models.objective import Objective
from lada.objectives.base import OBJECTIVES
from lada.rounds.base import Look, Payload
from lada.rounds.checks import Guard
from lada.rounds.party import Party
from lada.tasks.data import TaskData

CANARY = "Ms-Żółć-of-room-9"
"""Stands in all private questions and answers."""
BYTES = tuple(bytes([byte]) for byte in range(256))
PRIVATE = Study(steps=3)
DISTIL = Study(steps=5)


def make(registry: Registry[Any], name: str, **options: Any) -> Any:
    method = registry.get(name)
    return method.make(method.options(**options))


def right(number: int) -> str:
    """Return a right path for public question `number`."""
    return f"so answer gold{number}"


def wrong(number: int, party: str) -> str:
    return f"so answer {party}{number}"


def extract(text: str) -> str | None:
    return text.partition("answer ")[2] or None


@dataclass
class Studied:
    """One study as it was asked for."""

    lessons: list[Lesson]
    objective: Objective
    options: Study
    seed: int

    def texts(self) -> dict[str, tuple[str, str | None]]:
        """Return (chosen, rejected) by sample id."""
        return {lesson.sample_id: (lesson.chosen, lesson.rejected) for lesson in self.lessons}


@dataclass
class ScriptedLearner(LearnerBase):
    """Answers by heart, and knows by heart whatever it has studied."""

    answers: dict[str, str]
    """By question."""
    sure: dict[str, float] = field(default_factory=dict)
    """Of its own paths, by question: the sum as well as the least, nats."""
    judgements: dict[str, float] = field(default_factory=dict)
    """Of any text; -2 where nothing is said."""
    studies: list[Studied] = field(default_factory=list)
    judged: list[tuple[str, str]] = field(default_factory=list)
    verbs: frozenset[Verb] = frozenset(Verb)
    name: str = "script"
    device: str = "cpu"
    scaling: float = 1.0
    words: tuple[bytes, ...] = BYTES
    """Its vocabulary."""
    broken: frozenset[str] = frozenset()
    """Texts on which its log-probs are NaN."""
    untraceable: frozenset[str] = frozenset()
    """Texts whose tokens it cannot lead back to bytes."""
    weights: np.ndarray = field(default_factory=lambda: np.zeros(2, np.float32))
    """Its adapter."""
    others: dict[str, list[str]] = field(default_factory=dict)
    """What it samples, by question."""

    def answer(
        self, questions: Sequence[str], *, seed: int, temperature: float = 0.0, progress: Progress = silent
    ) -> list[Answer]:
        progress("answer", len(questions), len(questions), 1)
        return [Answer(self.answers[q], self._likelihood(self.sure.get(q, -1.0), self.answers[q])) for q in questions]

    def sample(
        self,
        questions: Sequence[str],
        *,
        paths: int,
        seed: int,
        temperature: float,
        progress: Progress = silent,
    ) -> list[list[Answer]]:
        first = self.answer(questions, seed=seed, progress=progress)
        texts = [
            self.others.get(question, [answer.text] * paths) for question, answer in zip(questions, first, strict=True)
        ]
        return [[Answer(text, self._likelihood(self.judgements.get(text, -2.0), text)) for text in t] for t in texts]

    def judge(self, pairs: Sequence[tuple[str, str]], *, progress: Progress = silent) -> list[Likelihood]:
        self.judged = list(pairs)
        return [self._likelihood(self.judgements.get(text, -2.0), text) for _, text in pairs]

    def log_probs(
        self, pairs: Sequence[tuple[str, str]], k: int, *, progress: Progress = silent
    ) -> list[TokenScores | None]:
        """Give each own token half of the probability, and the rest in equal parts to the first other ones."""
        scores: list[TokenScores | None] = []
        for (_, text), spelled in zip(pairs, self.tokenize([text for _, text in pairs]), strict=True):
            if spelled is None:
                scores.append(None)
                continue
            rows = [sorted([own, *[i for i in range(k) if i != own][: k - 1]]) for own in spelled.tokens.tolist()]
            ids = np.array(rows, np.int32)
            log_probs = np.where(ids == spelled.tokens[:, None], np.log(0.5), np.log(0.5 / k)).astype(np.float32)
            if text in self.broken:
                log_probs[1] = np.nan
            scores.append(TokenScores(spelled.tokens, spelled.offsets, SparseLogProbs(ids, log_probs)))
        return scores

    def vocabulary(self) -> Vocabulary:
        return Vocabulary((*self.words, b"<end>"), len(self.words))

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText | None]:
        """Take the longest word at each byte."""
        spelled: list[TokenizedText | None] = []
        for text in texts:
            if text in self.untraceable:
                spelled.append(None)
                continue
            data, ids, ends = text.encode(), [], [0]
            while ends[-1] < len(data):
                rest = data[ends[-1] :]
                word = max((word for word in self.words if rest.startswith(word)), key=len)
                ids.append(self.words.index(word))
                ends.append(ends[-1] + len(word))
            offsets = [*pairwise(ends), (len(data), len(data) + 1)]
            spelled.append(TokenizedText(np.array([*ids, len(self.words)], np.int32), np.array(offsets, np.int32)))
        return spelled

    def take_notices(self) -> tuple[str, ...]:
        return ()

    def adapter(self) -> dict[str, np.ndarray]:
        return {"lora": self.weights}

    def load_adapter(self, weights: Mapping[str, np.ndarray]) -> None:
        self.weights = weights["lora"]

    def embed(self, questions: Sequence[str], *, progress: Progress = silent) -> np.ndarray:
        return np.eye(len(questions), dtype=np.float32)

    def read(self, pairs: Sequence[tuple[str, str]], *, progress: Progress = silent) -> np.ndarray:
        return np.array([[len(text), self.judgements.get(text, -2.0)] for _, text in pairs], np.float32).reshape(-1, 2)

    def study(
        self,
        lessons: Sequence[Lesson],
        objective: Objective,
        study: Study,
        *,
        seed: int,
        course: Course = Course(),  # noqa: B008 - it is immutable
        progress: Progress = silent,
    ) -> StudyReport:
        self.studies.append(Studied(list(lessons), objective, study, seed))
        self.answers |= {lesson.question: lesson.chosen for lesson in lessons}
        pairs = sum(lesson.rejected is not None for lesson in lessons)
        return StudyReport(
            study.steps,
            len(lessons),
            pairs,
            sum(lesson.soft is not None for lesson in lessons),
            10 * study.steps,
            2.0,
            1.0,
        )

    def save(self, folder: FilePath) -> None: ...

    @staticmethod
    def _likelihood(total: float, text: str) -> Likelihood:
        return Likelihood(total, total, 4, len(text.encode()))


@dataclass
class Sent:
    """One message on the wire."""

    phase: str
    round: int
    sender: str
    receiver: str
    payload: dict[str, bytes]


class Direct:
    """An exchange in one process. What is asked happens when the server waits, so it must not count on more."""

    def __init__(self, host: Host, server: Party, clients: Sequence[Party]) -> None:
        self._host = host
        self._guard = Guard(host, server)
        self._parties = {party.name: party for party in clients}
        self.clients = tuple(sorted(self._parties))
        self.sent: list[Sent] = []
        self.dropped: list[tuple[str, int, str, str]] = []

    def ask(self, phase: str, round: int, payloads: Mapping[str, Payload]) -> "Asked":
        self.sent += [Sent(phase, round, "llm", name, dict(payload)) for name, payload in payloads.items()]
        return Asked(self, phase, round, payloads)

    def answer(self, phase: str, round: int, payloads: Mapping[str, Payload]) -> dict[str, Payload]:
        replies = {n: self._host.reply(phase, self._parties[n], round, payloads[n]) for n in sorted(payloads)}
        self.sent += [Sent(phase, round, name, "llm", dict(reply)) for name, reply in replies.items()]
        for name, reply in replies.items():
            self._guard.check_reply(name, phase, round, reply)  # what is honest is never refused
        return replies

    def drop(self, phase: str, round: int, faults: Mapping[str, str]) -> None:
        self.dropped += [(phase, round, name, why) for name, why in faults.items()]


@dataclass
class Asked:
    exchange: Direct
    phase: str
    round: int
    payloads: Mapping[str, Payload]

    def wait(self, look: Look | None = None) -> dict[str, Payload]:
        return seen(self.exchange.answer(self.phase, self.round, self.payloads), look)


def seen(replies: dict[str, Payload], look: Look | None) -> dict[str, Payload]:
    """Return replies that `look` has seen."""
    if look:
        for client, reply in replies.items():
            look(client, reply)
    return replies


PUBLIC = tuple(Sample(f"p{i}", f"public {i}", f"gold{i}", domain="farm" if i < 3 else "shop") for i in range(5))
TEST = tuple(Sample(f"t{i}", f"test {i}", f"gold{i}", domain=("farm", "shop", "sums", "farm")[i]) for i in range(4))
REPLAY = tuple(Sample(f"r{i}", f"replay {i}", f"gold{i}", domain="sums") for i in range(6))


def task(public: tuple[Sample, ...] = PUBLIC) -> TaskData:
    return TaskData(
        public=public,
        private={},
        test=TEST,
        replay=REPLAY,
        own_domains={"a": frozenset({"farm"}), "b": frozenset({"farm"})},
        general=frozenset({"sums"}),
        extract=extract,
        same=lambda answer, gold: answer is not None and answer.lower() == gold.lower(),
        steps=None,
    )


def make_party(
    name: str,
    knows: set[int],
    folder: FilePath,
    *,
    allocator: Any = "verified",
    objective: Any = "sft",
    sure: Mapping[int, float] | None = None,
    data: TaskData | None = None,
) -> Party:
    """Return a party that is right on the public questions in `knows`; `sure` are log-probs of its own paths."""
    data = data or task()
    answers = {s.question: right(i) if i in knows else wrong(i, name) for i, s in enumerate(data.public)}
    answers |= {s.question: right(i) if i < 2 else "no idea" for i, s in enumerate(TEST)}
    log_probs = {data.public[i].question: value for i, value in (sure or {}).items()}
    private = tuple(Sample(f"{name}-{i}", f"{CANARY} {name} {i}", f"{CANARY}{i}", "by rule") for i in range(4))
    return Party(
        name=name,
        role="server" if name == "llm" else "client",
        learner=ScriptedLearner(answers, log_probs),
        task=data,
        private=() if name == "llm" else private,
        allocator=make(ALLOCATORS, allocator) if isinstance(allocator, str) else allocator,
        objective=make(OBJECTIVES, objective) if isinstance(objective, str) else objective,
        studies=Studies(PRIVATE, DISTIL),
        seed=3,
        folder=folder / name,
        emit=lambda event: None,
        clock=lambda: 0.0,
    )


@dataclass
class Federation:
    """A server `llm` and clients `a` and `b` on one host, at work together."""

    host: Host
    server: Party
    clients: dict[str, Party]
    exchange: Direct

    def run(self, *rounds: int) -> None:
        for round in rounds:
            self.host.serve(self.server, self.exchange, round)

    def studies(self, name: str) -> list[Studied]:
        """Return what a party has studied."""
        party = self.server if name == "llm" else self.clients[name]
        assert isinstance(party.learner, ScriptedLearner)
        return party.learner.studies


def federation(
    folder: FilePath, host: str, knows: Mapping[str, set[int]], options: Any = None, **more: Any
) -> Federation:
    """Return a federation on `host`; `knows` are the public questions that each party is right on."""
    method = HOSTS.get(host)
    made = method.make(method.options.model_validate(options or {}))
    sure = more.pop("sure", {})
    parties = {name: make_party(name, known, folder, sure=sure.get(name), **more) for name, known in knows.items()}
    for party in parties.values():
        party.task = replace(party.task, public=made.ask(party.task.public))
    server = parties.pop("llm")
    return Federation(made, server, parties, Direct(made, server, list(parties.values())))


def small(config: dict[str, Any]) -> dict[str, Any]:
    """Return a whole run's configuration with few samples, short answers and a step a study."""
    config["task"] |= {"public": 10, "private": 8, "test_per_domain": 1, "replay": 4}
    for party in (config["server"], *config["clients"]):
        party["model"]["max_new_tokens"] = 16
        for study in party.keys() & {"private", "distil"}:
            party[study] = {"steps": 1, "batch_size": 4}
    return config
