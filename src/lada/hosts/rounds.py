"""What the rounds of several hosts have in common, and how it is told beforehand (Host.plan)."""

from typing import Literal

from lada.core.terms import Verb
from lada.hosts.base import Exchange, Step
from lada.hosts.knowledge import Kind, kinds_told
from lada.hosts.party import Party
from lada.hosts.reports import collect
from lada.hosts.steps import evaluate_party
from lada.models.objective import Objective

Side = Literal["server", "client"]
EVALUATIONS = tuple(Step(side, "evaluate", Verb.ANSWER, "test") for side in ("client", "server"))
"""Everybody is evaluated."""


def studying_both(phase: str) -> tuple[Step, ...]:
    """Return the steps of lada.hosts.steps.study_both at a client."""
    return (
        Step("client", phase, Verb.STUDY, "private", study="private"),
        Step("client", f"{phase}-more", Verb.STUDY, "private", study="distil"),
    )


def evaluate_everybody(party: Party, exchange: Exchange, round: int) -> None:
    """Let all clients be evaluated in the phase `evaluate`, and the server meanwhile."""
    pending = exchange.ask("evaluate", round, {client: {} for client in exchange.clients})
    evaluate_party(party, round)
    collect(party, pending.wait())


def telling(side: Side, phase: str, kind: Kind, round: int, objective: Objective, *, sends: bool) -> tuple[Step, ...]:
    """Return the steps in which one side comes to know the public samples and, where it `sends`, tells of them."""
    verb = Verb.ANSWER if kind == "paths" else Verb.JUDGE
    soft = objective.soft is not None
    kinds = kinds_told(kind, round, soft=soft) if sends else ()
    if not (soft and sends):
        return (Step(side, phase, verb, "public", sends=kinds),)
    return (Step(side, phase, verb, "public"), Step(side, "score", Verb.LOG_PROBS, "public", sends=kinds))


def learning(side: Side, kind: Kind, before: tuple[Step, ...] = ()) -> tuple[Step, ...]:
    """Return the steps in which one side allocates and studies what it heard; `before` come between the two."""
    judge = (Step(side, "judge", Verb.JUDGE, "public"),) if kind == "paths" else ()
    return (
        Step(side, "embed", Verb.EMBED, "public"),
        *judge,
        *before,
        Step(side, "distil", Verb.STUDY, "lessons", "distil"),
    )
