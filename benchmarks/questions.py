"""How many questions of a shipped LLM survive the checks of an augmenter: `python benchmarks/questions.py`.

The shipped LLMs were only ever trained to answer. Each is asked for questions in three ways: by an instruction with
examples, by examples alone, and by examples alone after a copy of it has studied to write questions. The LLM itself
then answers what passes the checks of the text. The corpora can say whether a question is one of theirs and which
answer is right. Writes `results/questions/`.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from lada.augmenters.base import Generating
from lada.core.seeds import generator
from lada.core.terms import Lesson, Sample
from lada.models.base import Study
from lada.models.learner import HuggingFaceLearner
from lada.models.load import load
from lada.models.options import ModelOptions
from lada.models.training import Optimisation
from lada.rounds.steps import sft
from lada.tasks.builtin import load_builtin
from lada.tasks.data import TaskData
from lada.tasks.drafts import fault, normal, normals, prompt, read
from lada.tasks.options import BuiltinTask
from lada.zoo.shipped import locate

TARGET = Path("results/questions")
Corpus = Literal["rulebooks", "lineups"]
MODELS: dict[Corpus, str] = {"rulebooks": "zoo:llm-world-0", "lineups": "zoo:llm-lineups-world-0"}
SHOTS, PATHS, AGREEMENT, CHARS = 3, 5, 0.6, 2000
STEPS = 100
COLUMNS = ("drafts", "pass the checks", "answers agree", "questions of the corpus", "with the right answer")


def opened(corpus: Corpus) -> HuggingFaceLearner:
    """Return the LLM of a corpus."""
    options = ModelOptions(model=MODELS[corpus])
    return load(locate(options.model), options, init_seed=0, saved=None)


def prompts(samples: Sequence[Sample], instruction: str, count: int, seed: int) -> list[str]:
    """Return prompts that show random samples."""
    drawn = [generator(seed, number).permutation(len(samples))[:SHOTS] for number in range(count)]
    return [prompt(instruction, [("", [samples[place] for place in places])], 1) for places in drawn]


def taught_to_write(corpus: Corpus, samples: Sequence[Sample]) -> HuggingFaceLearner:
    """Return an LLM that has studied to continue examples with another public question."""
    shown = prompts(samples, "", 4 * len(samples), seed=1)
    lessons = [Lesson(f"w{number}", text, samples[number % len(samples)].question) for number, text in enumerate(shown)]
    writer = opened(corpus)
    study = Study(steps=STEPS, batch_size=16, optimisation=Optimisation(learning_rate=1e-3))
    writer.study(lessons, sft(), study, seed=0)
    return writer


def survivors(
    task: TaskData, writer: HuggingFaceLearner, llm: HuggingFaceLearner, instruction: str, count: int
) -> dict[str, Any]:
    """Return how many drafts remain after each check, and how many were refused by reason."""
    replies = writer.answer(prompts(task.public, instruction, count, seed=2), seed=3, temperature=1.0)
    seen, refused, asked = set(normals((*task.public, *task.test, *task.replay))), Counter[str](), []
    for reply in replies:
        (question,) = read(reply.text, 1)
        why = fault(question, CHARS) or ("cut" if reply.cut else None)
        why = why or ("duplicate" if normal(question) in seen else None)
        if why:
            refused[why] += 1
        else:
            seen.add(normal(question))
            asked.append(question)
    agreed = right = formed = 0
    assert task.solve is not None
    for question, paths in zip(asked, llm.sample(asked, paths=PATHS, seed=4, temperature=1.0), strict=True):
        said = Counter(answer for path in paths if (answer := task.extract(path.text)) is not None)
        answer, votes = said.most_common(1)[0] if said else ("", 0)
        solved = task.solve(question)
        if votes / PATHS >= AGREEMENT:
            agreed += 1
            formed += solved is not None
            right += solved is not None and task.same(answer, solved.answer or "")
    counts = (count, len(asked), agreed, formed, right)
    return {**dict(zip(COLUMNS, counts, strict=True)), "refused": dict(sorted(refused.items()))}


def main() -> None:
    """Measure, then write figures and table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=32, help="drafts of each way")
    count = parser.parse_args().count
    torch.set_num_threads(1)
    figures = {}
    for corpus in MODELS:
        task = load_builtin(BuiltinTask(kind=corpus, public=200, private=10), {"a": ()}, 0)
        plain = replace(task, public=tuple(replace(sample, rationale=None) for sample in task.public))
        llm, instruction = opened(corpus), Generating().instruction
        figures[corpus] = {
            "instruction and examples": survivors(plain, llm, llm, instruction, count),
            "examples alone": survivors(plain, llm, llm, "", count),
            "examples alone, taught to write": survivors(plain, taught_to_write(corpus, plain.public), llm, "", count),
        }
        TARGET.mkdir(parents=True, exist_ok=True)
        (TARGET / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        (TARGET / "README.md").write_text(page(figures), encoding="utf-8")


def page(figures: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Return the table as a page."""
    lines = [
        "# Which generated questions survive",
        "",
        f"A shipped LLM writes questions after {SHOTS} examples, at temperature 1. Each column counts the drafts that "
        f"remain: those that pass the checks of their text, those on which at least {AGREEMENT:.0%} of {PATHS} paths "
        "of the LLM give the same answer, those that are questions of the corpus, and those with the right answer. The "
        "last two are what `verify: verifier` tells apart, and `verify: agreement` does not. An LLM taught to write is "
        f"a copy that studied {STEPS} steps on public questions; it imitates questions, if badly. "
        "`python benchmarks/questions.py` regenerates the table.",
        "",
        f"| corpus | asked by | {' | '.join(COLUMNS)} | refused |",
        "|---|---|" + "---|" * (len(COLUMNS) + 1),
    ]
    for corpus, ways in figures.items():
        for way, row in ways.items():
            refused = ", ".join(f"{number} {why}" for why, number in row["refused"].items()) or "–"
            lines.append(f"| {corpus} | {way} | {' | '.join(str(row[name]) for name in COLUMNS)} | {refused} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
