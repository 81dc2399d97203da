"""What the rounds of several hosts have in common, and how it is told beforehand (Host.plan)."""

from typing import Literal

from lada.core.terms import Verb
from lada.models.objective import Objective
from lada.rounds.base import Exchange, Step
from lada.rounds.knowledge import Kind, kinds_told
from lada.rounds.party import Party
from lada.rounds.reports import collect
from lada.rounds.steps import evaluate_party

Side = Literal["server", "client"]
EVALUATIONS = tuple(Step(side, "evaluate", Verb.ANSWER, "test") for side in ("client", "server"))
"""Everybody is evaluated."""
OF_CLIENTS = EVALUATIONS[:1]
"""The clients are evaluated; the server, where it still has the weights that it began with, stands where it stood."""


def studying_both(phase: str) -> tuple[Step, ...]:
    """Return the steps of lada.rounds.steps.study_both at a client."""
    return (
        Step("client", phase, Verb.STUDY, "private", study="private"),
        Step("client", f"{phase}-more", Verb.STUDY, "private", study="distil"),
    )


def evaluate_everybody(party: Party, exchange: Exchange, round: int) -> None:
    """Let all clients be evaluated in the phase `evaluate`, and the server meanwhile."""
    pending = exchange.ask("evaluate", round, {client: {} for client in exchange.clients})
    evaluate_party(party, round)
    collect(party, pending.wait())


def telling(
    side: Side, phase: str, kind: Kind, round: int, objective: Objective, *, sends: bool, known: bool = False
) -> tuple[Step, ...]:
    """Return the steps in which one side comes to know the public samples and, where it `sends`, tells of them.

    `known`: it knows them by the weights that it still has, so that it is not asked again.
    """
    verb = Verb.ANSWER if kind == "paths" else Verb.JUDGE
    soft = objective.soft is not None and sends
    kinds = kinds_told(kind, round, soft=soft) if sends else ()
    first = (
        ()
        if known and (soft or not sends)
        else (Step(side, phase, None if known else verb, "public", sends=() if soft else kinds),)
    )
    return (*first, Step(side, "score", Verb.LOG_PROBS, "public", sends=kinds)) if soft else first


def learning(side: Side, kind: Kind, before: tuple[Step, ...] = ()) -> tuple[Step, ...]:
    """Return the steps in which one side allocates and studies what it heard; `before` come between the two.

    What an allocator asks of the learner besides (Candidates.look, embed) is put in by who knows the allocator.
    """
    judge = (Step(side, "judge", Verb.JUDGE, "public"),) if kind == "paths" else ()
    return (*judge, *before, Step(side, "distil", Verb.STUDY, "lessons", "distil"))
