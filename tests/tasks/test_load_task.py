import json
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from lada.core.errors import InputError
from lada.tasks.builtin import CORPORA
from lada.tasks.generated import GENERAL, split_of
from lada.tasks.lineups import LINEUPS
from lada.tasks.load import load_task
from lada.tasks.options import BuiltinTask, FilesTask, TaskOptions
from lada.tasks.rulebooks import RULEBOOKS

DOMAINS, CLIENT_DOMAINS = RULEBOOKS.domains, RULEBOOKS.client_domains
OPTIONS: TypeAdapter = TypeAdapter(TaskOptions)
THREE = {"c": (), "a": (), "b": ()}


def builtin(kind, clients=THREE, seed=0, **options):
    small = {"public": 30, "private": 12, "test_per_domain": 3, "replay": 5} | options
    return load_task(OPTIONS.validate_python({"kind": kind} | small), clients, seed)


rulebooks = partial(builtin, "rulebooks")


class TestRulebooks:
    def test_counts_and_domains(self):
        task = rulebooks()
        assert Counter(s.domain for s in task.public) == {
            domain: 5 if domain in ("warehouse", "clinic") else 4 for domain in DOMAINS
        }
        assert {name: len(part) for name, part in task.private.items()} == {"a": 12, "b": 12, "c": 12}
        assert Counter(s.domain for s in task.test) == dict.fromkeys((*DOMAINS, GENERAL), 3)
        assert {s.domain for s in task.replay} == {GENERAL}
        assert len(task.replay) == 5
        assert task.general == {GENERAL}

    def test_clients_get_the_default_domains_in_order(self):
        task = rulebooks({**THREE, "d": ()})
        expected = dict(zip("abcd", (*CLIENT_DOMAINS, CLIENT_DOMAINS[0]), strict=True))
        assert task.own_domains == {name: {domain} for name, domain in expected.items()}
        for name, part in task.private.items():
            assert {s.domain for s in part} == {expected[name]}

    def test_listed_domains_share_the_count(self):
        task = rulebooks({"x": ("farm", "bank", "railway"), "y": ()}, private=10)
        assert Counter(s.domain for s in task.private["x"]) == {"bank": 4, "farm": 3, "railway": 3}
        assert task.own_domains == {"x": {"farm", "bank", "railway"}, "y": {"warehouse"}}

    def test_ids(self):
        task = rulebooks({"a": ("farm",), "b": ("farm",)})
        assert [s.id for s in task.public] == [f"public-{n:05d}" for n in range(30)]
        private = [s.id for part in task.private.values() for s in part]
        ids = private + [s.id for s in (*task.public, *task.test, *task.replay)]
        assert len(set(ids)) == len(ids)
        assert task.private["a"][0].id == "private-a-farm-00000"
        assert "test-warehouse-00002" in ids

    def test_splits(self):
        task = rulebooks()
        assert {split_of(s.question) for s in task.public} == {"public"}
        assert {split_of(s.question) for s in task.test} == {"test"}
        assert {split_of(s.question) for part in task.private.values() for s in part} == {"private"}
        assert {split_of(s.question) for s in task.replay} == {"private"}

    def test_public_domains_are_mixed(self):
        order = [s.domain for s in rulebooks().public]
        assert order != sorted(order)
        assert len(set(order[:10])) > 3

    def test_answers_and_steps_are_those_of_the_world(self):
        for number in (0, 1):
            task = rulebooks(world=number)
            assert task.steps is not None
            for sample in (*task.public, *task.test, *task.replay, *task.private["a"]):
                path = sample.rationale or ""
                assert all(right for _, right in task.steps(sample, path))
                assert task.same(task.extract(path), sample.answer or "")

    def test_a_seed_decides_which_samples_are_drawn(self):
        one, other, again = rulebooks(seed=1), rulebooks(seed=2), rulebooks({"a": (), "b": (), "c": ()}, seed=1)
        assert (one.public, one.private, one.test, one.replay) == (
            again.public,
            again.private,
            again.test,
            again.replay,
        )
        for a, b in ((one.public, other.public), (one.test, other.test), (one.replay, other.replay)):
            assert len({s.question for s in a} & {s.question for s in b}) < len(a) / 2
        assert one.private["a"] != other.private["a"]

    def test_samples_are_not_drawn_again_for_whoever_asks_for_the_same(self):
        task = rulebooks(seed=3)
        assert rulebooks(dict(reversed(THREE.items())), seed=3) is task
        for other in (rulebooks({**THREE, "a": ("farm",)}, seed=3), rulebooks(seed=3, public=31), builtin("lineups")):
            assert other.public != task.public or other.own_domains != task.own_domains

    def test_clients_of_one_domain_hold_different_samples(self):
        private = rulebooks({"a": ("farm",), "b": ("farm",)}).private
        assert {s.question for s in private["a"]} != {s.question for s in private["b"]}

    def test_refusals(self):
        with pytest.raises(InputError, match=r"'a' lists domain 'warehous'; .*did you mean 'warehouse'"):
            rulebooks({"a": ("warehous",)})
        with pytest.raises(InputError, match=r"'a' lists domain 'general'"):
            rulebooks({"a": (GENERAL,)})
        with pytest.raises(InputError, match=r"task.private: 1 question for the 2 domains of client 'a'"):
            rulebooks({"a": ("farm", "bank")}, private=1)
        with pytest.raises(InputError, match="clients: there are none"):
            rulebooks({})


