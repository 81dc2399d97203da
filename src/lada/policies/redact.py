"""Personal data and matches of your own patterns are removed from texts; a client's key `redact` selects this."""

from dataclasses import replace

from lada.core.needs import State
from lada.core.plural import counted
from lada.core.terms import Knowledge
from lada.policies.base import POLICIES, Owner, Policy
from lada.privacy.discretion import redact
from lada.privacy.options import Redaction


@POLICIES.register("redact", options=Redaction, status="our reading", tags=("labels",))
class Redact(Policy):
    """Removes personal data by kind, and matches of your own patterns, from texts."""

    texts = True

    def __init__(self, options: Redaction) -> None:
        self.options = options

    def release(self, state: State, knowledge: Knowledge, owner: Owner) -> tuple[State, Knowledge]:
        """See Policy.release."""
        redacted = redact(self.options, knowledge.paths, owner.judge, owner.verify)
        if redacted.changed or redacted.withheld:
            owner.note(
                f"redacted {len(redacted.changed)} of {counted(len(knowledge.paths), 'path')}, {redacted.answers} of "
                f"them in their answers, and withheld {redacted.withheld} that took too long"
            )
        return state, replace(knowledge, paths=redacted.paths)
