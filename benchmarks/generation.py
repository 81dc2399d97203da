"""How fast answers are written: `python benchmarks/generation.py` (or `make bench-generation`).

The shipped models answer the demo's public questions, greedily and at temperature 1: by transformers' `generate`, plain
and with the log-probs of what it writes (`output_scores`, `compute_transition_scores`); by LaDa's loop, which drops
rows as they are done and tells log-probs; by the same with each answer read again to judge it; by what the loop falls
back to for models that cannot drop rows; by transformers' continuous batching. All take turns in one process with one
thread, and speed is the median of each repeat's tokens per second, relative to those of `generate`; on a CPU, time is
what this process computed, whatever else the machine does. Texts that are written greedily are compared too. Other rows
measure four paths per question at temperature 1, with one call for all paths and with a call for each; and how many
answers must be read again, since their text is tokenized in another way than it was written. Writes
`results/generation/`. On a GPU: `--device cuda`.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from state import state, told

from lada import examples
from lada.config import make_config
from lada.federation.nodes import read_task
from lada.models.backends import write
from lada.models.continuous import continue_streams
from lada.models.decoding import decode_dropping, decode_in_batches, decode_keeping
from lada.models.encoding import Encoded, buckets, pad_left
from lada.models.generation import Continuation, GenerationRequest, SamplingParams, make_requests
from lada.models.halving import Halving
from lada.models.learner import HuggingFaceLearner
from lada.models.load import load
from lada.models.options import Generation, ModelOptions
from lada.zoo.shipped import cards, locate

TARGET = Path("results/generation")
BASE, SCORED = "transformers generate", "transformers generate with log-probs"
DROPPING, JUDGED = "batch with log-probs", "batch, then judged"
KEEPING, CONTINUOUS = "batch, rows kept, with log-probs", "continuous"
APART, TOGETHER = "a call for each path", "one call"
PATHS = 4


def questions(count: int) -> list[str]:
    """Return the demo's first public questions."""
    task = read_task(make_config(yaml.safe_load(examples.texts()["demo"])), Path())
    return [sample.question for sample in task.public[:count]]


def plain(
    model: Any, streams: Sequence[GenerationRequest], params: SamplingParams, *, scored: bool = False
) -> list[list[int]]:
    """Return what transformers writes, without the padding of finished rows, or its log-probs."""
    eos, pad = params.encoder.eos, params.encoder.pad
    ids, seen = pad_left([Encoded(stream.prompt) for stream in streams], pad, model.device)
    torch.manual_seed(0)
    sampled: dict[str, Any] = {"temperature": params.temperature, "top_k": 0, "top_p": 1.0}
    found = model.generate(
        input_ids=ids,
        attention_mask=seen,
        max_new_tokens=max(stream.max_new_tokens for stream in streams),
        do_sample=params.temperature > 0,
        repetition_penalty=1.0,
        eos_token_id=eos,
        pad_token_id=pad,
        return_dict_in_generate=True,
        output_scores=scored,
        **(sampled if params.temperature > 0 else {}),
    )
    if scored:
        model.compute_transition_scores(found.sequences, found.scores, normalize_logits=True)
    rows = found.sequences[:, ids.shape[1] :].tolist()
    return [row[: row.index(eos) + 1] if eos in row else row for row in rows]


def in_order(found: Iterator[dict[int, Any]]) -> list[list[int]]:
    """Return the ids that were written, by their streams' order."""
    everything = {number: each for part in found for number, each in part.items()}
    written = [everything[number] for number in range(len(everything))]
    return [each.ids if isinstance(each, Continuation) else each for each in written]


def ways(
    learner: HuggingFaceLearner, params: SamplingParams, streams: Sequence[GenerationRequest]
) -> dict[str, Callable[[], list[Any]]]:
    """Return how streams are continued, by name; each gives their ids in order."""

    def batched(decode: Callable[..., list[Any]], **how: Any) -> Callable[[], list[list[int]]]:
        def parts() -> Iterator[dict[int, Any]]:
            for batch in buckets([len(stream.prompt) for stream in streams], params.batch_size):
                yield dict(zip(batch, decode(learner.model, [streams[i] for i in batch], params, **how), strict=True))

        return lambda: in_order(parts())

    def judged() -> list[list[int]]:
        written = in_order(decode_in_batches(learner.model, streams, params))
        texts = [params.encoder.text(ids) for ids in written]
        learner.judge([(stream.question, text) for stream, text in zip(streams, texts, strict=True)])
        return written

    every = {
        BASE: batched(plain),
        SCORED: batched(plain, scored=True),
        DROPPING: batched(decode_dropping),
        JUDGED: judged,
        KEEPING: batched(decode_keeping),
        CONTINUOUS: lambda: in_order(continue_streams(learner.model, streams, params)),
    }
    return every if params.temperature == 0 else {name: every[name] for name in (BASE, SCORED, DROPPING, JUDGED)}


