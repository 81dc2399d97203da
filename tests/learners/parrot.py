"""A learner in one file outside the package: it answers by heart what it has studied."""

import json
from pathlib import Path

from lada.core.registry import Pluggable
from lada.core.terms import Likelihood, Verb
from lada.learners.base import LEARNERS
from lada.models.base import Answer, LearnerBase, StudyReport, silent
from lada.models.learners import LearnerOptions


class ParrotOptions(LearnerOptions):
    """Options of a parrot."""

    default: str = "answer 0"
    """What it says to a question that it does not know."""

    @property
    def able(self) -> frozenset[Verb]:
        """See LearnerOptions."""
        return frozenset({Verb.ANSWER, Verb.CONFIDENCE, Verb.JUDGE, Verb.STUDY})


class Parrot(LearnerBase):
    """Knows texts by question. A text that it knows has a loss of 0.1 nats, any other one of 2."""

    name = "parrot"

    def __init__(self, options: ParrotOptions, known: dict[str, str]) -> None:
        self.verbs, self._options, self.known = options.able, options, known

    def answer(self, questions, *, seed, temperature=0.0, progress=silent):
        """See Learner.answer."""
        texts = [self.known.get(question, self._options.default) for question in questions]
        return [Answer(text, self._likelihood(question, text)) for question, text in zip(questions, texts, strict=True)]

    def judge(self, pairs, *, progress=silent):
        """See Learner.judge."""
        return [self._likelihood(question, text) for question, text in pairs]

    def study(self, lessons, objective, study, *, seed, course=None, progress=silent):
        """See Learner.study."""
        self.known |= {lesson.question: lesson.chosen for lesson in lessons}
        return StudyReport(1, len(lessons), 0, 0, 10 * len(lessons), 2.0, 0.1)

    def save(self, folder: Path) -> None:
        """See Learner.save."""
        folder.mkdir(parents=True)
        (folder / "known.json").write_text(json.dumps(self.known))

    def _likelihood(self, question, text):
        loss = 0.1 if self.known.get(question) == text else 2.0
        return Likelihood(-loss, -loss, 1, len(text.encode()))


@LEARNERS.register("parrot", options=ParrotOptions)
class Parrots(Pluggable):
    """Answers by heart what it has studied."""

    def __init__(self, options: ParrotOptions) -> None:
        self.options = options

    def check(self) -> None:
        """See Opener.check: nothing can be missing."""

    def open(self, base: Path, *, init_seed: int, saved: Path | None) -> Parrot:
        """See Opener.open."""
        return Parrot(self.options, json.loads((saved / "known.json").read_text()) if saved else {})
