"""A learner over any Hugging Face causal LM: full or LoRA training, on CPU, CUDA or MPS."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path as FilePath
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from lada.alignment import token_bytes
from lada.core.errors import InputError
from lada.core.plural import counted, plural
from lada.core.terms import Lesson, Likelihood, SparseLogProbs, TokenizedText, TokenScores, Verb, Vocabulary
from lada.models.adapters import adapted_share, factors
from lada.models.assignment import Assignment
from lada.models.backends import write
from lada.models.base import (
    LEAST_SURPRISE,
    MOST_SURPRISE,
    READ_AT,
    Answer,
    Course,
    Inside,
    LearnerBase,
    Progress,
    Study,
    StudyReport,
    adding_up,
    check_possible,
    silent,
)
from lada.models.checksums import write_checksums
from lada.models.company import try_batching
from lada.models.encoding import Encoded, Encoder, buckets, context_of, encoder_of, pad_right
from lada.models.generation import make_requests
from lada.models.halving import Halving
from lada.models.head import head_sees, last
from lada.models.identity import weights_digest
from lada.models.likelihood import likeliest, log_probs_of, predict, token_log_probs
from lada.models.masters import Masters
from lada.models.objective import Objective
from lada.models.options import ModelOptions
from lada.models.ranks import ALONE, Ranks
from lada.models.replicas import Replicas
from lada.models.tokenizing import tokenize_text
from lada.models.trainer import Trainer, Workplace
from lada.models.training import Steer
from lada.models.turns import declared_ends

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def _computing(
    verb: "Callable[Concatenate[HuggingFaceLearner, Given], Returned]",
) -> "Callable[Concatenate[HuggingFaceLearner, Given], Returned]":
    """Run a verb with the weights for computing, without gradients."""

    @wraps(verb)
    def call(self: "HuggingFaceLearner", *args: Given.args, **kwargs: Given.kwargs) -> Returned:
        with self.masters.rounded(), torch.inference_mode():
            return verb(self, *args, **kwargs)

    return call


LITTLE = 0.5
"""If LoRA adapts, by default, less than this share of the weights, the learner reports it."""


class HuggingFaceLearner(LearnerBase):
    """The `Learner` of lada.models.base over a causal LM in memory."""

    def __init__(self, model: Any, tokenizer: Any, options: ModelOptions) -> None:
        self.model = model
        self.verbs = frozenset(Verb if options.verbs is None else options.verbs)
        self.name = options.model
        self.device = str(model.device)
        self.scaling = options.lora.alpha / options.lora.rank if options.tune == "lora" else 1.0
        self.tokenizer = tokenizer
        self._options = options
        self._vocabulary: Vocabulary | None = None
        self._halving = Halving()
        self.replicas: Replicas | None = None
        self.steer: Steer | None = None
        ends = declared_ends(getattr(model, "generation_config", None), tokenizer)
        self._encoder = encoder_of(tokenizer, options, context_of(model.config), ends)
        self._cut = self._written = 0
        self._told = False
        model.eval()
        self._batching = try_batching(model, self._encoder, options.generation)
        self._notices = self._batching.notices()
        chosen = options.tune == "full" or options.lora.targets
        if not chosen and (share := adapted_share(model)) < LITTLE:
            self._notices += (little_adapted(share),)

    @property
    def model(self) -> Any:
        """Return the causal LM; `masters` are the masters of its weights."""
        return self._model

    @model.setter
    def model(self, model: Any) -> None:
        self._model = model
        self.masters = Masters(model)

    @property
    def options(self) -> ModelOptions:
        """Return the options that it was loaded with."""
        return self._options

    @property
    def encoder(self) -> Encoder:
        """Return the encoder that turns questions into this learner's token ids."""
        return self._encoder

    def answer(
        self, questions: Sequence[str], *, seed: int, temperature: float = 0.0, progress: Progress = silent
    ) -> list[Answer]:
        """See Learner.answer. A sampled path depends on `seed` and on its question's place; see `write`."""
        found = self.sample(questions, paths=1, seed=seed, temperature=temperature, progress=progress)
        return [answer for (answer,) in found]

    @_computing
    def sample(
        self,
        questions: Sequence[str],
        *,
        paths: int,
        seed: int,
        temperature: float,
        progress: Progress = silent,
    ) -> list[list[Answer]]:
        """See Learner.sample. A path is read again only if generation did not already give the result of `judge`."""
        self._begin()
        progress = adding_up(progress)
        streams = make_requests(self._encoder, questions, paths, seed, self._options.max_new_tokens)
        written = write(
            self.model,
            self._encoder,
            streams,
            self._options,
            temperature,
            self._halving,
            self._batching.answer,
            lambda done, tokens: progress("answer", done, len(streams), tokens),
        )
        self._written += len(written)
        self._cut += sum(each.cut for each, *_ in written)
        if not self._batching.told:
            written = [(each, row, None) for each, row, _ in written]
        untold = iter(self._judged([row for _, row, told in written if told is None]))
        answers = [
            Answer(each.text, replace(told or next(untold), size=len(each.text.encode())), each.cut)
            for each, _, told in written
        ]
        return [answers[start : start + paths] for start in range(0, len(answers), paths)]

    @_computing
    def judge(self, pairs: Sequence[tuple[str, str]], *, progress: Progress = silent) -> list[Likelihood]:
        """See Learner.judge. The token that ends a turn counts as part of the path, even if the path was cut."""
        self._begin()
        rows = [self._encoder.pair(question, text) for question, text in pairs]
        sizes = [len(text.encode()) for _, text in pairs]
        return [replace(each, size=size) for each, size in zip(self._judged(rows, progress), sizes, strict=True)]

    def _judged(self, rows: Sequence[Encoded], progress: Progress = silent) -> list[Likelihood]:
        """Return the likelihoods of the rows' completions, with text size 0."""
        progress = adding_up(progress)
        result: dict[int, Likelihood] = {}

        def score(batch: list[int]) -> tuple[Tensor, Tensor]:
            return token_log_probs(self.model, [rows[i] for i in batch], self._encoder.pad, self._batching.judge)

        for batch, (log_probs, mask) in self._halving.each("judge", self._batches(rows), score):
            totals = log_probs.double().sum(1).tolist()
            least = log_probs.min(1).values.tolist()
            for i, total, minimum, tokens in zip(batch, totals, least, mask.sum(1).tolist(), strict=True):
                result[i] = Likelihood(total, minimum, tokens, 0)
            progress("judge", len(result), len(rows), sum(len(rows[i]) for i in batch))
        return [result[i] for i in range(len(rows))]

    @_computing
    def log_probs(
        self, pairs: Sequence[tuple[str, str]], k: int, *, progress: Progress = silent
    ) -> list[TokenScores | None]:
        """See Learner.log_probs."""
        self._begin()
        progress = adding_up(progress)
        rows = [self._encoder.pair(question, text) for question, text in pairs]
        tokenized = self.tokenize([text for _, text in pairs])
        size = len(self.vocabulary().tokens)
        result: dict[int, TokenScores | None] = {}

        def score(batch: list[int]) -> tuple[np.ndarray, np.ndarray]:
            predicted = predict(self.model, [rows[i] for i in batch], self._encoder.pad, self._batching.judge)
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
        return buckets([len(row) for row in rows], self._options.batch_size, self._batching.judge)

    def take_notices(self) -> tuple[str, ...]:
        """See Learner.take_notices."""
        cut = (
            f"answers cut at model.max_new_tokens, {self._options.max_new_tokens}, or the end of the context: "
            f"{self._cut} of {self._written}; no end of a turn is learnt from them",
        )
        self._told = True
        notices, self._notices = self._notices, ()
        others = () if self.replicas is None else self.replicas.take_notices()
        return (*notices, *self.take_shrunk(), *others, *self._encoder.notices(), *(cut if self._cut else ()))

    def take_shrunk(self) -> tuple[str, ...]:
        """Return only the notices on batches that shrank; all other notices are the same in every rank."""
        return self._halving.take_notices()

    def _begin(self) -> None:
        """Restart the count of losses if the earlier ones were reported."""
        if self._told:
            self._encoder.forget()
            self._cut = self._written = 0
            self._told = False

    def vocabulary(self) -> Vocabulary:
        """See Learner.vocabulary."""
        if self._vocabulary is None:
            rows = self.model.get_input_embeddings().weight.shape[0]
            # Tokens without an embedding do not belong to this model; see check_vocabulary.
            self._vocabulary = Vocabulary(tuple(token_bytes(self.tokenizer)[:rows]), self._encoder.eos)
        return self._vocabulary

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText | None]:
        """See Learner.spell."""
        return [tokenize_text(self._encoder, self.vocabulary(), text) for text in texts]

    @_computing
    def embed(self, questions: Sequence[str], *, progress: Progress = silent) -> np.ndarray:
        """See Learner.embed."""
        self._begin()
        progress = adding_up(progress)
        rows = [Encoded(self._encoder.prompt(question)) for question in questions]
        vectors: dict[int, np.ndarray] = {}

        def mean(batch: list[int]) -> np.ndarray:
            ids, seen, _ = pad_right([rows[i] for i in batch], self._encoder.pad, self.model.device)
            with head_sees(self.model, last):  # its logits are not needed
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
            return np.zeros((0, self.model.config.get_text_config().hidden_size), np.float32)
        return np.stack([vectors[i] for i in range(len(rows))])

    @_computing
    def read(self, pairs: Sequence[tuple[str, str]], *, progress: Progress = silent) -> np.ndarray:
        """See Learner.read."""
        self._begin()
        progress = adding_up(progress)
        rows = [self._encoder.pair(question, text) for question, text in pairs]
        vectors: dict[int, np.ndarray] = {}

        def surprising(batch: list[int]) -> np.ndarray:
            encoded = [rows[i] for i in batch]
            predicted = predict(self.model, encoded, self._encoder.pad, self._batching.judge, (READ_AT,), behind=True)
            log_probs, _ = log_probs_of(predicted)
            surprise = (-log_probs).clamp(LEAST_SURPRISE, MOST_SURPRISE)[:, None]
            weighted = predicted.rows(predicted.hidden[READ_AT].float() * surprise).sum(1)
            return (weighted / predicted.rows(surprise).sum(1)).cpu().numpy()

        for batch, means in self._halving.each("read", self._batches(rows), surprising):
            vectors.update(zip(batch, means, strict=True))
            progress("read", len(vectors), len(rows), sum(len(rows[i]) for i in batch))
        if not rows:
            return np.zeros((0, self.model.config.get_text_config().hidden_size), np.float32)
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
        processes = 1 if self.replicas is None else self.replicas.size
        check_possible(objective.title, objective.needs, study, processes)
        alone = partial(self.study_among, ALONE, lessons, objective, study, seed=seed, course=course, progress=progress)
        if self.replicas is None or not lessons:
            return alone()
        if study.dp is not None:  # its draws are secret, so others could not do their share
            self._notices += (f"model.parallel: a study with dp runs in one process, not in {self.replicas.size}",)
            return alone()
        with self.replicas.studying(Assignment(lessons, objective, study, seed, course), self.model.device) as ranks:
            return self.study_among(ranks, lessons, objective, study, seed=seed, course=course, progress=progress)

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
        """Do this rank's share of a study that all `ranks` receive; all end with the same weights."""
        self._begin()
        place = Workplace(
            self.model,
            self._encoder,
            self.masters,
            self._halving,
            self._batching.judge,
            self._options.compile,
            self._judged,
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

    def close(self) -> None:
        """End the processes that study with it; afterwards it cannot study with others."""
        if self.replicas is not None:
            self.replicas.close()

    def inside(self) -> Inside:
        """See Learner.inside."""
        size = sum(parameter.numel() for parameter in self.model.parameters())
        return Inside(self.model.config.model_type, size, weights_digest(self.model))

    def digest(self) -> str:
        """See Learner.digest: the digest of options and weights."""
        told = f"{self.options.model_dump_json()} {self.device} {weights_digest(self.model)}"
        return hashlib.sha256(told.encode()).hexdigest()

    def save(self, folder: FilePath) -> None:
        """See Learner.save; with LoRA only the adapter is written, in peft's format. `load` accepts it as `saved`."""
        if self._options.tune == "lora":
            self.model.save_pretrained(folder, save_embedding_layers=False)  # "auto" may ask the hub about them
        else:
            self.model.save_pretrained(folder)
        write_checksums(self.model, folder)
        self.tokenizer.save_pretrained(folder)


def little_adapted(share: float) -> str:
    """Return a notice for the user if an adapter covers few weights."""
    return (
        f"LoRA adapts {share:.0%} of the weights between embeddings and logits; the rest stays as it is: name more of "
        "them in lora.targets, set lora.dropout: 0 where experts are fused, or tune: full"
    )
