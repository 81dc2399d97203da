"""What a round on many public samples costs: `python benchmarks/large_round.py` (or `make bench-large`).

One client and the LLM go through a run of one round of `fedmkt` on the local engine, once with paths that the parties
write and once with the gold texts and soft targets (32 of 32,000 tokens at each of about 40 positions). No model takes
part: answers, likelihoods, token scores and vectors come from a script, and a study teaches nothing. The rest is as in
any run, all in one process: messages, checks, ledger, allocation, alignment, journal, checkpoints, results and report.
Each size is a process of its own, on one thread; sizes take turns, and of several runs that of median CPU time is
shown. Writes `results/large_round/`.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
from stages import clocked, peak
from state import state, told

import lada
from lada.core.plural import counted
from lada.core.seeds import generator
from lada.core.terms import Likelihood, SparseLogProbs, TokenizedText, TokenScores, Verb, Vocabulary
from lada.federation import parties
from lada.models import load  # noqa: F401  # imports transformers, which is to count for no size
from lada.models.base import Answer, LearnerBase, StudyReport

TARGET = Path(__file__).parents[1] / "results" / "large_round"
SIZES = (10_000, 100_000)
KINDS = ("paths", "soft targets")
TESTS, PRIVATE, STEPS = 40, 20, 4
SIZE, K, STEP = 32_000, 32, 37
"""Of a vocabulary; likeliest tokens of a position; between their ids, with no common factor with the size."""
MOST_RATIO = 11.0
"""What ten times the samples may cost in CPU time."""
TEXT = "start with {n} , then add 7 and look at what comes out of it in the end ; so it is done . answer {m}"
WORDS = re.compile(r" ?[a-z]+| ?[^a-z]")
STAGES = {
    "samples are read": "lada.federation.prepared:read_task",
    "messages are checked": "lada.rounds.checks:Guard._read",
    "messages are read": "lada.hosts.fedmkt:receive_knowledge",
    "messages are written": "lada.rounds.outline:send_knowledge",
    "ledger": "lada.federation.ledger:Ledger.record",
    "journal of replies": "lada.federation.received:ReceivedReplies.keep",
    "large replies": "lada.federation.pending:GridPending._fetch",
    "judging": "lada.hosts.fedmkt:judge",
    "allocation": "lada.hosts.fedmkt:allocate_offers",
    "lessons": "lada.hosts.fedmkt:lessons_of",
    "trust": "lada.rounds.track_records:Records.look",
    "trust in soft targets": "lada.hosts.fedmkt:limit_by_gold_texts",
    "what is withheld": "lada.rounds.releasing:keep_back",
    "which scores are withheld": "lada.rounds.knowledge:keep_back_scores",
    "results": "lada.federation.outcome:Outcome.write",
    "report.html": "lada.federation.run:render",
}
"""Functions by what they do; what one does may be part of what another does."""


class Script(LearnerBase):
    """A learner without a model, whose tokens are words, or halves of them where it is `fine`."""

    verbs = frozenset(Verb)
    name = "script"

    def __init__(self, *, fine: bool) -> None:
        words = {word: None for n in range(10) for word in _pieces(TEXT.format(n=n, m=n), fine)}
        words |= {f"{space}{n}": None for n in range(10) for space in ("", " ")}
        fillers = (f"<{n}>" for n in range(SIZE - 1 - len(words)))
        self._ids = {word: number for number, word in enumerate((*words, *fillers))}
        self._fine, self._seed = fine, int(fine)

    def answer(self, questions: Sequence[str], *, seed: int, **_: Any) -> list[Answer]:
        """Answer by the number in a question; one of three is wrong."""
        numbers = [int(question.split()[1]) for question in questions]
        texts = [TEXT.format(n=n, m=n + 7 + ((n + self._seed) % 3 == 0)) for n in numbers]
        return [Answer(text, each) for text, each in zip(texts, self._likelihoods(texts), strict=True)]

    def judge(self, pairs: Sequence[tuple[str, str]], **_: Any) -> list[Likelihood]:
        """Judge texts at random."""
        return self._likelihoods([text for _, text in pairs])

    def _likelihoods(self, texts: Sequence[str]) -> list[Likelihood]:
        rng = generator(self._seed, "likelihoods", len(texts))
        totals = -1.0 - rng.exponential(8.0, len(texts))
        rows = zip(totals.tolist(), (totals * rng.uniform(0.1, 0.9, len(texts))).tolist(), texts, strict=True)
        return [Likelihood(total, least, 40, len(text)) for total, least, text in rows]

    def log_probs(self, pairs: Sequence[tuple[str, str]], k: int, **_: Any) -> list[TokenScores]:
        """Name the own token and others at random, none of them twice."""
        rng, found = generator(self._seed, "scores"), []
        for spelled in self.tokenize([text for _, text in pairs]):
            n = len(spelled.tokens)
            steps = STEP * rng.integers(1, 20, (n, 1))
            ids = np.sort((spelled.tokens[:, None] + steps * np.arange(k)) % SIZE, 1).astype(np.int32)
            logits = rng.standard_normal((n, k + 1))
            log_probs = (logits - np.logaddexp.reduce(logits, 1, keepdims=True))[:, :k].astype(np.float32)
            found.append(TokenScores(spelled.tokens, spelled.offsets, SparseLogProbs(ids, log_probs)))
        return found

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Take a text apart into words, or halves of them."""
        return list(map(self._spell, texts))

    def _spell(self, text: str) -> TokenizedText:
        pieces = _pieces(text, self._fine)
        ends = np.cumsum([0, *map(len, pieces), 1], dtype=np.int32)
        tokens = np.array([*(self._ids[piece] for piece in pieces), SIZE - 1], np.int32)
        return TokenizedText(tokens, np.stack([ends[:-1], ends[1:]], 1))

    @cache  # noqa: B019  # one learner for as long as the process
    def vocabulary(self) -> Vocabulary:
        """Return the words and what ends a text."""
        return Vocabulary((*(word.encode() for word in self._ids), b"<end>"), SIZE - 1)

    def embed(self, questions: Sequence[str], **_: Any) -> np.ndarray:
        """Return the same vectors each time."""
        return generator(0, "embed").normal(size=(len(questions), 16)).astype(np.float32)

    def study(self, lessons: Sequence[Any], *_: Any, **__: Any) -> StudyReport:
        """Learn nothing."""
        soft = sum(lesson.soft is not None for lesson in lessons)
        return StudyReport(STEPS, len(lessons), 0, soft, 100 * STEPS, 2.0, 1.0)

    def save(self, folder: Path) -> None:
        """Keep nothing."""