@pytest.mark.parametrize("kind", ["rulebooks", "lineups"])
class TestPublicPool:
    """Noise and hard questions, in both built-in corpora."""

    def test_lineups_are_loaded_like_rulebooks(self, kind):
        corpus = CORPORA[kind]
        task = builtin(kind)
        assert {s.domain for s in task.public} == set(corpus.domains)
        assert {s.domain for s in task.test} == {*corpus.domains, GENERAL}
        assert task.own_domains == {n: {d} for n, d in zip("abc", corpus.client_domains, strict=True)}
        assert task.noisy == frozenset()
        assert task.steps is not None
        for sample in (*task.public, *task.test, *task.replay, *task.private["a"]):
            path = sample.rationale or ""
            assert all(right for _, right in task.steps(sample, path))
            assert task.same(task.extract(path), sample.answer or "")
        with pytest.raises(InputError, match=r"expected some of .*did you mean"):
            builtin(kind, {"a": (f"{corpus.client_domains[0]}s",)})

    def test_noise_changes_the_answers_of_a_share_and_nothing_else(self, kind):
        clean, noisy = builtin(kind), builtin(kind, noise=0.3)
        assert len(noisy.noisy) == 9  # of 30
        assert noisy.steps is not None
        for before, after in zip(clean.public, noisy.public, strict=True):
            if after.id not in noisy.noisy:
                assert after == before
                continue
            assert (after.id, after.question, after.domain) == (before.id, before.question, before.domain)
            assert not noisy.same(after.answer, before.answer or "")
            path = after.rationale or ""
            assert noisy.same(noisy.extract(path), after.answer or "")
            steps = noisy.steps(after, path)
            assert len(steps) == after.difficulty  # it looks right
            assert not all(right for _, right in steps)
        assert (noisy.test, noisy.replay, noisy.private["a"]) == (clean.test, clean.replay, clean.private["a"])

    def test_what_is_known_of_public_questions_is_cut_down_and_nothing_else_changes(self, kind):
        full, answers, nothing = builtin(kind), builtin(kind, gold="answers"), builtin(kind, gold="none")
        for before, after, bare in zip(full.public, answers.public, nothing.public, strict=True):
            assert after == replace(before, rationale=None)
            assert bare == replace(before, rationale=None, answer=None)
        assert answers.private["a"] == full.private["a"]
        assert (nothing.test, nothing.replay) == (full.test, full.replay)

    def test_all_of_it_may_be_noise(self, kind):
        assert builtin(kind, noise=1.0).noisy == {f"public-{n:05d}" for n in range(30)}

    def test_a_share_is_harder_than_what_models_are_taught(self, kind):
        task = builtin(kind, hard=0.5)
        lengths = Counter(s.difficulty for s in task.public)
        assert lengths[5] + lengths[6] == 15
        assert min(lengths[5], lengths[6]) > 0
        assert {split_of(s.question) for s in task.public} == {"public"}
        assert Counter(s.domain for s in task.public).keys() == set(CORPORA[kind].domains)
        assert [s.id for s in task.public] == [f"public-{n:05d}" for n in range(30)]
        assert {s.difficulty for s in (*task.test, *task.private["a"])} <= {1, 2, 3, 4}
        assert task.steps is not None
        assert all(right for s in task.public for _, right in task.steps(s, s.rationale or ""))

    def test_noise_and_hard_questions_mix(self, kind):
        task = builtin(kind, hard=1.0, noise=0.5)
        assert len(task.noisy) == 15
        assert {s.difficulty for s in task.public} == {5, 6}


