"""What soft targets cost a training step: `python benchmarks/soft_step.py` (or `make bench-fedmkt`).

One model with random weights and a vocabulary of 150,000 studies eight lessons of 512 tokens, half of each the
question. Compared with LaDa's plain fine-tuning: soft targets of 64 tokens a position; the loss that transformers has
built in (plain fine-tuning, too); and, as the obvious reference for soft targets, a dense target that loops fill. Time
is the median over steps that take turns in one process; memory is the peak of a process of its own. Writes
`results/soft_step/`. On a GPU (`--device cuda`) memory is what torch's allocator says.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lada.core.registry import Options
from lada.core.terms import Lesson, SparseLogProbs
from lada.models.base import Study
from lada.models.learner import HuggingFaceLearner
from lada.models.options import ModelOptions
from lada.objectives.sft import Sft
from lada.objectives.soft_targets import SoftTargets, SoftTargetsOptions

VOCABULARY, BATCH, LENGTH, K = 150_000, 8, 512, 64
PLAIN = "plain fine-tuning"
KINDS = (PLAIN, "soft targets", "plain, as built into transformers", "dense soft targets, by loops")
TARGET = Path("results/soft_step")
Step = Callable[[], None]


def make_learner(width: int, layers: int, device: str) -> HuggingFaceLearner:
    """Return a Llama with random weights whose tokens are the words w0, w1, …"""
    words = {"<eos>": 0, **{f"w{i}": i for i in range(1, VOCABULARY)}}
    backend = Tokenizer(models.WordLevel(words, unk_token="<eos>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 64),
        num_key_value_heads=max(1, width // 64),
        tie_word_embeddings=True,
        eos_token_id=0,
        max_position_embeddings=2 * LENGTH,
    )
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    torch.manual_seed(0)
    with torch.device(device):
        model: Any = LlamaForCausalLM(config)
    options = ModelOptions(model="random", prompt="{question} ")
    return HuggingFaceLearner(
        model.to(dtype), PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>"), options
    )


def make_lessons() -> list[Lesson]:
    """Return eight lessons of 512 tokens with soft targets."""
    rng = np.random.default_rng(0)
    lessons = []
    for number in range(BATCH):
        words = [f"w{i}" for i in rng.integers(1, VOCABULARY, LENGTH - 1)]
        rows = LENGTH // 2
        ids = np.sort(np.stack([rng.choice(VOCABULARY, K, replace=False) for _ in range(rows)]), 1).astype(np.int32)
        logits = rng.normal(size=(rows, K + 1))
        log_probs = (logits - np.logaddexp.reduce(logits, 1, keepdims=True))[:, :K].astype(np.float32)
        question, text = " ".join(words[: LENGTH - rows]), " ".join(words[LENGTH - rows :])
        lessons.append(Lesson(str(number), question, text, soft=SparseLogProbs(ids, log_probs)))
    return lessons


def make_steps(width: int, layers: int, device: str) -> dict[str, Step]:
    """Return one training step of each kind, all of the same model."""
    learner, lessons = make_learner(width, layers, device), make_lessons()
    study = Study(steps=1, batch_size=BATCH)
    bare = [Lesson(lesson.sample_id, lesson.question, lesson.chosen) for lesson in lessons]
    soft = SoftTargets(SoftTargetsOptions(form="forward_kl", label_weight=0.5, k=K))
    rows = [learner.tokenizer(f"{lesson.question} {lesson.chosen} <eos>")["input_ids"] for lesson in lessons]
    ids = torch.tensor(rows, device=device)
    answer = torch.arange(LENGTH, device=device) >= LENGTH // 2

    def update(loss: torch.Tensor) -> None:
        optimizer = torch.optim.AdamW(learner.model.parameters(), lr=1e-4, fused=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.model.parameters(), 1.0)
        optimizer.step()
        learner.model.zero_grad(set_to_none=True)

    def built_in() -> None:
        update(learner.model(input_ids=ids, labels=ids.masked_fill(~answer, -100)).loss)

    def dense() -> None:
        predicted = learner.model(input_ids=ids).logits[:, LENGTH // 2 - 1 : -1].float().log_softmax(-1)
        target = torch.zeros(predicted.shape)
        for number, lesson in enumerate(lessons):
            assert lesson.soft is not None
            for position in range(LENGTH // 2):
                for token, log_prob in zip(lesson.soft.ids[position], lesson.soft.log_probs[position], strict=True):
                    target[number, position, int(token)] = float(np.exp(log_prob))
        own = predicted.gather(2, ids[:, LENGTH // 2 :, None]).mean()
        soft_part = (target.to(predicted.device) * predicted).sum(-1).mean()
        update(-0.5 * own - 0.5 * soft_part)

    plain, with_soft = (
        lambda: _studied(learner, bare, Sft(Options()), study),
        lambda: _studied(learner, lessons, soft, study),
    )
    return dict(zip(KINDS, (plain, with_soft, built_in, dense), strict=True))


def _studied(learner: HuggingFaceLearner, lessons: list[Lesson], objective: Any, study: Study) -> None:
    learner.study(lessons, objective, study, seed=0)
    learner.model.zero_grad(set_to_none=True)


def main() -> None:
    """Measure and write, or, for a child process, take two steps of one kind and print its peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        step = make_steps(options.width, options.layers, options.device)[options.peak]
        step()
        step()
        print(_peak(options.device))
        return
    # Children come first: a process inherits the peak of the one that starts it.
    peaks = {}
    for kind in KINDS:
        child = [sys.executable, *sys.argv, "--peak", kind]
        peaks[kind] = int(subprocess.run(child, check=True, capture_output=True, text=True).stdout.split()[-1])
    steps = make_steps(options.width, options.layers, options.device)
    seconds = {kind: [] for kind in steps}
    for number in range(options.rounds + 1):
        for kind, step in steps.items():
            start = time.perf_counter()
            step()
            if options.device == "cuda":
                torch.cuda.synchronize()
            if number:  # the first round warms up
                seconds[kind].append(time.perf_counter() - start)
    figures = {
        kind: {
            "time": float(np.median(np.array(seconds[kind]) / np.array(seconds[PLAIN]))),
            "peak memory": peaks[kind] / peaks[PLAIN],
        }
        for kind in steps
    }
    parameters = sum(p.numel() for p in make_learner(options.width, options.layers, "cpu").model.parameters())
    name = "cpu" if options.device == "cpu" else torch.cuda.get_device_name()
    _write(name, parameters, figures)


def _peak(device: str) -> int:
    """Return the peak memory of this process, bytes."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _write(device: str, parameters: int, figures: dict[str, dict[str, float]]) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    file = TARGET / "figures.json"
    everything = json.loads(file.read_text()) if file.exists() else {}
    everything[device] = {"parameters": parameters, "ratios": figures}
    file.write_text(json.dumps(everything, indent=1) + "\n")
    lines = ["| device | parameters | step | time | peak memory |", "|---|---|---|---|---|"]
    for place, told in everything.items():
        for kind, ratios in told["ratios"].items():
            cells = [place, f"{told['parameters'] / 1e6:.0f} M", kind, *(f"{ratio:.2f}" for ratio in ratios.values())]
            lines.append(f"| {' | '.join(cells)} |")
    told = (
        f"# What soft targets cost a training step\n\nRatios to LaDa's plain fine-tuning, measured in one run: {BATCH} "
        f"lessons of {LENGTH} tokens, half of each the question, a vocabulary of {VOCABULARY:,}, {K} tokens a "
        "position; on a CPU one thread and float32, on a GPU bfloat16. `python benchmarks/soft_step.py` regenerates "
        "the table.\n\n"
    )
    text = told + "\n".join(lines) + "\n"
    (TARGET / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
