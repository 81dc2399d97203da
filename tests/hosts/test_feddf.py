"""FedDF: the average of the clients' adapters learns the average of what the clients say."""

from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import CANARY, DISTIL, PRIVATE, Federation, ScriptedLearner, make
from sharing import GOLD, NONE, SLM, config, learns, sharing, told

from lada.config import make_config
from lada.core.errors import InputError
from lada.core.terms import SparseLogProbs, TokenScores
from lada.objectives.base import OBJECTIVES
from lada.rounds.party import SHARED_SLM

OWN = {1.0: 0.9, 3.0: 0.5}
"""What the SLM gives each token of a text, by the first weight of its adapter; the rest goes evenly to all others."""


@pytest.fixture
def both(tmp_path: FilePath) -> tuple[Federation, ScriptedLearner, list[list[float]]]:
    """Return a federation of a, with 4 samples, and b, with 12; the SLM at the server; its adapters while it scored."""
    objective = make(OBJECTIVES, "soft_targets", k=3, form="forward_kl", label_weight=0.0)
    both, slm = sharing(tmp_path, "feddf", {"slm_replay": NONE}, objective=objective)
    learns(both, "a", [1, 2])
    learns(both, "b", [3, 6])
    both.clients["b"].private = both.clients["b"].private * 3
    scored: list[list[float]] = []

    def log_probs(pairs: Sequence[tuple[str, str]], k: int, **_: Any) -> list[TokenScores | None]:
        scored.append(slm.weights.tolist())
        own = np.log(OWN[float(slm.weights[0])])
        return [
            TokenScores(
                spelled.tokens,
                spelled.offsets,
                SparseLogProbs(spelled.tokens[:, None], np.full((len(spelled.tokens), 1), own, np.float32)),
            )
            for spelled in slm.tokenize([text for _, text in pairs])
            if spelled is not None
        ]

    slm.log_probs = log_probs  # type: ignore[method-assign]
    return both, slm, scored


def test_the_average_of_the_weights_learns_the_average_of_the_logits(both: Any):
    federation, slm, scored = both
    seen: list[list[float]] = []
    usual = slm.study

    def study(*args: Any, **options: Any) -> Any:
        seen.append(slm.weights.tolist())
        result = usual(*args, **options)
        slm.weights = slm.weights + 1
        return result

    slm.study = study
    federation.run(0, 1)
    assert scored == [[1.0, 2.0], [3.0, 6.0]]
    assert seen == [[2.5, 5.0]]  # weighed by samples, 4 and 12
    assert told(federation, "take", "a", 1) == told(federation, "take", "b", 1) == [3.5, 6.0]
    (distilled,) = slm.studies
    assert distilled.options == SLM
    assert {id: text for id, (text, _) in distilled.texts().items()} == GOLD
    # Each client counts alike. Of 0.9 and 0.5 the geometric mean is √0.45, of the rest, 0.1 and 0.5, √0.05; the first
    # is 3/4 of both. The mean of the probabilities would be 0.7, and by samples 0.6.
    for lesson in distilled.lessons:
        assert lesson.soft is not None
        assert np.exp(lesson.soft.log_probs.max(1)) == pytest.approx(0.75, abs=1e-6)


def test_one_client_alone_is_taught_what_it_says(both: Any):
    federation, slm, _ = both
    federation.exchange.clients = ("a",)
    federation.run(1)
    for lesson in slm.studies[0].lessons:
        assert np.exp(lesson.soft.log_probs.max(1)) == pytest.approx(0.9, abs=1e-6)
    federation.exchange.clients = ("a", "b")
    federation.run(2)
    assert told(federation, "study", "a", 2) is None
    assert told(federation, "study", "b", 2) == told(federation, "take", "a", 1)


def test_the_llm_takes_no_part_and_only_adapters_and_numbers_cross(both: Any):
    federation, _, _ = both
    federation.run(0, 1)
    assert not federation.studies("llm")
    assert [study.options for study in federation.studies("a")] == [PRIVATE, DISTIL]
    report = federation.server.report
    assert sorted((e.party, e.round) for e in report.evaluations) == [
        ("a", 0),
        ("a", 1),
        ("b", 0),
        ("b", 1),
        ("llm", 0),
    ]
    assert {(r.teacher, r.student, r.chosen) for r in report.allocations} == {("consensus", SHARED_SLM, 5)}
    messages = [message for message in federation.exchange.sent if message.round == 1]
    assert {kind for message in messages for kind in message.payload} == {"adapter", "metrics", "times"}
    assert not any(CANARY.encode() in data for message in messages for data in message.payload.values())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"plugin": "lada"}, "'feddf' works on gold texts, but the allocator compares paths"),
        ({"objective": "sft"}, "objective: host 'feddf' exchanges distributions over tokens"),
        ({"clients": [{"name": "one", "model": {"model": "zoo:slm-gpt2"}}]}, "has model.tune 'full'; expected 'lora'"),
    ],
)
def test_what_it_cannot_work_with_is_refused_beforehand(changes: dict[str, Any], told: str):
    assert make_config(config("feddf")).choices(OBJECTIVES)
    with pytest.raises(InputError, match=told):
        make_config(config("feddf") | changes)
