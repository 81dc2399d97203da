"""The data that a task gives a run: which party has which samples."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from lada.core.seeds import generator
from lada.core.terms import Sample
from lada.verifiers.base import Verifier

StepCheck = Callable[[Sample, str], list[tuple[str, bool]]]
"""Splits a path into its steps and tells for each whether it is right."""
StyleReader = Callable[[Sample, str], str]
"""Returns the style of a path; see lada.tasks.styles."""
AnswerCheck = Callable[[str | None, str], bool]
"""`check(extracted answer or None, gold answer)`."""
Solve = Callable[[str], Sample | None]
"""Returns a question as a sample with its true answer; None for a text that is no question of the task."""
Told = TypeVar("Told")


@dataclass(frozen=True)
class TaskData:
    """All samples of a run. `private` and `own_domains` are keyed by client name. `replay` is general data that every
    party has and replays against forgetting (may be empty). `general` domains measure skill only. `noisy` holds the ids
    of public samples whose gold answer is wrong on purpose, or that are no questions of the task; no party knows them.
    `notices` report omitted data. A
    `verifier` decides which answers to public and test questions are right, instead of `same`, which then only tells
    whether two answers are equal (see lada.rounds.verdicts). `mixed` holds the domains of questions that mix several.
    `known` holds the domains that the server's LLM knows, if the task says so. `style` returns the style of a path if
    results report it; no method may call it. `solve` answers new questions, if the task can. `validation` holds public
    samples that no party studies."""

    public: tuple[Sample, ...]
    private: Mapping[str, tuple[Sample, ...]]
    test: tuple[Sample, ...]
    replay: tuple[Sample, ...]
    own_domains: Mapping[str, frozenset[str]]
    general: frozenset[str]
    extract: Callable[[str], str | None]
    same: AnswerCheck
    steps: StepCheck | None
    noisy: frozenset[str] = frozenset()
    notices: tuple[str, ...] = ()
    verifier: Verifier | None = None
    mixed: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    style: StyleReader | None = None
    solve: Solve | None = None
    validation: tuple[Sample, ...] = ()

    @property
    def shared(self) -> tuple[Sample, ...]:
        """All public samples that parties answer, those held out included."""
        return (*self.public, *self.validation)

    def groups(self, party: str) -> dict[str, frozenset[str]]:
        """Return the domains of each group of test questions on which a party is evaluated.

        A client's `own` domains are those of its data; the server's are those that no client has. The rest are `other`.
        The domains `new` to a client are those that the server's LLM knows and the client lacks. The domains `new` to
        the server are clients' domains that it does not know. There are none if the task does not say what it knows.
        `general` and `mixed` are the task's.
        """
        domains = frozenset(sample.domain for sample in self.test) - self.general - self.mixed
        clients = frozenset[str]().union(*self.own_domains.values())
        own = self.own_domains.get(party, domains - clients)
        teachable = self.known if party in self.own_domains else clients - self.known
        new = teachable - own if self.known else frozenset[str]()
        return {"own": own, "other": domains - own, "new": new, "general": self.general, "mixed": self.mixed}

    def asked(self, public: tuple[Sample, ...]) -> "TaskData":
        """Return the task with other prompts for its public samples.

        Functions that read a path's steps and style still see the original questions, since a prompt is not part of a
        corpus.
        """
        plain = {(new.id, new.question): old for new, old in zip(public, self.public, strict=True) if new != old}
        steps, style = self.steps, self.style
        return replace(
            self,
            public=public,
            steps=steps and partial(_by_question, plain, steps),
            style=style and partial(_by_question, plain, style),
        )

    def holding_out(self, share: float, seed: int) -> "TaskData":
        """Return the task with this share (0..1) of the public samples with a gold answer held out for validation.

        Every party draws the same ones from the run's `seed`.
        """
        known = [sample.id for sample in self.public if sample.answer is not None]
        drawn = generator(seed, "task", "validation").permutation(len(known))[: round(share * len(known))]
        held = {known[place] for place in drawn}
        return replace(
            self,
            public=tuple(sample for sample in self.public if sample.id not in held),
            validation=tuple(sample for sample in self.public if sample.id in held),
        )

    def with_generated(self, samples: tuple[Sample, ...]) -> "TaskData":
        """Return the task with `samples` as its generated ones, in place of any others.

        Steps and styles of their paths are unknown, since they need not be questions of the corpus.
        """
        original = tuple(sample for sample in self.public if sample.origin is None)
        return replace(self, public=(*original, *samples))


def _by_question(
    plain: Mapping[tuple[str, str], Sample], read: Callable[[Sample, str], Told], sample: Sample, text: str
) -> Told:
    """Return the result of `read` for a path and the task's original sample, whatever prompt was used."""
    return read(plain.get((sample.id, sample.question), sample), text)
