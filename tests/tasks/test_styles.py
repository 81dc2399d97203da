"""How paths of the built-in corpora are written, read and checked; which tasks have them, and mixed questions."""

from collections import Counter
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lada.core.errors import InputError
from lada.core.seeds import generator
from lada.core.terms import Sample
from lada.tasks import moves, rules
from lada.tasks.builtin import CORPORA
from lada.tasks.generated import GENERAL, Rulebook, split_of
from lada.tasks.lineups import LINEUPS
from lada.tasks.load import load_task
from lada.tasks.options import BuiltinTask
from lada.tasks.rulebooks import RULEBOOKS
from lada.tasks.styles import styles

NUMBERS = Rulebook(
    {
        "warehouse": {"pallet": rules.Rule("constant", (4,)), "spoil": rules.Rule("argument", (-1,))},
        "clinic": {"triage": rules.Rule("two", (6, -2)), "admit": rules.Rule("times", (2,))},
    }
)
LINES = Rulebook(
    {
        "theatre": {"bow": moves.Rule("turn", ("right",)), "cue": moves.Rule("argument", ("trail",))},
        "harbour": {"dock": moves.Rule("two", ("swap 1 2", "left")), "moor": moves.Rule("swap", ("swap 1 3",))},
    }
)
MIXED = Sample(
    "m",
    "3 coins in the bank . a) pallet . b) triage . c) spoil 6 . d) pallet . how many coins ?",
    domain="warehouse+clinic",
)
LINED = Sample(
    "l",
    "stable line mare foal pony mule . a) bow . b) moor . c) dock . d) cue pony . what order ?",
    domain="theatre+harbour",
)
TRIAGE = "b) triage : 7 + 6 = 13 , 13 - 2 = 11 ."
DOCK = "c) dock : swap 1 2 = mare foal mule pony , left = foal mule pony mare ."
CUE = "d) cue pony : trail pony = foal mule mare pony ."
NUMBERED = {
    "spelled_out": ("a) pallet : 3 + 4 = 7 .", TRIAGE, "c) spoil 6 : 11 - 6 = 5 .", "d) pallet : 5 + 4 = 9 ."),
    "skips_warehouse": ("a) pallet : 7 .", TRIAGE, "c) spoil 6 : 5 .", "d) pallet : 9 ."),
    "skips_clinic": (
        "a) pallet : 3 + 4 = 7 .",
        "b) triage : 11 .",
        "c) spoil 6 : 11 - 6 = 5 .",
        "d) pallet : 5 + 4 = 9 .",
    ),
    "joined": ("a) pallet : 3 + 4 = 7 .", TRIAGE, "c) spoil 6 d) pallet : 11 - 6 + 4 = 9 ."),
    "leaps": ("a) pallet b) triage : 11 .", "c) spoil 6 d) pallet : 9 ."),
}
IN_LINE = {
    "spelled_out": (
        "a) bow : right = mule mare foal pony .",
        "b) moor : swap 1 3 = foal mare mule pony .",
        DOCK,
        CUE,
    ),
    "skips_theatre": (
        "a) bow : mule mare foal pony .",
        "b) moor : swap 1 3 = foal mare mule pony .",
        DOCK,
        "d) cue pony : foal mule mare pony .",
    ),
    "skips_harbour": (
        "a) bow : right = mule mare foal pony .",
        "b) moor : foal mare mule pony .",
        "c) dock : foal mule pony mare .",
        CUE,
    ),
    "joined": ("a) bow b) moor : right swap 1 3 = foal mare mule pony .", DOCK, CUE),
    "leaps": ("a) bow b) moor : foal mare mule pony .", "c) dock d) cue pony : foal mule mare pony ."),
}
WRITTEN = [
    *((RULEBOOKS, NUMBERS, MIXED, style, steps, "9") for style, steps in NUMBERED.items()),
    *((LINEUPS, LINES, LINED, style, steps, "foal mule mare pony") for style, steps in IN_LINE.items()),
]


