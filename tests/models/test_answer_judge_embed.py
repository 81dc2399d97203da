"""A learner's outputs for a text do not depend on what else is asked, in which order or batch."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from lada.models.base import LEAST_SURPRISE, MOST_SURPRISE, READ_AT
from lada.models.likelihood import predict


def slow_greedy(learner: Any, encoder: Any, question: str, most: int) -> str:
    """One question, one token at a time, no cache."""
    ids = list(encoder.prompt(question))
    written: list[int] = []
    while len(written) < most and encoder.eos not in written:
        with torch.inference_mode():
            written.append(int(learner.model(input_ids=torch.tensor([ids + written])).logits[0, -1].argmax()))
    return encoder.text(written)


def close(a: Any, b: Any) -> None:
    assert (a.tokens, a.size) == (b.tokens, b.size)
    assert (a.total, a.minimum) == pytest.approx((b.total, b.minimum), abs=1e-4)


def test_judge_by_hand(tiny: Any, architecture: str):
    learner = tiny.learner(architecture)
    question, path = tiny.questions[0], "answer 5 🧮"
    likelihood = learner.judge([(question, path)])[0]
    prompt = learner.tokenizer(question + "\n")["input_ids"]
    completion = [*learner.tokenizer(path)["input_ids"], learner.tokenizer.eos_token_id]
    with torch.inference_mode():
        logits = learner.model(input_ids=torch.tensor([prompt + completion])).logits[0]
    log_probs = [torch.log_softmax(logits[len(prompt) + i - 1], 0)[token].item() for i, token in enumerate(completion)]
    assert likelihood.total == pytest.approx(sum(log_probs), abs=1e-4)
    assert likelihood.minimum == pytest.approx(min(log_probs), abs=1e-5)
    assert (likelihood.tokens, likelihood.size) == (len(completion), 9 + 4)


def test_judge_does_not_depend_on_batch_or_order(tiny: Any, architecture: str):
    pairs = [(question, path) for question in tiny.questions for path in (*tiny.paths, "")]
    alone = [tiny.learner(architecture).judge([pair])[0] for pair in pairs]
    for batch_size in (1, 3, 64):
        learner = tiny.learner(architecture, batch_size=batch_size)
        for found, expected in zip(learner.judge(pairs), alone, strict=True):
            close(found, expected)
        for found, expected in zip(reversed(learner.judge(pairs[::-1])), alone, strict=True):
            close(found, expected)


@pytest.mark.parametrize("change", ["no pad token", "left padding"])
def test_judge_and_answer_do_not_depend_on_padding_habits(tiny: Any, change: str):
    tokenizer = tiny.tokenizer(pad_token=None) if change == "no pad token" else tiny.tokenizer()
    tokenizer.padding_side = "left" if change == "left padding" else "right"
    plain, changed = tiny.learner(), tiny.learner(tokenizer=tokenizer)
    pairs = list(zip(tiny.questions, tiny.paths, strict=True))
    for found, expected in zip(changed.judge(pairs), plain.judge(pairs), strict=True):
        close(found, expected)
    assert [a.text for a in changed.answer(tiny.questions, seed=0)] == [
        a.text for a in plain.answer(tiny.questions, seed=0)
    ]


def test_greedy_answers_are_the_slow_loops_whatever_the_batch(tiny: Any, architecture: str):
    whole = tiny.learner(architecture)
    expected = [slow_greedy(whole, whole._encoder, question, 24) for question in tiny.questions]
    for batch_size in (1, 3, 64):
        learner = tiny.learner(architecture, batch_size=batch_size)
        assert [answer.text for answer in learner.answer(tiny.questions, seed=batch_size)] == expected
    assert [answer.text for answer in whole.answer(tiny.questions[::-1], seed=0)] == expected[::-1]


def test_an_answer_carries_the_likelihood_that_judge_gives(tiny: Any):
    learner = tiny.learner()
    answers = learner.answer(tiny.questions, seed=0)
    judged = learner.judge([(q, answer.text) for q, answer in zip(tiny.questions, answers, strict=True)])
    for answer, expected in zip(answers, judged, strict=True):
        close(answer.likelihood, expected)


def test_generation_ends_at_eos(tiny: Any):
    learner = tiny.learner()
    question = tiny.questions[0]
    encoder = learner._encoder
    ids = torch.tensor([encoder.prompt(question)])
    with torch.inference_mode():
        for _ in range(5):
            ids = torch.cat([ids, learner.model(input_ids=ids).logits[:, -1:].argmax(-1)], 1)
    written = ids[0, -5:].tolist()
    last = written[-1]
    assert last not in written[:-1]
    ended = tiny.learner(tokenizer=tiny.tokenizer(eos_token=learner.tokenizer.convert_ids_to_tokens(last)))
    assert ended.answer([question], seed=0)[0].text == encoder.text(written[:-1])


def test_sampling_repeats_from_its_seed_alone(tiny: Any):
    learner = tiny.learner()
    first = learner.answer(tiny.questions, seed=1, temperature=1.0)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert learner.answer(tiny.questions, seed=1, temperature=1.0) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert [a.text for a in learner.answer(tiny.questions, seed=2, temperature=1.0)] != [a.text for a in first]


def test_a_cold_sample_is_greedy(tiny: Any):
    learner = tiny.learner()
    cold = learner.answer(tiny.questions, seed=3, temperature=1e-4)
    assert [a.text for a in cold] == [a.text for a in learner.answer(tiny.questions, seed=0)]


def test_generation_settings_that_come_with_a_model_change_nothing(tiny: Any):
    plain, bent = tiny.learner(), tiny.learner()
    bent.model.generation_config.update(repetition_penalty=5.0, do_sample=True, top_k=1, top_p=0.1, temperature=0.3)
    for temperature in (0.0, 1.0):
        expected = [a.text for a in plain.answer(tiny.questions, seed=0, temperature=temperature)]
        assert [a.text for a in bent.answer(tiny.questions, seed=0, temperature=temperature)] == expected


def test_overlong_questions_are_answered_within_the_context(tiny: Any, architecture: str):
    learner = tiny.learner(architecture, max_new_tokens=500)
    question = "how many boxes ? " * 60
    answer = learner.answer([question, "?"], seed=0)[0]
    assert answer.likelihood.tokens <= tiny.context // 2
    assert learner.judge([(question, "answer 5 " * 200)])[0].tokens == tiny.context // 2


def test_embed_is_the_mean_of_the_last_hidden_states(tiny: Any, architecture: str):
    learner = tiny.learner(architecture, batch_size=3)
    vectors = learner.embed(tiny.questions)
    assert (vectors.shape, vectors.dtype) == ((4, 16), np.float32)
    for question, vector in zip(tiny.questions, vectors, strict=True):
        ids = torch.tensor([learner.tokenizer(question + "\n")["input_ids"]])
        with torch.inference_mode():
            hidden = learner.model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
        assert vector.tolist() == pytest.approx(hidden.mean(0).tolist(), abs=1e-5)


def test_reading_weighs_what_it_has_seen_by_how_it_surprises(tiny: Any, architecture: str):
    learner = tiny.learner(architecture, batch_size=3)
    pairs = [(question, f"{'so it is ' * i}answer {i}") for i, question in enumerate(tiny.questions)]
    vectors = learner.read(pairs)
    assert (vectors.shape, vectors.dtype) == ((4, 16), np.float32)
    for (question, text), vector in zip(pairs, vectors, strict=True):
        row = learner._encoder.pair(question, text)
        ids, start = [*row.prompt, *row.completion], len(row.prompt)
        with torch.inference_mode():
            seen = learner.model(input_ids=torch.tensor([ids]), output_hidden_states=True)
        log_probs = seen.logits[0].float().log_softmax(-1)
        hidden = seen.hidden_states[1][0].float()  # two thirds up two layers is behind the first
        total, weights = torch.zeros(16), 0.0
        for place in range(start, len(ids)):
            surprise = min(max(-float(log_probs[place - 1, ids[place]]), LEAST_SURPRISE), MOST_SURPRISE)
            total, weights = total + surprise * hidden[place], weights + surprise
        assert vector.tolist() == pytest.approx((total / weights).tolist(), abs=1e-5)


def test_a_path_is_read_alike_alone_and_in_company(tiny: Any, architecture: str):
    pairs = [(question, "answer 5 " * (i + 1)) for i, question in enumerate(tiny.questions)]
    together = tiny.learner(architecture, batch_size=4).read(pairs)
    alone = [tiny.learner(architecture).read([pair])[0] for pair in pairs]
    assert together == pytest.approx(np.stack(alone), abs=1e-5)


@pytest.mark.parametrize("text", ["", "answer 5 " * 200, "żółć \U0001f600"])
def test_whatever_a_path_is_its_vector_is_finite(tiny: Any, architecture: str, text: str):
    vectors = tiny.learner(architecture).read([(tiny.questions[0], text), ("", "answer 5")])
    assert np.isfinite(vectors).all()


def test_surprise_is_bounded_both_ways(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    # What is certain weighs next to nothing, and what is impossible 5 nats. All else is as unlikely as e^-2.
    learner, hidden = tiny.learner(), []
    monkeypatch.setattr(
        "lada.models.in_memory.log_probs_of",
        lambda predicted: (torch.tensor([0.0, -math.inf, *[-2.0] * (len(predicted.own) - 2)]), None),
    )

    def keep(*args: Any, **more: Any) -> Any:
        found = predict(*args, **more)
        hidden.append(found.hidden[READ_AT].float().numpy())
        return found

    monkeypatch.setattr("lada.models.in_memory.predict", keep)
    (vector,) = learner.read([(tiny.questions[0], "so it is answer 5")])
    (states,) = hidden
    weights = np.array([1e-6, 5.0, *[2.0] * (len(states) - 2)])
    assert len(states) > 2
    assert vector.tolist() == pytest.approx((weights @ states / weights.sum()).tolist(), abs=1e-5)


def test_nothing_asked_nothing_said(tiny: Any, architecture: str):
    learner = tiny.learner(architecture)
    assert learner.answer([], seed=0) == []
    assert learner.judge([]) == []
    assert learner.embed([]).shape == learner.read([]).shape == (0, 16)


def test_progress_reaches_the_total(tiny: Any):
    learner, said, sums = tiny.learner(batch_size=3), [], {}

    def progress(verb: str, done: int, total: int, tokens: int) -> None:
        said.append((verb, done, total))
        sums.setdefault(verb, []).append(tokens)

    learner.answer(tiny.questions, seed=0, progress=progress)
    learner.judge([("?", "5")] * 4, progress=progress)
    learner.embed(tiny.questions, progress=progress)
    learner.read([("?", "5")] * 4, progress=progress)
    assert said == [(verb, done, 4) for verb in ("answer", "judge", "embed", "read") for done in (3, 4)]
    assert sums["judge"][1] * 3 == sums["judge"][0] * 4  # four rows alike, three of them in the first batch
    assert all(first < both for first, both in sums.values())
