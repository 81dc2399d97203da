"""The objectives over batches: against slow plain-Python references, and the same however a batch is cut."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lada.core.terms import Verb
from lada.models.objective import Pairs, Scored, nll
from lada.objectives.base import OBJECTIVES
from lada.objectives.contrastive import ContrastiveOptions


def make(name: str, **options: Any) -> Any:
    method = OBJECTIVES.get(name)
    return method.make(method.options(**options))


@dataclass
class Row:
    """A lesson under a learner, as plain numbers."""

    chosen: list[float]
    rejected: list[float] | None = None
    diverges: int = 0
    reference: tuple[float, float] = (0.0, 0.0)
    weight: float = 1.0
    starts: tuple[int, int] = (0, 0)


VARIANTS: dict[str, dict[str, Any]] = {
    "dpo": {"form": "dpo", "alpha": 0.3, "normalise": False},
    "dpo per token": {"form": "dpo", "alpha": 2.0},
    "dpo with reference": {"form": "dpo", "alpha": 0.1, "normalise": False, "reference": True},
    "dpo per token with reference": {"form": "dpo", "reference": True},
    "simpo": {"form": "simpo", "alpha": 2.0, "margin": 0.5},
    "hinge": {"form": "hinge", "margin": 0.7},
    "odds_ratio": {"form": "odds_ratio"},
    "keep": {"form": "odds_ratio", "keep": 2.0},
    "keep of sums": {"form": "dpo", "normalise": False, "reference": True, "keep": 0.5},
    "first_divergence": {"form": "first_divergence", "weight": 0.3},
}


def tensor(values: Any, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


def padded(rows: list[list[float]], width: int) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        tensor([row + [0.0] * (width - len(row)) for row in rows]),
        tensor([[True] * len(row) + [False] * (width - len(row)) for row in rows], torch.bool),
    )


def scored(rows: list[Row], whole: list[Row] | None = None) -> Scored:
    """Return `rows` as a micro-batch of the batch `whole`."""
    whole = whole or rows
    paired = [(i, row, row.rejected) for i, row in enumerate(rows) if row.rejected is not None]
    width = max(len(side) for row in rows for side in (row.chosen, row.rejected or []))
    log_probs, mask = padded([row.chosen for row in rows], width)
    pairs = None
    if paired:
        rejected, rejected_mask = padded([side for _, _, side in paired], width)
        pairs = Pairs(
            rows=tensor([i for i, _, _ in paired], torch.long),
            log_probs=rejected.requires_grad_(),
            mask=rejected_mask,
            diverges=tensor([row.diverges for _, row, _ in paired], torch.long),
            reference_chosen=tensor([row.reference[0] for _, row, _ in paired]),
            reference_rejected=tensor([row.reference[1] for _, row, _ in paired]),
            chosen_start=tensor([row.starts[0] for _, row, _ in paired], torch.long),
            rejected_start=tensor([row.starts[1] for _, row, _ in paired], torch.long),
            teacher_chosen=tensor([math.nan for _ in paired]),
            teacher_rejected=tensor([math.nan for _ in paired]),
        )
    return Scored(
        log_probs.requires_grad_(),
        mask,
        tensor([row.weight for row in rows]),
        pairs,
        batch_tokens=sum(row.weight * len(row.chosen) for row in whole),
        batch_pairs=sum(row.weight for row in whole if row.rejected is not None),
    )


def slow_pair(row: Row, options: ContrastiveOptions) -> float:
    """The contrast of one pair, written out."""
    assert row.rejected is not None
    if options.form == "first_divergence":
        return -math.log(1 - math.exp(row.rejected[row.diverges]))
    chosen, rejected = sum(row.chosen[row.starts[0] :]), sum(row.rejected[row.starts[1] :])
    if options.reference:
        chosen -= row.reference[0]
        rejected -= row.reference[1]
    if options.normalise:
        chosen /= len(row.chosen) - row.starts[0]
        rejected /= len(row.rejected) - row.starts[1]
    if options.form == "hinge":
        return max(0.0, options.margin - (chosen - rejected))
    if options.form == "odds_ratio":
        p, q = math.exp(chosen), math.exp(rejected)
        advantage = math.log((p / (1 - p)) / (q / (1 - q)))
    else:
        advantage = options.alpha * (chosen - rejected) - options.margin
    return -math.log(1 / (1 + math.exp(-advantage)))


def slow_drop(row: Row, options: ContrastiveOptions) -> float:
    """By how much the chosen path became less likely, written out."""
    drop = max(0.0, row.reference[0] - sum(row.chosen[row.starts[0] :]))
    return drop / (len(row.chosen) - row.starts[0]) if options.normalise else drop


def slow(rows: list[Row], options: ContrastiveOptions) -> float:
    """The whole loss, written out."""
    tokens = sum(row.weight * len(row.chosen) for row in rows)
    loss = -sum(row.weight * sum(row.chosen) for row in rows) / tokens
    pairs = [row for row in rows if row.rejected is not None]
    if pairs:
        count = sum(row.weight for row in pairs)
        loss += options.weight * sum(row.weight * slow_pair(row, options) for row in pairs) / count
        loss += options.keep * sum(row.weight * slow_drop(row, options) for row in pairs) / count
    return loss


token = st.floats(min_value=-6.0, max_value=-0.01)
path = st.lists(token, min_size=1, max_size=5)


@st.composite
def row(draw: st.DrawFn) -> Row:
    chosen, rejected = draw(path), draw(st.none() | path)
    total = st.floats(min_value=-20.0, max_value=0.0)
    starts = draw(st.integers(0, len(chosen) - 1)), draw(st.integers(0, len(rejected) - 1)) if rejected else 0
    return Row(
        chosen=chosen,
        rejected=rejected,
        starts=starts,
        diverges=draw(st.integers(0, len(rejected) - 1)) if rejected else 0,
        reference=(draw(total), draw(total)),
        weight=draw(st.floats(min_value=0.1, max_value=3.0)),
    )


weighted_rows = st.lists(row(), min_size=1, max_size=6)


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=40)
@given(rows=weighted_rows)
def test_every_form_against_the_slow_reference(name: str, rows: list[Row]):
    expected = slow(rows, ContrastiveOptions(**VARIANTS[name]))
    assert make("contrastive", **VARIANTS[name])(scored(rows)).item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=20)
@given(rows=weighted_rows, cut=st.integers(1, 5))
def test_a_batch_may_be_cut_anywhere(name: str, rows: list[Row], cut: int):
    objective = make("contrastive", **VARIANTS[name])
    whole = scored(rows)
    loss = objective(whole)
    loss.backward()
    parts = [scored(part, rows) for part in (rows[:cut], rows[cut:]) if part]
    losses = [objective(part) for part in parts]
    for part in losses:
        part.backward()
    assert sum(part.item() for part in losses) == pytest.approx(loss.item(), rel=1e-9)

    def gradients(batches: list[Scored]) -> list[float]:
        chosen = [batch.log_probs.grad[batch.mask] for batch in batches if batch.log_probs.grad is not None]
        rejected = [
            b.pairs.log_probs.grad[b.pairs.mask] for b in batches if b.pairs and b.pairs.log_probs.grad is not None
        ]
        return torch.cat(chosen + rejected).tolist()

    assert gradients(parts) == pytest.approx(gradients([whole]), rel=1e-9, abs=1e-12)


def test_by_hand():
    # Two lessons, 3 + 1 chosen tokens: NLL = (ln 2 + ln 2 + ln 4 + ln 2) / 4 = 5 ln 2 / 4. One pair:
    # sums -4 ln 2 and -6 ln 2.
    pair = Row([-math.log(2), -math.log(2), -math.log(4)], [-math.log(2), -math.log(32)], 1, (-2.0, -3.0))
    rows = [pair, Row([-math.log(2)])]
    base = 5 * math.log(2) / 4

    def loss(**options: Any) -> float:
        return make("contrastive", **options)(scored(rows)).item()

    # alpha 1: -log sigmoid(2 ln 2) = log(5/4)
    assert loss(form="dpo", normalise=False, weight=2.0) == pytest.approx(base + 2 * math.log(5 / 4))
    # ratios to the reference: (-4 ln 2 + 2) - (-6 ln 2 + 3) = 2 ln 2 - 1; odds of sigmoid 4 / e
    assert loss(form="dpo", normalise=False, reference=True, weight=1.0) == pytest.approx(
        base + math.log(1 + math.e / 4)
    )
    # per token: -4/3 ln 2 against -3 ln 2; alpha 3 gives 5 ln 2: log(33/32)
    assert loss(form="dpo", alpha=3.0, weight=1.0) == pytest.approx(base + math.log(33 / 32))
    assert loss(form="simpo", alpha=3.0, margin=5 * math.log(2), weight=1.0) == pytest.approx(base + math.log(2))
    # p = 2^(-4/3), q = 1/8 with odds 1/7
    odds = 2 ** (-4 / 3) / (1 - 2 ** (-4 / 3))
    assert loss(form="odds_ratio") == pytest.approx(base + 0.1 * math.log(1 + 1 / (7 * odds)))
    # the diverging token has p = 1/32
    assert loss(form="first_divergence", weight=1.0) == pytest.approx(base + math.log(32 / 31))


def test_a_hinge_a_kept_path_and_a_late_start_by_hand():
    # The means are -2 and -4, so the chosen path leads by 2 nats a token; the NLL is 2.
    row = Row([-1.0, -3.0], [-2.0, -6.0], reference=(-3.0, -9.0))

    def loss(row: Row, **options: Any) -> float:
        return make("contrastive", weight=1.0, **options)(scored([row])).item()

    assert loss(row, form="hinge", margin=2.5) == pytest.approx(2.0 + 0.5)
    assert loss(row, form="hinge", margin=2.0) == pytest.approx(2.0)
    assert loss(row, form="hinge", margin=1.0) == pytest.approx(2.0)
    # Before the study the chosen path had -3 in all and now has -4: it lost half a nat a token.
    assert loss(row, form="hinge", keep=4.0) == pytest.approx(2.0 + 4.0 * 0.5)
    assert loss(Row([-1.0, -3.0], [-2.0, -6.0], reference=(-5.0, -9.0)), form="hinge", keep=4.0) == pytest.approx(2.0)
    # Behind the first token of both, the means are -3 and -6, and the NLL is that of the whole path.
    late = Row([-1.0, -3.0], [-2.0, -6.0], starts=(1, 1))
    assert loss(late, form="hinge", margin=3.5, start="step") == pytest.approx(2.0 + 0.5)
    late = Row([-1.0, -3.0], [-2.0, -6.0], starts=(1, 0), reference=(-2.0, -9.0))
    assert loss(late, form="hinge", margin=3.0, start="step", keep=10.0) == pytest.approx(2.0 + 2.0 + 10.0)


@given(rows=weighted_rows, margin=st.floats(0.0, 3.0))
def test_a_hinge_pulls_at_no_pair_that_has_its_margin(rows: list[Row], margin: float):
    batch = scored(rows)
    (make("contrastive", form="hinge", margin=margin, weight=1.0)(batch) - nll(batch)).backward()
    if batch.pairs is None:
        return
    assert batch.pairs.log_probs.grad is not None
    wider = ContrastiveOptions(form="hinge", margin=margin + 1)
    shorts = [slow_pair(row, wider) - 1 for row in rows if row.rejected is not None]
    for short, gradient in zip(shorts, batch.pairs.log_probs.grad, strict=True):
        if abs(short) > 1e-9:  # else it depends on rounding
            assert bool(gradient.any()) == (short > 0)


def test_at_the_margin_itself_a_hinge_has_stopped():
    batch = scored([Row([-1.0], [-3.0])])
    (make("contrastive", form="hinge", margin=2.0, weight=1.0)(batch) - nll(batch)).backward()
    assert batch.pairs is not None
    assert batch.pairs.log_probs.grad is not None
    assert not batch.pairs.log_probs.grad.any()


@settings(max_examples=30)
@given(rows=weighted_rows)
def test_what_both_paths_share_has_no_part_in_a_contrast_that_starts_later(rows: list[Row]):
    batch = scored(rows)
    (make("contrastive", form="simpo", weight=1.0, start="step")(batch) - nll(batch)).backward()
    if batch.pairs is None:
        return
    for grad, starts in (
        (
            batch.log_probs.grad,
            {int(row): s for row, s in zip(batch.pairs.rows, batch.pairs.chosen_start, strict=True)},
        ),
        (batch.pairs.log_probs.grad, dict(enumerate(batch.pairs.rejected_start))),
    ):
        assert grad is not None
        for row, start in starts.items():
            assert grad[row, : int(start)].abs().max() < 1e-12 if start else True  # the two NLLs cancel out
            assert grad[row, int(start) :].abs().max() > 0


@pytest.mark.parametrize("name", VARIANTS)
def test_without_pairs_it_is_nll(name: str):
    batch = scored([Row([-1.0, -2.0]), Row([-3.0], weight=2.0)])
    loss = make("contrastive", **VARIANTS[name])(batch)
    assert loss.item() == pytest.approx((1 + 2 + 2 * 3) / 4)
    assert loss.item() == nll(batch).item()


@pytest.mark.parametrize("name", VARIANTS)
def test_descent_moves_away_from_the_rejected_path(name: str):
    batch = scored([Row([-1.0, -2.0], [-0.5, -0.5, -3.0], 1)])
    make("contrastive", **VARIANTS[name])(batch).backward()
    assert batch.log_probs.grad is not None
    assert bool((batch.log_probs.grad < 0).all())
    assert batch.pairs is not None
    assert batch.pairs.log_probs.grad is not None
    touched = batch.pairs.log_probs.grad[0] != 0
    assert bool((batch.pairs.log_probs.grad >= 0).all())
    assert touched.tolist() == ([False, True, False] if name == "first_divergence" else [True, True, True])


def test_sft_is_the_token_mean_and_ignores_pairs():
    rows = [Row([-1.0, -2.0], [-9.0]), Row([-6.0])]
    assert make("sft")(scored(rows)).item() == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "odds_ratio", "reference": True}, "reference is True, but form odds_ratio"),
        ({"form": "odds_ratio", "normalise": False}, "normalise is False, but form odds_ratio"),
        ({"form": "odds_ratio", "alpha": 0.1}, "alpha is 0.1, but form odds_ratio"),
        ({"form": "simpo", "reference": True}, "expected reference False, or a form that uses it: dpo"),
        ({"form": "simpo", "normalise": False}, "normalise is False, but form simpo"),
        ({"form": "first_divergence", "reference": True}, "reference is True, but form first_divergence"),
        ({"form": "dpo", "alpha": 0.0}, "alpha is 0.0; expected a number above 0"),
        ({"form": "dpo", "alpha": math.nan}, "alpha is nan"),
        ({"form": "dpo", "margin": 0.5}, "or a form that uses it: simpo, hinge"),
        ({"form": "hinge", "alpha": 2.0}, "alpha is 2.0, but form hinge"),
        ({"form": "first_divergence", "start": "step"}, "start is step, but form first_divergence"),
        ({"keep": -1.0}, "keep is -1.0; expected a number from 0 to"),
        ({"keep": 1.0, "weight": 0.0}, "keep is 1.0 at weight 0, where no pair is scored"),
        ({"start": "line"}, "start"),
        ({"weight": -0.1}, "weight is -0.1; expected a number from 0 to"),
        ({"weight": math.inf}, "weight is inf"),
        ({"form": "kto"}, "form"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], said: str):
    with pytest.raises(ValidationError, match=said):
        ContrastiveOptions(**options)


def test_what_each_asks_of_the_learner_and_the_host():
    sft, contrastive = make("sft"), make("contrastive")
    assert (sft.needs.rejected, sft.needs.reference) == (False, False)
    assert (contrastive.needs.rejected, contrastive.needs.reference) == (True, False)
    paper = make("contrastive", form="dpo", reference=True, normalise=False, prefer="role", unpaired="skip")
    assert (paper.needs.rejected, paper.needs.reference, paper.needs.student) == (True, True, {Verb.STUDY})
    keep = make("contrastive", keep=1.0, start="step").needs
    assert (keep.rejected, keep.reference, keep.start) == (True, True, "step")
    assert make("contrastive").needs.start == "path"
    assert make("contrastive", weight=0.0, start="step").needs.start is None


def test_two_contrasts_of_a_sum_start_at_one_place():
    parts = [{"name": "contrastive", "options": {"start": start}} for start in ("path", "step")]
    with pytest.raises(ValidationError, match="two contrasts start at different places: path and step"):
        make("weighted", objectives=tuple(parts))
    assert make("weighted", objectives=("sft", parts[1])).needs.start == "step"