def _pieces(text: str, fine: bool) -> list[str]:
    words = WORDS.findall(text)
    return [part for word in words for part in (word[:3], word[3:]) if part] if fine else words


def config(folder: Path, samples: int, kind: str) -> dict[str, Any]:
    """Write a run's samples and return its configuration."""
    files, start = {"public": samples, "train": PRIVATE, "test": TESTS}, 0
    for name, count in files.items():
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for n in range(start, start + count):
                text = TEXT.format(n=n, m=n + 7)
                row = {"id": f"{name}-{n}", "question": f"add {n} and 7", "answer": f"{n + 7}", "rationale": text}
                file.write(json.dumps(row) + "\n")
        start += count
    study, soft = {"steps": STEPS, "batch_size": 4}, kind == "soft targets"
    return {
        "name": "large",
        "rounds": 1,
        "workers": 0,
        "task": {
            "kind": "files",
            "answer": "word",
            "partition": {"by": "iid"},
            **{name: str(folder / f"{name}.jsonl") for name in files},
        },
        "host": {"name": "fedmkt", "options": {"knowledge": "labels" if soft else "paths"}},
        "allocator": "dual_min_ce",
        "objective": {"name": "soft_targets", "options": {"k": K}} if soft else "sft",
        "server": {"model": {"model": "zoo:llm-world-0"}, "distil": study},
        "clients": [{"name": "phone", "model": {"model": "zoo:slm-gpt2"}, "private": study, "distil": study}],
    }


