"""DDK: perplexity ratios per domain, their mixture over rounds, and drawing by it."""

from collections import Counter
from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tables import Row, candidates, choose, chosen, make

from lada.allocators.ddk import RATIO, DdkOptions, draw, perplexity_ratios

NAN = float("nan")


def behind(domain: str, student: float, teacher: float = 4.0) -> Row:
    """Return a row on whose path student and teacher have these perplexities per token."""
    return Row(domain=domain, judged_mean=-log(student), teacher_mean=-log(teacher))


def shares(state) -> list[float]:
    return [float(state[f"share of {domain}"]) for domain in ("a", "b", "c")]


def test_the_mixture_of_two_rounds_by_hand():
    # Ratios 8/4, 6/4 and 4/4: e^2 : e^1.5 : e^1 = 7.3891 : 4.4817 : 2.7183, of 14.5891. Then 6/4, 6/4 and 4/4: each
    # share times e^1.5 or e^1, scaled to a sum of 1, halved, plus a sixth.
    rule = make("ddk")
    state, allocation, told = rule.apply(rule.init(0), candidates([behind("a", 8), behind("b", 6), behind("c", 4)]))
    assert shares(state) == pytest.approx([0.506480, 0.307196, 0.186324], abs=1e-6)
    assert [allocation.scores[f"q{i}"] for i in range(3)] == pytest.approx(shares(state))
    assert told == {
        "domains": 3.0,
        "largest_share": pytest.approx(0.506480, abs=1e-6),
        "smallest_share": pytest.approx(0.186324, abs=1e-6),
    }
    state, _, _ = rule.apply(state, candidates([behind("a", 6), behind("b", 6), behind("c", 4)], round=2))
    assert shares(state) == pytest.approx([0.439941, 0.332416, 0.227642], abs=1e-6)


def test_smoothing_keeps_a_floor_and_without_any_gap_the_mixture_is_even():
    table = candidates([behind("a", 400), behind("b", 4), behind("c", 4)])
    rule = make("ddk", smoothing=0.0)
    state, _, _ = rule.apply(rule.init(0), table)
    assert shares(state)[0] > 0.999999
    state, _, _ = rule.apply(state, table)
    assert shares(state) == pytest.approx([1 / 3] * 3)
    even = make("ddk")
    state, _, _ = even.apply(even.init(0), candidates([behind("a", 4), behind("b", 4), behind("c", 4)]))
    assert shares(state) == pytest.approx([1 / 3] * 3)


def test_a_domain_that_comes_later_counts_as_one_with_an_even_share():
    rule = make("ddk")
    state, _, _ = rule.apply(rule.init(0), candidates([behind("a", 4), behind("b", 4)]))
    state, _, _ = rule.apply(state, candidates([behind("a", 4), behind("c", 4)]))
    # a: 0.5 · (1/2 of psi) + 0.25, and c alike; b keeps what it had.
    assert shares(state) == pytest.approx([0.5, 0.5, 0.5])


def test_ratios_weigh_tokens_and_leave_out_what_nobody_can_say():
    table = candidates(
        [
            Row(domain="a", judged_mean=-3.0, teacher_mean=-1.0),  # 12 and 4 nats
            Row(domain="a", judged_mean=-1.0, teacher_mean=-1.0),  # 4 and 4: together 8 nats in 8 tokens
            Row(domain="b", judged_mean=NAN),
            Row(domain="b", teacher_mean=NAN),
            Row(domain="c", judged_mean=-900.0),
            Row(domain="d", judged_mean=-0.5, teacher_mean=-1.5),
        ]
    )
    ratios = perplexity_ratios(table, np.array([0, 0, 1, 1, 2, 3]), 4)
    assert ratios == pytest.approx([exp(1), 1, RATIO, exp(-1)])


def test_half_is_drawn_without_a_budget_and_never_more_than_there_is():
    table = candidates([behind("a", 8)] * 3 + [behind("b", 4)] * 3)
    assert len(choose("ddk", table)) == 3
    assert sorted(choose("ddk", table, budget=9)) == [(i, "teacher") for i in range(6)]


def test_the_first_draw_is_of_a_domain_by_its_share_and_a_used_up_domain_drops_out():
    mixture, domain = np.array([0.6, 0.3, 0.1]), np.array([0, 1, 1, 1, 2, 2, 2])
    rng = np.random.default_rng(0)
    draws = [draw(mixture, domain, np.ones(7, bool), 2, rng) for _ in range(6000)]
    first = Counter(domain[picks[0]] for picks in draws)
    assert [first[i] / 6000 for i in range(3)] == pytest.approx([0.6, 0.3, 0.1], abs=0.02)
    # Domain 0 has a single sample: after it, 0.3 and 0.1 are to each other as 3 to 1.
    second = Counter(domain[picks[1]] for picks in draws if picks[0] == 0)
    assert second[0] == 0
    assert second[1] / first[0] == pytest.approx(0.75, abs=0.03)


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 14), st.integers(0, 5))
def test_a_draw_takes_distinct_samples_and_a_budget_is_kept(domains: list[str], budget: int, seed: int):
    table = candidates([behind(domain, 8) for domain in domains], seed=seed)
    picks = choose("ddk", table, budget=budget)
    assert len(set(picks)) == len(picks) == min(budget, len(domains))
    assert picks == choose("ddk", table, budget=budget)


def test_the_state_serves_as_it_is_in_the_next_round():
    rule = make("ddk")
    state, first, _ = rule.apply(rule.init(0), candidates([behind("", 8)] * 4))
    _, second, _ = rule.apply(state, candidates([behind("", 8)] * 4, round=2, seed=8))
    assert [len(chosen(first)), len(chosen(second))] == [2, 2]


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_is_a_share_below_one(smoothing: float):
    with pytest.raises(ValidationError, match="smoothing"):
        DdkOptions(smoothing=smoothing)