@torch.inference_mode()
def raced(
    steps: dict[str, Callable[[], list[Any]]], base: str, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Return per way its median speed relative to the base's, its tokens a second, and the share of the same texts."""
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    speeds: dict[str, list[float]] = {name: [] for name in steps}
    results: dict[str, list[Any]] = {}
    for number in range(options.rounds + 1):
        for name, step in steps.items():
            start = clock()
            results[name] = step()
            if number:  # the first round warms up
                speeds[name].append(sum(map(len, results[name])) / (clock() - start))
    return {
        name: {
            "speed": float(np.median(np.array(speeds[name]) / np.array(speeds[base]))),
            "tokens a second": float(np.median(speeds[name])),
            "same": sum(a == b for a, b in zip(results[name], results[base], strict=True)) / len(results[base]),
        }
        for name in steps
    }


@torch.inference_mode()
def untold(learner: HuggingFaceLearner, streams: Sequence[GenerationRequest], temperature: float) -> float:
    """Return the share of answers whose likelihood is not known when they are written."""
    written = write(
        learner.model,
        learner.encoder,
        streams,
        learner.options,
        temperature,
        Halving(),
        "any",
        lambda *_: None,
    )
    return sum(likelihood is None for *_, likelihood in written) / len(written)


def measure(model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return one model's figures."""
    asked = questions(options.questions)
    learner = load(locate(model), ModelOptions(model=model, max_new_tokens=80, device=options.device))
    encoder = learner.encoder
    greedy, warm = (SamplingParams(encoder, options.batch_size, heat, Generation()) for heat in (0.0, 1.0))
    streams = make_requests(encoder, asked, 1, 0, 80)
    several = make_requests(encoder, asked[: len(asked) // PATHS], PATHS, 0, 80)

    def one_by_one() -> list[list[int]]:
        paths = [in_order(decode_in_batches(learner.model, several[path::PATHS], warm)) for path in range(PATHS)]
        return [ids for each in zip(*paths, strict=True) for ids in each]

    return {
        "greedy": raced(ways(learner, greedy, streams), BASE, options),
        "sampled": raced(ways(learner, warm, streams), BASE, options),
        "paths": raced({APART: one_by_one, TOGETHER: ways(learner, warm, several)[DROPPING]}, APART, options),
        "read again": {"greedy": untold(learner, streams, 0.0), "sampled": untold(learner, streams, 1.0)},
    }


def main() -> None:
    """Measure all shipped models and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=[card["name"] for card in cards()])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--questions", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = "cpu" if options.device == "cpu" else torch.cuda.get_device_name()
    figures: dict[str, Any] = {}
    for name in options.models:
        figures[f"zoo:{name}"] = measure(f"zoo:{name}", options)
        _write(device, options, figures)


def _write(device: str, options: argparse.Namespace, figures: dict[str, Any]) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    file = TARGET / "figures.json"
    everything = json.loads(file.read_text()) if file.exists() else {}
    everything[device] = {
        "questions": options.questions,
        "batch size": options.batch_size,
        "state": state(),
        "models": figures,
    }
    file.write_text(json.dumps(everything, indent=1) + "\n")
    lines = [
        "| device | model | what | way | speed | tokens a second | the same texts |",
        "|---|---|---|---|---|---|---|",
    ]
    shares = ["| device | model | greedy | at temperature 1 |", "|---|---|---|---|"]
    for place, case in everything.items():
        for model, parts in case["models"].items():
            for part, what in (("greedy", "greedy"), ("sampled", "at temperature 1"), ("paths", f"{PATHS} paths")):
                for way, row in parts[part].items():
                    same = "–" if part == "sampled" else f"{100 * row['same']:.0f} %"
                    numbers = f"{row['speed']:.2f} | {row['tokens a second']:,.0f} | {same}"
                    lines.append(f"| {place} | {model} | {what} | {way} | {numbers} |")
            again = " | ".join(f"{100 * parts['read again'][what]:.1f} %" for what in ("greedy", "sampled"))
            shares.append(f"| {place} | {model} | {again} |")
    names = " ".join(name.removeprefix("zoo:") for name in figures)
    command = f"python benchmarks/generation.py --models {names} --questions {options.questions}"
    command += f" --rounds {options.rounds}"
    text = (
        "# How fast answers are written\n\nTokens per second relative to those of the first way of each group, "
        f"measured in one run with repeats that take turns: the demo's first {options.questions} public questions "
        f"({PATHS} paths each of a quarter of them, at temperature 1), at most 80 tokens an answer, batches of "
        f"{options.batch_size}; "
        "on a CPU one thread, float32 and the time that the process computed. *With log-probs* each way also tells how "
        "likely each token was; *then judged* reads each answer again for that. *The same texts* compares token ids "
        "with those of that first way; at temperature 1 each draws its own. "
        f"Medians of {options.rounds}, whose spread was not kept. `{command}` regenerates the tables. "
        f"{told(case['state'] for case in everything.values())}\n\n" + "\n".join(lines) + "\n\n"
        "## Answers that are read again\n\nThe loop tells how likely an answer is where its text is tokenized as it "
        "was written. These shares are not, and are read again.\n\n" + "\n".join(shares) + "\n"
    )
    (TARGET / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
