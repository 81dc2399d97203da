"""What learners over a PyTorch model in memory share: judging, scores, vectors, studies and weights."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from lada.core.errors import InputError
from lada.core.plural import counted, plural
from lada.core.terms import Lesson, Likelihood, SparseLogProbs, TokenizedText, TokenScores, Verb, Vocabulary
from lada.models.adapters import factors
from lada.models.base import (
    LEAST_SURPRISE,
    MOST_SURPRISE,
    READ_AT,
    Course,
    LearnerBase,
    Progress,
    Study,
    StudyReport,
    adding_up,
    check_possible,
    silent,
)
from lada.models.encoding import Company, Encoded, RowEncoder, buckets, pad_right
from lada.models.halving import Halving
from lada.models.head import head_sees, last
from lada.models.likelihood import likeliest, log_probs_of, predict, token_log_probs
from lada.models.masters import Masters
from lada.models.objective import Objective
from lada.models.ranks import ALONE, Ranks
from lada.models.trainer import Trainer, Workplace, sizes_of
from lada.models.training import Steer

Given = ParamSpec("Given")
Returned = TypeVar("Returned")
Learns = TypeVar("Learns", bound="InMemoryLearner")


def computing(
    verb: Callable[Concatenate[Learns, Given], Returned],
) -> Callable[Concatenate[Learns, Given], Returned]:
    """Let a verb compute, with what are its weights while it does, and without gradients."""

    @wraps(verb)
    def call(self: Learns, *args: Given.args, **kwargs: Given.kwargs) -> Returned:
        with self.masters.rounded(), torch.inference_mode():
            return verb(self, *args, **kwargs)

    return call


class InMemoryLearner(LearnerBase):
    """Most of the `Learner` of lada.models.base over a model that is in memory."""

    batch_size: int
    """Texts that are judged or embedded at once."""
    company: Company = "any"
    """Which texts may share a batch when they are judged."""
    compile = False
    """Whether a study compiles the model."""

    def __init__(self, model: Any, name: str, verbs: frozenset[Verb]) -> None:
        self.model = model
        self.name, self.verbs = name, verbs
        self.device = str(model.device)
        self.steer: Steer | None = None
        self._halving = Halving()
        self._notices: tuple[str, ...] = ()
        model.eval()

    @property
    def model(self) -> Any:
        """Return the model; `masters` are those of its weights."""
        return self._model

    @model.setter
    def model(self, model: Any) -> None:
        self._model = model
        self.masters = Masters(model)

    @property
    def encoder(self) -> RowEncoder:
        """Return what turns questions and paths into this learner's token ids."""
        raise NotImplementedError

    def vocabulary(self) -> Vocabulary:
        """See Learner.vocabulary."""
        raise NotImplementedError

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText | None]:
        """See Learner.tokenize."""
        raise NotImplementedError

    def _begin(self) -> None:
        """Begin to count again what is lost, if the earlier counts have been told."""

    @computing
    def judge(self, pairs: Sequence[tuple[str, str]], *, progress: Progress = silent) -> list[Likelihood]:
        """See Learner.judge. The token that ends a turn counts as part of the path, also of one that was cut.

        Of a path longer than the context, only the bytes that were read count, or padding would make it likely.
        """
        self._begin()
        rows = [self.encoder.pair(question, text) for question, text in pairs]
        sizes = [self.encoder.covered(row, text) for row, (_, text) in zip(rows, pairs, strict=True)]
        return [replace(each, size=size) for each, size in zip(self._judged(rows, progress), sizes, strict=True)]

    def _judged(self, rows: Sequence[Encoded], progress: Progress = silent) -> list[Likelihood]:
        """Return the likelihoods of the rows' completions, as of texts of no size."""
        progress = adding_up(progress)
        result: dict[int, Likelihood] = {}
        for batch, log_probs, mask in self._score_rows(rows):
            totals = log_probs.double().sum(1).tolist()
            least = log_probs.min(1).values.tolist()
            for i, total, minimum, tokens in zip(batch, totals, least, mask.sum(1).tolist(), strict=True):
                result[i] = Likelihood(total, minimum, tokens, 0)
            progress("judge", len(result), len(rows), sum(len(rows[i]) for i in batch))
        return [result[i] for i in range(len(rows))]

    def _scored(self, rows: Sequence[Encoded]) -> list[Tensor]:
        """Return the log-probs of the tokens of the rows' completions."""
        result = {
            i: log_probs[place, : len(rows[i].completion)]
            for batch, log_probs, _ in self._score_rows(rows)
            for place, i in enumerate(batch)
        }
        return [result[i] for i in range(len(rows))]

    def _score_rows(self, rows: Sequence[Encoded]) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Yield batches of rows, with the log-probs and mask of their completions' tokens."""

        def score(batch: list[int]) -> tuple[Tensor, Tensor]:
            return token_log_probs(self.model, [rows[i] for i in batch], self.encoder.pad, self.company)

        for batch, (log_probs, mask) in self._halving.each("judge", self._batches(rows), score):
            yield batch, log_probs, mask

    @computing
    def log_probs(
        self, pairs: Sequence[tuple[str, str]], k: int, *, progress: Progress = silent
    ) -> list[TokenScores | None]:
        """See Learner.log_probs."""
        self._begin()
        progress = adding_up(progress)
        rows = [self.encoder.pair(question, text) for question, text in pairs]
        tokenized = self.tokenize([text for _, text in pairs])
        size = len(self.vocabulary().tokens)
        result: dict[int, TokenScores | None] = {}

        def score(batch: list[int]) -> tuple[np.ndarray, np.ndarray]:
            predicted = predict(self.model, [rows[i] for i in batch], self.encoder.pad, self.company)
            ids, log_probs = likeliest(predicted, k, size)
            return ids.cpu().numpy(), log_probs.cpu().numpy()

        for batch, (ids, log_probs) in self._halving.each("log_probs", self._batches(rows), score):
            ends = np.cumsum([len(rows[i].completion) for i in batch])
            for i, end in zip(batch, ends.tolist(), strict=True):
                length = len(rows[i].completion)
                part = slice(end - length, end)
                top, text = SparseLogProbs(ids[part].astype(np.int32), log_probs[part]), tokenized[i]
                result[i] = text and TokenScores(text.tokens[:length], text.offsets[:length], top)
            progress("log_probs", len(result), len(rows), sum(len(rows[i]) for i in batch))
        return [result[i] for i in range(len(rows))]

    def _batches(self, rows: Sequence[Encoded]) -> Iterator[list[int]]:
        return buckets([len(row) for row in rows], self.batch_size, self.company)

    @computing
    def embed(self, questions: Sequence[str], *, progress: Progress = silent) -> np.ndarray:
        """See Learner.embed."""
        self._begin()
        progress = adding_up(progress)
        rows = [Encoded(self.encoder.prompt(question)) for question in questions]
        vectors: dict[int, np.ndarray] = {}

        def mean(batch: list[int]) -> np.ndarray:
            ids, seen, _ = pad_right([rows[i] for i in batch], self.encoder.pad, self.model.device)
            with head_sees(self.model, last):  # whose logits nobody needs
                seen_by = self.model(input_ids=ids, attention_mask=seen, output_hidden_states=True, use_cache=False)
            weight, hidden = seen[..., None].float(), seen_by.hidden_states[-1].float()
            if hidden.dim() > weight.dim():  # Gemma 3n has several streams, and predicts from their mean
                hidden = hidden.mean(0)
            hidden = hidden[:, : ids.shape[1]]  # Reformer pads to whole chunks
            return ((hidden * weight).sum(1) / weight.sum(1)).cpu().numpy()

        for batch, means in self._halving.each("embed", self._batches(rows), mean):
            vectors.update(zip(batch, means, strict=True))
            progress("embed", len(vectors), len(rows), sum(len(rows[i]) for i in batch))
        if not rows:
            return np.zeros((0, sizes_of(self.model).width), np.float32)
        return np.stack([vectors[i] for i in range(len(rows))])

    @computing
    def read(self, pairs: Sequence[tuple[str, str]], *, progress: Progress = silent) -> np.ndarray:
        """See Learner.read."""
        self._begin()
        progress = adding_up(progress)
        rows = [self.encoder.pair(question, text) for question, text in pairs]
        vectors: dict[int, np.ndarray] = {}

        def surprising(batch: list[int]) -> np.ndarray:
            encoded = [rows[i] for i in batch]
            predicted = predict(self.model, encoded, self.encoder.pad, self.company, (READ_AT,), behind=True)
            log_probs, _ = log_probs_of(predicted)
            surprise = (-log_probs).clamp(LEAST_SURPRISE, MOST_SURPRISE)[:, None]
            weighted = predicted.rows(predicted.hidden[READ_AT].float() * surprise).sum(1)
            return (weighted / predicted.rows(surprise).sum(1)).cpu().numpy()

        for batch, means in self._halving.each("read", self._batches(rows), surprising):
            vectors.update(zip(batch, means, strict=True))
            progress("read", len(vectors), len(rows), sum(len(rows[i]) for i in batch))
        if not rows:
            return np.zeros((0, sizes_of(self.model).width), np.float32)
        return np.stack([vectors[i] for i in range(len(rows))])

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
        """See Learner.study. The loss covers the answer part only."""
        check_possible(objective.title, objective.needs, study)
        return self.study_among(ALONE, lessons, objective, study, seed=seed, course=course, progress=progress)

    def study_among(
        self,
        ranks: Ranks,
        lessons: Sequence[Lesson],
        objective: Objective,
        study: Study,
        *,
        seed: int,
        course: Course = Course(),  # noqa: B008 - it is immutable
        progress: Progress = silent,
    ) -> StudyReport:
        """Do this rank's share of a study that all `ranks` are given alike; it ends with the same weights in all."""
        self._begin()
        place = Workplace(
            self.model,
            self.encoder,
            self.masters,
            self._halving,
            self.company,
            self.compile,
            self._judged,
            self._scored,
            self.steer,
        )
        trainer = Trainer(place, lessons, objective, study, seed=seed, course=course, ranks=ranks, progress=progress)
        self._notices += trainer.notices()
        return trainer.train()

    def adapter(self) -> dict[str, np.ndarray]:
        """See Learner.adapter."""
        self._begin()
        return {name: weight.float().cpu().numpy().copy() for name, weight in self._adapter().items()}

    def load_adapter(self, weights: Mapping[str, np.ndarray]) -> None:
        """See Learner.load_adapter."""
        self._begin()
        mine = self._adapter()
        given = {name: weight.shape for name, weight in weights.items()}
        if given != {name: tuple(weight.shape) for name, weight in mine.items()}:
            raise InputError(
                f"adapter: {counted(len(given), 'weight')} that {plural(len(given), 'does', 'do')} not fit the "
                f"{len(mine)} of {self.name!r}; expected the same "
                "names and shapes, that is the same model and LoRA options"
            )
        self.masters.keep()
        with torch.no_grad():
            for name, weight in self._adapter().items():
                weight.copy_(torch.from_numpy(weights[name]))

    def _adapter(self) -> dict[str, Tensor]:
        return dict(factors(self.model))
