"""A membership-inference attack by a client on its own model. Only the result, in numbers, crosses the wire."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lada.core.results import Membership
from lada.core.seeds import generator, seed_of
from lada.core.terms import Sample
from lada.evaluation.membership import MOST, record
from lada.models.base import Learner
from lada.rounds.party import Party
from lada.rounds.steps import gold_lessons


def memberships(party: Party, before: Learner, round: int) -> tuple[Membership, ...]:
    """Return the results of two attacks on a client after a round; empty without members or non-members to compare.

    Members are its private samples. Non-members are the test samples of its own domains. Both are subsampled above
    2000. `loss` is the model's mean loss per token of the gold text, which is lower for members (Yeom et al. 2018,
    arXiv 1709.01604). `gain` is how far it is below the loss under `before`, the model at the start of the run, which
    removes a text's difficulty (Watson et al. 2022, arXiv 2111.08440). If any sample has no rationale, all are judged
    by their answers alone, so that their form does not reveal them.
    """
    own = party.task.own_domains.get(party.name, frozenset())
    sides = [list(party.private), [sample for sample in party.task.test if sample.domain in own]]
    if not all(sample.rationale for side in sides for sample in side):
        sides = [[replace(sample, rationale=None) for sample in side] for side in sides]
    after_losses = [_losses(party.learner, party, side) for side in sides]
    before_losses = [_losses(before, party, side) for side in sides]
    attacks = {
        "loss": [-after for after in after_losses],
        "gain": [then - now for then, now in zip(before_losses, after_losses, strict=True)],
    }
    records = []
    for attack, scores in attacks.items():
        members, others = (side[np.isfinite(side)] for side in scores)
        if len(members) and len(others):
            seed = seed_of(party.seed, round, "membership", party.name, attack)
            records.append(record(party.name, round, attack, members, others, seed=seed))
    return tuple(records)


def _losses(learner: Learner, party: Party, samples: Sequence[Sample]) -> np.ndarray:
    """Return the mean loss per token of each gold text, nats."""
    lessons = gold_lessons(party, samples)
    drawn = generator(party.seed, "membership", party.name).permutation(len(lessons))[:MOST]
    pairs = [(lessons[int(i)].question, lessons[int(i)].chosen) for i in sorted(drawn)]
    return np.array([-likelihood.mean for likelihood in learner.judge(pairs)]) if pairs else np.zeros(0)
