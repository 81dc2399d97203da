"""Expected bytes: by hand, and against what the codecs write."""

import numpy as np

from lada.codecs import likelihoods, soft_targets
from lada.codecs.base import Codecs
from lada.codecs.likelihoods import Judgement
from lada.core.terms import Likelihood, SparseLogProbs, TokenScores, Verb
from lada.planning.traffic import Forecast, Sender
from lada.rounds.base import Step


def test_sizes_by_hand() -> None:
    sender, forecast = Sender("a", mean=30.0, vocabulary=1000, adapter=250), Forecast(Codecs(), texts=100, k=0)
    kinds = ("paths", "likelihoods", "soft_targets", "vocabulary")
    found = {kind: forecast.size(kind, sender, 0) for kind in kinds}
    assert found == {"paths": 3000, "likelihoods": 1200, "soft_targets": 0, "vocabulary": 4000}


def test_soft_targets_are_about_what_their_codec_writes() -> None:
    rng = np.random.default_rng(0)
    told = {}
    for i in range(20):
        ids = np.sort(np.stack([rng.choice(50_000, 32, replace=False) for _ in range(50)]), 1).astype(np.int32)
        logits = rng.standard_t(5, (50, 33)) * 2
        log_probs = (logits - np.logaddexp.reduce(logits, 1, keepdims=True))[:, :32].astype(np.float32)
        ends = 4 * np.arange(51)
        offsets = np.stack([ends[:-1], ends[1:]], 1).astype(np.int32)
        told[str(i)] = TokenScores(ids[:, 3], offsets, SparseLogProbs(ids, log_probs))
    written = len(soft_targets.encode(told, vocabulary_size=50_000, party="a", round=1))
    expected = Forecast(Codecs(), texts=20, k=32).size("soft_targets", Sender("a", 50.0, 50_000, 0), 0)
    assert 0.8 < expected / written < 1.25


def test_likelihoods_are_about_what_their_codec_writes() -> None:
    rng = np.random.default_rng(0)
    drawn = -rng.exponential(3.0, (500, 40)).astype(np.float32).astype(float)
    told = {f"public-{i:05d}": Likelihood(a.sum(), a.min(), 40, 160) for i, a in enumerate(drawn)}
    written = len(likelihoods.encode(Judgement("a", 1, told)))
    expected = Forecast(Codecs(), 500, 0).size("likelihoods", Sender("a", 40.0, 100, 0), 0)
    assert 0.67 < expected / written < 1.5


def test_who_sends_what_to_whom() -> None:
    steps = (
        Step("client", "answer", Verb.ANSWER, "public", sends=("paths",)),
        Step("server", "answer", Verb.ANSWER, "public", sends=("paths", "vocabulary")),
        Step("server", "average", None, "private", sends=("adapter",)),
        Step("client", "evaluate", Verb.ANSWER, "test"),
    )
    server, a, b = (Sender(name, mean, 10, 250) for name, mean in (("llm", 10.0), ("a", 20.0), ("b", 30.0)))
    rows = Forecast(Codecs(), texts=10, k=0).expect(3, steps, server, (b, a))
    assert [(row.round, row.sender, row.receiver, row.kind, row.messages, row.bytes) for row in rows] == [
        (3, "a", "llm", "paths", 1, 200),
        (3, "b", "llm", "paths", 1, 300),
        (3, "llm", "a", "adapter", 1, 1000),
        (3, "llm", "a", "paths", 1, 100),
        (3, "llm", "a", "vocabulary", 1, 40),
        (3, "llm", "b", "adapter", 1, 1000),
        (3, "llm", "b", "paths", 1, 100),
        (3, "llm", "b", "vocabulary", 1, 40),
    ]
