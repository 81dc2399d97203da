"""DP-SGD: gradients by hand on two weights, noise with the promised spread, ε against a slow formula."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lada.core.errors import InputError
from lada.core.terms import Lesson
from lada.models.base import Study
from lada.models.private import Privacy, Release, epsilon, optimise_privately, poisson_batches, release
from lada.models.training import Optimisation
from lada.objectives.base import OBJECTIVES

PLAIN = Optimisation(learning_rate=1.0, warm_up=0.0, floor=1.0)


class Two(torch.nn.Module):
    """A model of two weights, each a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))


def train(model: Two, gradients, *, clip=1.0, noise=1e-30, expected=2.0, seed=0) -> list[float]:
    """Take one step of plain gradient descent at rate 1 on lessons with the given gradients; return the losses told."""
    told: list[float] = []
    lessons = [lambda x=x, y=y: (model.a * x + model.b * y).sum() for x, y in gradients]
    optimise_privately(
        model,
        torch.optim.SGD(model.parameters(), lr=1.0),
        [(0, lessons)],
        1,
        options=PLAIN,
        clip=clip,
        noise=noise,
        expected=expected,
        seed=seed,
        on_step=lambda _, loss, taken: told.append(loss),
    )
    return told


def test_each_lessons_gradient_is_clipped_and_the_sum_divided_by_the_expected_number():
    """(3, 4) of length 5 becomes (0.6, 0.8); (0.3, 0.4) stays; (0, 0) adds nothing. The sum is (0.9, 1.2)."""
    model = Two()
    told = train(model, [(3.0, 4.0), (0.3, 0.4), (0.0, 0.0)], expected=2.0)
    assert [model.a.item(), model.b.item()] == pytest.approx([-0.45, -0.6])
    assert [math.isnan(loss) for loss in told] == [True]


def test_a_gradient_that_is_not_finite_adds_nothing():
    model = Two()
    train(model, [(math.nan, 1.0), (math.inf, 0.0), (0.3, 0.4)], expected=1.0)
    assert [model.a.item(), model.b.item()] == pytest.approx([-0.3, -0.4])


def test_the_noise_is_normal_with_the_clips_multiple_and_comes_even_without_a_lesson():
    drawn = []
    for seed in range(2000):
        model = Two()
        train(model, [], clip=0.5, noise=3.0, expected=4.0, seed=seed)
        drawn += [model.a.item(), model.b.item()]
    assert np.mean(drawn) == pytest.approx(0.0, abs=0.03)
    assert np.std(drawn) == pytest.approx(0.5 * 3.0 / 4.0, rel=0.04)


def test_each_lesson_is_drawn_on_its_own():
    batches = list(poisson_batches(50, 0.1, 4000, np.random.default_rng(0)))
    drawn = np.array([[i in batch for i in range(50)] for batch in map(set, batches)])
    assert drawn.mean(0) == pytest.approx(np.full(50, 0.1), abs=0.02)
    assert drawn.sum(1).var() == pytest.approx(50 * 0.1 * 0.9, rel=0.1)  # of a batch of fixed size it were 0
    assert [] in batches
    assert list(poisson_batches(3, 1.0, 2, np.random.default_rng(0))) == [[0, 1, 2]] * 2


LESSONS = [Lesson(f"s{i}", f"how many boxes ? {i}", f"answer {i}") for i in range(6)]


def study(tiny, architecture, dp, **options):
    learner = tiny.learner(architecture, **options)
    method = OBJECTIVES.get("sft")
    steps = Study(steps=3, batch_size=2, dp=dp)
    report = learner.study(LESSONS, method.make(method.options()), steps, seed=5)
    return report, tiny.weights(learner)


def test_a_learner_studies_privately_and_tells_neither_losses_nor_tokens(tiny, architecture):
    dp = Privacy(noise_multiplier=1.0, seeded=True)
    report, weights = study(tiny, architecture, dp)
    assert (report.steps, report.lessons, report.tokens) == (3, 6, 0)
    assert math.isnan(report.first_loss)
    assert math.isnan(report.last_loss)
    _, again = study(tiny, architecture, dp)
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert all(torch.isfinite(weight).all() for weight in weights.values())


