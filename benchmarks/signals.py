"""What tells a path worth learning from another one: `python benchmarks/signals.py` (or `make bench-signals`).

In the first round of the suite `full`'s settings `heterogeneous` and `lineups_heterogeneous`, with seeds of its own,
every pair is asked in both directions for the scores of some rules, and for self-consistency (arXiv 2203.11171): how
many of eight paths that the teacher samples at temperature 1 end in the answer of the one it tells of. A figure is the
chance that a path worth learning outscores another one, 50 % for chance alone. Worth learning is, on the left, a path
that holds step by step; on the right, of these, one to a question that the student gets wrong. Writes
`results/signals/`.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.memoryless import Memoryless
from lada.bench.cell import Cell, CellKey
from lada.bench.suite import read_suite
from lada.core.registry import Options
from lada.core.seeds import seed_of
from lada.core.terms import Allocation, Knowledge, Sample
from lada.core.terms import Path as ReasoningPath
from lada.evaluation.ranking import auc
from lada.federation.parties import Place, client_party, read_task, server_party
from lada.federation.run import ignore
from lada.rounds.allocating import allocate_offers
from lada.rounds.options import CLIENT_REPLAY
from lada.rounds.party import Party
from lada.rounds.steps import gold_lessons, sft, study, write_paths

TARGET = Path("results/signals")
SETTINGS = {"heterogeneous": "Rulebooks", "lineups_heterogeneous": "Lineups"}
SEEDS, PATHS = (201, 202), 8
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "the teacher's mean log-prob (`confident`)": ("confident", {}),
    "the two losses on their own paths (`dual_min_ce`)": ("dual_min_ce", {}),
    "the two losses on the teacher's path (`rho_loss`)": ("rho_loss", {}),
    "learnability (`lark`)": ("lark", {}),
    "perplexities by domain (`ddk`)": ("ddk", {}),
    "the teacher alone is right, and believed (`teachable`)": ("teachable", {}),
}
VOTES = "self-consistency"
WORTH = ("holds", "holds and is new")
Figures = dict[str, dict[str, dict[str, list[float]]]]
"""Per signal, direction and what is worth learning: one AUC for each pair and seed."""


class Asking(Memoryless):
    """Takes nothing, and keeps what each rule says of every path."""

    def __init__(self) -> None:
        super().__init__(Options())
        self.scores: dict[str, np.ndarray] = {}

    def apply(self, state: State, candidates: Candidates) -> Any:
        """See Allocator.apply."""
        for signal, (name, options) in RULES.items():
            method = ALLOCATORS.get(name)
            rule = method.make(method.options.model_validate(options))
            _, allocation, _ = rule.apply(rule.init(candidates.seed), candidates)
            found = np.array([allocation.scores[sample.id] for sample in candidates.samples])
            self.scores[signal] = np.where(np.isnan(found), -np.inf, found)
        return state, Allocation(candidates.teacher, candidates.student, candidates.round, ()), {}


def votes(party: Party, paths: tuple[ReasoningPath, ...], samples: tuple[Sample, ...]) -> np.ndarray:
    """Return which share of sampled answers is that of each path [n]; 0 for a path without one."""
    questions, seed = [sample.question for sample in samples], seed_of(party.seed, "votes", party.name)
    sampled = party.learner.sample(questions, paths=PATHS, seed=seed, temperature=1.0)
    extract, same = party.task.extract, party.task.same
    shares = [
        0.0 if path.answer is None else np.mean([same(extract(answer.text), path.answer) for answer in answers])
        for path, answers in zip(paths, sampled, strict=True)
    ]
    return np.array(shares)


def measure(cell: Cell, folder: Path) -> Iterator[tuple[str, str, str, float]]:
    """Yield signal, direction, what is worth learning, and the AUC, for every pair of one cell."""
    config, place = cell.config, Place(folder, Path(), time.time())
    task = read_task(config, Path())
    server = server_party(config, place, task, ignore)
    clients = [client_party(config, place, task, ignore, client.name) for client in config.clients]
    for client in clients:
        lessons = gold_lessons(client, client.private)
        study(client, lessons, sft(), client.studies.private, round=1, phase="private")
    known = {party.name: write_paths(party, task.public, 1, "answer") for party in (server, *clients)}
    agreed = {party.name: votes(party, known[party.name].paths, task.public) for party in (server, *clients)}
    for client in clients:
        for direction, teacher, student in (("LLM → SLM", server, client), ("SLM → LLM", client, server)):
            student.allocator = asking = Asking()
            theirs, own = known[teacher.name], known[student.name]
            allocate_offers(student, 1, theirs, own, replay=CLIENT_REPLAY)
            holds, new = worth(teacher, theirs, own)
            for signal, scores in {**asking.scores, VOTES: agreed[teacher.name]}.items():
                for name, positive in zip(WORTH, (holds, holds & new), strict=True):
                    if (found := auc(scores, positive)) is not None:
                        yield signal, direction, name, 100 * found


def worth(teacher: Party, theirs: Knowledge, own: Knowledge) -> tuple[np.ndarray, np.ndarray]:
    """Return [n] bool twice: the teacher's path holds step by step; the student's own answer is wrong."""
    check = teacher.task.steps
    assert check is not None
    holds = [
        bool(path.right) and all(good for _, good in check(sample, path.text))
        for sample, path in zip(teacher.task.public, theirs.paths, strict=True)
    ]
    return np.array(holds), np.array([not path.right for path in own.paths])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    suite = read_suite("full")
    figures: dict[str, Figures] = {}
    for setting, title in SETTINGS.items():
        found: Figures = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
        for seed in options.seeds:
            with TemporaryDirectory() as folder:
                for signal, direction, name, value in measure(
                    suite.cell(CellKey(setting, "lada", 0, seed, "answers")), Path(folder)
                ):
                    found[signal][direction][name].append(round(value, 4))
            print(title, seed, flush=True)
        figures[title] = found
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "figures.json").write_text(json.dumps({"seeds": list(options.seeds), "auc": figures}, indent=1) + "\n")
    _write(figures, options.seeds)


def _write(figures: dict[str, Figures], seeds: tuple[int, ...]) -> None:
    lines = [
        "# What tells a path worth learning",
        "",
        "How often, in percent, a path worth learning has a higher score than another one: mean over pairs and seeds,",
        "and the least and the highest; 50 is chance. *Holds*: the teacher's path is right step by step; *new*: and",
        "the student's own answer is wrong. First round, before anybody has learnt from another.",
        f"Self-consistency is of {PATHS} sampled paths. Seeds {', '.join(map(str, seeds))}, which no suite has.",
        "`python benchmarks/signals.py` regenerates the tables.",
    ]
    for title, found in figures.items():
        columns = [(direction, name) for direction in ("LLM → SLM", "SLM → LLM") for name in WORTH]
        heads = [f"{direction}, {name}" for direction, name in columns]
        lines += ["", f"## {title}", "", f"| signal | {' | '.join(heads)} |", "|---" * (1 + len(columns)) + "|"]
        for signal in (*RULES, VOTES):
            cells = [found[signal][direction][name] for direction, name in columns]
            told = [f"{np.mean(each):.1f} ({min(each):.1f} to {max(each):.1f})" if each else "–" for each in cells]
            lines.append(f"| {' | '.join([signal, *told])} |")
    (TARGET / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
