"""Token scores of a learner: its likeliest tokens at each position, its vocabulary, where each token stands."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lada.alignment import check_scores
from lada.core.terms import ChunkLogProbs, Lesson, SparseLogProbs
from lada.models.base import Study
from lada.models.objective import Objective, Scored, nll
from lada.models.soft import chunk_sums
from lada.objectives.soft_targets import SoftTargets, SoftTargetsOptions

TEXTS = ("a) spoil 6 : 11 - 6 = 5 . answer 5", "naïve 東京 🧮\t.", "")


def test_scores_are_those_of_judging_and_lead_back_to_the_text(tiny: Any, architecture: str):
    learner = tiny.learner(architecture, batch_size=2)
    pairs = [("how many boxes ?", text) for text in TEXTS]
    size = len(learner.vocabulary().tokens)
    for scores, likelihood, text in zip(learner.log_probs(pairs, 5), learner.judge(pairs), TEXTS, strict=True):
        check_scores(scores, size)
        assert scores.top.ids.shape == (likelihood.tokens, 5)
        assert scores.own().sum() == pytest.approx(likelihood.total, abs=1e-3)
        assert scores.own().min() == pytest.approx(likelihood.minimum, abs=1e-4)
        assert scores.tokens[-1] == learner.vocabulary().eos
        assert scores.offsets[-1].tolist() == [len(text.encode()), len(text.encode()) + 1]
        tokens = [learner.vocabulary().tokens[token] for token in scores.tokens[:-1]]
        for (start, end), token in zip(scores.offsets[:-1].tolist(), tokens, strict=True):
            assert text.encode()[start:end].strip() == token.strip()


def test_all_tokens_are_the_whole_distribution(tiny: Any):
    learner = tiny.learner()
    (scores,) = learner.log_probs([("how many boxes ?", TEXTS[0])], 10**6)
    assert np.exp(scores.top.log_probs).sum(1) == pytest.approx(1.0, abs=1e-5)


def test_a_text_that_the_context_cuts_has_scores_as_far_as_it_goes(tiny: Any):
    learner = tiny.learner()
    text = "answer 5 " * 60
    (whole,), (cut,) = learner.tokenize([text]), learner.log_probs([("?", text)], 2)
    assert len(cut.tokens) == len(cut.top.ids) < tiny.context
    assert cut.tokens.tolist() == whole.tokens[: len(cut.tokens)].tolist()


def test_a_tokenizer_that_pads_at_the_left_changes_nothing(tiny: Any):
    left = tiny.tokenizer("bpe", padding_side="left", truncation_side="left")
    pairs = [("how many boxes ?", text) for text in TEXTS]
    usual, other = (tiny.learner(tokenizer=tokenizer).log_probs(pairs, 5) for tokenizer in (None, left))
    for a, b in zip(usual, other, strict=True):
        assert np.array_equal(a.tokens, b.tokens)
        assert np.array_equal(a.top.ids, b.top.ids)
        assert np.array_equal(a.top.log_probs, b.top.log_probs)


def test_the_question_is_no_part_of_it(tiny: Any):
    learner = tiny.learner()
    long, short = learner.log_probs([("how many boxes ? " * 2, "answer 5"), ("?", "answer 5")], 3)
    assert long.tokens.tolist() == short.tokens.tolist() == learner.tokenize(["answer 5"])[0].tokens.tolist()


class Widths(TorchDispatchMode):
    """Counts the tensors that operations make, by shape."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[tuple[int, ...]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.seen.update(tuple(each.shape) for each in tree_leaves(made) if isinstance(each, torch.Tensor))
        return made