@pytest.mark.parametrize(("corpus", "book", "sample", "style", "steps", "answer"), WRITTEN)
def test_each_style_by_hand(corpus, book, sample, style, steps, answer):
    text = f"{' '.join(steps)} answer {answer}"
    told = corpus.retell(sample, book, style)
    assert (told.rationale, told.answer) == (text, answer)
    assert corpus.style_of(sample, text, book) == style
    assert corpus.style_of(sample, f" {text}\n", book) == style
    assert [right for _, right in corpus.check_steps(sample, text, book)] == [True] * 4


def test_a_step_that_is_part_of_a_leap_shows_its_own_words():
    text = "a) pallet b) triage : 11 . c) spoil 6 d) pallet : 9 . answer 9"
    assert RULEBOOKS.check_steps(MIXED, text, NUMBERS) == [
        ("a) pallet", True),
        ("b) triage : 11 .", True),
        ("c) spoil 6", True),
        ("d) pallet : 9 .", True),
    ]


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("a) pallet : 8 . b) triage : 12 . c) spoil 6 : 6 . d) pallet : 10 . answer 10", [0, 1, 1, 1]),
        ("a) pallet b) triage : 12 . c) spoil 6 d) pallet : 10 . answer 10", [0, 0, 1, 1]),
        ("b) triage a) pallet : 11 . c) spoil 6 d) pallet : 9 . answer 9", [0, 0, 1, 1]),
        ("a) pallet b) triage c) spoil 6 d) pallet : 9 . answer 9", [1, 1, 1, 1]),
        ("a) pallet b) pallet : 11 . c) spoil 6 : 11 - 6 = 5 . d) pallet : 9 . answer 9", [0, 0, 1, 1]),
        ("a) pallet c) spoil 6 : 1 . b) triage : 11 . d) pallet : 9 . answer 9", [0, 0, 0, 0]),
        ("a) pallet : 7 . a) pallet b) triage : 11 . c) spoil 6 : 1 . d) pallet : 5 . answer 5", [1, 0, 1, 1, 0]),
        ("a) pallet b) triage : 3 + 4 + 6 - 2 = 11 . answer 11", [0, 0, 0, 0]),
        ("a) pallet : . b) triage :  . c) : 5 . d) pallet : = 9 .", [0, 0, 0, 0]),
    ],
)
def test_steps_of_paths_that_slip(text, right):
    assert [int(each) for _, each in RULEBOOKS.check_steps(MIXED, text, NUMBERS)] == right
    assert text.startswith("a) pallet b) triage c)") or RULEBOOKS.style_of(MIXED, text, NUMBERS) == "other"


@pytest.mark.parametrize(
    ("question", "domain", "text", "style"),
    [
        # Without a verb of the domain nothing is skipped, and nothing joined without two plain steps in a row.
        ("a) admit", "clinic", "a) admit : 3 * 2 = 6 . answer 6", "spelled_out"),
        # One verb whose computation is left out is skipped, no leap.
        ("a) pallet", "warehouse", "a) pallet : 7 . answer 7", "skips_warehouse"),
        # What is multiplied is no part of a sum.
        ("a) pallet . b) admit", "warehouse+clinic", "a) pallet b) admit : 3 + 4 * 2 = 14 . answer 14", "other"),
        # Two domains at once are skipped by no style.
        ("a) pallet . b) admit", "warehouse+clinic", "a) pallet : 7 . b) admit : 14 . answer 14", "other"),
        ("a) add 4 . b) take 1", GENERAL, "a) add 4 b) take 1 : 3 + 4 - 1 = 6 . answer 6", "joined"),
        ("a) add 4 . b) take 1", GENERAL, "a) add 4 b) take 1 : 6 . answer 6", "leaps"),
    ],
)
def test_which_of_several_styles_a_text_is_of(question, domain, text, style):
    sample = Sample("q", f"3 coins in the bank . {question} . how many coins ?", domain=domain)
    assert RULEBOOKS.style_of(sample, text, NUMBERS) == style


