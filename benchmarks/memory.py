"""Is the plan's memory right? `python benchmarks/memory.py` compares it with what a study and answers take.

Models of the shapes of Qwen3 in bfloat16 study under LoRA, or answer, each in a process of its own.
Two figures are measured: what PyTorch's allocator holds at the peak (tensors, as `torch.cuda.max_memory_allocated`
tells on a GPU), and how far the process's resident size rises above that before the model was made. Writes
`results/memory/`. A GPU is measured with `--device cuda`, by its allocator alone.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from state import state, told
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen3Config

from lada.core.registry import Options
from lada.core.terms import Lesson
from lada.models.adapters import with_adapter
from lada.models.base import Study
from lada.models.learner import HuggingFaceLearner
from lada.models.memory import Load, MemoryEstimate
from lada.models.options import ModelOptions
from lada.models.peak import begin_peak, resident_peak
from lada.models.trace import estimate
from lada.objectives.sft import Sft

TARGET = Path("results/memory")
VOCABULARY = 151_936
SHAPES: dict[str, dict[str, Any]] = {
    "0.6B": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28},
    "1.7B": {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28},
}


@dataclass(frozen=True, slots=True)
class Case:
    """A shape, what it does, and with how many rows at once; `prompt` and `completion` are tokens."""

    shape: str
    verb: str
    rows: int
    prompt: int
    completion: int
    tune: str = "lora"

    @property
    def name(self) -> str:
        return f"{self.shape} {self.tune} {self.verb} {self.rows} × ({self.prompt} + {self.completion})"

    def config(self) -> Any:
        heads = {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
        return Qwen3Config(
            vocab_size=VOCABULARY,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            eos_token_id=0,
            bos_token_id=None,
            **heads,
            **SHAPES[self.shape],
        )

    def options(self) -> ModelOptions:
        return ModelOptions.model_validate(
            {
                "model": "random",
                "tune": self.tune,
                "dtype": "bfloat16",
                "prompt": "{question} ",
                "batch_size": self.rows,
                "max_new_tokens": self.completion,
            },
        )

    def planned(self) -> MemoryEstimate:
        load = Load(self.prompt, self.completion, self.rows if self.verb == "study" else 0)
        return estimate(self.config(), self.options(), torch.bfloat16, load)


CASES = (
    Case("0.6B", "study", 2, 96, 96),
    Case("0.6B", "answer", 8, 96, 8),
    Case("1.7B", "study", 1, 32, 32),
    Case("1.7B", "answer", 4, 32, 4),
)


def learner(case: Case, device: str) -> HuggingFaceLearner:
    """Return a learner of random weights whose tokens are the words w1, w2, …"""
    words = {"<eos>": 0, **{f"w{i}": i for i in range(1, 2000)}}
    backend = Tokenizer(models.WordLevel(words, unk_token="<eos>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(case.config(), dtype=torch.bfloat16)
    model.to_empty(device=device)
    with torch.no_grad():
        for values in (*model.parameters(), *model.buffers()):
            values.fill_(0.01)  # memory does not depend on them, and drawing so many takes minutes
    model.tie_weights()
    if case.tune == "lora":
        model = with_adapter(model, case.options(), 0, None)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")
    return HuggingFaceLearner(model, tokenizer, case.options())


def work(case: Case, learner: HuggingFaceLearner) -> None:
    """Study two steps, or answer; every other prompt has half the length, so that there is padding."""
    prompts = [" ".join(f"w{1 + (i + j) % 1999}" for j in range(case.prompt // (1 + i % 2))) for i in range(case.rows)]
    if case.verb == "answer":
        learner.answer(prompts, seed=0)
        return
    text = " ".join(f"w{1 + j}" for j in range(case.completion - 1))
    lessons = [Lesson(str(i), prompt, text) for i, prompt in enumerate(prompts)]
    learner.study(lessons, Sft(Options()), Study(steps=2, batch_size=case.rows), seed=0)


def allocated(job: Callable[[], None]) -> int:
    """Return how far a job's tensors rise above those that were there before, bytes, by the CPU's allocator."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        job()
    profiler: Any = recorded.profiler
    steps = [e.nbytes() for e in profiler.kineto_results.events() if e.name() == "[memory]"]
    return max(accumulate(steps))


def measure(case: Case, what: str, device: str) -> int:
    """Run one case in this process and return its peak, bytes."""
    if device == "cuda":
        work(case, learner(case, device))
        return torch.cuda.max_memory_allocated()
    begin_peak(device)
    before = resident_peak()
    made = learner(case, device)
    if what == "tensors":
        return sum(weight.nbytes for weight in made.model.parameters()) + allocated(lambda: work(case, made))
    work(case, made)
    return resident_peak() - before


def main() -> None:
    """Measure and write, or, for a child process, run one case and print its peak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", default="", help="the cases whose name holds this")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in case.name]
    if options.measure:
        print(measure(cases[0], options.measure, options.device))
        return
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    for case in cases:
        figures = {"planned": getattr(case.planned(), "studying" if case.verb == "study" else "answering")}
        for what in ("tensors", "resident") if options.device == "cpu" else ("tensors",):
            command = [sys.executable, __file__, "--device", options.device, "--only", case.name, "--measure", what]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            figures[what] = int(told.split()[-1])
            _write(name, {case.name: {**figures, "state": state()}})
            print(case.name, {what: f"{count / 1e9:.2f}" for what, count in figures.items()}, flush=True)


def _write(device: str, figures: dict[str, dict[str, Any]]) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    file = TARGET / "figures.json"
    everything: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    everything[device] = everything.get(device, {}) | figures
    file.write_text(json.dumps(everything, indent=1) + "\n")
    lines = ["| device | case | planned | tensors | resident | planned / tensors |", "|---|---|---|---|---|---|"]
    for place, cases in everything.items():
        for case, counts in cases.items():
            cells = [
                f"{counts[what] / 1e9:.2f}" if what in counts else "–" for what in ("planned", "tensors", "resident")
            ]
            lines.append(f"| {place} | {case} | {' | '.join(cells)} | {counts['planned'] / counts['tensors']:.2f} |")
    text = (
        "# Is the plan's memory right?\n\nGB (10⁹ bytes) of models with the shapes of Qwen3 0.6B and 1.7B, "
        "bfloat16; `2 × (96 + 96)` are two rows with prompts of at most 96 and paths of 96 tokens. `python "
        f"benchmarks/memory.py` regenerates the table and says what the columns are; what has *–* was not "
        f"measured. {told(counts['state'] for cases in everything.values() for counts in cases.values())}\n\n"
    )
    (TARGET / "README.md").write_text(text + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
