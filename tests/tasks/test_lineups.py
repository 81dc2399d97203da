"""The corpus lineups: what is asked, what is told, and how the steps of a path are checked."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lada.core.seeds import generator
from lada.core.terms import Sample
from lada.tasks.answers import answer_kind
from lada.tasks.generated import GENERAL, HARD, SPLITS, TAUGHT, Rulebook, Split, split_of
from lada.tasks.lineups import LINEUPS
from lada.tasks.moves import KINDS, Rule
from lada.tasks.rulebooks import RULEBOOKS

ALL = (*LINEUPS.domains, GENERAL)
SPLIT_NAMES = [split for split, _ in SPLITS]
BOOK = Rulebook(
    {
        "harbour": {
            "moor": Rule("swap", ("swap 1 3",)),
            "tow": Rule("argument", ("lead",)),
            "reef": Rule("first", ("left", "reverse"), "yacht"),
            "launch": Rule("two", ("swap 2 4", "right")),
            "anchor": Rule("opener", ("trail",)),
        }
    }
)

DRAWN = [
    (
        "harbour line barge tug yacht ferry . a) dock . b) anchor . c) berth . d) tow . what order ?",
        "a) dock : right = ferry barge tug yacht . b) anchor : reverse = yacht tug barge ferry . "
        "c) berth : swap 1 3 = barge tug yacht ferry . d) tow : trail barge = tug yacht ferry barge . "
        "answer tug yacht ferry barge",
        "tug yacht ferry barge",
        4,
    ),
    (
        "harbour line tug barge yacht ferry . a) ballast tug . b) berth . what order ?",
        "a) ballast tug : trail tug = barge yacht ferry tug . b) berth : swap 1 3 = ferry yacht barge tug . "
        "answer ferry yacht barge tug",
        "ferry yacht barge tug",
        2,
    ),
]
SPELLED_OUT = [
    (
        "harbour line tug barge ferry yacht . a) trail yacht . b) lead opener . what order ?",
        "a) trail yacht : trail yacht = tug barge ferry yacht . b) lead opener : lead tug = tug barge ferry yacht . "
        "answer tug barge ferry yacht",
        "tug barge ferry yacht",
        2,
    ),
    (
        "stable line mule foal pony mare . a) swap 3 4 reverse . b) trail pony . c) reverse . what order ?",
        "a) swap 3 4 reverse : swap 3 4 = mule foal mare pony , reverse = pony mare foal mule . "
        "b) trail pony : trail pony = mare foal mule pony . c) reverse : reverse = pony mule foal mare . "
        "answer pony mule foal mare",
        "pony mule foal mare",
        3,
    ),
]


@cache
def some(domain: str, split: Split = "private", seed: int = 0, number: int = 0, count: int = 40) -> tuple[Sample, ...]:
    rng = generator(seed, domain, split)
    return tuple(LINEUPS.draw(LINEUPS.world(number), domain, split, count, rng, prefix=f"{split}-{domain}"))


def harbour(asked: str) -> Sample:
    return Sample("h", f"harbour line ferry tug yacht barge . {asked} . what order ?", domain="harbour")


ALL_RULES = harbour("a) moor . b) reef . c) tow barge . d) launch . e) anchor")
ALL_STEPS = (
    "a) moor : swap 1 3 = yacht tug ferry barge .",
    "b) reef : yacht first , left = tug ferry barge yacht .",
    "c) tow barge : lead barge = barge tug ferry yacht .",
    "d) launch : swap 2 4 = barge yacht ferry tug , right = tug barge yacht ferry .",
    "e) anchor : trail ferry = tug barge yacht ferry .",
)


def marks(sample: Sample, text: str, book: Rulebook[Rule] = BOOK) -> list[bool]:
    return [right for _, right in LINEUPS.check_steps(sample, text, book)]


def test_steps_by_hand():
    assert LINEUPS.check_steps(ALL_RULES, " ".join(ALL_STEPS), BOOK) == [(step, True) for step in ALL_STEPS]
    assert LINEUPS.retell(ALL_RULES, BOOK) == Sample(
        "h",
        ALL_RULES.question,
        "tug barge yacht ferry",
        f"{' '.join(ALL_STEPS)} answer tug barge yacht ferry",
        "harbour",
    )


def test_drawn_questions():
    assert [(s.question, s.rationale, s.answer, s.difficulty) for s in some("harbour", "test", count=2)] == DRAWN
    assert [(s.question, s.rationale, s.answer, s.difficulty) for s in some(GENERAL, "test", count=2)] == SPELLED_OUT


def slowly(rule: Rule, line: list[str], first: list[str], argument: str | None) -> list[str]:
    """Apply a rule in another way than the library: every move sorts all places again."""
    moves = [*rule.moves]
    if rule.kind == "first":
        moves = [moves[line.index(rule.thing) > 0]]
    for words in moves:
        verb, *rest = words.split()
        chosen = argument if rule.kind == "argument" else first[0]
        keys = {
            "swap": lambda place, rest=rest: {rest[0]: rest[-1], rest[-1]: rest[0]}.get(str(place + 1), str(place + 1)),
            "left": lambda place: (place - 1) % 4,
            "right": lambda place: (place + 1) % 4,
            "reverse": lambda place: -place,
            "lead": lambda place, line=line, chosen=chosen: line[place] != chosen,
            "trail": lambda place, line=line, chosen=chosen: line[place] == chosen,
        }
        line = [line[place] for place in sorted(range(4), key=keys[verb])]
    return line


@pytest.mark.parametrize("number", [0, 3])
@pytest.mark.parametrize("domain", list(LINEUPS.domains))
def test_answers_are_those_of_a_slow_reference(domain, number):
    rules = LINEUPS.world(number).rules[domain]
    for sample in some(domain, number=number):
        opening, *asked, _ = sample.question.split(" . ")
        first = line = opening.split()[2:]
        for step in asked:
            verb, *argument = step.split()[1:]
            line = slowly(rules[verb], line, first, argument[0] if argument else None)
        assert sample.answer == " ".join(line)


@pytest.mark.parametrize("domain", ALL)
@pytest.mark.parametrize("number", [0, 3])
def test_generated_rationales_pass(domain, number):
    kind = answer_kind(LINEUPS.answers)
    book = LINEUPS.world(number)
    for sample in some(domain, number=number):
        path = sample.rationale or ""
        assert marks(sample, path, book) == [True] * (sample.difficulty or 0)
        assert kind.same(kind.extract(path), sample.answer or "")
        assert sample.question.count(") ") == sample.difficulty
        assert LINEUPS.retell(sample, book) == sample


@pytest.mark.parametrize("domain", ALL)
def test_a_corrupted_move_is_the_only_wrong_step(domain):
    for sample in some(domain):
        steps = [f"{step} ." for step in (sample.rationale or "").split(" . ")[:-1]]
        for place, step in enumerate(steps):
            label, told = step.split(" : ")
            broken = f"{label} : upturn = {told.split(' = ', 1)[1]}"  # the line that comes of it stays
            path = " ".join([*steps[:place], broken, *steps[place + 1 :]])
            assert marks(sample, path, LINEUPS.world(0)) == [i != place for i in range(len(steps))]


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("a) moor : swap 1 3 = tug yacht ferry barge . b) tow tug : lead tug = tug yacht ferry barge .", [False, True]),
        ("a) moor : swap 1 2 = yacht tug ferry barge . b) tow tug : lead tug = tug yacht ferry barge .", [False, True]),
        (
            "a) moor : swap 1 3 = yacht yacht ferry barge . b) tow tug : lead tug = tug ferry yacht barge .",
            [False, True],
        ),
        ("a) moor : swap 1 3 = yacht tug ferry barge .", [True, False]),
        ("b) tow tug : lead tug = tug ferry yacht barge .", [False, True]),
        (
            "a) moor : swap 1 3 = yacht tug ferry barge . b) tow barge : lead barge = barge yacht tug ferry .",
            [True, False],
        ),
        ("", [False, False]),
    ],
)
def test_slips(path, right):
    assert marks(harbour("a) moor . b) tow tug"), path) == right


PIECES = st.sampled_from(
    [
        "a)",
        "b)",
        "e)",
        " ",
        ".",
        ":",
        "=",
        "moor",
        "tow tug",
        "swap 1 3",
        "lead",
        "yacht tug ferry barge",
        "answer",
        "\n",
    ]
)


@given(st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=20).map(" ".join)))
@settings(max_examples=75, deadline=None)
def test_garbage_never_raises(text):
    checked = LINEUPS.check_steps(ALL_RULES, text, BOOK)
    assert len(checked) >= 5
    assert all(not right for step, right in checked if not step)


@given(st.sampled_from(ALL), st.sampled_from(SPLIT_NAMES), st.integers(0, 5), st.integers(0, 5), st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_question_is_of_the_split_it_was_drawn_for_and_of_no_other(domain, split, seed, number, hard):
    rng = generator(seed, "splits", domain)
    lengths = HARD if hard else TAUGHT
    drawn = LINEUPS.draw(LINEUPS.world(number), domain, split, 5, rng, prefix="s", lengths=lengths)
    assert {split_of(sample.question) for sample in drawn} == {split}
    assert len({sample.question for sample in drawn}) == 5
    assert {sample.difficulty for sample in drawn} <= lengths.keys()


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_worlds_and_beliefs(number):
    truth, beliefs = LINEUPS.world(number), LINEUPS.llm_beliefs(number)
    for name, domain in LINEUPS.domains.items():
        rules, known = truth.rules[name], beliefs.rules[name]
        assert tuple(rules) == domain.verbs
        assert len(set(rules.values())) == 10
        assert sorted(rule.kind for rule in rules.values()) == sorted(KINDS)
        assert rules != LINEUPS.world(number + 1).rules[name]
        wrong = [verb for verb, rule in known.items() if rule != rules[verb]]
        right, unseen = len(known) - len(wrong), 10 - len(known)
        assert (right, len(wrong), unseen) == ((9, 1, 0) if name in LINEUPS.server_domains else (3, 2, 5))
        assert not {known[verb] for verb in wrong} & set(rules.values())


@pytest.mark.parametrize("corpus", [RULEBOOKS, LINEUPS], ids=lambda corpus: corpus.name)
def test_a_false_world_is_wrong_about_every_verb_but_seldom_about_its_kind(corpus):
    truth = corpus.world(1)
    false, another = corpus.false_world(1, 0), corpus.false_world(1, 1)
    assert false != another
    alike = 0
    for name, rules in truth.rules.items():
        for verb, rule in rules.items():
            assert false.rules[name][verb] != rule
            alike += false.rules[name][verb].kind == rule.kind
    assert 70 * 0.65 < alike < 70  # four fifths, and constants that are drawn as constants


def test_words_are_told_apart():
    verbs = [verb for domain in LINEUPS.domains.values() for verb in domain.verbs]
    things = [thing for domain in LINEUPS.domains.values() for thing in domain.things]
    assert len(set(verbs)) == len(verbs) == 70
    assert len(set(things)) == len(things) == 28
    assert not {*verbs} & {*things, "swap", "left", "right", "reverse", "lead", "trail", "opener", "line", "answer"}
    assert (len(LINEUPS.client_domains), len(LINEUPS.server_domains)) == (3, 4)
    assert not LINEUPS.domains.keys() & RULEBOOKS.domains.keys()
