"""Six tasks of reasoning-gym with its own verifiers."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

import lada
from lada.core.errors import InputError
from lada.core.terms import Sample
from lada.core.words import same_question
from lada.tasks.data import TaskData
from lada.tasks.gym import load_gym
from lada.tasks.options import GymTask
from lada.tasks.readings import readings
from lada.verifiers.base import Asked
from lada.verifiers.gym import block

SIX: dict[str, dict[str, Any]] = {
    "chain_sum": {"min_terms": 2, "max_terms": 3},
    "gcd": {},
    "word_sorting": {},
    "knights_knaves": {"n_people": 2},
    "mini_sudoku": {},
    "ransom_note": {},
}
SMALL = {"generators": SIX, "public": 12, "private": 6, "test_per_domain": 2}


@pytest.mark.parametrize(
    ("text", "lines", "found"),
    [
        ("So:\n1 2\n3 4", 2, "1 2\n3 4"),
        ("The answer is:\n1 2\n3 4\n", 2, "1 2\n3 4"),
        ("answer 1 2\n3 4", 2, "1 2\n3 4"),
        ("The answer: 0\n<answer>\n1 2\n3 4\n</answer>\nDone.", 2, "1 2\n3 4"),
        ("Answer:\n```\n1 2\n3 4\n```", 2, "1 2\n3 4"),
        ("**Answer:**\n\n```text\n1 2\n3 4\n```\nDone.", 2, "1 2\n3 4"),
        ("<answer>\n```\n1 2\n3 4\n```\n</answer>", 2, "1 2\n3 4"),
        ("So:\n  ~~~\n  1 2\n  3 4\n  ~~~\nDone.", 2, "1 2\n3 4"),
        ("Answer:\n```\n1 2\n3 4", 2, "1 2\n3 4"),
        ("<think>answer 0\n0</think>1 2\n3 4", 2, "1 2\n3 4"),
    ],
)
def test_an_answer_of_several_lines(text: str, lines: int, found: str) -> None:
    assert block(text, lines) == found


@pytest.mark.parametrize(
    ("answer", "gold", "read"),
    [
        ("There are 188 legs", "188", ["There are 188 legs", "188"]),
        ("x = 13", "13", ["x = 13", "13"]),
        ("So gcd = 1", "1", ["So gcd = 1", "1"]),
        ("1,000", "1000", ["1,000", "1000"]),
        ("188", "188", ["188"]),
        ("not 13", "13", ["not 13"]),
        ("3 or 4", "4", ["3 or 4"]),
        ("So it is **Bob**.", "Bob", ["So it is **Bob**.", "Bob"]),
        ("So it is No.", "No", ["So it is No.", "No"]),
        ("So it is not Bob.", "Bob", ["So it is not Bob."]),
        ("It isn't true that it is Bob.", "Bob", ["It isn't true that it is Bob."]),
        ("The list is: [1, 2].", "[1, 2]", ["The list is: [1, 2].", "[1, 2]"]),
        ("They are a, b, c", "a, b, c", ["They are a, b, c", "a, b, c"]),
        ("Jo is a hero, and Al is a fool", "Jo is a hero, and Al is a hero.", ["Jo is a hero, and Al is a fool"]),
    ],
)
def test_what_an_answer_says_plainly(answer: str, gold: str, read: list[str]) -> None:
    assert readings(answer, gold) == read


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lada.core.extras.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the package reasoning-gym; .*pip install 'lada-fed\[gym\]'"):
        load_gym(GymTask.model_validate(SMALL), {"a": ()}, 0)


def test_no_generators_are_no_task() -> None:
    with pytest.raises(ValidationError):
        GymTask.model_validate({"generators": {}})


def load(clients: dict[str, tuple[str, ...]] | None = None, seed: int = 0, **options: Any) -> TaskData:
    pytest.importorskip("reasoning_gym")
    return load_gym(GymTask.model_validate(SMALL | options), clients or {"a": (), "b": ()}, seed)


def every(task: TaskData) -> list[Sample]:
    return [*task.public, *task.test, *(sample for part in task.private.values() for sample in part)]


class TestTheDraw:
    def test_sizes_domains_and_disjoint_entries(self) -> None:
        task = load({"a": ("gcd", "mini_sudoku"), "b": ("gcd",), "c": ()})
        assert [len(task.public), len(task.test)] == [12, 12]
        assert {name: len(part) for name, part in task.private.items()} == {"a": 6, "b": 6, "c": 6}
        assert task.own_domains == {"a": {"gcd", "mini_sudoku"}, "b": {"gcd"}, "c": {"chain_sum"}}
        samples = every(task)
        for keys in ([s.id for s in samples], [s.entry for s in samples], [same_question(s.question) for s in samples]):
            assert len(set(keys)) == len(samples) == 42
        for sample in samples:
            assert sample.entry is not None
            entry = json.loads(sample.entry)
            assert entry["generator"] == sample.domain
            assert sample.id == f"{sample.domain}-{entry['index']:05d}"

    def test_the_same_seed_gives_the_same_data_in_another_process_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Some generators follow the order of sets, which differs from one process to the next."""
        one = every(load())
        monkeypatch.setenv("PYTHONHASHSEED", "12345")
        assert every(load({"b": (), "a": ()})) == one
        assert not {s.question for s in every(load(seed=1))} & {s.question for s in one if s.domain == "mini_sudoku"}

    def test_a_generator_with_too_few_questions_is_refused(self) -> None:
        few = {"gcd": {"min_numbers": 2, "max_numbers": 2, "min_value": 1, "max_value": 3}}
        with pytest.raises(InputError, match=r"task\.generators\.gcd: it has \d different questions among 10000"):
            load(generators=few)

    @pytest.mark.parametrize(
        ("generators", "words"),
        [
            ({"gdc": {}}, r"no generator 'gdc'; .*did you mean 'gcd'"),
            ({"gcd": {"max_numbres": 3}}, r"task\.generators\.gcd: with the options .* it raised TypeError"),
            ({"gcd": {"min_numbers": 0}}, r"task\.generators\.gcd: with the options .* it raised AssertionError"),
            ({"rubiks_cube": {}}, r"task\.generators\.rubiks_cube: it gives no gold answers"),
        ],
    )
    def test_refusals(self, generators: dict[str, Any], words: str) -> None:
        with pytest.raises(InputError, match=words):
            load({"a": ()}, generators=generators)

    def test_a_domain_that_no_generator_makes_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"'a' lists domain 'gdc'; expected some of .*did you mean 'gcd'"):
            load({"a": ("gdc",)})


