"""A learner over any Hugging Face causal LM: full or LoRA training, on CPU, CUDA or MPS."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lada.alignment import byte_offsets, token_bytes
from lada.core.errors import InputError
from lada.core.terms import Lesson, Likelihood, SparseLogProbs, Spelled, TokenScores, Verb, Vocabulary
from lada.models.base import Answer, Progress, Study, StudyReport, silent
from lada.models.encoding import Encoded, Encoder, buckets, pad_left, pad_right
from lada.models.likelihood import likeliest, log_probs_of, predict, token_log_probs
from lada.models.objective import Objective, Pairs, Scored, first_divergence
from lada.models.options import ModelOptions
from lada.models.private import one_by_one, private_training
from lada.models.soft import chunk_sums, soft_places
from lada.models.training import make_optimizer, optimise


class HuggingFaceLearner:
    """The `Learner` of lada.models.base over a causal LM that is in memory."""

    def __init__(self, model: Any, tokenizer: Any, options: ModelOptions) -> None:
        self.model = model
        self.verbs = frozenset(Verb if options.verbs is None else options.verbs)
        self.name = options.model
        self.device = str(model.device)
        self.tokenizer = tokenizer
        self._options = options
        context = getattr(model.config, "max_position_embeddings", None) or getattr(model.config, "n_positions", 2048)
        self._vocabulary: Vocabulary | None = None
        self._encoder = Encoder(tokenizer, prompt=options.prompt, context=int(context))
        model.eval()

    @torch.inference_mode()
    def answer(
        self, questions: Sequence[str], *, seed: int, temperature: float = 0.0, progress: Progress = silent
    ) -> list[Answer]:
        """See Learner.answer. Sampling depends on `seed` and on the order of the questions."""
        rows = [Encoded(self._encoder.prompt(question)) for question in questions]
        texts = [""] * len(rows)
        done = 0
        for batch in buckets([len(row) for row in rows], self._options.batch_size):
            ids, seen = pad_left([rows[i] for i in batch], self._encoder.pad, self.model.device)
            room = min(self._options.max_new_tokens, self._encoder.context - ids.shape[1])
            with torch.random.fork_rng():
                torch.manual_seed(seed + done)
                written = self.model.generate(
                    input_ids=ids,
                    attention_mask=seen,
                    max_new_tokens=max(room, 1),
                    do_sample=temperature > 0,
                    temperature=temperature or None,
                    top_k=None,
                    top_p=None,
                    repetition_penalty=1.0,  # a model's own generation settings must not bend what "greedy" means
                    eos_token_id=self._encoder.eos,
                    pad_token_id=self._encoder.pad,
                )
            for i, row in zip(batch, written[:, ids.shape[1] :].tolist(), strict=True):
                texts[i] = self._encoder.text(row)
            done += len(batch)
            progress("answer", done, len(rows), int(written.numel()))
        likelihoods = self.judge(list(zip(questions, texts, strict=True)))
        return [Answer(text, likelihood) for text, likelihood in zip(texts, likelihoods, strict=True)]

    @torch.inference_mode()
    def judge(self, pairs: Sequence[tuple[str, str]], *, progress: Progress = silent) -> list[Likelihood]:
        """See Learner.judge. The end-of-sequence token counts as part of the path."""
        rows = [self._encoder.pair(question, text) for question, text in pairs]
        result: dict[int, Likelihood] = {}
        for batch in buckets([len(row) for row in rows], self._options.batch_size):
            log_probs, mask = token_log_probs(self.model, [rows[i] for i in batch], self._encoder.pad)
            totals = log_probs.double().sum(1).tolist()
            least = log_probs.min(1).values.tolist()
            for i, total, minimum, tokens in zip(batch, totals, least, mask.sum(1).tolist(), strict=True):
                result[i] = Likelihood(total, minimum, tokens, len(pairs[i][1].encode()))
            progress("judge", len(result), len(rows), sum(len(rows[i]) for i in batch))
        return [result[i] for i in range(len(rows))]

    @torch.inference_mode()
    def log_probs(
        self, pairs: Sequence[tuple[str, str]], k: int, *, progress: Progress = silent
    ) -> list[TokenScores | None]:
        """See Learner.log_probs."""
        rows = [self._encoder.pair(question, text) for question, text in pairs]
        spelled = self.spell([text for _, text in pairs])
        size = len(self.vocabulary().tokens)
        result: dict[int, TokenScores | None] = {}
        for batch in buckets([len(row) for row in rows], self._options.batch_size):
            predicted = predict(self.model, [rows[i] for i in batch], self._encoder.pad)
            ids, log_probs = (found.cpu().numpy() for found in likeliest(predicted, k, size))
            ends = np.cumsum([len(rows[i].completion) for i in batch])
            for i, end in zip(batch, ends.tolist(), strict=True):
                length = len(rows[i].completion)
                part = slice(end - length, end)
                top, text = SparseLogProbs(ids[part].astype(np.int32), log_probs[part]), spelled[i]
                result[i] = text and TokenScores(text.tokens[:length], text.offsets[:length], top)
            progress("log_probs", len(result), len(rows), sum(len(rows[i]) for i in batch))
        return [result[i] for i in range(len(rows))]

    def vocabulary(self) -> Vocabulary:
        """See Learner.vocabulary."""
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(tuple(token_bytes(self.tokenizer)), self._encoder.eos)
        return self._vocabulary

    def spell(self, texts: Sequence[str]) -> list[Spelled | None]:
        """See Learner.spell."""
        return [self._spelled(text) for text in texts]

    def _spelled(self, text: str) -> Spelled | None:
        *ids, eos = self._encoder.completion(text)
        size = len(text.encode())
        try:
            offsets = byte_offsets(self.tokenizer, self.vocabulary().tokens, text, ids)
        except InputError:
            return None
        return Spelled(np.array([*ids, eos], np.int32), np.vstack([offsets, [[size, size + 1]]]))

    @torch.inference_mode()
    def embed(self, questions: Sequence[str], *, progress: Progress = silent) -> np.ndarray:
        """See Learner.embed."""
        rows = [Encoded(self._encoder.prompt(question)) for question in questions]
        vectors: dict[int, np.ndarray] = {}
        for batch in buckets([len(row) for row in rows], self._options.batch_size):
            ids, seen, _ = pad_right([rows[i] for i in batch], self._encoder.pad, self.model.device)
            hidden = self.model(input_ids=ids, attention_mask=seen, output_hidden_states=True).hidden_states[-1]
            weight = seen[..., None].float()
            means = (hidden.float() * weight).sum(1) / weight.sum(1)
            for i, vector in zip(batch, means.cpu().numpy(), strict=True):
                vectors[i] = vector
            progress("embed", len(vectors), len(rows), ids.numel())
        if not rows:
            return np.zeros((0, self.model.config.hidden_size), np.float32)
        return np.stack([vectors[i] for i in range(len(rows))])

    def study(
        self,
        lessons: Sequence[Lesson],
        objective: Objective,
        study: Study,
        *,
        seed: int,
        progress: Progress = silent,
    ) -> StudyReport:
        """See Learner.study. The loss covers the answer part only."""
        if not lessons:
            raise InputError("study: there are no lessons; the filter left nothing to learn from")
        chosen = [self._encoder.pair(lesson.question, lesson.chosen) for lesson in lessons]
        rejected = {
            i: self._encoder.pair(lesson.question, lesson.rejected)
            for i, lesson in enumerate(lessons)
            if objective.contrasts and lesson.rejected is not None
        }
        rejected = {i: row for i, row in rejected.items() if row != chosen[i]}  # what is the same has no contrast
        reference = self._reference(lessons, sorted(rejected)) if objective.reference else {}
        losses: list[float] = []
        tokens = 0

        def micro_batches(batch: list[int]) -> Iterator[Any]:
            nonlocal tokens
            weighted = sum(lessons[i].weight * len(chosen[i].completion) for i in batch)
            pairs = sum(lessons[i].weight for i in batch if i in rejected)
            tokens += sum(len(chosen[i].completion) for i in batch)
            tokens += sum(len(rejected[i].completion) for i in batch if i in rejected)
            for part in buckets([len(chosen[i]) for i in batch], study.micro_batch_size or len(batch)):
                rows = [batch[i] for i in part]
                yield lambda rows=rows: objective(
                    self._score(
                        rows,
                        lessons,
                        chosen=chosen,
                        rejected=rejected,
                        reference=reference,
                        batch_tokens=weighted,
                        batch_pairs=pairs,
                    )
                )

        def on_step(number: int, loss: float) -> None:
            losses.append(loss)
            progress("study", number + 1, study.steps, 0 if study.dp else tokens)

        generator = np.random.default_rng(seed)
        # Chosen and rejected paths share a forward pass, so a batch is as long as the longest of both.
        lengths = [max(len(row), len(rejected.get(i, row))) for i, row in enumerate(chosen)]
        order = shuffled_batches(lengths, study.batch_size, study.steps, generator)
        train, batches = optimise, micro_batches
        if study.dp is not None:
            order, train = private_training(study.dp, len(lessons), study.batch_size, study.steps, seed)
            batches = one_by_one(micro_batches)
        self.model.train()
        try:
            with torch.random.fork_rng():
                torch.manual_seed(seed)  # dropout
                train(
                    self.model,
                    make_optimizer(self.model, study.optimisation),
                    ((number, batches(batch)) for number, batch in enumerate(order)),
                    study.steps,
                    options=study.optimisation,
                    on_step=on_step,
                )
        finally:
            self.model.eval()
        tenth = max(1, len(losses) // 10)
        return StudyReport(
            study.steps,
            len(lessons),
            len(rejected),
            sum(lesson.soft is not None or lesson.chunks is not None for lesson in lessons),
            0 if study.dp else tokens,
            float(np.mean(losses[:tenth])),
            float(np.mean(losses[-tenth:])),
        )

    def _score(
        self,
        rows: Sequence[int],
        lessons: Sequence[Lesson],
        *,
        chosen: Sequence[Encoded],
        rejected: dict[int, Encoded],
        reference: dict[int, tuple[float, float]],
        batch_tokens: float,
        batch_pairs: float,
    ) -> Scored:
        """Run one micro-batch: chosen and rejected paths in one forward pass."""
        paired = [k for k, i in enumerate(rows) if i in rejected]
        encoded = [chosen[i] for i in rows] + [rejected[rows[k]] for k in paired]
        predicted = predict(self.model, encoded, self._encoder.pad)
        targets = soft_places(encoded, [lessons[i].soft for i in rows])
        device = predicted.own.device
        own, beside = log_probs_of(predicted, None if targets is None else targets.ids.to(device))
        log_probs, mask = predicted.rows(own), predicted.mask

        def tensor(values: list[Any], dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        pairs = None
        if paired:
            ids = [rows[k] for k in paired]
            sums = [reference.get(i, (0.0, 0.0)) for i in ids]
            pairs = Pairs(
                rows=tensor(paired, torch.long),
                log_probs=log_probs[len(rows) :],
                mask=mask[len(rows) :],
                diverges=tensor(
                    [first_divergence(chosen[i].completion, rejected[i].completion) for i in ids], torch.long
                ),
                reference_chosen=tensor([a for a, _ in sums]),
                reference_rejected=tensor([b for _, b in sums]),
            )
        return Scored(
            log_probs[: len(rows)],
            mask[: len(rows)],
            tensor([lessons[i].weight for i in rows]),
            pairs,
            batch_tokens,
            batch_pairs,
            None if targets is None else targets.of(beside),
            chunk_sums(
                log_probs[: len(rows)], [lessons[i].chunks for i in rows], [len(chosen[i].completion) for i in rows]
            ),
        )

    def _reference(self, lessons: Sequence[Lesson], paired: Sequence[int]) -> dict[int, tuple[float, float]]:
        """Return the sums of log-probs of chosen and rejected paths before the study, by lesson."""
        questions = [lessons[i].question for i in paired]
        sides = [[lessons[i].chosen for i in paired], [lessons[i].rejected or "" for i in paired]]
        a, b = (self.judge(list(zip(questions, side, strict=True))) for side in sides)
        return {i: (x.total, y.total) for i, x, y in zip(paired, a, b, strict=True)}

    def adapter(self) -> dict[str, np.ndarray]:
        """See Learner.adapter."""
        return {name: weight.float().cpu().numpy() for name, weight in self._adapter().items()}

    def load_adapter(self, weights: Mapping[str, np.ndarray]) -> None:
        """See Learner.load_adapter."""
        mine = self._adapter()
        given = {name: weight.shape for name, weight in weights.items()}
        if given != {name: tuple(weight.shape) for name, weight in mine.items()}:
            raise InputError(
                f"adapter: {len(given)} weights that do not fit the {len(mine)} of {self.name!r}; expected the same "
                "names and shapes, that is the same model and LoRA options"
            )
        with torch.no_grad():
            for name, weight in mine.items():
                weight.copy_(torch.from_numpy(weights[name]))

    def _adapter(self) -> dict[str, Tensor]:
        if self._options.tune != "lora":
            raise InputError(f"model.tune: {self._options.tune!r} for {self.name!r}; expected 'lora'")
        return {name: weight.detach() for name, weight in self.model.named_parameters() if weight.requires_grad}

    def save(self, folder: FilePath) -> None:
        """See Learner.save; under LoRA only the adapter is written, in peft's format. `load` takes it as `saved`."""
        if self._options.tune == "lora":
            self.model.save_pretrained(folder, save_embedding_layers=False)  # "auto" may ask the hub about them
        else:
            self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


WINDOW = 8
"""Batches whose lessons are sorted by length together: less padding, while each lesson is seen equally often."""


def shuffled_batches(
    lengths: Sequence[int], size: int, steps: int, generator: np.random.Generator
) -> Iterator[list[int]]:
    """Yield `steps` batches of `size` indices, reshuffling each time all have been used.

    Within a window of WINDOW batches, rows of similar length share a batch; the batches of a window come in random
    order.
    """
    pool: list[int] = []
    while steps > 0:
        count = min(WINDOW, steps)
        while len(pool) < count * size:
            pool.extend(generator.permutation(len(lengths)).tolist())
        window = pool[: count * size]
        del pool[: count * size]
        ordered = [window[i] for i in np.argsort([-lengths[i] for i in window], kind="stable")]
        for k in generator.permutation(count).tolist():
            yield ordered[k * size : (k + 1) * size]
        steps -= count
