"""A learner over a small network: a classifier that answers, judges, scores and studies as a model of one token."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lada.core.errors import InputError
from lada.core.plural import counted, plural
from lada.core.terms import Lesson, Likelihood, TokenizedText, TokenScores, Vocabulary
from lada.models.base import Answer, Course, Inside, Progress, Study, StudyReport, adding_up, silent
from lada.models.checksums import check_weights, write_checksums
from lada.models.classifier_options import ClassifierOptions
from lada.models.encoding import Encoded
from lada.models.identity import weights_digest
from lada.models.in_memory import InMemoryLearner, computing
from lada.models.labels import LabelEncoder
from lada.models.likelihood import Predicted, log_probs_of, predict
from lada.models.objective import Objective
from lada.models.one_token import OneToken
from lada.models.options import Generation
from lada.models.sampling import Chooser

FILE = "model.safetensors"
IMPOSSIBLE = -1e4
"""The log-prob of a text that is none of the labels, nats: the least that a message may hold."""
Found = TypeVar("Found")


class Classifier(InMemoryLearner):
    """The `Learner` of lada.models.base over a network. Its vocabulary is its labels, and a path is one label.

    A text that is none of them has the log-prob IMPOSSIBLE and no scores, and no lesson is learnt from it.
    """

    def __init__(self, model: OneToken, name: str, options: ClassifierOptions) -> None:
        super().__init__(model, name, options.able)
        self.batch_size = options.batch_size
        self._options = options
        self._encoder = LabelEncoder(options.labels, options.reads)
        self._left_out = 0

    @property
    def encoder(self) -> LabelEncoder:
        """Return what turns questions into levels and texts into labels."""
        return self._encoder

    def vocabulary(self) -> Vocabulary:
        """See Learner.vocabulary: the labels."""
        return self._encoder.vocabulary

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText | None]:
        """See Learner.tokenize. A label is one token, which no end-of-sequence follows."""
        return [self._encoder.tokenize(text) for text in texts]

    def answer(
        self, questions: Sequence[str], *, seed: int, temperature: float = 0.0, progress: Progress = silent
    ) -> list[Answer]:
        """See Learner.answer. A sampled label depends on `seed` and on its question's place."""
        found = self.sample(questions, paths=1, seed=seed, temperature=temperature, progress=progress)
        return [answer for (answer,) in found]

    @computing
    def sample(
        self, questions: Sequence[str], *, paths: int, seed: int, temperature: float, progress: Progress = silent
    ) -> list[list[Answer]]:
        """See Learner.sample: labels are drawn from the distribution at `temperature`."""
        progress = adding_up(progress)
        rows = [Encoded(self._encoder.prompt(question), (0,)) for question in questions]  # any label; none is looked at
        answers: dict[int, list[Answer]] = {}
        for batch, logits in self._halving.each("answer", self._batches(rows), lambda batch: self._logits(rows, batch)):
            streams = [(i, path) for i in batch for path in range(paths)]
            spread = logits.repeat_interleave(paths, 0)
            choose = Chooser([(seed, *stream) for stream in streams], 1, temperature, Generation())
            chosen = choose(spread, range(len(streams)), 0)
            mask = torch.ones_like(chosen[:, None], dtype=torch.bool)
            log_probs, _ = log_probs_of(Predicted(spread, chosen, mask))
            for (i, _), token, log_prob in zip(streams, chosen.tolist(), log_probs.double().tolist(), strict=True):
                label = self._encoder.labels[token]
                likelihood = Likelihood(log_prob, log_prob, 1, len(label.encode()))
                answers.setdefault(i, []).append(Answer(label, likelihood))
            progress("answer", len(answers) * paths, len(rows) * paths, len(streams))
        return [answers[i] for i in range(len(rows))]

    def _logits(self, rows: Sequence[Encoded], batch: Sequence[int]) -> torch.Tensor:
        """Return the logits [batch, labels] of some rows."""
        return predict(self.model, [rows[i] for i in batch], self._encoder.pad).logits

    def judge(self, pairs: Sequence[tuple[str, str]], *, progress: Progress = silent) -> list[Likelihood]:
        """See Learner.judge."""

        def impossible(text: str) -> Likelihood:
            return Likelihood(IMPOSSIBLE, IMPOSSIBLE, 1, len(text.encode()))

        return self._of_labels(pairs, lambda known: super(Classifier, self).judge(known, progress=progress), impossible)

    def log_probs(
        self, pairs: Sequence[tuple[str, str]], k: int, *, progress: Progress = silent
    ) -> list[TokenScores | None]:
        """See Learner.log_probs. Of fewer than k labels, all are scored."""

        def score(known: Sequence[tuple[str, str]]) -> list[TokenScores | None]:
            return super(Classifier, self).log_probs(known, k, progress=progress)

        return self._of_labels(pairs, score, lambda _: None)

    def read(self, pairs: Sequence[tuple[str, str]], *, progress: Progress = silent) -> np.ndarray:
        """See Learner.read. A text that is none of the labels has the vector 0."""
        width = self._options.width

        def read(known: Sequence[tuple[str, str]]) -> list[np.ndarray]:
            return list(super(Classifier, self).read(known, progress=progress))

        found = self._of_labels(pairs, read, lambda _: np.zeros(width, np.float32))
        return np.stack(found) if found else np.zeros((0, width), np.float32)

    def _of_labels(
        self,
        pairs: Sequence[tuple[str, str]],
        verb: Callable[[Sequence[tuple[str, str]]], Sequence[Found]],
        otherwise: Callable[[str], Found],
    ) -> list[Found]:
        """Return the result of `verb` for pairs whose text is a label, and of `otherwise` for all other texts."""
        are_labels = [bool(self._encoder.completion(text)) for _, text in pairs]
        told = iter(verb([pair for pair, is_label in zip(pairs, are_labels, strict=True) if is_label]))
        return [
            next(told) if is_label else otherwise(text) for (_, text), is_label in zip(pairs, are_labels, strict=True)
        ]

    def study(
        self,
        lessons: Sequence[Lesson],
        objective: Objective,
        study: Study,
        *,
        seed: int,
        course: Course = Course(),  # noqa: B008 - it is immutable
        progress: Progress = silent,
    ) -> StudyReport:
        """See Learner.study. Raises InputError if no lesson's text is one of the labels; others are counted."""
        places = [i for i, lesson in enumerate(lessons) if self._encoder.completion(lesson.chosen)]
        if lessons and not places:
            raise InputError(
                f"study: none of {counted(len(lessons), 'lesson')} has one of the labels of {self.name!r}, "
                f"{', '.join(self._encoder.labels)}; set model.options.labels, or give other data"
            )
        self._left_out += len(lessons) - len(places)
        known = [lessons[i] for i in places]
        report = super().study(known, objective, study, seed=seed, course=course, progress=progress)
        if report.losses:
            rows = np.array(places, np.int64)[report.losses["lessons"]]
            report = replace(report, losses={**report.losses, "lessons": rows})
        return report

    def take_notices(self) -> tuple[str, ...]:
        """See Learner.take_notices."""
        told = [*self._notices, *self._halving.take_notices()]
        if count := self._left_out:
            whose = plural(count, "its text is", "their texts are")
            told.append(f"{counted(count, 'lesson')} left out, since {whose} none of the labels")
        self._notices, self._left_out = (), 0
        return tuple(told)

    def inside(self) -> Inside:
        """See Learner.inside: the architecture is the learner's name."""
        size = sum(parameter.numel() for parameter in self.model.parameters())
        return Inside(self.name, size, weights_digest(self.model))

    def digest(self) -> str:
        """See Learner.digest: that of options and weights."""
        told = f"{self.name} {self._options.model_dump_json()} {self.device} {weights_digest(self.model)}"
        return hashlib.sha256(told.encode()).hexdigest()

    def save(self, folder: FilePath) -> None:
        """See Learner.save: the weights alone, since the options say all else."""
        folder.mkdir(parents=True, exist_ok=True)
        weights: dict[str, Any] = {name: weight.contiguous() for name, weight in self.model.state_dict().items()}
        save_file(weights, folder / FILE)
        write_checksums(self.model, folder)


def load_weights(model: OneToken, folder: FilePath) -> None:
    """Load what Classifier.save wrote. Raises InputError for a folder without it, or with that of another network."""
    try:
        weights = load_file(folder / FILE)
    except (OSError, SafetensorError) as error:
        raise InputError(f"model.options.weights: {str(folder / FILE)!r} is not readable ({error})") from None
    own = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    if own != {name: tuple(weight.shape) for name, weight in weights.items()}:
        raise InputError(
            f"model.options.weights: those in {str(folder)!r} have other names or shapes; expected those of a network "
            "with the same options"
        )
    model.load_state_dict(weights)
    check_weights(model, folder)
