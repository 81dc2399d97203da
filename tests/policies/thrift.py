"""A policy in one file outside the package: a state across rounds, a part of the paths held back, a text changed."""

from dataclasses import replace

import numpy as np

from lada.core.needs import State
from lada.core.registry import Options
from lada.core.terms import Knowledge
from lada.policies.base import POLICIES, Owner, Policy


@POLICIES.register("thrift", by_order="the last paths are held back")
class Thrift(Policy):
    """One path fewer leaves in each round, the last ones first; the first is made shorter."""

    texts = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def release(self, state: State, knowledge: Knowledge, owner: Owner) -> tuple[State, Knowledge]:
        """See Policy.release. The state counts how often it was asked: once a round, where nothing is withheld."""
        rounds = int(state.get("rounds", 0))
        left = max(len(knowledge.paths) - rounds, 0)
        after = {"rounds": np.array(rounds + 1)}
        owner.note(f"tells {left}")
        if not left:
            return after, replace(knowledge, paths=())
        first, *others = knowledge.paths[:left]
        text = first.text.removeprefix("so ")
        answer, right = owner.verify(first.sample_id, text)
        (likelihood,) = owner.judge([(first.sample_id, text)])
        short = replace(first, text=text, answer=answer, right=right, likelihood=likelihood)
        return after, replace(knowledge, paths=(short, *others))
