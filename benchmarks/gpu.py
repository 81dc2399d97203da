"""How fast a GPU studies and writes: `python benchmarks/gpu.py` (or `make bench-gpu`) on a machine with CUDA.

Models of the shapes of Qwen3 with random weights, in bfloat16, study under LoRA: with LaDa and with TRL's SFTTrainer.
They write greedily: with LaDa's loop, with transformers' `generate` and with vLLM. Peers that are not installed are
left out (`pip install trl vllm`). Each way runs in a process of its own, takes all texts once to warm up and then
`--repeats` times; its rate is the median. Tokens are those that are trained or written, without prompts. Other
columns have the peak memory of PyTorch's tensors, and what LaDa had planned. Writes `results/gpu/`; ends with 2 where
there is no CUDA. `--device cpu --shapes tiny` goes the same ways with a model of nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memory import SHAPES, VOCABULARY
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config

from lada.core.registry import Options
from lada.core.terms import Lesson
from lada.models.base import Study
from lada.models.load import load
from lada.models.memory import Load
from lada.models.options import ModelOptions
from lada.models.peak import begin_peak, peak_memory
from lada.models.trace import estimate
from lada.objectives.sft import Sft

TARGET = Path("results/gpu")
NO_CUDA = 2
TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
WAYS = {
    "study": {"LaDa": None, "TRL SFTTrainer": "trl"},
    "answer": {"LaDa": None, "transformers generate": None, "vLLM": "vllm"},
}
"""What is measured, and the package that a peer needs."""


def make_model(shape: str, folder: Path, device: str) -> None:
    """Write a model of random weights whose tokens are the words w1, w2, …"""
    heads = {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
    if shape == "tiny":
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    size = 2000 if shape == "tiny" else VOCABULARY
    ids = {"vocab_size": size, "eos_token_id": 0, "bos_token_id": None}
    config = Qwen3Config(max_position_embeddings=4096, tie_word_embeddings=True, **ids, **heads, **sizes(shape))
    torch.manual_seed(0)
    with torch.device(device):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    words = {"<eos>": 0, **{f"w{i}": i for i in range(1, 2000)}}
    backend = Tokenizer(models.WordLevel(words, unk_token="<eos>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>", pad_token="<eos>").save_pretrained(folder)


def sizes(shape: str) -> dict[str, Any]:
    return TINY if shape == "tiny" else SHAPES[shape]


def options(asked: argparse.Namespace, folder: str) -> ModelOptions:
    return ModelOptions.model_validate(
        {
            "model": folder,
            "tune": "lora",
            "device": asked.device,
            "dtype": "bfloat16",
            "prompt": "{question} ",
            "batch_size": asked.rows,
            "max_new_tokens": asked.completion,
        }
    )


def texts(asked: argparse.Namespace) -> list[tuple[str, str]]:
    """Return prompts and paths; every other prompt has half the length, so that there is padding."""

    def words(first: int, count: int) -> str:
        return " ".join(f"w{1 + (first + j) % 1999}" for j in range(count))

    rows = range(asked.rows * asked.batches)
    return [(words(7 * i, asked.prompt // (1 + i % 2)), words(3 * i, asked.completion - 1)) for i in rows]


Job = Callable[[], int]
"""Does the work once and returns how many tokens were trained or written."""


def study_lada(asked: argparse.Namespace, folder: str) -> Job:
    learner = load(folder, options(asked, folder))
    lessons = [Lesson(str(i), prompt, path) for i, (prompt, path) in enumerate(texts(asked))]
    study = Study(steps=asked.batches, batch_size=asked.rows)
    return lambda: learner.study(lessons, Sft(Options()), study, seed=0).tokens


def study_trl(asked: argparse.Namespace, folder: str) -> Job:
    datasets, peft, trl = (import_module(name) for name in ("datasets", "peft", "trl"))
    rows = [{"prompt": f"{prompt} ", "completion": path} for prompt, path in texts(asked)]
    ours = options(asked, folder).lora
    with tempfile.TemporaryDirectory() as output:
        told = trl.SFTConfig(
            output_dir=output,
            max_steps=asked.batches,
            per_device_train_batch_size=asked.rows,
            max_length=None,
            gradient_checkpointing=False,
            bf16=asked.device == "cuda",
            use_cpu=asked.device == "cpu",
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = trl.SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, use_safetensors=True),
            args=told,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(folder),
            peft_config=peft.LoraConfig(r=ours.rank, lora_alpha=ours.alpha, target_modules="all-linear"),
        )
    tokens = len(rows) * asked.completion  # each path and its end

    def job() -> int:
        trainer.train()
        return tokens

    return job


def answer_lada(asked: argparse.Namespace, folder: str) -> Job:
    learner = load(folder, options(asked, folder))
    questions = [prompt for prompt, _ in texts(asked)]

    def job() -> int:
        seen: list[int] = []
        learner.answer(questions, seed=0, progress=lambda *told: seen.append(told[3]))
        return seen[-1]

    return job


def answer_transformers(asked: argparse.Namespace, folder: str) -> Job:
    learner = load(folder, options(asked, folder))
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    questions = [f"{prompt} " for prompt, _ in texts(asked)]
    ends = learner.encoder.eos

    def job() -> int:
        written = 0
        for start in range(0, len(questions), asked.rows):
            batch = tokenizer(questions[start : start + asked.rows], return_tensors="pt", padding=True)
            batch.pop("token_type_ids", None)
            given = batch.to(learner.model.device)
            found = learner.model.generate(**given, max_new_tokens=asked.completion, do_sample=False, pad_token_id=ends)
            rows = found[:, given["input_ids"].shape[1] :].tolist()
            written += sum(row.index(ends) + 1 if ends in row else len(row) for row in rows)
        return written

    return job


def answer_vllm(asked: argparse.Namespace, folder: str) -> Job:
    vllm = import_module("vllm")
    engine = vllm.LLM(model=folder, dtype="bfloat16", max_model_len=2 * (asked.prompt + asked.completion), seed=0)
    how = vllm.SamplingParams(temperature=0.0, max_tokens=asked.completion)
    questions = [f"{prompt} " for prompt, _ in texts(asked)]

    def job() -> int:
        return sum(len(reply.outputs[0].token_ids) for reply in engine.generate(questions, how, use_tqdm=False))

    return job


MAKE = {
    ("study", "LaDa"): study_lada,
    ("study", "TRL SFTTrainer"): study_trl,
    ("answer", "LaDa"): answer_lada,
    ("answer", "transformers generate"): answer_transformers,
    ("answer", "vLLM"): answer_vllm,
}


def measure(asked: argparse.Namespace, verb: str, way: str, folder: str) -> dict[str, Any]:
    """Return one way's tokens a second and its peak, bytes, of this process."""
    begin_peak(asked.device)
    job = MAKE[verb, way](asked, folder)
    rates = []
    for number in range(asked.repeats + 1):
        _wait(asked.device)
        start = time.perf_counter()
        tokens = job()
        _wait(asked.device)
        if number:  # the first warms up
            rates.append(tokens / (time.perf_counter() - start))
    return {"tokens a second": float(np.median(rates)), "peak": peak_memory(asked.device)}


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def planned(asked: argparse.Namespace, verb: str, folder: str) -> int:
    """Return what LaDa plans for it, bytes."""
    config = Qwen3Config.from_pretrained(folder)
    load = Load(asked.prompt, asked.completion, asked.rows if verb == "study" else 0)
    told = estimate(config, options(asked, folder), torch.bfloat16, load)
    return told.studying if verb == "study" else told.answering


