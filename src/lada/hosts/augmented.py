"""A host whose public samples grow: the steps of an augmenter around the steps of any host.

server    an LLM writes questions, which are checked and answered; those kept join the pool          `augment`
clients   receive the pool with the first message of the round, and do all that the host has them do
          answer held-out samples with the last message, if the augmenter needs that                 `validate`
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lada.allocators.base import Allocator
from lada.augmenters.base import Augmenter
from lada.core.errors import InputError
from lada.core.terms import Sample, Verb
from lada.hosts.base import Host
from lada.models.learners import LearnerOptions
from lada.models.objective import Objective
from lada.rounds.augmenting import augment
from lada.rounds.base import Ask, Payload, Round, Step, Turn
from lada.rounds.outcomes import OUTCOMES_ONLY, VALIDATE, collect_outcomes, send_outcomes
from lada.rounds.outline import REPORTING, silent
from lada.rounds.pool import POOL, pool_part, take_pool

PROBE = Sample("probe", "?", "0")


class Augmented(Host):
    """A host with an augmenter."""

    def __init__(self, host: Host, name: str, augmenter: Augmenter[Any]) -> None:
        self._host, self._name, self._augmenter = host, name, augmenter
        self.needs, self.bare = host.needs, host.bare
        self.server_studies, self.client_replay = host.server_studies, host.client_replay
        self.judges_texts = host.judges_texts

    def ask(self, public: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """See Host.ask."""
        return self._host.ask(public)

    def check(self, allocator: Allocator, clients: Mapping[str, LearnerOptions]) -> None:
        """See Host.check."""
        self._host.check(allocator, clients)
        if self.needs.pools_private:
            raise InputError(f"augmenter: {self._name!r} does not work with a host that pools private samples")
        if self._host.ask((PROBE,)) != (PROBE,):
            raise InputError(
                f"augmenter: {self._name!r} shows the LLM public questions as they are, but the host changes them; "
                "expected host.options.label_prompt: null"
            )

    def round(self, number: int, objective: Objective) -> Round:
        """See Host.round. It raises InputError for a host whose rounds have nothing to do with public samples."""
        steps = list(self._host.round(number, objective))
        if number == 0:
            return tuple(steps)
        if not any(isinstance(step, Step) and step.verb and step.samples == "public" for step in steps):
            raise InputError(
                f"augmenter: {self._name!r} adds public samples, but no step of the host works on these; choose "
                "another host, such as fedmkt or public_sft"
            )
        asks = [place for place, each in enumerate(steps) if isinstance(each, Ask)]
        if self._augmenter.held_out:
            steps.insert(steps.index(REPORTING, asks[-1]), self._validating)
            steps.append(silent("server", collect_outcomes))
        asked = steps[asks[0]]
        assert isinstance(asked, Ask)
        steps[asks[0]] = replace(asked, kinds=asked.kinds | POOL, send=_with_pool(asked))
        steps.insert(asks[0] + 1, silent("client", self._take))
        return (Step("server", "augment", Verb.ANSWER, "drafts", run=self._augment), *steps)

    @property
    def _validating(self) -> Step:
        return Step("client", VALIDATE, Verb.ANSWER, "validation", kinds=OUTCOMES_ONLY, run=self._validate)

    def _augment(self, turn: Turn) -> None:
        augment(turn.party, turn.round, self._name, self._augmenter)

    def _take(self, turn: Turn) -> None:
        take_pool(turn, self._augmenter.options.most)

    def _validate(self, turn: Turn) -> None:
        send_outcomes(turn, self._augmenter)


def _with_pool(asked: Ask):
    """Return what an ask sends, with the pool for everybody who is asked."""

    def send(turn: Turn) -> Mapping[str, Payload]:
        pool = pool_part(turn.party, turn.round)
        return {client: {**payload, **pool} for client, payload in asked.send(turn).items()}

    return send