def test_unless_it_is_seeded_nobody_can_repeat_the_noise(tiny):
    one, other = (study(tiny, "llama", Privacy(noise_multiplier=1.0))[1] for _ in range(2))
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_with_all_lessons_a_wide_clip_and_no_noise_to_speak_of_it_is_an_ordinary_study(tiny):
    """Lessons of equal length, all in every batch: then the mean of gradients is the gradient of the mean."""
    lessons = [Lesson("s1", "how many boxes ?", "answer 5"), Lesson("s2", "how many boxes ?", "answer 6")]
    method = OBJECTIVES.get("sft")
    learnt = []
    for dp in (None, Privacy(noise_multiplier=1e-30, clip=1e6, seeded=True)):
        learner = tiny.learner("llama")
        steps = Study(steps=4, batch_size=2, dp=dp, optimisation=Optimisation(clip=1e6))
        learner.study(lessons, method.make(method.options()), steps, seed=0)
        learnt.append(tiny.weights(learner))
    for name, weight in learnt[0].items():
        torch.testing.assert_close(learnt[1][name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "options", [{}, {"epsilon": 1.0, "noise_multiplier": 1.0}, {"epsilon": 0.0}, {"epsilon": 1.0, "delta": 1.0}]
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValidationError):
        Privacy(**options)


def test_a_missing_package_is_named_with_its_install_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dp_accounting.rdp", None)
    with pytest.raises(InputError, match=r"pip install 'lada-fed\[dp\]'"):
        epsilon([Release(0.1, 1.0, 1)], 1e-5)


def rdp(order: int, rate: float, noise: float) -> float:
    """Rényi divergence of one Poisson-sampled Gaussian step (arXiv 1908.10530, section 3.3), for whole orders."""
    terms = []
    for k in range(order + 1):
        chance = math.log(math.comb(order, k)) + (order - k) * math.log1p(-rate) + k * math.log(rate)
        terms.append(chance + k * (k - 1) / (2 * noise**2))
    return float(np.logaddexp.reduce(terms)) / (order - 1)


def slow_epsilon(rate: float, noise: float, steps: int, delta: float) -> float:
    """The conversion of Canonne et al. 2020 (arXiv 2004.00010, proposition 12), over whole orders."""
    return min(
        steps * rdp(order, rate, noise) + math.log1p(-1 / order) - math.log(delta * order) / (order - 1)
        for order in range(2, 257)
    )


@pytest.mark.parametrize(
    ("rate", "noise", "steps", "delta"),
    [(0.01, 4.0, 10_000, 1e-5), (0.01, 1.0, 1000, 1e-5), (0.25, 2.0, 60, 1e-3), (0.004, 1.1, 14_000, 1e-5)],
)
def test_epsilon_is_that_of_a_slow_formula(rate, noise, steps, delta):
    pytest.importorskip("dp_accounting")
    slow = slow_epsilon(rate, noise, steps, delta)
    found = epsilon([Release(rate, noise, steps)], delta)
    assert found <= slow * (1 + 1e-9)  # it looks at fractional orders too
    assert found == pytest.approx(slow, rel=0.02)


def test_epsilon_stays_below_what_the_paper_of_dp_sgd_gives():
    """Abadi et al. 2016, section 3.2: q = 0.01, σ = 4, δ = 1e-5, 10 000 steps give ε of about 1.26."""
    pytest.importorskip("dp_accounting")
    assert 0.9 < epsilon([Release(0.01, 4.0, 10_000)], 1e-5) < 1.26


def test_studies_add_up_and_noise_is_chosen_for_an_epsilon():
    pytest.importorskip("dp_accounting")
    half = Release(0.1, 2.0, 50)
    assert epsilon([half, half], 1e-5) == pytest.approx(epsilon([Release(0.1, 2.0, 100)], 1e-5))
    wished = release(Privacy(epsilon=3.0, delta=1e-4), lessons=40, batch_size=4, steps=30)
    assert (wished.rate, wished.steps) == (0.1, 30)
    assert epsilon([wished], 1e-4) == pytest.approx(3.0, abs=0.01)
    assert release(Privacy(noise_multiplier=1.5), lessons=3, batch_size=16, steps=2) == Release(1.0, 1.5, 2)


@given(st.integers(1, 100), st.integers(1, 100))
def test_the_rate_is_a_probability(lessons: int, batch: int):
    rate = release(Privacy(noise_multiplier=1.0), lessons, batch, 1).rate
    assert 0 < rate <= 1
    assert rate * lessons == pytest.approx(min(batch, lessons))