class TestVerifying:
    def test_gold_answers_are_right_in_every_form_and_others_are_not(self) -> None:
        task = load()
        assert task.verifier is not None
        for form, right in (
            ("The answer is {}", 1.0),
            ("answer {}", 1.0),
            ("Let me see.\n\n{}", 1.0),
            ("no idea", 0.0),
        ):
            texts = [(sample, form.format(sample.answer)) for sample in task.test]
            asked = [Asked(sample, text, task.extract(text)) for sample, text in texts]
            scores = list(task.verifier.scores(asked))
            wrong = [a.sample.id for a, s in zip(asked, scores, strict=True) if (s == 1.0) != (right == 1.0)]
            assert wrong == []

    def test_a_number_a_word_and_a_list_in_a_sentence_are_right(self) -> None:
        forms = {
            "leg_counting": ["There are {} legs.", "legs = {}"],
            "simple_equations": ["x = {}", "The answer is x = {}"],
            "gcd": ["So gcd = {}", "The gcd is **{}**."],
            "syllogism": ["So it is {}."],
            "word_sorting": ["The sorted words are: {}."],
            "number_sorting": ["So the list is {}."],
        }
        task = load({"a": ()}, generators={name: {} for name in forms}, public=24)
        assert task.verifier is not None
        for wrong in ("", "not "):
            texts = [
                (s, form.format(wrong + str(s.answer))) for s in (*task.test, *task.public) for form in forms[s.domain]
            ]
            scores = list(task.verifier.scores([Asked(s, text, task.extract(text)) for s, text in texts]))
            assert [text for (_, text), score in zip(texts, scores, strict=True) if (score == 1) == bool(wrong)] == []

    def test_a_grid_in_a_fence_is_right(self) -> None:
        task = load({"a": ()}, generators={"mini_sudoku": {}})
        assert task.verifier is not None
        asked = [Asked(s, f"Answer:\n```\n{s.answer}\n```", None) for s in task.test]
        assert list(task.verifier.scores(asked)) == [1.0] * len(asked)

    def test_an_answer_that_its_own_verifier_takes_in_another_form_is_right(self) -> None:
        task = load({"a": ()}, generators={"knights_knaves": {"n_people": 2}})
        assert task.verifier is not None
        sample = task.test[0]
        first, second = str(sample.answer).rstrip(".").split(", and ")
        turned = f"So the answer is {second}, and {first}."
        assert not task.same(task.extract(turned), str(sample.answer))
        assert list(task.verifier.scores([Asked(sample, turned, task.extract(turned))])) == [1.0]


@pytest.mark.slow
def test_a_run_on_six_generators(tmp_path) -> None:
    pytest.importorskip("reasoning_gym")
    model = {"model": {"model": "zoo:slm-llama", "max_new_tokens": 8}}
    config = {
        "name": "gym",
        "rounds": 1,
        "workers": 0,
        "task": {"kind": "reasoning_gym", **SMALL},
        "server": {"model": {"model": "zoo:llm-world-0", "max_new_tokens": 8}, "distil": {"steps": 1}},
        "clients": [{"name": client, **model, "private": {"steps": 1}, "distil": {"steps": 1}} for client in "ab"],
        "host": "fedmkt",
        "plugin": "lada",
        "allocator": {"name": "lada", "options": {"budget": 2}},
    }
    results = lada.run(config, runs=tmp_path / "runs")
    assert {(e.party, e.round) for e in results.evaluations} == {(p, r) for p in ("llm", "a", "b") for r in (0, 1)}
    assert {e.overall.count for e in results.evaluations} == {12}
    assert set(results.evaluations[0].domains) == set(SIX)