def compare(asked: argparse.Namespace, shape: str) -> list[dict[str, Any]]:
    """Return a row for each way of one shape; what is not installed is left out, what fails says why."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="lada-gpu-") as folder:
        make_model(shape, Path(folder), asked.device)
        for verb, ways in WAYS.items():
            for way, package in ways.items():
                if package is not None and not find_spec(package):
                    continue
                child = subprocess.run(
                    [sys.executable, *sys.argv, "--one", verb, way, folder], capture_output=True, text=True, check=False
                )
                row: dict[str, Any] = {"shape": shape, "verb": verb, "way": way}
                if child.returncode == 0:
                    row |= json.loads(child.stdout.splitlines()[-1])
                else:
                    row["failed"] = (child.stderr.strip().splitlines() or ["no word"])[-1]
                if way == "LaDa":
                    row["planned"] = planned(asked, verb, folder)
                rows.append(row)
                print(row, file=sys.stderr)
    return rows


def main() -> int:
    """Measure all shapes and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=("tiny", *SHAPES), default=list(SHAPES))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--rows", type=int, default=32, help="lessons or questions at once")
    parser.add_argument("--batches", type=int, default=8, help="batches of them")
    parser.add_argument("--prompt", type=int, default=128, help="tokens of the longest prompt")
    parser.add_argument("--completion", type=int, default=256, help="tokens of a path")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        print(
            "benchmarks/gpu.py: PyTorch finds no CUDA device on this machine, so nothing is measured", file=sys.stderr
        )
        return NO_CUDA
    if asked.one:
        print(json.dumps(measure(asked, *asked.one)))
        return 0
    write(asked, [row for shape in asked.shapes for row in compare(asked, shape)])
    return 0


def write(asked: argparse.Namespace, rows: Sequence[dict[str, Any]]) -> None:
    """Write figures and page."""
    device = torch.cuda.get_device_name() if asked.device == "cuda" else "CPU"
    packages = {name: _version(name) for name in ("torch", "transformers", "trl", "vllm")}
    asked.out.mkdir(parents=True, exist_ok=True)
    told = {"device": device, "packages": packages, "rows": rows}
    (asked.out / "figures.json").write_text(json.dumps(told, indent=1) + "\n")
    lines = ["| shape | what | way | tokens a second | peak, GiB | planned, GiB |", "|---|---|---|---|---|---|"]
    for row in rows:
        rate = f"{row['tokens a second']:,.0f}" if "failed" not in row else f"failed: {row['failed']}"
        # vLLM's engine is a process of its own, and takes all the memory that it is given.
        peak = _gib(row.get("peak") if row["way"] != "vLLM" else None)
        lines.append(
            f"| {row['shape']} | {row['verb']} | {row['way']} | {rate} | {peak} | {_gib(row.get('planned'))} |"
        )
    used = ", ".join(f"{name} {number}" for name, number in packages.items() if number)
    text = (
        f"# How fast a GPU studies and writes\n\nOn {device} with {used}: shapes of Qwen3 with random weights in "
        f"bfloat16, {asked.rows} rows at once, {asked.batches} batches, prompts of up to {asked.prompt} tokens and "
        f"paths of {asked.completion}; LoRA of rank 8. Rates are medians of {asked.repeats} repeats behind one that "
        "warms up; tokens are those that are trained or written. LaDa also says how likely it finds what it wrote. "
        "Peers that are not installed are left out. `python benchmarks/gpu.py` regenerates the table.\n\n"
    )
    (asked.out / "README.md").write_text(text + "\n".join(lines) + "\n")
    print(text + "\n".join(lines))


def _gib(size: int | None) -> str:
    return "–" if size is None else f"{size / 2**30:.2f}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