def test_noise_that_cannot_be_made_is_refused(monkeypatch):
    monkeypatch.setattr(LINEUPS, "retell", lambda sample, book: None)
    with pytest.raises(
        InputError, match=r"task\.noise: 0\.5 of 30 public questions cannot be answered wrongly, only 0"
    ):
        builtin("lineups", noise=0.5)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "rulebooks", "noise": 1.1},
        {"kind": "lineups", "hard": -0.1},
        {"kind": "rulebooks", "public": 0},
        {"kind": "rulebooks", "private": 0},
        {"kind": "rulebooks", "test_per_domain": 0},
        {"kind": "rulebooks", "replay": -1},
        {"kind": "rulebooks", "world": "0"},
        {"kind": "rulebooks", "worlds": 0},
        {"kind": "other"},
        {"kind": "files", "train": [], "public": "p.csv"},
        {"kind": "files", "train": "t.csv", "public": "p.csv", "test_share": 1.0},
        {"kind": "files", "train": "t.csv", "public": "p.csv", "public_limit": 0},
    ],
)
def test_wrong_options(options):
    with pytest.raises(ValidationError):
        OPTIONS.validate_python(options)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "rulebooks"},
        {"kind": "files", "train": ["a.csv", "b.csv"], "public": "p.csv", "partition": {"by": "dirichlet", "alpha": 1}},
    ],
)
def test_resolved_options_are_valid_options(options):
    resolved = OPTIONS.validate_python(options)
    assert OPTIONS.validate_python(resolved.model_dump(mode="json")) == resolved
    assert OPTIONS.validate_json(resolved.model_dump_json()) == resolved


def jsonl(path: Path, *rows: dict) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def sums(start: int, count: int, **more) -> list[dict]:
    return [{"question": f"{n} + {n}?", "answer": str(2 * n), **more} for n in range(start, start + count)]


@pytest.fixture
def folder(tmp_path):
    jsonl(tmp_path / "train.jsonl", *sums(0, 20, domain="x"), *sums(20, 10, domain="y"))
    jsonl(tmp_path / "public.jsonl", *({"question": f"public {n}?"} for n in range(8)))
    jsonl(tmp_path / "test.jsonl", *sums(100, 5, domain="x"))
    jsonl(tmp_path / "replay.jsonl", {"question": "replay?"})
    return tmp_path


TWO = {"b": (), "a": ()}


def files(folder, clients=TWO, seed=0, **options):
    options = {"kind": "files", "train": "train.jsonl", "public": "public.jsonl"} | options
    return load_task(OPTIONS.validate_python(options), clients, seed, folder)


