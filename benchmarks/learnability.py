"""What a student gains from right paths, by how they are written: `python benchmarks/learnability.py`.

A client first studies one domain, which it then knows. It goes on with questions of another domain, or of both, whose
paths are all right and differ in style (lada.tasks.styles), in how many verbs a question chains, and in whose verbs
show their computation; its private lessons stand in turn with them, one each. Every study has the same number of
tokens. Reported is how many test questions of the new domain it then answers right, for three sizes of one model.
Writes `results/learnability/`: a study a line, a page and a figure. What was studied before is not studied again.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from state import state

from lada.core.seeds import generator
from lada.core.terms import Lesson, Sample
from lada.models.base import Study
from lada.models.learner import HuggingFaceLearner
from lada.models.load import load
from lada.models.options import ModelOptions
from lada.report.charts import Point, Series, line_chart
from lada.rounds.steps import sft
from lada.tasks.answers import answer_kind
from lada.tasks.builtin import CORPORA
from lada.tasks.generated import TAUGHT, WITH
from lada.tasks.styles import JOINED, LEAPS, SPELLED_OUT, skips
from lada.zoo.shipped import locate

TARGET = Path("results/learnability")
DOMAINS = {"rulebooks": ("warehouse", "clinic"), "lineups": ("theatre", "harbour")}
"""By corpus: the domain that the client knows, and the one that is new to it."""
SIZES = {
    "rulebooks": {"small": "slm-llama-small", "middle": "slm-llama", "large": "slm-llama-large"},
    "lineups": {"middle": "slm-lineups-llama"},
}
STYLES = {corpus: (SPELLED_OUT, JOINED, skips(known), skips(new), LEAPS) for corpus, (known, new) in DOMAINS.items()}
LENGTHS = (2, 3, 4)
"""How many verbs a question chains: what makes it hard."""
QUESTIONS, PRIVATE, TESTS, PRIVATE_TOKENS, TOKENS = 800, 600, 200, 120_000, 80_000


@dataclass(frozen=True)
class Case:
    """One study."""

    corpus: str
    world: int
    size: str
    style: str
    length: int
    seed: int


def cases(worlds: Sequence[int], seeds: Sequence[int]) -> Iterator[Case]:
    """Yield every study."""
    for world in worlds:
        for corpus, sizes in SIZES.items():
            for size in sizes:
                for seed in seeds:
                    for style in STYLES[corpus]:
                        for length in LENGTHS:
                            yield Case(corpus, world, size, style, length, seed)


class Work:
    """The client of one corpus, world and size before it goes on, and what it is examined with."""

    def __init__(self, corpus: str, world: int, size: str) -> None:
        """Let it study its own domain."""
        self.corpus, self.world = CORPORA[corpus], world
        self.book, self.kind = self.corpus.world(world), answer_kind(self.corpus.answers)
        model = f"zoo:{SIZES[corpus][size]}"
        self.learner = load(locate(model), ModelOptions(model=model, max_new_tokens=80))
        assert isinstance(self.learner, HuggingFaceLearner)
        self.known, self.new = DOMAINS[corpus]
        self.both = WITH.join(sorted(DOMAINS[corpus], key=list(self.corpus.domains).index))
        self.private = self._draw(self.known, "private", PRIVATE)
        self.tests = {name: self._draw(name, "test", TESTS) for name in (self.known, self.new, self.both)}
        self._study([lesson(sample) for sample in self.private], PRIVATE_TOKENS, 0)
        self._before = self.learner.adapter()

    def run(self, case: Case) -> dict[str, float]:
        """Return the accuracies after a study, percent."""
        self.learner.load_adapter(self._before)
        two = case.style in (skips(self.known), skips(self.new))
        samples = self._draw(self.both if two else self.new, "public", QUESTIONS, {case.length: 1.0})
        told = [self.corpus.retell(sample, self.book, case.style) for sample in samples]
        lessons = [lesson(sample) for sample in told if sample is not None]
        turns = [each for i, new in enumerate(lessons) for each in (new, lesson(self.private[i % len(self.private)]))]
        self._study(turns, TOKENS, case.seed)
        return {name: self._accuracy(tests) for name, tests in self.tests.items()}

    def _draw(self, domain: str, split: Any, count: int, lengths: Mapping[int, float] = TAUGHT) -> list[Sample]:
        rng = generator("learnability", self.world, domain, split)
        return self.corpus.draw(self.book, domain, split, count, rng, prefix=domain, at_most=True, lengths=lengths)

    def _study(self, lessons: list[Lesson], tokens: int, seed: int) -> None:
        self.learner.study(lessons, sft(), Study(tokens=tokens, batch_size=4), seed=seed)

    def _accuracy(self, samples: Sequence[Sample]) -> float:
        answers = self.learner.answer([sample.question for sample in samples], seed=0)
        right = [
            self.kind.same(self.kind.extract(answer.text), sample.answer or "")
            for sample, answer in zip(samples, answers, strict=True)
        ]
        return round(100 * float(np.mean(right)), 1)


def new_domain(corpus: str) -> str:
    """Return the domain that is new to the client."""
    return DOMAINS[corpus][1]


def lesson(sample: Sample) -> Lesson:
    """Return a sample as a lesson on its rationale."""
    return Lesson(sample.id, sample.question, sample.rationale or "")


def page(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# What a student gains from right paths\n"
    yield f"{(__doc__ or '').partition(chr(10) * 2)[2].strip()}\n"
    yield f"`make bench-learnability` regenerates it. {rows[0]['state']}.\n"
    for corpus, sizes in SIZES.items():
        mine = [row for row in rows if row["corpus"] == corpus]
        if not mine:
            continue
        worlds, seeds = sorted({row["world"] for row in mine}), sorted({row["seed"] for row in mine})
        yield f"## {corpus}\n"
        yield f"Percent of {TESTS} questions of the new domain: worlds {worlds}, seeds {seeds}, mean and range.\n"
        yield "| style | verbs | " + " | ".join(sizes) + " |"
        yield "|---|---|" + "---|" * len(sizes)
        for style in STYLES[corpus]:
            for length in LENGTHS:
                cells = [_told(mine, size, style, length) for size in sizes]
                yield f"| {style} | {length} | " + " | ".join(cells) + " |"
        yield ""


def _told(rows: Sequence[Mapping[str, Any]], size: str, style: str, length: int) -> str:
    found = _of(rows, size, style, length)
    return f"{fmean(found):.0f} [{min(found):.0f}, {max(found):.0f}]" if found else "–"


def _of(rows: Sequence[Mapping[str, Any]], size: str, style: str, length: int) -> list[float]:
    found = [row for row in rows if (row["size"], row["style"], row["length"]) == (size, style, length)]
    return [row["right"][new_domain(row["corpus"])] for row in found]


def figure(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a page with one chart for each corpus and size: what is gained by style and difficulty."""
    charts = []
    for corpus, sizes in SIZES.items():
        mine = [row for row in rows if row["corpus"] == corpus]
        for size in sizes if mine else ():
            series = [
                Series(style, [Point(n, fmean(found)) for n in LENGTHS if (found := _of(mine, size, style, n))], i)
                for i, style in enumerate(STYLES[corpus])
            ]
            about = "Percent of questions of the new domain that are right after studies of equally many tokens."
            charts.append(
                line_chart(f"{corpus}, {size}", about, series, show="{:.0f} %".format, top=100, along="verbs")
            )
    style = (files("lada.report") / "templates" / "report.css").read_text(encoding="utf-8")
    return f"<!doctype html><meta charset=utf-8><title>Learnability</title><style>{style}</style>{''.join(charts)}"


def main() -> None:
    """Run what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, nargs="+", default=[101])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    torch.set_num_threads(1)
    TARGET.mkdir(parents=True, exist_ok=True)
    file = TARGET / "studies.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {tuple(row[key] for key in asdict(Case("", 0, "", "", 0, 0))) for row in rows}
    work: tuple[tuple[str, int, str], Work] | None = None
    for case in cases(options.worlds, options.seeds):
        if tuple(asdict(case).values()) in done:
            continue
        key = (case.corpus, case.world, case.size)
        if work is None or work[0] != key:
            work = key, Work(*key)
        rows.append({**asdict(case), "right": work[1].run(case), "state": state()})
        with file.open("a") as lines:
            lines.write(json.dumps(rows[-1]) + "\n")
        print(json.dumps(rows[-1]), flush=True)
    (TARGET / "README.md").write_text("\n".join(page(rows)) + "\n", encoding="utf-8")
    (TARGET / "figure.html").write_text(figure(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