def test_soft_targets_make_no_tensor_as_wide_as_the_vocabulary(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    learner = tiny.learner()
    size = len(learner.tokenizer)
    monkeypatch.setattr("lada.models.likelihood.CHUNK", 4 * size)  # four positions
    pairs = [(question, path) for question, path in zip(tiny.questions[:3], tiny.paths[:3], strict=True)]
    told = learner.log_probs(pairs, 4)
    soft = [Lesson(q, q, p, soft=scores.top) for (q, p), scores in zip(pairs, told, strict=True)]
    bare = [Lesson(q, q, p) for q, p in pairs]
    wide = []
    for lessons, objective in ((bare, Seen()), (soft, SoftTargets(SoftTargetsOptions(k=4)))):
        with Widths() as widths:
            learner.study(lessons, objective, Study(steps=1, batch_size=3), seed=0)
        wide.append(Counter({s: n for s, n in widths.seen.items() if s and s[-1] == size and np.prod(s[:-1]) > 4}))
    # The same as plain fine-tuning makes: the model's logits and their gradient, and weights of that height.
    assert wide[1] == wide[0]


class Seen(Objective):
    """NLL, and keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.scored: list[Scored] = []

    def __call__(self, scored: Scored) -> torch.Tensor:
        self.scored.append(scored)
        return nll(scored)


def test_an_objective_sees_the_soft_targets_of_the_right_tokens(tiny: Any):
    learner, seen = tiny.learner(), Seen()
    texts = TEXTS[:2]
    a = learner.tokenize(texts)[0]
    rng = np.random.default_rng(0)
    ids = np.sort(rng.permuted(np.tile(np.arange(50, dtype=np.int32), (len(a.tokens), 1)), axis=1)[:, :3], axis=1)
    target = np.log(rng.uniform(0.1, 0.3, ids.shape)).astype(np.float32)
    target[2:4] = -np.inf  # two positions without a target
    lessons = [
        Lesson("b", "how many boxes ?", texts[1]),
        Lesson("a", "how many boxes ?", texts[0], soft=SparseLogProbs(ids, target)),
    ]
    expected = learner.log_probs([("how many boxes ?", texts[0])], 10**6)[0].top
    report = learner.study(lessons, seen, Study(steps=1, batch_size=2), seed=0)
    (scored,) = seen.scored
    assert scored.soft is not None
    used = [i for i in range(len(ids)) if i not in (2, 3)]
    assert torch.equal(scored.soft.teacher, torch.from_numpy(target[used]))
    dense = np.take_along_axis(expected.log_probs, ids.astype(np.int64), 1)[used]
    assert scored.soft.student.detach().numpy() == pytest.approx(dense, abs=1e-4)
    # The lesson is told by its tokens: it has as many as spelled.
    (row,) = set(scored.soft.rows.tolist())
    assert int(scored.mask[row].sum()) == len(a.tokens)
    assert report.soft == 1


def test_soft_targets_alone_teach_the_teacher_s_distribution(tiny: Any):
    teacher, student = tiny.learner(), tiny.learner(tokenizer=tiny.tokenizer("bpe"))
    student.model = tiny.model("llama", len(student.tokenizer), seed=7)
    pairs = [(question, path) for question, path in zip(tiny.questions[:3], tiny.paths[:3], strict=True)]
    told = teacher.log_probs(pairs, 8)
    lessons = [
        Lesson(str(i), q, p, soft=scores.top) for i, ((q, p), scores) in enumerate(zip(pairs, told, strict=True))
    ]
    objective = SoftTargets(SoftTargetsOptions(form="forward_kl", label_weight=0.0, k=8))
    report = student.study(lessons, objective, Study(steps=60, batch_size=3), seed=0)
    assert report.last_loss < 0.5 * report.first_loss


def test_chunks_are_summed_over_the_right_tokens():
    log_probs = torch.tensor([[-1.0, -2.0, -4.0, 0.0], [-8.0, -16.0, -32.0, -64.0]], requires_grad=True)
    told = ChunkLogProbs(np.array([[0, 1], [1, 4], [3, 5]], np.int32), np.array([-0.5, -0.25, -1.0], np.float32))
    chunks = chunk_sums(log_probs, [None, told], [3, 4])
    assert chunks is not None
    assert chunks.student.tolist() == [-8.0, -112.0]  # the last one ends behind what the context holds
    assert chunks.teacher.tolist() == [-0.5, -0.25]
    assert chunks.rows.tolist() == [1, 1]
    chunks.student[1].backward()
    assert log_probs.grad is not None
    assert log_probs.grad.tolist() == [[0.0] * 4, [0.0, 1.0, 1.0, 1.0]]
    assert chunk_sums(log_probs, [None, None], [3, 4]) is None


def test_an_objective_sees_the_chunks_of_its_lessons(tiny: Any):
    learner, seen = tiny.learner(), Seen()
    (own,) = learner.log_probs([("how many boxes ?", TEXTS[0])], 1)
    ranges = np.array([[0, 2], [2, len(own.tokens)]], np.int32)
    chunks = ChunkLogProbs(ranges, np.array([-1.0, -2.0], np.float32))
    lessons = [Lesson("a", "how many boxes ?", TEXTS[0], chunks=chunks), Lesson("b", "?", "answer 5")]
    report = learner.study(lessons, seen, Study(steps=1, batch_size=2), seed=0)
    found = seen.scored[0].chunks
    assert found is not None
    assert found.student.tolist() == pytest.approx([own.own()[:2].sum(), own.own()[2:].sum()], abs=1e-3)
    assert report.soft == 1