def one(samples: int, kind: str) -> dict[str, Any]:
    """Run one size in this process and return its figures."""
    learners = {fine: Script(fine=fine) for fine in (False, True)}
    seconds: dict[str, float] = {}
    with ExitStack() as stack:
        runs = Path(stack.enter_context(TemporaryDirectory()))
        made = lambda model, *_, **__: learners["slm" in model.model]  # noqa: E731
        stack.enter_context(patch.object(parties, "_learner", made))
        stack.enter_context(clocked(STAGES, seconds))
        given = config(runs, samples, kind)
        before, start = peak(), time.process_time()
        results = lada.run(given, runs=runs, emit=lambda _: None)
        spent = time.process_time() - start
        disk = sum(path.stat().st_size for path in (runs / "large").rglob("*") if path.is_file())
    return {
        "samples": samples,
        "kind": kind,
        "cpu_seconds": round(spent, 2),
        "memory_mib": round(peak() - before),
        "bytes": {
            f"{row.kind}, {row.sender}": row.bytes
            for row in results.traffic
            if row.round == 1 and row.kind not in ("metrics", "times")
        },
        "disk_mib": round(disk / 2**20, 1),
        "lessons": {study.party: study.lessons for study in results.studies if study.phase == "distil"},
        "soft": {study.party: study.soft for study in results.studies if study.phase == "distil"},
        "stages": {stage: round(value, 2) for stage, value in seconds.items()},
        "notices": list(results.notices),
        "state": state(),
    }


def measure(sizes: Sequence[int], repeats: int) -> Iterator[dict[str, Any]]:
    """Yield the figures of each kind and size: the run of median time."""
    for kind in KINDS:
        runs: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
        for _ in range(repeats):
            for size in sizes:
                command = [sys.executable, __file__, "--one", str(size), kind]
                environment = {**os.environ, "OMP_NUM_THREADS": "1"}
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
                runs[size].append(json.loads(done.stdout.splitlines()[-1]))
                print(kind, size, runs[size][-1]["cpu_seconds"], flush=True)
        for size in sizes:
            middle = median(run["cpu_seconds"] for run in runs[size])
            yield min(runs[size], key=lambda run: abs(run["cpu_seconds"] - middle))


def main() -> None:
    """Measure and write results, or, for a child process, run one size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs=2, default=SIZES)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(int(options.one[0]), options.one[1])))
        return
    _write(list(measure(options.sizes, options.repeats)), options.repeats)


def _write(rows: list[dict[str, Any]], repeats: int) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "figures.json").write_text(json.dumps(rows, indent=1) + "\n")
    table = [
        "| knowledge | public samples | CPU time | peak memory | from the client | from the LLM | disk |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        sent = [sum(size for key, size in row["bytes"].items() if key.endswith(f", {who}")) for who in ("phone", "llm")]
        up, down = (f"{size / 2**20:.1f} MiB" for size in sent)
        table.append(
            f"| {row['kind']} | {row['samples']:,} | {row['cpu_seconds']:.1f} s | {row['memory_mib']:,} MiB | {up} "
            f"| {down} | {row['disk_mib']:,.0f} MiB |"
        )
    ratios = []
    for kind in KINDS:
        small, *more = (row for row in rows if row["kind"] == kind)
        ratios += [f"{kind} {row['cpu_seconds'] / small['cpu_seconds']:.1f}" for row in more]
    heads = [f"{row['kind']}, {row['samples']:,}" for row in rows]
    stages = [f"| stage, CPU seconds | {' | '.join(heads)} |", "|---|" + "---|" * len(rows)]
    for stage in STAGES:
        if any(row["stages"][stage] for row in rows):
            stages.append(f"| {stage} | {' | '.join(format(row['stages'][stage], '.2f') for row in rows)} |")
    about = (__doc__ or "").partition("\n\n")[2]
    text = (
        f"# A round on many public samples\n\n{about}\n"
        + "\n".join(table)
        + f"\n\nCPU time, the larger to the smaller size: {', '.join(ratios)} (we allow {MOST_RATIO:g}), "
        f"from {counted(repeats, 'run')} each. Memory is the peak above what the process had before the run. What one "
        f"stage does may be part of what another does. {told(row['state'] for row in rows)}\n\n"
        + "\n".join(stages)
        + "\n"
    )
    (TARGET / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