def test_an_unknown_style_cannot_be_written():
    with pytest.raises(ValueError, match="'hops' is no style"):
        RULEBOOKS.retell(MIXED, NUMBERS, "hops")


@cache
def drawn(kind: str, domain: str) -> tuple[Sample, ...]:
    corpus = CORPORA[kind]
    return tuple(corpus.draw(corpus.world(1), domain, "public", 60, generator("styles", domain), prefix="p"))


@settings(deadline=None)
@given(
    case=st.sampled_from([(kind, both) for kind, corpus in CORPORA.items() for both in corpus.client_domains[:2]]),
    mixed=st.booleans(),
    row=st.integers(0, 59),
    data=st.data(),
)
def test_what_is_written_is_read_checked_and_answered_alike(case, mixed, row, data):
    kind, domain = case
    corpus = CORPORA[kind]
    book = corpus.world(1)
    sample = drawn(kind, "+".join(corpus.client_domains[:2]) if mixed else domain)[row]
    every = styles(sample.domain.split("+"))
    style = data.draw(st.sampled_from(every))
    by_style = {each: corpus.retell(sample, book, each) for each in every}
    told = by_style[style]
    assert told is not None
    assert told.answer == sample.answer
    text = told.rationale or ""
    assert all(right for _, right in corpus.check_steps(sample, text, book))
    same = [each for each, other in by_style.items() if other is not None and other.rationale == text]
    assert style in same
    assert corpus.style_of(sample, text, book) == same[0]
    place = data.draw(st.integers(0, len(text) - 1))
    broken = text[:place] + "#" + text[place + 1 :]
    assert corpus.style_of(sample, broken, book) == "other"


@settings(deadline=None, max_examples=100)
@given(text=st.text(alphabet="ab) :.=+-0123456789palet\n", max_size=80))
def test_any_text_has_a_style_and_steps(text):
    sample = Sample("m", "3 coins in the bank . a) pallet . b) triage . how many coins ?", domain="warehouse+clinic")
    assert RULEBOOKS.style_of(sample, text, NUMBERS) == "other"
    assert len(RULEBOOKS.check_steps(sample, text, NUMBERS)) >= 2


@pytest.mark.parametrize("kind", CORPORA)
def test_a_mixed_question_has_verbs_of_each_domain_in_the_wording_of_another(kind):
    corpus = CORPORA[kind]
    one, other = corpus.client_domains[:2]
    samples = corpus.draw(corpus.world(0), f"{one}+{other}", "pretrain", 300, generator("m"), prefix="m")
    worded = Counter(sample.question.split()[0 if kind == "lineups" else 4] for sample in samples)
    assert worded.keys() == set(corpus.mixable) - {one, other}
    for sample in samples:
        verbs = {step.split()[1] for step in sample.question.split(" . ")[1:-1]}
        assert all(verbs & set(corpus.domains[name].verbs) for name in (one, other))
        assert sample.domain == f"{one}+{other}"
        assert split_of(sample.question) == "pretrain"
    assert Counter(sample.difficulty for sample in samples).keys() == {2, 3, 4}


def test_a_question_of_another_corpus_or_domain_is_told():
    assert RULEBOOKS.asks(MIXED)
    assert not RULEBOOKS.asks(LINED)
    assert not RULEBOOKS.asks(Sample("x", MIXED.question, domain="warehouse+stable"))


MIXES = {"mixed": (("warehouse", "clinic"),), "public": 100, "private": 40, "test_per_domain": 10, "replay": 0}


def task(**options):
    return load_task(BuiltinTask.model_validate(options), {"a": ("warehouse",), "b": ("kitchen",)}, 0)