class TestFiles:
    def test_with_a_test_file(self, folder):
        task = files(folder, test="test.jsonl", replay="replay.jsonl")
        assert {name: len(part) for name, part in task.private.items()} == {"a": 20, "b": 10}
        assert task.own_domains == {"a": {"x"}, "b": {"y"}}
        assert [s.question for s in task.test] == [f"{n} + {n}?" for n in range(100, 105)]
        assert [s.question for s in task.replay] == ["replay?"]
        assert {s.domain for s in task.public} == {"all"}
        assert task.general == frozenset()
        assert task.steps is None
        assert task.same(task.extract("so the answer is 4.0"), "4")

    def test_some_of_each_client_is_held_back(self, folder):
        task = files(folder)
        assert Counter(s.domain for s in task.test) == {"x": 4, "y": 2}
        assert {name: len(part) for name, part in task.private.items()} == {"a": 16, "b": 8}
        assert not {s.question for s in task.test} & {s.question for part in task.private.values() for s in part}

    def test_what_is_held_back_depends_on_the_seed_and_not_on_the_order(self, folder):
        tested = {s.question for s in files(folder, seed=1).test}
        assert tested != {s.question for s in files(folder, seed=2).test}
        jsonl(folder / "turned.jsonl", *sums(0, 20, domain="x")[::-1], *sums(20, 10, domain="y")[::-1])
        assert {s.question for s in files(folder, seed=1, train="turned.jsonl").test} == tested

    def test_a_question_that_is_held_back_is_held_back_everywhere(self, folder):
        rows = sums(0, 10)
        jsonl(folder / "train.jsonl", *({**row, "client": name} for row in rows + rows[:3] for name in "ab"))
        task = files(folder, partition={"by": "given"})
        questions = [s.question for s in task.test]
        assert len(set(questions)) == len(questions)
        for part in task.private.values():
            assert not set(questions) & {s.question for s in part}

    @pytest.mark.parametrize("name", ["public", "replay"])
    def test_private_questions_are_nobody_elses(self, folder, name):
        """However they are spelled: the second of each is in capitals and in wide characters."""
        shared = [*sums(60, 4), {"question": "18  +  18?"}, {"question": "１９ + １９?"}]
        jsonl(folder / f"{name}.jsonl", *shared)
        with pytest.raises(InputError) as caught:
            files(folder, replay="replay.jsonl")
        assert str(caught.value) == (
            f"task.train: 2 training questions are also {name} questions (the first is 'train-00019'); remove them "
            f"from one of task.train and task.{name}"
        )
        jsonl(folder / f"{name}.jsonl", *sums(60, 4), {"question": "18 - 18?"})
        files(folder, replay="replay.jsonl")

    @pytest.mark.parametrize("name", ["train", "public", "replay"])
    def test_test_questions_stay_among_themselves(self, folder, name):
        jsonl(folder / f"{name}.jsonl", *sums(70, 10, domain="x"), *sums(103, 4, domain="y"))
        with pytest.raises(
            InputError, match=rf"2 test questions are also {name} questions \(the first is 'test-00004'"
        ):
            files(folder, test="test.jsonl", replay="replay.jsonl")

    def test_several_training_files(self, folder):
        jsonl(folder / "more.jsonl", *sums(50, 6, domain="y"))
        task = files(folder, train=["train.jsonl", "more.jsonl"], test="test.jsonl")
        assert {name: len(part) for name, part in task.private.items()} == {"a": 20, "b": 16}
        jsonl(folder / "more.jsonl", {"question": "?", "answer": "1", "id": "train-00003"})
        with pytest.raises(InputError, match=r"id 'train-00003' is in train.jsonl and in more.jsonl"):
            files(folder, train=["train.jsonl", "more.jsonl"])

    def test_public_order_and_limits(self, folder):
        task = files(folder, public_limit=3, private_limit=5)
        assert len(task.public) == 3
        assert {len(part) for part in task.private.values()} == {5}
        whole = files(folder)
        assert task.public == whole.public[:3]
        assert task.test == whole.test
        for name, part in task.private.items():
            assert set(part) < set(whole.private[name])
            assert [s.id for s in part] == sorted(s.id for s in part)
        assert [s.id for s in whole.public] != sorted(s.id for s in whole.public)
        assert {s.id for s in whole.public} == {f"public-{n:05d}" for n in range(1, 9)}
        assert [s.id for s in files(folder, seed=3).public] != [s.id for s in whole.public]

    def test_a_corpus_without_domains_has_one(self, folder):
        jsonl(folder / "train.jsonl", *sums(0, 20))
        task = files(folder, partition={"by": "iid"})
        assert task.own_domains == {"a": {"all"}, "b": {"all"}}

    def test_columns(self, folder):
        jsonl(folder / "train.jsonl", *({"q": f"{n}?", "label": "1", "why": "so"} for n in range(9)))
        jsonl(folder / "public.jsonl", {"q": "public?"})
        columns = {"question": "q", "answer": "label", "rationale": "why"}
        task = files(folder, {"a": ()}, columns=columns)
        assert {s.rationale for s in task.private["a"]} == {"so"}
        with pytest.raises(InputError, match=r"task.columns.domain: no file has a column 'wy'; .*did you mean 'why'"):
            files(folder, {"a": ()}, columns=columns | {"domain": "wy"})

    def test_refusals(self, folder):
        with pytest.raises(InputError, match=r"there is no file .*none.csv"):
            files(folder, train="none.csv")
        with pytest.raises(InputError, match=r"line 1: no column 'answer'"):
            files(folder, test="public.jsonl")
        with pytest.raises(InputError, match=r"unknown kind 'aut'"):
            files(folder, answer="aut")
        with pytest.raises(InputError, match=r"kind 'choice' cannot read the answer '0' of sample 'train-00001'"):
            files(folder, answer="choice")
        with pytest.raises(InputError, match=r"'c' is left with no training samples"):
            files(folder, {"a": (), "b": (), "c": ()})
        with pytest.raises(InputError, match="clients: there are none"):
            files(folder, {})

    def test_paths_start_at_the_base(self, folder, monkeypatch):
        monkeypatch.chdir(folder)
        options = FilesTask(train="train.jsonl", public=str(folder / "public.jsonl"))
        assert load_task(options, TWO, 0).test == files(folder).test


def test_options_are_told_apart_by_kind():
    assert isinstance(OPTIONS.validate_python({"kind": "rulebooks"}), BuiltinTask)
    assert isinstance(OPTIONS.validate_python({"kind": "files", "train": "t.csv", "public": "p.csv"}), FilesTask)
