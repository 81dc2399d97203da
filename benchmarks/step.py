"""What a step of a study costs: `python benchmarks/step.py` (or `make bench-step`).

The limit is the plainest loop that uses all that PyTorch offers: the model's body, logits at answer positions alone,
PyTorch's cross-entropy, fused AdamW; the same batches and padding. It is compared with LaDa's `study`, plain, with soft
targets and with a contrast (which reads twice the text, and has a limit of its own); the limit with PyTorch's chunked
`linear_cross_entropy`; and, where they are installed (`pip install 'lada-fed[bench]'`), transformers' Trainer and TRL's
SFTTrainer on the same batches in the same order. All start from the same weights.

Two shapes: a shipped model, where what is around the tensors counts; and a model of random weights whose vocabulary has
150,000 tokens. All take turns in one process with one thread. Time is the median of each repeat's ratio to the limit;
on a CPU it is what this process computed. Memory is what tensors hold at the peak, the model's own included, by
PyTorch's allocator. Writes `results/step/`. On a GPU: `--device cuda`.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import torch
import yaml
from memory import allocated
from state import state, told
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import SequentialSampler
from transformers import (
    DataCollatorForSeq2Seq,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

from lada import examples
from lada.config import make_config
from lada.core.registry import Options
from lada.core.terms import Lesson, SparseLogProbs
from lada.federation.nodes import read_task
from lada.models.base import Study
from lada.models.batches import shuffled_batches
from lada.models.encoding import Encoded, pad_right
from lada.models.learner import HuggingFaceLearner
from lada.models.load import load
from lada.models.options import ModelOptions
from lada.models.training import Optimisation, learning_rate_at, make_optimizer
from lada.objectives.contrastive import Contrastive, ContrastiveOptions
from lada.objectives.forms import odds_ratio
from lada.objectives.sft import Sft
from lada.objectives.soft_targets import SoftTargets, SoftTargetsOptions
from lada.zoo.shipped import locate

TARGET = Path("results/step")
LIMIT, PAIRS = "limit: a plain loop", "limit of a contrast: a plain loop"
CHUNKED = "limit with linear_cross_entropy"
PLAIN, SOFT, CONTRAST = "LaDa, plain", "LaDa, soft targets", "LaDa, contrastive"
TRAINER, TRL = "transformers Trainer", "TRL SFTTrainer"
BASES = {CONTRAST: PAIRS}
TINY, LARGE = "zoo:slm-llama", "random, V = 150,000"
VOCABULARY, LENGTH = 150_000, 128
Way = Callable[[], None]


@dataclass(frozen=True)
class Case:
    """A learner and what it studies: lessons with a rejected path and `k` soft targets a position."""

    learner: HuggingFaceLearner
    lessons: list[Lesson]
    study: Study
    k: int

    def rows(self, rejected: bool = False) -> list[Encoded]:
        encoder = self.learner.encoder
        return [
            encoder.pair(each.question, (each.rejected if rejected else each.chosen) or "") for each in self.lessons
        ]

    def batches(self, rows: Sequence[Encoded]) -> Iterator[list[int]]:
        """Yield the batches of LaDa's study with seed 0."""
        lengths = [len(row) for row in rows]
        return shuffled_batches(lengths, self.study.batch_size, self.study.steps, np.random.default_rng(0))

    def bare(self) -> list[Lesson]:
        return [Lesson(each.sample_id, each.question, each.chosen) for each in self.lessons]


def tiny(device: Any) -> Case:
    """Return a shipped model with the demo's public questions."""
    learner = load(locate(TINY), ModelOptions(model=TINY, device=device))
    task = read_task(make_config(yaml.safe_load(examples.texts()["demo"])), Path())
    texts = [(sample.question, sample.rationale or "") for sample in task.public[:32]]
    return _case(learner, texts, Study(steps=10, batch_size=16), 32)


