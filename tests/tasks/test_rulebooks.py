import hashlib
import re
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lada.core.errors import InputError
from lada.core.seeds import generator
from lada.core.terms import Sample
from lada.tasks.generated import GENERAL, SPLITS, Rulebook, split_of
from lada.tasks.rulebooks import RULEBOOKS
from lada.tasks.rules import KINDS, WEEKDAYS, Rule

DOMAINS, CLIENT_DOMAINS, SERVER_DOMAINS = RULEBOOKS.domains, RULEBOOKS.client_domains, RULEBOOKS.server_domains
check_steps, draw, llm_beliefs, world = RULEBOOKS.check_steps, RULEBOOKS.draw, RULEBOOKS.llm_beliefs, RULEBOOKS.world
ALL = (*DOMAINS, GENERAL)
BOOK = Rulebook(
    {
        "warehouse": {
            "pallet": Rule("constant", (4,)),
            "spoil": Rule("argument", (-1,)),
            "sort": Rule("times", (2,)),
            "ship": Rule("two", (6, -2)),
            "audit": Rule("threshold", (-3, 4), 12),
            "crate": Rule("first", (1,)),
        },
        "railway": {"holiday": Rule("constant", (-2,)), "delay": Rule("argument", (1,))},
    }
)


def warehouse(question: str) -> Sample:
    return Sample("w", f"{question} . how many boxes ?", domain="warehouse")


TWO = warehouse("7 boxes in the warehouse . a) pallet . b) spoil 6")
FOUR = warehouse("5 boxes in the warehouse . a) ship . b) audit . c) crate . d) spoil 9")
FOUR_STEPS = (
    "a) ship : 5 + 6 = 11 , 11 - 2 = 9 .",
    "b) audit : 9 within 12 , 9 + 4 = 13 .",
    "c) crate : 13 + 5 = 18 .",
    "d) spoil 9 : 18 - 9 = 9 .",
)


@cache
def some(domain: str, split: str = "private", seed: int = 0, number: int = 0, count: int = 40) -> tuple[Sample, ...]:
    rng = generator(seed, domain, split)
    return tuple(draw(world(number), domain, split, count, rng, prefix=f"{split}-{domain}"))  # pyright: ignore[reportArgumentType]


def marks(sample: Sample, text: str, book: Rulebook = BOOK) -> list[bool]:
    return [right for _, right in check_steps(sample, text, book)]


def test_steps_by_hand():
    assert check_steps(TWO, "a) pallet : 7 + 4 = 11 . b) spoil 6 : 11 - 6 = 5 . answer 5", BOOK) == [
        ("a) pallet : 7 + 4 = 11 .", True),
        ("b) spoil 6 : 11 - 6 = 5 .", True),
    ]
    assert check_steps(FOUR, " ".join(FOUR_STEPS), BOOK) == [(step, True) for step in FOUR_STEPS]


def test_weekday_steps_by_hand():
    sample = Sample("r", "the train leaves on monday . a) holiday . b) delay 3 . which day ?", domain="railway")
    assert marks(sample, "a) holiday : monday - 2 = saturday . b) delay 3 : saturday + 3 = tuesday .") == [True, True]
    assert marks(sample, "a) holiday : monday - 2 = sunday . b) delay 3 : sunday + 3 = wednesday .") == [False, True]


@pytest.mark.parametrize(
    ("opening", "words", "steps", "closing"),
    [
        ("7 boxes in the warehouse", "add 12", "7 + 12 = 19", "how many boxes"),
        ("7 patients in the clinic", "take 3", "7 - 3 = 4", "how many patients"),
        ("7 eggs in the kitchen", "double", "7 * 2 = 14", "how many eggs"),
        ("6 eggs in the kitchen", "triple", "6 * 3 = 18", "how many eggs"),
        ("7 coins in the bank", "add 9 take 2", "7 + 9 = 16 , 16 - 2 = 14", "how many coins"),
        ("7 sheep in the farm", "if over 6 take 5 else add 1", "7 over 6 , 7 - 5 = 2", "how many sheep"),
        ("7 sheep in the farm", "if over 7 take 5 else add 1", "7 within 7 , 7 + 1 = 8", "how many sheep"),
        ("7 pupils in the school", "add first", "7 + 7 = 14", "how many pupils"),
        ("7 pupils in the school", "take first", "7 - 7 = 0", "how many pupils"),
        ("the train leaves on monday", "later 9", "monday + 9 = wednesday", "which day"),
        ("the train leaves on monday", "sooner 1", "monday - 1 = sunday", "which day"),
        (
            "the train leaves on monday",
            "later 1 sooner 3",
            "monday + 1 = tuesday , tuesday - 3 = saturday",
            "which day",
        ),
        (
            "the train leaves on sunday",
            "if over friday sooner 2 else later 1",
            "sunday over friday , sunday - 2 = friday",
            "which day",
        ),
    ],
)
def test_general_verbs_do_what_they_say(opening, words, steps, closing):
    sample = Sample("g", f"{opening} . a) {words} . {closing} ?", domain=GENERAL)
    assert marks(sample, f"a) {words} : {steps} .") == [True]
    assert marks(sample, f"a) {words} : {steps}0 .") == [False]


