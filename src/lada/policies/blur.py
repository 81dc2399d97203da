"""Losses are rounded and noised before they leave; a client's key `blur` selects this policy."""

from collections.abc import Sequence
from dataclasses import replace

from lada.core.bounds import Blurring
from lada.core.needs import State
from lada.core.results import PartyReport
from lada.core.terms import Knowledge
from lada.policies.base import POLICIES, Owner, Policy
from lada.privacy.discretion import blur, blur_report
from lada.privacy.options import Blur


class BlurOptions(Blur):
    """Options of the policy."""

    round_to: Blurring = 0.01
    """Losses are rounded to multiples of this, at most 10, after the noise is added. 0 disables rounding."""


@POLICIES.register(
    "blur", options=BlurOptions, status="our reading", by_order="noise is drawn path after path", tags=("feedback",)
)
class Blurs(Policy):
    """Rounds and noises the losses of texts and of studies, in nats per token."""

    losses = True

    def __init__(self, options: Blur) -> None:
        self.options = options

    def release(self, state: State, knowledge: Knowledge, owner: Owner) -> tuple[State, Knowledge]:
        """See Policy.release."""
        rng = self.options.generator(owner.seed, knowledge.round, "blur", owner.name)
        return state, replace(knowledge, paths=blur(self.options, knowledge.paths, rng))

    def report(self, report: PartyReport, owner: str, address: Sequence[str | int]) -> PartyReport:
        """See Policy.report."""
        return blur_report(self.options, report, self.options.generator(*address, "blur", owner))
