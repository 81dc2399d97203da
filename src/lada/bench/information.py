"""The information that a row's methods can read besides a client's own private data, derived from its configuration."""

from lada.allocators.base import ALLOCATORS
from lada.config import RunConfig
from lada.core.terms import Verb
from lada.hosts.base import HOSTS
from lada.objectives.base import OBJECTIVES
from lada.rounds.base import Step

PRIVATE = "private data alone"
KINDS = {
    "paths": "others' paths",
    "likelihoods": "others' losses",
    "soft_targets": "soft targets",
    "judgements": "others' log-probs of its own texts, token by token",
    "reviews": "which parties gave the same answers",
    "token_scores": "others' log-probs, token by token",
    "adapter": "others' weights",
    "samples": "others' private data",
}
"""The description of each kind of message part; kinds that are missing here are described by their own name, except
those in HELP."""
HELP = frozenset({"vocabulary", "metrics", "times"})
"""Kinds without information about questions."""
VERBS = {Verb.CONFIDENCE: "log-probs", Verb.JUDGE: "log-probs", Verb.LOG_PROBS: "log-probs, token by token"}
STEPS = "which steps are right"
GOLD = {"answers": "public answers", "rationales": "public rationales"}


def information(config: RunConfig) -> tuple[str, ...]:
    """Return in words what the parties of a run can read from each other and of the public questions.

    It is derived from the steps of the host's round, from what allocator and objective ask of learners, and from what
    the task reveals. A row that could read the public answers is listed as reading them even if its filter does not:
    what a party replays, or tries again, may depend on them too.
    """
    objective, allocator = config.make(OBJECTIVES), config.make(ALLOCATORS)
    steps = [step for step in config.make(HOSTS).plan(1, objective) if isinstance(step, Step)]
    said: dict[str, None] = {}
    if any(step.verb is not None and step.samples in ("public", "lessons") for step in steps):
        gold = getattr(config.task, "gold", "answers")
        said |= {GOLD[gold]: None} if gold in GOLD else {}
    for step in steps:
        for kind in step.sends:
            if kind not in HELP:
                said[KINDS.get(kind, kind.replace("_", " "))] = None
    if any(step.samples == "lessons" for step in steps):
        asked = allocator.needs.student | allocator.needs.teacher
        said |= dict.fromkeys(told for verb, told in VERBS.items() if verb in asked)
        said |= {STEPS: None} if objective.needs.start == "wrong_step" else {}
    return tuple(said) or (PRIVATE,)