def large(device: str) -> Case:
    """Return a Llama of 42 million random weights, whose tokens are words, with rows half of question, half of path."""
    words = {"<eos>": 0, **{f"w{i}": i for i in range(1, VOCABULARY)}}
    backend = Tokenizer(models.WordLevel(words, unk_token="<eos>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        tie_word_embeddings=True,
        eos_token_id=0,
        max_position_embeddings=2 * LENGTH,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model: Any = LlamaForCausalLM(config)
    model.to(torch.bfloat16 if device == "cuda" else torch.float32)
    rng = np.random.default_rng(0)
    half = LENGTH // 2
    drawn = [" ".join(f"w{i}" for i in rng.integers(1, VOCABULARY, half)) for _ in range(8)]
    texts = list(zip(drawn[::2], [text.rpartition(" ")[0] for text in drawn[1::2]], strict=True))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")
    learner = HuggingFaceLearner(model, tokenizer, ModelOptions(model="random", prompt="{question} "))
    return _case(learner, texts, Study(steps=1, batch_size=4), 64)


CASES = {TINY: tiny, LARGE: large}


def _case(learner: HuggingFaceLearner, texts: list[tuple[str, str]], study: Study, k: int) -> Case:
    rng = np.random.default_rng(1)
    size = len(learner.vocabulary().tokens)
    lessons = []
    for number, (question, text) in enumerate(texts):
        rows = len(learner.encoder.pair(question, text).completion)
        ids = np.sort(np.stack([rng.choice(size, k, replace=False) for _ in range(rows)]), 1).astype(np.int32)
        logits = rng.normal(size=(rows, k + 1))
        log_probs = (logits - np.logaddexp.reduce(logits, 1, keepdims=True))[:, :k].astype(np.float32)
        other = texts[(number + 1) % len(texts)][1]
        lessons.append(Lesson(str(number), question, text, rejected=other, soft=SparseLogProbs(ids, log_probs)))
    return Case(learner, lessons, study, k)


def plain_loop(case: Case, loss_of: Callable[[list[int]], Tensor], lengths: Sequence[Encoded]) -> None:
    """Study as LaDa does, with nothing around the tensors."""
    model, options = case.learner.model, Optimisation()
    model.train()
    optimizer = make_optimizer(model, options)
    for number, batch in enumerate(case.batches(lengths)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(number, case.study.steps, options)
        optimizer.zero_grad(set_to_none=True)
        loss_of(batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip)
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    model.eval()


def hidden_at_answers(case: Case, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor, Tensor]:
    """Return hidden states [N, width] that predict the rows' N answer tokens, those tokens, and each one's row."""
    model = case.learner.model
    ids, seen, answer = pad_right(rows, case.learner.encoder.pad, model.device)
    hidden = model.model(input_ids=ids, attention_mask=seen, use_cache=False).last_hidden_state
    return hidden[answer.roll(-1, 1)], ids[answer], answer.nonzero()[:, 0]


def ways(case: Case) -> dict[str, Way]:
    """Return what is measured, by name; each is one study from the same weights."""
    learner, chosen, rejected = case.learner, case.rows(), case.rows(rejected=True)
    head = learner.model.get_output_embeddings()
    longest = [max(pair, key=len) for pair in zip(chosen, rejected, strict=True)]

    def limit(batch: list[int]) -> Tensor:
        hidden, own, _ = hidden_at_answers(case, [chosen[i] for i in batch])
        return cross_entropy(head(hidden), own)

    def chunked(batch: list[int]) -> Tensor:
        hidden, own, _ = hidden_at_answers(case, [chosen[i] for i in batch])
        options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=256, chunking_method=None)
        return torch.nn.functional.linear_cross_entropy(hidden, head.weight, own, options=options)

    def pairs(batch: list[int]) -> Tensor:
        rows = [chosen[i] for i in batch] + [rejected[i] for i in batch]
        hidden, own, places = hidden_at_answers(case, rows)
        log_probs = -cross_entropy(head(hidden), own, reduction="none")
        counts = torch.bincount(places)
        sums = torch.zeros(len(rows), device=own.device).index_add(0, places, log_probs)
        means = sums / counts
        nll = -sums[: len(batch)].sum() / counts[: len(batch)].sum()
        return nll + 0.1 * odds_ratio(means[: len(batch)], means[len(batch) :]).mean()

    def studied(lessons: list[Lesson], objective: Any) -> Way:
        return lambda: (learner.study(lessons, objective, case.study, seed=0), None)[1]

    soft = SoftTargets(SoftTargetsOptions(form="forward_kl", label_weight=0.5, k=case.k))
    contrast = Contrastive(ContrastiveOptions())
    trl = {TRL: lambda: _trl(case, chosen)} if find_spec("trl") else {}
    trainer = {TRAINER: lambda: _trainer(case, chosen)} if find_spec("accelerate") else {}
    return {
        LIMIT: lambda: plain_loop(case, limit, chosen),
        PLAIN: studied(case.bare(), Sft(Options())),
        SOFT: studied([Lesson(e.sample_id, e.question, e.chosen, soft=e.soft) for e in case.lessons], soft),
        PAIRS: lambda: plain_loop(case, pairs, longest),
        CONTRAST: studied([Lesson(e.sample_id, e.question, e.chosen, e.rejected) for e in case.lessons], contrast),
        CHUNKED: lambda: plain_loop(case, chunked, chosen),
        **trainer,
        **trl,
    }


def _arguments(case: Case, folder: str) -> dict[str, Any]:
    options = Optimisation()
    return {
        "output_dir": folder,
        "per_device_train_batch_size": case.study.batch_size,
        "max_steps": case.study.steps,
        "learning_rate": options.learning_rate,
        "weight_decay": options.weight_decay,
        "max_grad_norm": options.clip,
        "lr_scheduler_type": "cosine",
        "optim": "adamw_torch_fused",
        "use_cpu": case.learner.device == "cpu",
        "bf16": False,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "logging_strategy": "no",
    }


def _examples(case: Case, rows: Sequence[Encoded]) -> list[dict[str, list[int]]]:
    order = [rows[i] for batch in case.batches(rows) for i in batch]
    return [
        {
            "input_ids": [*row.prompt, *row.completion],
            "attention_mask": [1] * len(row),
            "labels": [-100] * len(row.prompt) + list(row.completion),
        }
        for row in order
    ]


def _run(trainer: Any) -> None:
    trainer._get_train_sampler = MethodType(lambda self, *_: SequentialSampler(self.train_dataset), trainer)
    trainer.train()
    trainer.model.zero_grad(set_to_none=True)
    trainer.model.eval()


def _trainer(case: Case, rows: Sequence[Encoded]) -> None:
    tokenizer = case.learner.tokenizer
    with tempfile.TemporaryDirectory() as folder:
        collator = DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=None)
        examples: Any = _examples(case, rows)
        _run(Trainer(case.learner.model, TrainingArguments(**_arguments(case, folder)), collator, examples))


def _trl(case: Case, rows: Sequence[Encoded]) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as folder:
        _run(
            SFTTrainer(
                case.learner.model,
                SFTConfig(**_arguments(case, folder), max_length=None),
                train_dataset=Dataset.from_list(_examples(case, rows)),
                processing_class=case.learner.tokenizer,
            )
        )


def made(shape: str, device: str) -> Case:
    case = CASES[shape](device)
    if case.learner.tokenizer.pad_token is None:  # the peers want one
        case.learner.tokenizer.pad_token = case.learner.tokenizer.eos_token
    return case


def peak(case: Case, way: Way) -> int:
    """Return the most that tensors hold while one way runs, bytes."""
    if case.learner.device == "cpu":
        return sum(weight.nbytes for weight in case.learner.model.parameters()) + allocated(way)
    torch.cuda.reset_peak_memory_stats()
    way()
    return torch.cuda.max_memory_allocated()


def measure(shape: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return each way's median ratio of time, its seconds and its memory. The run that tells the memory warms up."""
    case = made(shape, options.device)
    longer = replace(case, study=case.study.model_copy(update={"steps": max(2, case.study.steps)}))
    weights = {name: value.clone() for name, value in case.learner.model.state_dict().items()}
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {}
    bytes_: dict[str, int] = {}
    for number in range(options.rounds + 1):
        for name, way in ways(case if number else longer).items():
            case.learner.model.load_state_dict(weights)
            if not number:
                bytes_[name] = peak(case, way)
                continue
            start = clock()
            way()
            if options.device == "cuda":
                torch.cuda.synchronize()
            seconds.setdefault(name, []).append(clock() - start)
            print(shape, name, f"{seconds[name][-1]:.2f} s, {bytes_[name] / 2**20:,.0f} MiB", flush=True)
    return {
        name: {
            "time": float(np.median(np.array(told) / np.array(seconds[BASES.get(name, LIMIT)]))),
            "seconds": float(np.median(told)),
            "memory": bytes_[name],
        }
        for name, told in seconds.items()
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shape", choices=tuple(CASES), help="this shape alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    name = "cpu" if options.device == "cpu" else torch.cuda.get_device_name()
    for shape in [options.shape] if options.shape else CASES:
        _write(name, shape, options.rounds, measure(shape, options))


def _write(device: str, shape: str, rounds: int, figures: dict[str, dict[str, float]]) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    file = TARGET / "figures.json"
    everything: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    everything.setdefault(device, {})[shape] = {"rounds": rounds, "state": state(), "ways": figures}
    file.write_text(json.dumps(everything, indent=1) + "\n")
    lines = ["| device | model | way | time | memory | memory, MiB |", "|---|---|---|---|---|---|"]
    cases = [case for shapes in everything.values() for case in shapes.values()]
    for place, shapes in everything.items():
        for model, case in shapes.items():
            for way, row in case["ways"].items():
                memory = row["memory"] / case["ways"][BASES.get(way, LIMIT)]["memory"]
                cells = [place, model, way, f"{row['time']:.2f}", f"{memory:.2f}", f"{row['memory'] / 2**20:,.0f}"]
                lines.append(f"| {' | '.join(cells)} |")
    repeats = " or ".join(sorted({str(case["rounds"]) for case in cases}))
    text = (
        "# What a step of a study costs\n\nRatios to the limit, a plain loop with the same batches (of the contrast, "
        f"to the plain loop that contrasts): *{TINY}* studies 10 steps of 16 of 32 lessons; *{LARGE}* has 42 million "
        f"weights and studies one step of 4 rows of {LENGTH} tokens, half of each the question. On a CPU one thread, "
        f"float32, the time that the process computed; medians of {repeats} repeats, whose spread was not kept. Memory "
        "is that of tensors at the peak, the model's own included, in two steps at least: AdamW's states come with the "
        "first. A peer without a row was not installed. `python benchmarks/step.py` regenerates the table and says "
        f"what each way is. {told(case['state'] for case in cases)}\n\n" + "\n".join(lines) + "\n"
    )
    (TARGET / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