def test_an_early_slip_is_one_wrong_step():
    assert marks(TWO, "a) pallet : 7 + 5 = 12 . b) spoil 6 : 12 - 6 = 6 . answer 6") == [False, True]


def test_missing_steps_are_wrong_and_empty():
    assert check_steps(TWO, "a) pallet : 7 + 4 = 11 . answer 11", BOOK)[1] == ("", False)
    assert check_steps(TWO, "", BOOK) == [("", False), ("", False)]
    without_b = " ".join((FOUR_STEPS[0], "c) crate : 9 + 5 = 14 .", "d) spoil 9 : 14 - 9 = 5 ."))
    assert marks(FOUR, without_b) == [True, False, True, True]


def test_surplus_steps_are_wrong():
    path = "a) pallet : 7 + 4 = 11 . b) spoil 6 : 11 - 6 = 5 ."
    assert marks(TWO, path + " c) pallet : 5 + 4 = 9 .") == [True, True, False]
    repeated = check_steps(TWO, "a) pallet : 7 + 4 = 11 . " + path, BOOK)
    assert repeated[2] == ("a) pallet : 7 + 4 = 11 .", False)
    assert [right for _, right in repeated] == [True, True, False]


@pytest.mark.parametrize(
    "path",
    [
        "a) spoil 6 : 7 - 6 = 1 . b) spoil 6 : 1 - 6 = 5 .",  # another verb
        "a) pallet : 7 + 4 = 12 . b) spoil 5 : 12 - 5 = 7 .",  # another argument
        "a) pallet : 4 + 7 = 11 . b) spoil 6 : 10 - 6 = 4 .",  # another value than was reached
        "a) pallet 7 + 4 = 11 . b) spoil 6 : = 5 .",
        "a) pallet :  . b) spoil 6 :  .",
    ],
)
def test_every_step_wrong(path):
    assert not any(marks(TWO, path))


def test_no_step_is_right_where_the_rule_leaves_the_range():
    sample = warehouse("19 boxes in the warehouse . a) pallet")
    for told in ("", "19 + 4 = 23", "19 + 4 = 20"):
        assert marks(sample, f"a) pallet : {told} .") == [False]


@pytest.mark.parametrize("domain", ALL)
@pytest.mark.parametrize("number", [0, 3])
def test_generated_rationales_pass(domain, number):
    for sample in some(domain, number=number):
        checked = check_steps(sample, sample.rationale or "", world(number))
        assert len(checked) == sample.difficulty
        assert all(right for _, right in checked)
        assert (sample.rationale or "").endswith(f"answer {sample.answer}")
        assert sample.question.count(") ") == sample.difficulty


@pytest.mark.parametrize("domain", ALL)
def test_a_corrupted_step_is_the_only_wrong_one(domain):
    # Change an operand, not the result: the value that the next step starts from stays.
    for sample in some(domain):
        steps = re.findall(r"[a-d]\) [^.]* \.", sample.rationale or "")
        for place, step in enumerate(steps):
            broken = re.sub(r"(.*[-+*]) (\d+) =", r"\1 99 =", step)
            assert broken != step
            path = " ".join([*steps[:place], broken, *steps[place + 1 :]])
            expected = [i != place for i in range(len(steps))]
            assert marks(sample, path, world(0)) == expected


PIECES = st.sampled_from(
    [
        "a)",
        "b)",
        "e)",
        " ",
        ".",
        ":",
        "=",
        "pallet",
        "spoil 6",
        "7 + 4",
        "-3",
        "999",
        "monday",
        "answer",
        "\n",
        "٣",
        "(",
    ]
)


@given(st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=20).map(" ".join)))
@settings(max_examples=75, deadline=None)
def test_garbage_never_raises(text):
    railway = Sample("r", "the train leaves on monday . a) holiday . b) delay 3 . which day ?", domain="railway")
    for sample in (TWO, FOUR, railway):
        checked = check_steps(sample, text, BOOK)
        assert len(checked) >= sample.question.count(") ")
        assert all(not right for step, right in checked if not step)


