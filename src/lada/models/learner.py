"""A learner over any Hugging Face causal LM: full or LoRA training, on CPU, CUDA or MPS."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from lada.core.errors import InputError
from lada.core.registry import Options
from lada.core.terms import Lesson, Likelihood, Verb
from lada.models.base import Answer, Progress, Study, StudyReport, silent
from lada.models.encoding import Encoded, Encoder, buckets, pad_left, pad_right
from lada.models.likelihood import token_log_probs
from lada.models.objective import Objective, Pairs, Scored, first_divergence
from lada.models.training import make_optimizer, optimise


class LoraOptions(Options):
    """LoRA adapters (arXiv 2106.09685); `targets` None leaves the choice of layers to peft."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: tuple[str, ...] | None = None


class ModelOptions(Options):
    """Which model a party runs and how."""

    model: str
    """A folder, a hub id, or `zoo:NAME` for a model shipped with LaDa (`lada zoo list`)."""
    tune: Literal["full", "lora"] = "full"
    lora: LoraOptions = LoraOptions()
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    prompt: str = "{question}\n"
    max_new_tokens: int = 160
    batch_size: int = 128
    """Samples that are answered, judged or embedded at once."""
    verbs: tuple[Verb, ...] | None = None
    """What this model may be asked for; None: everything. `[answer]` treats it like an LLM behind an API."""


def pick_device(wish: str) -> torch.device:
    """Return the device for a wish; `auto` takes CUDA, then MPS, then the CPU."""
    if wish != "auto":
        return torch.device(wish)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pick_dtype(wish: str, device: torch.device) -> torch.dtype:
    """Return the dtype for a wish; `auto` is bfloat16 on a CUDA device that computes it, else float32."""
    if wish != "auto":
        return getattr(torch, wish)
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if fast else torch.float32


def load(
    folder: str, options: ModelOptions, *, init_seed: int = 0, saved: FilePath | None = None
) -> "HuggingFaceLearner":
    """Load model and tokenizer from a folder or a hub id; InputError names what is missing.

    `saved` is a folder that `HuggingFaceLearner.save` wrote for a learner of the same `folder` and options: the
    learner is brought back to the same bits. `init_seed` seeds weights that are drawn here (LoRA's A matrices), so
    that a run repeats to the bit.
    """
    source = str(saved) if saved and options.tune == "full" else folder
    if saved and (saved / "adapter_config.json").exists() != (options.tune == "lora"):
        raise InputError(
            f"model.tune: {options.tune!r}, but {str(saved)!r} was not saved so; expected the tuning of that run"
        )
    device = pick_device(options.device)
    tokenizer = load_tokenizer(source)
    with _explained(source):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source, dtype=pick_dtype(options.dtype, device), output_loading_info=True
        )
    model, info = loaded
    if info["missing_keys"]:  # transformers would draw these at random and go on
        raise InputError(
            f"model: {source!r} lacks the weights {', '.join(sorted(info['missing_keys'])[:3])}; expected those of a "
            f"whole {type(model).__name__}"
        )
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise InputError(
            f"model: the tokenizer of {source!r} has {len(tokenizer)} tokens but the model only {rows} embeddings; "
            "call model.resize_token_embeddings(len(tokenizer)) and save it again"
        )
    if options.tune == "lora":
        model = _with_adapter(model, options.lora, init_seed, saved)
    return HuggingFaceLearner(model.to(device), tokenizer, options)


def load_tokenizer(source: str) -> Any:
    """Load configuration and tokenizer of a folder or hub id and return the tokenizer; cheap, unlike the weights.

    Raises InputError, naming what is missing.
    """
    if FilePath(source).is_dir() and not _has_tokenizer(FilePath(source)):
        raise InputError(
            f"model: folder {source!r} has no tokenizer; expected tokenizer.json or tokenizer_config.json beside "
            "the weights; save it there with tokenizer.save_pretrained(folder)"
        )
    with _explained(source):
        AutoConfig.from_pretrained(source)
        return AutoTokenizer.from_pretrained(source)


@contextmanager
def _explained(source: str) -> Iterator[None]:
    """Turn what transformers says of a model that it cannot load into an InputError."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"model: cannot load {source!r}: {str(error).partition(chr(10))[0]}; expected a folder with config.json, "
            "weights and tokenizer, a hub id, or zoo:NAME"
        ) from error


def _with_adapter(model: Any, lora: LoraOptions, init_seed: int, saved: FilePath | None) -> Any:
    """Return the model with a saved adapter, or a new one that changes nothing yet."""
    from peft import LoraConfig, PeftModel, get_peft_model

    if saved:
        return PeftModel.from_pretrained(model, saved, is_trainable=True)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) if lora.targets else None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(init_seed)
        try:
            return get_peft_model(model, config)
        except ValueError as error:
            raise InputError(
                f"model.lora.targets: {lora.targets}: {str(error).partition(chr(10))[0]}; expected names of linear "
                f"layers of {type(model).__name__}, such as those in print(model)"
            ) from error


def _has_tokenizer(folder: FilePath) -> bool:
    return any((folder / name).exists() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model"))


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
            progress("study", number + 1, study.steps, tokens)

        generator = np.random.default_rng(seed)
        # Chosen and rejected paths share a forward pass, so a batch is as long as the longest of both.
        lengths = [max(len(row), len(rejected.get(i, row))) for i, row in enumerate(chosen)]
        order = shuffled_batches(lengths, study.batch_size, study.steps, generator)
        self.model.train()
        try:
            with torch.random.fork_rng():
                torch.manual_seed(seed)  # dropout
                optimise(
                    self.model,
                    make_optimizer(self.model, study.optimisation),
                    ((number, micro_batches(batch)) for number, batch in enumerate(order)),
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
            tokens,
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
        log_probs, mask = token_log_probs(
            self.model,
            [chosen[i] for i in rows] + [rejected[rows[k]] for k in paired],
            self._encoder.pad,
        )
        device = log_probs.device

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
        )

    def _reference(self, lessons: Sequence[Lesson], paired: Sequence[int]) -> dict[int, tuple[float, float]]:
        """Return the sums of log-probs of chosen and rejected paths before the study, by lesson."""
        questions = [lessons[i].question for i in paired]
        sides = [[lessons[i].chosen for i in paired], [lessons[i].rejected or "" for i in paired]]
        a, b = (self.judge(list(zip(questions, side, strict=True))) for side in sides)
        return {i: (x.total, y.total) for i, x, y in zip(paired, a, b, strict=True)}

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
