"""A learner over any Hugging Face causal LM: full or LoRA training, on CPU, CUDA or MPS."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path as FilePath
from typing import Any

from lada.alignment import token_bytes
from lada.core.terms import Lesson, TokenizedText, Verb, Vocabulary
from lada.models.adapters import adapted_share
from lada.models.assignment import Assignment
from lada.models.backends import write
from lada.models.base import Answer, Course, Inside, Progress, Study, StudyReport, adding_up, check_possible, silent
from lada.models.checksums import write_checksums
from lada.models.company import try_batching
from lada.models.encoding import Encoder, context_of, encoder_of
from lada.models.generation import GenerationRequest, continuing_requests, make_requests
from lada.models.identity import weights_digest
from lada.models.in_memory import InMemoryLearner, computing
from lada.models.objective import Objective
from lada.models.options import ModelOptions
from lada.models.ranks import ALONE
from lada.models.replicas import Replicas
from lada.models.tokenizing import tokenize_text
from lada.models.turns import declared_ends

LITTLE = 0.5
"""If LoRA adapts, by default, less than this share of the weights, the learner reports it."""


class HuggingFaceLearner(InMemoryLearner):
    """The `Learner` of lada.models.base over a causal LM that is in memory."""

    def __init__(self, model: Any, tokenizer: Any, options: ModelOptions) -> None:
        super().__init__(model, options.model, frozenset(Verb if options.verbs is None else options.verbs))
        self.batch_size, self.compile = options.batch_size, options.compile
        self.scaling = options.lora.alpha / options.lora.rank if options.tune == "lora" else 1.0
        self.tokenizer = tokenizer
        self._options = options
        self._vocabulary: Vocabulary | None = None
        self.replicas: Replicas | None = None
        ends = declared_ends(getattr(model, "generation_config", None), tokenizer)
        self._encoder = encoder_of(tokenizer, options, context_of(model.config), ends)
        self._cut = self._texts = 0
        self._told = False
        self._batching = try_batching(model, self._encoder, options.generation)
        self.company = self._batching.judge
        self._notices = self._batching.notices()
        chosen = options.tune == "full" or options.lora.targets
        if not chosen and (share := adapted_share(model)) < LITTLE:
            self._notices += (little_adapted(share),)

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

    @computing
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
        streams = make_requests(self._encoder, questions, paths, seed, self._options.max_new_tokens)
        answers = self._written(streams, temperature, progress)
        return [answers[start : start + paths] for start in range(0, len(answers), paths)]

    @computing
    def complete(
        self, begun: Sequence[tuple[str, str]], *, seed: int, temperature: float = 0.0, progress: Progress = silent
    ) -> list[Answer]:
        """See Learner.complete. What is written has at most `max_new_tokens` in addition to its beginning."""
        streams = continuing_requests(self._encoder, begun, seed, self._options.max_new_tokens)
        return self._written(streams, temperature, progress)

    def _written(self, streams: Sequence[GenerationRequest], temperature: float, progress: Progress) -> list[Answer]:
        """Return the answers written for streams."""
        self._begin()
        progress = adding_up(progress)
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
        self._texts += len(written)
        self._cut += sum(each.cut for each, *_ in written)
        if not self._batching.told:
            written = [(each, row, None) for each, row, _ in written]
        untold = iter(self._judged([row for _, row, told in written if told is None]))
        return [
            Answer(
                each.text,
                replace(told or next(untold), size=len(each.text.encode())),
                each.cut,
                read=len(row.prompt),
                written=len(row.completion),
            )
            for each, row, told in written
        ]

    def take_notices(self) -> tuple[str, ...]:
        """See Learner.take_notices."""
        cut = (
            f"answers cut at model.max_new_tokens, {self._options.max_new_tokens}, or the end of the context: "
            f"{self._cut} of {self._texts}; no end of a turn is learnt from them",
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
            self._cut = self._texts = 0
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