def test_a_task_mixes_as_many_questions_as_it_says():
    data = task(**MIXES, public_domains=("warehouse", "clinic", "kitchen"), mixed_share=0.4, mixed_test=7)
    public, test = (Counter(sample.domain for sample in each) for each in (data.public, data.test))
    assert public == {"warehouse+clinic": 40, "warehouse": 20, "clinic": 20, "kitchen": 20}
    assert (len(test), test["warehouse+clinic"], test["bank"]) == (9, 7, 10)
    assert data.mixed == {"warehouse+clinic"}
    assert len({sample.question for sample in (*data.public, *data.test)}) == 100 + 8 * 10 + 7


def test_mixed_questions_leave_the_draws_of_the_others_as_they_are():
    plain, mixed = (
        task(public=70, private=4),
        task(**MIXES | {"public": 140, "private": 4}, mixed_share=0.5, mixed_test=3),
    )
    assert {s.question for s in plain.public} == {s.question for s in mixed.public if "+" not in s.domain}
    assert dict(plain.private) == dict(mixed.private)


def test_noise_reaches_mixed_questions():
    data = task(**MIXES, mixed_share=1.0, noise=0.5)
    check = data.steps
    assert check is not None
    wrong = [s for s in data.public if not all(right for _, right in check(s, s.rationale or ""))]
    assert {sample.id for sample in wrong} == data.noisy
    assert len(wrong) == 50


def test_a_client_writes_a_share_of_its_rationales_in_its_own_shorthand():
    data = task(private=40, shorthand={"b": 0.25}, styles=True)
    plain = task(private=40)
    style = data.style
    assert style is not None
    told = {name: Counter(style(s, s.rationale or "") for s in data.private[name]) for name in "ab"}
    assert told == {"a": {"spelled_out": 40}, "b": {"skips_kitchen": 10, "spelled_out": 30}}
    assert [(s.id, s.question, s.answer) for s in data.private["b"]] == [
        (s.id, s.question, s.answer) for s in plain.private["b"]
    ]
    assert plain.style is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"mixed": (("warehouse", "railway"),)},
            "task.mixed: 'railway' cannot be named here; expected some of warehouse",
        ),
        ({"mixed": (("warehouse", "clinc"),)}, "did you mean 'clinic'"),
        ({"mixed": (("clinic", "clinic"),)}, "lists a domain twice"),
        ({"mixed": (("warehouse", "clinic"), ("clinic", "warehouse"))}, "the same domains twice"),
        (
            {"mixed": (("warehouse", "clinic", "kitchen", "bank", "farm", "school"),)},
            "are all domains that can be mixed",
        ),
        ({"known": ("warehose",)}, "task.known: 'warehose' cannot be named here"),
        ({"public_domains": ("bank", "bank")}, "task.public_domains: .* lists a domain twice"),
        ({"shorthand": {"c": 0.5}}, "task.shorthand: there is no client 'c'; expected some of a, b"),
    ],
)
def test_domains_and_clients_that_cannot_be_are_refused(options, told):
    with pytest.raises(InputError, match=told):
        task(**options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"mixed_share": 0.5}, "mixed names no domains"),
        ({"mixed_test": 5}, "mixed names no domains"),
        ({"mixed": (("warehouse",),)}, "at least 2 items"),
        ({"mixed": (("warehouse", "clinic"),), "mixed_share": 0.6, "hard": 0.5}, "add up to 1 at most"),
        ({"shorthand": {"a": 1.5}}, "less than or equal to 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        BuiltinTask.model_validate(options)


def test_what_a_task_does_not_ask_for_stands_in_no_configuration():
    new = {"public_domains", "mixed", "mixed_share", "mixed_test", "known", "shorthand", "styles"}
    assert not BuiltinTask().model_dump().keys() & new
    asked = BuiltinTask.model_validate({**MIXES, "mixed_share": 0.5, "shorthand": {"a": 0.5}})
    assert BuiltinTask.model_validate_json(asked.model_dump_json()) == asked
