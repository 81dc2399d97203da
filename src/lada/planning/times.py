"""Estimates a run's time: the floating-point operations of its phases, divided by the speed of a matrix product.

A forward pass takes two operations per parameter and token, and so does each half of the backward pass. One half is for
the activations, the other for the parameters that are trained.
"""

from collections.abc import Iterable, Mapping, Sequence

from lada.core.terms import Verb
from lada.models.placement import dtype_name
from lada.planning.fit import Demand
from lada.planning.plan import PartyPlan, PartyTime, PlannedStep, RoundPlan
from lada.planning.speed import flops

SHARES = {Verb.STUDY: 0.5, Verb.ANSWER: 0.2, Verb.CONTINUE: 0.2}
READING = 0.5
"""The share of a matrix product's speed that each verb reaches; READING for all others. Source: measurements of the
demo."""
LAUNCH = 0.7e-3
"""The minimum time of a layer on an accelerator, to launch its kernels, seconds: our assumption."""
NAMES = {Verb.STUDY: "studying", Verb.ANSWER: "answering", Verb.CONTINUE: "answering"}
"""The fields of PartyTime, by verb; `reading` for all others."""


def party_times(
    parties: Sequence[PartyPlan], schedule: Sequence[RoundPlan], counts: Mapping[str, int], demands: Iterable[Demand]
) -> tuple[PartyTime, ...]:
    """Return the expected times of the parties in `demands`, whose models are on this machine.

    `counts` has the samples of the whole run by group: `public` and `test`.
    """
    demanded = {demand.name: demand for demand in demands}
    clients = sum(party.role == "client" for party in parties)
    return tuple(
        _time(party, demanded[party.name], schedule, counts, clients) for party in parties if party.name in demanded
    )


def _time(
    party: PartyPlan, demand: Demand, schedule: Sequence[RoundPlan], counts: Mapping[str, int], clients: int
) -> PartyTime:
    dtype = dtype_name(demand.options.dtype, demand.device)
    speed = flops(demand.device, dtype)
    layers = 0 if demand.device == "cpu" else demand.trace(demand.options, dtype, demand.lengths).layers
    seconds = {"studying": 0.0, "answering": 0.0, "reading": 0.0}
    for rounds in schedule:
        for step in rounds.steps:
            if step.side == party.role and step.verb is not None:
                verb = Verb(step.verb)
                passes, operations = _work(party, step, counts, demand.options.batch_size)
                once = max(operations / (SHARES.get(verb, READING) * speed), passes * layers * LAUNCH)
                # The server reads or continues the paths of each client; a client reads only the server's.
                alone = party.role == "client" or verb in (Verb.STUDY, Verb.ANSWER)
                times = 1 if alone else clients
                seconds[NAMES.get(verb, "reading")] += (rounds.last - rounds.first + 1) * times * once
    return PartyTime(party=party.name, **{name: round(value, 1) for name, value in seconds.items()})


def _work(party: PartyPlan, step: PlannedStep, counts: Mapping[str, int], batch_size: int) -> tuple[float, float]:
    """Return the passes through a model's layers that one step takes, and its floating-point operations."""
    assert party.memory is not None
    forward = 2.0 * party.memory.parameters
    if step.verb == Verb.STUDY:
        study = next(study for study in party.studies if study.phase == step.phase)
        tokens = study.tokens * (1 + party.prompt / party.mean)  # a study counts only those of the paths
        passes = 3 * study.steps * -(-study.batch_size // study.micro_batch_size)
        return passes, tokens * (2 * forward + 2.0 * party.memory.trainable)
    samples = party.private if step.samples == "private" else counts.get(step.samples, counts["public"])
    passes = -(-samples // batch_size) * (party.mean if step.verb in (Verb.ANSWER, Verb.CONTINUE) else 1)
    return passes, samples * (party.prompt + party.mean) * forward
