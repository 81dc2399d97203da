"""How fast answers are written: `python benchmarks/generation.py` (or `make bench-generation`).

The shipped models answer the demo's public questions greedily: by transformers' `generate`; by LaDa's loop, which drops
rows as they are done; by what that falls back to for models that cannot drop rows; by transformers' continuous
batching. All take turns in one process with one thread, and time is the median of each repeat's ratio to `generate`; on
a CPU it is what this process computed, whatever else the machine does. What is written is compared, too. Beside it:
four paths a question at temperature 1, with one call for all paths and with a call for each. Writes
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

import lada.examples
from lada.config import make_config
from lada.federation.nodes import read_task
from lada.models.continuous import continue_streams
from lada.models.decoding import decode_dropping, decode_in_batches, decode_keeping
from lada.models.encoding import Encoded, buckets, pad_left
from lada.models.generation import Manner, Stream, make_streams
from lada.models.learner import HuggingFaceLearner
from lada.models.load import load
from lada.models.options import Generation, ModelOptions
from lada.zoo.shipped import cards, locate

TARGET = Path("results/generation")
BASE, DROPPING, KEEPING, CONTINUOUS = "transformers generate", "batch", "batch, rows kept", "continuous"
APART, TOGETHER = "a call for each path", "one call"
PATHS = 4


def questions(count: int) -> list[str]:
    """Return the demo's first public questions."""
    file = Path(lada.examples.__file__).parent / "demo.yaml"
    task = read_task(make_config(yaml.safe_load(file.read_text(encoding="utf-8"))), Path())
    return [sample.question for sample in task.public[:count]]


def plain(model: Any, streams: Sequence[Stream], manner: Manner) -> list[list[int]]:
    """Return what transformers writes greedily, without what stands in the place of a row that is done."""
    eos, pad = manner.encoder.eos, manner.encoder.pad
    ids, seen = pad_left([Encoded(stream.prompt) for stream in streams], pad, model.device)
    found = model.generate(
        input_ids=ids,
        attention_mask=seen,
        max_new_tokens=max(stream.room for stream in streams),
        do_sample=False,
        repetition_penalty=1.0,
        eos_token_id=eos,
        pad_token_id=pad,
    )
    rows = found[:, ids.shape[1] :].tolist()
    return [row[: row.index(eos) + 1] if eos in row else row for row in rows]


def ways(learner: HuggingFaceLearner, manner: Manner, streams: Sequence[Stream]) -> dict[str, Callable[[], list[Any]]]:
    """Return how streams are continued, by name; each gives their ids in order."""

    def batched(decode: Callable[..., list[list[int]]]) -> Iterator[dict[int, list[int]]]:
        for batch in buckets([len(stream.prompt) for stream in streams], manner.batch_size):
            yield dict(zip(batch, decode(learner.model, [streams[i] for i in batch], manner), strict=True))

    def ordered(found: Iterator[dict[int, list[int]]]) -> list[list[int]]:
        everything = {number: ids for part in found for number, ids in part.items()}
        return [everything[number] for number in range(len(streams))]

    return {
        BASE: lambda: ordered(batched(plain)),
        DROPPING: lambda: ordered(batched(decode_dropping)),
        KEEPING: lambda: ordered(batched(decode_keeping)),
        CONTINUOUS: lambda: ordered(continue_streams(learner.model, streams, manner)),
    }


@torch.inference_mode()
def raced(
    steps: dict[str, Callable[[], list[Any]]], base: str, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Return per way the median ratio of its time to the base's, its tokens a second, and texts that are the same."""
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    results: dict[str, list[Any]] = {}
    for number in range(options.rounds + 1):
        for name, step in steps.items():
            start = clock()
            results[name] = step()
            if number:  # the first round warms up
                seconds[name].append(clock() - start)
    return {
        name: {
            "time": float(np.median(np.array(seconds[name]) / np.array(seconds[base]))),
            "tokens a second": sum(map(len, results[name])) / float(np.median(seconds[name])),
            "same": sum(a == b for a, b in zip(results[name], results[base], strict=True)) / len(results[base]),
        }
        for name in steps
    }


def measure(model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return one model's figures."""
    asked = questions(options.questions)
    learner = load(locate(model), ModelOptions(model=model, max_new_tokens=80, device=options.device))
    encoder = learner._encoder
    greedy = Manner(encoder, options.batch_size, 0.0, Generation())
    streams = make_streams(encoder, asked, 1, 0, 80)
    warm = Manner(encoder, options.batch_size, 1.0, Generation())
    several = make_streams(encoder, asked[: len(asked) // PATHS], PATHS, 0, 80)

    def one_by_one() -> list[list[int]]:
        result: dict[int, list[int]] = {}
        for path in range(PATHS):
            part = several[path::PATHS]
            found = {i: ids for each in decode_in_batches(learner.model, part, warm) for i, ids in each.items()}
            result |= {path + i * PATHS: ids for i, ids in found.items()}
        return [result[number] for number in range(len(several))]

    greedily = ways(learner, greedy, streams)
    together = ways(learner, warm, several)[DROPPING]
    return {
        "greedy": raced(greedily, BASE, options),
        "paths": raced({APART: one_by_one, TOGETHER: together}, APART, options),
    }


def main() -> None:
    """Measure all shipped models and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--questions", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = "cpu" if options.device == "cpu" else torch.cuda.get_device_name()
    _write(device, options, {f"zoo:{card['name']}": measure(f"zoo:{card['name']}", options) for card in cards()})


def _write(device: str, options: argparse.Namespace, figures: dict[str, Any]) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    file = TARGET / "figures.json"
    everything = json.loads(file.read_text()) if file.exists() else {}
    everything[device] = {"questions": options.questions, "batch size": options.batch_size, "models": figures}
    file.write_text(json.dumps(everything, indent=1) + "\n")
    lines = [
        "| device | model | what | way | time | tokens a second | the same texts |",
        "|---|---|---|---|---|---|---|",
    ]
    for place, told in everything.items():
        for model, parts in told["models"].items():
            for part, what in (("greedy", "greedy"), ("paths", f"{PATHS} paths")):
                for way, row in parts[part].items():
                    numbers = f"{row['time']:.2f} | {row['tokens a second']:,.0f} | {100 * row['same']:.0f} %"
                    lines.append(f"| {place} | {model} | {what} | {way} | {numbers} |")
    text = (
        f"# How fast answers are written\n\nRatios of time to the first way of each group, measured in one run with "
        f"repeats that take turns: the demo's first {options.questions} public questions ({PATHS} paths each of a "
        f"quarter of them, at temperature 1), at most 80 tokens an answer, batches of {options.batch_size}; on a CPU "
        "one thread, float32 and the time that the process computed. *The same texts* compares token ids with those "
        "of that first way. `python benchmarks/generation.py` regenerates the table.\n\n" + "\n".join(lines) + "\n"
    )
    (TARGET / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
