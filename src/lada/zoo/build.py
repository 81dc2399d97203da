"""Trains the shipped models: `lada zoo build [NAME …] [--world N]`. Resumable, and reproducible bit for bit."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lada.core.seeds import generator, seed_of
from lada.core.terms import Sample
from lada.models.batches import shuffled_batches
from lada.models.encoding import Encoded, Encoder
from lada.models.learner import HuggingFaceLearner
from lada.models.likelihood import token_log_probs
from lada.models.options import ModelOptions
from lada.models.training import Optimisation, add_gradients, make_optimizer, optimise
from lada.zoo.course import Course, course_of
from lada.zoo.recipe import Recipe, make_model
from lada.zoo.tokenizers import make_tokenizer

CHECKPOINT_EVERY = 500
TESTED = 200
"""The number of test questions per domain for the accuracies on a model card."""
OPTIMISATION = Optimisation()

Report = Callable[[str, int, int, float], None]
"""Called as `report(model name, step, steps, loss)`."""


def build(recipe: Recipe, target: Path, work: Path, report: Report) -> dict[str, Any]:
    """Train one model into `target/<name>` (fp16 safetensors, tokenizer, card); return its card.

    `work` holds checkpoints of unfinished models; an interrupted build resumes from there, bit for bit. A model that is
    already in `target` with the same recipe is not built again.
    """
    folder = target / recipe.name
    card_file = folder / "card.json"
    if card_file.exists():
        card = json.loads(card_file.read_text())
        if Recipe(**card["recipe"]) == recipe:
            return card
    for place in (target, work):  # first: report that nothing can be written before the training, not after it
        place.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # the exact value of a sum depends on the number of threads
    course = course_of(recipe)
    tokenizer = make_tokenizer(recipe.tokenizer, course.texts(), recipe.vocabulary, course.pattern)
    torch.manual_seed(seed_of("zoo", recipe.name, "weights"))
    model = make_model(recipe, tokenizer)
    learner = HuggingFaceLearner(model, tokenizer, ModelOptions(model=recipe.name))
    seconds = _train(recipe, course.samples(), model, tokenizer, work / recipe.name, report)
    shipped = model.half()
    staging = work / f"{recipe.name}.staging"
    shipped.save_pretrained(staging)
    tokenizer.save_pretrained(staging)
    model.float()  # as users load it: the fp16 weights in fp32
    card = {
        "name": recipe.name,
        "recipe": asdict(recipe),
        "optimisation": OPTIMISATION.model_dump(mode="json"),
        "batch_size": recipe.batch,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(seconds),
        "tested_per_domain": TESTED,
        "accuracy": _accuracy(learner, course),
        "torch": torch.__version__.split("+")[0],
    }
    (staging / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    (staging / "README.md").write_text(_readme(card, course))
    shutil.rmtree(folder, ignore_errors=True)
    shutil.move(staging, folder)
    shutil.rmtree(work / recipe.name, ignore_errors=True)
    return card


def _train(recipe: Recipe, samples: list[Sample], model: Any, tokenizer: Any, work: Path, report: Report) -> float:
    """Train `model` in place, from the last checkpoint if there is one; return the total seconds."""
    encoder = Encoder(tokenizer, prompt="{question}\n", context=256)
    rows = [encoder.pair(sample.question, sample.rationale or "") for sample in samples]
    optimizer = make_optimizer(model, OPTIMISATION)
    start, seconds = _resume(work, model, optimizer)
    since = time.monotonic()
    order = shuffled_batches(
        [len(row) for row in rows], recipe.batch, recipe.steps, generator("zoo", recipe.name, "order")
    )

    def gradients(batch: list[int]) -> float:
        return add_gradients(optimizer, [lambda: _loss(model, [rows[i] for i in batch], encoder.pad)])

    def steps() -> Iterator[tuple[int, Callable[[], float]]]:
        for number, batch in enumerate(order):
            if number >= start:
                yield number, partial(gradients, batch)

    def on_step(number: int, loss: float, _taken: bool) -> None:
        done = number + 1
        if done % 50 == 0:
            report(recipe.name, done, recipe.steps, loss)
        if done % CHECKPOINT_EVERY == 0 and done < recipe.steps:
            _checkpoint(work, model, optimizer, done, seconds + time.monotonic() - since)

    model.train()
    optimise(model, optimizer, steps(), recipe.steps, options=OPTIMISATION, on_step=on_step)
    model.eval()
    return seconds + time.monotonic() - since


def _loss(model: Any, rows: list[Encoded], pad: int) -> Tensor:
    log_probs, mask = token_log_probs(model, rows, pad)
    return -log_probs.sum() / mask.sum()


def _checkpoint(work: Path, model: Any, optimizer: torch.optim.Optimizer, step: int, seconds: float) -> None:
    """Write weights and optimiser state atomically."""
    tensors: dict[str, Tensor] = {"step": torch.tensor(step), "seconds": torch.tensor(seconds)}
    for i, parameter in enumerate(model.parameters()):
        tensors[f"{i}.weight"] = parameter.detach()
    for i, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        tensors |= {f"{i}.{key}": value for key, value in optimizer.state[parameter].items()}
    work.mkdir(parents=True, exist_ok=True)
    save_file(tensors, work / "next.safetensors")
    (work / "next.safetensors").replace(work / "checkpoint.safetensors")


def _resume(work: Path, model: Any, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Load the last checkpoint, if any; return the next step and the seconds spent before."""
    file = work / "checkpoint.safetensors"
    if not file.exists():
        return 0, 0.0
    tensors = load_file(file)
    with torch.no_grad():
        for i, parameter in enumerate(model.parameters()):
            parameter.copy_(tensors[f"{i}.weight"])
    for i, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        optimizer.state[parameter] = {key: tensors[f"{i}.{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
    return int(tensors["step"]), float(tensors["seconds"])


def _accuracy(learner: HuggingFaceLearner, course: Course) -> dict[str, float]:
    """Return exact match per domain on test questions of the recipe's world, percent."""
    accuracy: dict[str, float] = {}
    for domain, samples in course.tests(TESTED).items():
        answers = learner.answer([sample.question for sample in samples], seed=0)
        right = Counter(
            course.answers.same(course.answers.extract(answer.text), sample.answer or "")
            for sample, answer in zip(samples, answers, strict=True)
        )[True]
        accuracy[domain] = float(np.round(100 * right / len(samples), 1))
    return accuracy


def _readme(card: dict[str, Any], course: Course) -> str:
    recipe = card["recipe"]
    rows = "\n".join(f"| {domain} | {accuracy} |" for domain, accuracy in card["accuracy"].items())
    return f"""# {card["name"]}

{course.taught} Trained from scratch by `lada zoo build {card["name"]}` on the corpus *{course.title}*, which is
generated; no other text went in. It is a toy for demonstrations and tests and answers nothing else.

- architecture: {recipe["architecture"]}, width {recipe["width"]}, {recipe["layers"]} layers, {recipe["heads"]} heads,
  {card["parameters"]:,} parameters, fp16 on disk
- tokenizer: {recipe["tokenizer"]}, falls back to bytes, so it reads any text
- recipe: {recipe["steps"]} steps of {card["batch_size"]} questions ({recipe["general"]} general,
  {course.questions}), AdamW, learning rate {card["optimisation"]["learning_rate"]}, cosine,
  loss on the answer part only; {card["seconds"]} s on one thread with torch {card["torch"]}

Exact match on {card["tested_per_domain"]} test questions per domain of world {recipe["world"] or 0}, percent:

| domain | accuracy |
|---|---|
{rows}
"""