def test_a_runaway_path_is_read():
    assert marks(TWO, "a) " * 50_000) == [False, False]
    assert marks(TWO, "a) pallet : " * 20_000) == [False, False]


def test_splits_are_disjoint_across_seeds_and_worlds():
    split_by_question: dict[str, str] = {}
    for domain in ALL:
        for split, _ in SPLITS:
            for seed, number in ((0, 0), (1, 0), (0, 1)):
                for sample in some(domain, split, seed, number):
                    assert split_by_question.setdefault(sample.question, split) == split
                    assert split_of(sample.question) == split


def test_split_shares():
    assert sum(share for _, share in SPLITS) == 100
    counts = dict.fromkeys((split for split, _ in SPLITS), 0)
    for n in range(20_000):
        counts[split_of(f"question {n}")] += 1
    for split, share in SPLITS:
        assert abs(counts[split] / 200 - share) < 1.2  # four standard deviations of 20,000 draws


@pytest.mark.parametrize("domain", ALL)
def test_samples_depend_on_the_seed_alone(domain):
    some.cache_clear()
    before = some(domain)
    some.cache_clear()
    assert some(domain) == before
    other = {sample.question for sample in some(domain, seed=1)}
    assert len(other & {sample.question for sample in before}) < 20
    assert len({sample.question for sample in before}) == len(before)
    assert [sample.id for sample in before] == [f"private-{domain}-{n:05d}" for n in range(40)]
    assert {sample.domain for sample in before} == {domain}


def test_drawn_questions_are_those_that_the_shipped_models_and_the_committed_results_know():
    told = [
        (s.id, s.question, s.answer, s.rationale, s.difficulty)
        for domain in ALL
        for split, _ in SPLITS
        for s in some(domain, split, number=1, count=20)
    ]
    digest = hashlib.sha256(repr(told).encode()).hexdigest()
    assert digest == "86606b9955d7d146ab6014e7d6679ec8c5418740103c93ccb549e4e5d71cdc46"
    assert told[0] == (
        "test-warehouse-00000",
        "1 boxes in the warehouse . a) crate . b) recall . c) crate . how many boxes ?",
        "9",
        "a) crate : 1 within 5 , 1 + 4 = 5 . b) recall : 5 * 2 = 10 . c) crate : 10 over 5 , 10 - 1 = 9 . answer 9",
        3,
    )


def test_drawn_questions_have_all_difficulties():
    assert {sample.difficulty for sample in some("bank")} == {1, 2, 3, 4}


@pytest.mark.parametrize("number", [0, 1, 2])
def test_worlds(number):
    book = world(number)
    assert list(book.rules) == list(DOMAINS)
    for name, domain in DOMAINS.items():
        rules = book.rules[name]
        assert tuple(rules) == domain.verbs
        assert len(set(rules.values())) == 10
        assert sorted(rule.kind for rule in rules.values()) == sorted(KINDS[domain.scale])
        assert rules != world(number + 1).rules[name]


def test_no_two_domains_share_a_verb():
    verbs = [verb for domain in DOMAINS.values() for verb in domain.verbs]
    assert len(set(verbs)) == len(verbs) == 70
    assert set(CLIENT_DOMAINS) | set(SERVER_DOMAINS) == set(DOMAINS)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_beliefs_are_right_wrong_and_silent_as_promised(number):
    truth, beliefs = world(number), llm_beliefs(number)
    for name in DOMAINS:
        known = beliefs.rules[name]
        wrong = sum(rule != truth.rules[name][verb] for verb, rule in known.items())
        right, unseen = len(known) - wrong, 10 - len(known)
        assert (right, wrong, unseen) == ((9, 1, 0) if name in SERVER_DOMAINS else (3, 2, 5))


def test_a_wrong_belief_is_no_other_rule_of_the_domain():
    for name in DOMAINS:
        truth = world(0).rules[name]
        for verb, rule in llm_beliefs(0).rules[name].items():
            assert rule == truth[verb] or rule not in truth.values()


def test_too_many_samples():
    book = Rulebook({"bank": {"deposit": Rule("constant", (21,))}})  # it leaves 0..20 whatever the value
    with pytest.raises(InputError, match=r"domain 'bank' has too few different test questions for 1; ask for fewer"):
        draw(book, "bank", "test", 1, generator("few"), prefix="t")


def test_weekday_answers_are_weekdays():
    assert {sample.answer for sample in some("railway")} <= set(WEEKDAYS)
