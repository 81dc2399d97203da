"""What a client that lies can teach: verified answers, claims that nobody believes, records that speak against it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import PUBLIC, Federation, federation, make, make_party, task, wrong
from hypothesis import given
from hypothesis import strategies as st

from lada.allocators.base import ALLOCATORS, Candidates
from lada.core.terms import Allocation, Knowledge, Likelihood, Sample, Selection, Source, SparseLogProbs, TokenizedText
from lada.core.terms import Path as ReasoningPath
from lada.fusers.base import FUSERS
from lada.hosts.base import HOSTS
from lada.objectives.base import OBJECTIVES
from lada.rounds.party import Party
from lada.rounds.soft import with_soft_targets
from lada.rounds.trust import (
    Record,
    contradicting,
    doubted,
    keep_first,
    record,
    reference,
    text_losses,
    untrusted,
    without_paths,
)

BLIND = tuple(replace(sample, answer=None) for sample in PUBLIC)


def taught(both: Federation) -> dict[str, str]:
    """Return what the LLM studied first, by sample id, without its own replay."""
    (studied, *_) = both.studies("llm")
    return {lesson.sample_id: lesson.chosen for lesson in studied.lessons if lesson.sample_id.startswith("p")}


@pytest.mark.parametrize("allocator", ["verified", "lada"])
def test_a_wrong_path_is_never_chosen_whatever_its_writer_claims(tmp_path: FilePath, allocator: str, monkeypatch):
    def lying(party, samples, round, purpose, **options):
        knowledge = honest(party, samples, round, purpose, **options)
        if party.name != "b" or purpose != "answer":
            return knowledge

        def surest(text: str) -> Likelihood:
            return Likelihood(0.0, 0.0, 9, len(text.encode()))

        paths = tuple(
            ReasoningPath(p.sample_id, "b", wrong(i, "b"), f"gold{i}", True, surest(wrong(i, "b")))
            for i, p in enumerate(knowledge.paths)
        )
        return Knowledge("b", round, paths)

    from lada.rounds import knowledge as module

    honest = module.write_paths
    knows = {"llm": {0}, "a": {1, 2}, "b": {3, 4}}
    alone = federation(tmp_path / "alone", "fedmkt", {"llm": {0}, "a": {1, 2}}, allocator=allocator)
    alone.run(1, 2)
    monkeypatch.setattr(module, "write_paths", lying)
    both = federation(tmp_path / "both", "fedmkt", knows, allocator=allocator)
    both.run(1, 2)
    assert not [s for studied in both.studies("llm") for s in studied.lessons if s.chosen.endswith(("b0", "b3", "b4"))]
    # The others are as if it had not been there.
    for party in ("llm", "a"):
        assert [s.texts() for s in both.studies(party)] == [s.texts() for s in alone.studies(party)]


def knowledge(party: str, answers: Sequence[str | None]) -> Knowledge:
    likelihood = Likelihood(-1.0, -1.0, 1, 1)
    return Knowledge(
        party, 1, tuple(ReasoningPath(f"p{i}", party, a or "", a, None, likelihood) for i, a in enumerate(answers))
    )


def allocation(client: str, teacher: int, student: int = 0) -> Allocation:
    sources: list[Source] = [*["teacher" for _ in range(teacher)], *["student" for _ in range(student)]]
    return Allocation(client, "llm", 1, tuple(Selection(f"p{i}", s, 1.0, "") for i, s in enumerate(sources)))


def claimed(total: float, *, text: str = "answer x", verdict: bool | None = None) -> Knowledge:
    """Return a client's one path with what it claims of it."""
    likelihood = Likelihood(total, total, 3, len(text))
    return Knowledge("b", 1, (ReasoningPath("p0", "b", text, "x", verdict, likelihood),))


OWN = Knowledge("llm", 1, (ReasoningPath("p0", "llm", "so answer y", "y", None, Likelihood(-1.1, -1.0, 4, 11)),))
JUDGED = {"p0": Likelihood(-8.0, -5.0, 4, 8)}


def test_a_claim_gives_way_to_the_receivers_judgement():
    (path,) = doubted(claimed(0.0), JUDGED, OWN).paths
    assert path.likelihood == Likelihood(-8.0, -5.0, 4, 8)
    assert path.likelihood.per_byte == 1.0
    assert path.text == "answer x"


def test_a_text_that_a_gold_answer_can_check_is_as_it_was():
    for verdict in (True, False):
        assert doubted(claimed(0.0, verdict=verdict), JUDGED, OWN) == claimed(0.0, verdict=verdict)


def test_padding_a_text_lowers_no_loss():
    text = "answer x " * 100
    judged = {"p0": Likelihood(-9.0, -5.0, 300, len(text))}
    (path,) = doubted(claimed(0.0, text=text), judged, OWN).paths
    assert path.likelihood.per_byte == pytest.approx(9 / 11)  # and not 0.01, which is below the receiver's own 0.1


def test_who_has_no_answer_cannot_judge_another():
    blank = replace(OWN, paths=(replace(OWN.paths[0], text="so", answer=None),))
    (path,) = doubted(claimed(0.0), JUDGED, blank).paths
    assert path.likelihood.per_byte == math.inf
    for name in ("dual_min_ce", "winner", "teachable", "confident"):
        candidates = Candidates(
            round=1,
            teacher="b",
            student="llm",
            samples=(Sample("p0", "public 0"),),
            teacher_paths=(path,),
            student_paths=blank.paths,
            student_on_teacher=(JUDGED["p0"],),
            agree=(False,),
            seed=0,
        )
        _, allocation, _ = make(ALLOCATORS, name).apply({}, candidates)
        assert allocation.choices == ()


@given(st.lists(st.floats(-1e6, 0), min_size=2, max_size=5))
def test_what_a_client_claims_changes_nothing(totals: list[float]):
    assert len({doubted(claimed(total), JUDGED, OWN) for total in totals}) == 1


@given(st.floats(-50, 0), st.floats(-50, 0), st.floats(-50, 0), st.floats(0, 50))
def test_raising_a_claim_wins_no_fusion(total: float, mine: float, judged: float, raised: float):
    fuser = make(FUSERS, "least_loss", below_own=True)
    own = Knowledge("llm", 1, (replace(OWN.paths[0], likelihood=Likelihood(mine, mine, 4, 11)),))
    other = replace(OWN.paths[0], writer="a")

    def won(claim: float) -> bool:
        (path,) = doubted(claimed(claim), {"p0": Likelihood(judged, judged, 4, 8)}, own).paths
        return fuser.fuse({}, "llm", {"a": other, "b": path}, own.paths[0])[1] == "b"

    assert won(min(total + raised, 0.0)) <= won(total)


def lessons(folder: FilePath, allocator: Any, claims: Mapping[int, float], trust: str = "auto") -> list[dict[str, str]]:
    """Return what the LLM studied of a client that is wrong on all and claims so much, where nobody knows answers."""
    knows = {"llm": {0, 1}, "a": {0, 1, 2}, "b": set[int]()}
    both = federation(
        folder, "fedmkt", knows, {"trust": trust}, allocator=allocator, data=task(BLIND), sure={"b": claims}
    )
    both.run(0, 1)
    return [
        {lesson.sample_id: lesson.chosen for lesson in each.lessons if lesson.sample_id.startswith("p")}
        for each in both.studies("llm")
    ]


@pytest.mark.parametrize("allocator", ["dual_min_ce", "winner", "teachable", "lada", "confident", "rho_loss"])
def test_without_gold_certainty_teaches_no_lie(tmp_path: FilePath, allocator: str):
    certain = dict.fromkeys(range(5), -1e-9)
    bold = lessons(tmp_path / "bold", allocator, certain)
    assert bold == lessons(tmp_path / "timid", allocator, dict.fromkeys(range(5), -1.5))
    if allocator != "confident":  # it takes whatever there is, the likeliest first
        assert bold == []
    believed = lessons(tmp_path / "believed", allocator, certain, "off")
    assert wrong(2, "b") in believed[0].values()


def limit_by_record(
    llm: Party, allocations: Mapping[str, Allocation], offers: Mapping[str, Knowledge], round: int
) -> dict[str, Allocation]:
    """Return the allocations by client, without paths of those whose records speak against them."""
    records = {client: record(llm, offers[client], reference(llm)) for client in sorted(offers)}
    against = untrusted(records)
    return {
        client: without_paths(llm, round, each, records[client], against[client]) if client in against else each
        for client, each in allocations.items()
    }


def test_a_record_by_hand(tmp_path: FilePath):
    samples = (*(Sample(f"p{i}", f"public {i}") for i in range(99)), Sample("p99", "public 99", "gold"))
    llm = make_party("llm", set(), tmp_path, data=task(samples))
    mine = knowledge("llm", ["x", "y"] * 49 + ["x", "z"])
    keep_first(llm, mine)
    keep_first(llm, knowledge("llm", ["q"] * 100))  # what it says later, taught by others, is not what counts
    offers = {
        "a": knowledge("a", ["x", "y"] * 40 + [None] * 19 + ["gold"]),  # agrees on 81
        "b": knowledge("b", ["y", "x"] * 50),  # on nothing
        "c": knowledge("c", ["x", "q"] * 50),  # on 50
    }
    chosen = {"a": allocation("a", 4), "b": allocation("b", 3, student=1), "c": allocation("c", 4)}
    limited = limit_by_record(llm, chosen, offers, 1)
    # Of the 100 reference answers 50 are x, 49 y, 1 gold. By chance: a (40 x 50 + 40 x 49 + 1) / 100^2 = 0.3961, b
    # (50 x 50 + 50 x 49) / 100^2 = 0.495, c 50 x 50 / 100^2 = 0.25. Excesses 0.4139, -0.495 and 0.25, so that b would
    # need 0.495 + 0.25 / 2 = 0.62.
    assert limited["a"] == chosen["a"]
    assert limited["c"] == chosen["c"]
    assert [choice.source for choice in limited["b"].choices] == ["student"]
    assert llm.report.notices == (
        "round 1: llm learns none of the 3 chosen paths of b: 0 of its 100 answers match the gold ones, or those of "
        "llm before any training; a client half as good as the others would match 62.0",
    )
    assert limit_by_record(llm, {}, {}, 2) == {}


def binomial(k: int, n: int, p: float) -> float:
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


def test_half_of_the_others_excess_is_where_the_line_is():
    others = {"a": Record(40, 100, 0.1), "c": Record(20, 100, 0.1)}  # excesses 0.3 and 0.1, the lower one 0.1
    line = next(k for k in range(100) if binomial(k, 100, 0.15) >= 0.01)
    assert line == 7
    assert untrusted({**others, "b": Record(line, 100, 0.1)}) == {}
    assert untrusted({**others, "b": Record(line - 1, 100, 0.1)}) == {"b": pytest.approx(0.15)}


def others_one_by_one(records: Mapping[str, Record]) -> dict[str, float]:
    """The rule as the module states it, client by client."""
    against = {}
    for client, its in records.items():
        others = sorted(other.excess for name, other in records.items() if name != client)
        usual = others[(len(others) - 1) // 2] if len(others) > 1 else 0.0
        least = its.chance + max(usual, 0.0) / 2
        if binomial(its.agreed, its.received, min(least, 1.0)) < 0.01:
            against[client] = least
    return against


RECORDS = st.builds(
    lambda told, share, chance: Record(round(told * share), told, chance),
    st.integers(0, 30),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.sampled_from([0.0, 0.1, 0.3]),
)


@given(st.dictionaries(st.text("abcdefgh", min_size=1, max_size=2), RECORDS, max_size=9))
def test_each_client_is_held_against_the_others_alone(records: dict[str, Record]):
    assert untrusted(records) == others_one_by_one(records)


def test_a_weak_honest_client_keeps_all():
    # As in a first round of the demo: an honest client hardly above chance, others twice as good, 300 questions.
    assert untrusted({"a": Record(16, 300, 0.04), "b": Record(32, 300, 0.04), "c": Record(25, 300, 0.045)}) == {}
    assert untrusted({"a": Record(0, 300, 0.0), "b": Record(32, 300, 0.04), "c": Record(25, 300, 0.045)}).keys() == {
        "a"
    }


def test_who_has_nobody_to_be_compared_with_is_held_against_chance():
    assert untrusted({"a": Record(10, 100, 0.1)}) == {}
    assert untrusted({"a": Record(0, 100, 0.1)}) == {"a": 0.1}
    assert untrusted({"a": Record(0, 0, 0.0)}) == {}


def test_one_that_knows_all_answers_does_not_cut_the_honest_ones():
    knowing, honest = Record(98, 100, 0.1), Record(30, 100, 0.1)
    assert untrusted({"a": honest, "b": knowing}) == {}
    assert untrusted({"a": honest, "b": knowing, "c": honest}) == {}


def test_liars_that_are_most_do_not_cut_the_honest_one():
    records = {"a": Record(50, 100, 0.1), "b": Record(10, 100, 0.1), "c": Record(10, 100, 0.1)}
    assert "a" not in untrusted(records)


def test_an_llm_that_learnt_from_the_liar_does_not_cut_the_honest_one(tmp_path: FilePath):
    samples = tuple(Sample(f"p{i}", f"public {i}") for i in range(100))
    llm = make_party("llm", set(), tmp_path, data=task(samples))
    truth, lies = [f"t{i % 7}" for i in range(100)], [f"l{i % 7}" for i in range(100)]
    offers = {"a": knowledge("a", truth), "b": knowledge("b", lies), "c": knowledge("c", truth)}
    chosen = {client: allocation(client, 3) for client in offers}
    for round, answers in ((1, truth), (2, lies)):
        keep_first(llm, knowledge("llm", answers))
        limited = limit_by_record(llm, chosen, offers, round)
        assert {client: len(each.choices) for client, each in limited.items()} == {"a": 3, "b": 0, "c": 3}


def test_the_first_answers_survive_in_the_memory_of_a_run(tmp_path: FilePath):
    knows = {"llm": {0, 1}, "a": {1}, "b": {0, 2}}
    both = federation(tmp_path, "fedmkt", knows, {"trust": "agreement"}, allocator="all")
    both.run(1)
    first = both.server.memory["first answers"]
    both.run(2)
    assert both.server.memory["first answers"] == first


def test_a_certain_liar_teaches_nothing_where_gold_answers_are_known_and_the_allocator_reads_none(tmp_path: FilePath):
    data = task(tuple(Sample(f"p{i}", f"public {i}", answer=f"t{i % 7}") for i in range(60)))
    llm = make_party("llm", set(), tmp_path, data=data)
    truth, lies = [f"t{i % 7}" for i in range(60)], [f"l{i % 7}" for i in range(60)]
    offers = {"a": knowledge("a", truth), "b": knowledge("b", lies), "c": knowledge("c", truth)}
    keep_first(llm, knowledge("llm", lies))
    limited = limit_by_record(llm, {client: allocation(client, 3) for client in offers}, offers, 1)
    assert {client: len(each.choices) for client, each in limited.items()} == {"a": 3, "b": 0, "c": 3}


def test_where_gold_answers_exist_nothing_changes(tmp_path: FilePath):
    knows = {"llm": {0, 1}, "a": {0, 1, 2}, "b": set[int]()}
    for allocator in ("dual_min_ce", "lada", "all"):
        outcomes = []
        for trust in ("auto", "off"):
            folder = tmp_path / allocator / trust
            both = federation(folder, "fedmkt", knows, {"trust": trust}, allocator=allocator, sure={"b": {2: -0.5}})
            both.run(0, 1, 2)
            outcomes.append([each.texts() for each in both.studies("llm")])
        assert outcomes[0] == outcomes[1]


def test_contradictions_by_hand():
    texts = [f"p{i}" for i in range(20)]
    honest = {"llm": dict.fromkeys(texts, 0.5), "a": dict.fromkeys(texts, 1.0), "c": dict.fromkeys(texts, 1.9)}
    assert contradicting(honest, judge="llm") == {}  # 1.9 is less than twice 1.0
    liar = {id: 2.1 if i < 15 else 1.0 for i, id in enumerate(texts)}
    told = {"llm": honest["llm"], "a": honest["a"], "b": liar}
    # 15 heads of 20 or more: 0.0207; 16: 0.0059.
    assert contradicting(told, judge="llm") == {}
    liar["p15"] = 2.1
    assert contradicting(told, judge="llm") == {"b": (16, 20)}
    assert contradicting({"a": honest["a"], "b": liar}, judge="llm") == {}  # one against one
    told["llm"] = dict.fromkeys(texts, 9.0)
    assert contradicting(told, judge="llm") == {}  # who is no worse than somebody else
    assert contradicting({**told, "c": honest["c"]}, judge="llm") == {}  # and the judge is not judged


def test_losses_are_of_the_receivers_own_tokens(tmp_path: FilePath):
    llm = make_party("llm", set(), tmp_path)
    size = len(llm.learner.vocabulary().tokens)
    spelled = {"p0": TokenizedText(np.array([7, 8], np.int32), np.array([[0, 1], [1, 2]], np.int32))}
    said = SparseLogProbs(
        np.array([[7, 9], [9, 0]], np.int32), np.array([[np.log(0.5), np.log(0.25)], [0.0, -np.inf]], np.float32)
    )
    # Of the second token it says only that another one is certain: what is left for each of the rest is 1e-7 / 256.
    expected = (math.log(2) + math.log((size - 1) / 1e-7)) / 2
    assert text_losses(llm, {"p0": said}, spelled)["p0"] == pytest.approx(expected, rel=1e-6)
    silent = SparseLogProbs(np.zeros((2, 1), np.int32), np.full((2, 1), -np.inf, np.float32))
    assert text_losses(llm, {"p0": silent}, spelled) == {}


MANY = tuple(Sample(f"p{i}", f"public {i}", f"gold{i}", domain="farm") for i in range(16))


def says(party: Any, own: float) -> None:
    """Let a party give each token of a text this probability."""
    learner = party.learner

    def log_probs(pairs: list[tuple[str, str]], k: int, **_: Any) -> Any:
        scores = type(learner).log_probs(learner, pairs, k)
        for each in scores:
            mine = each.top.ids == each.tokens[:, None]
            each.top.log_probs[:] = np.log(np.where(mine, own, (0.99 - own) / (k - 1)))
        return scores

    learner.log_probs = log_probs


@pytest.mark.parametrize(("host", "trust"), [("fedmd", "auto"), ("fedmkt", "auto"), ("fedmkt", "off")])
def test_distributions_that_contradict_the_gold_texts_have_no_say(tmp_path: FilePath, host: str, trust: str):
    options = {"trust": trust, "knowledge": "labels"} if host == "fedmkt" else {}
    objective = make(OBJECTIVES, "soft_targets", k=3, form="forward_kl", label_weight=0.5)
    knows = {name: set[int]() for name in ("llm", "a", "b")}
    both = federation(tmp_path, host, knows, options, allocator="all", objective=objective, data=task(MANY))
    says(both.server, 0.5)
    says(both.clients["a"], 0.5)
    says(both.clients["b"], 1e-4)
    liar: Any = both.clients["b"].learner
    liar.judgements = {f"answer gold{i}": -0.01 for i in range(16)}
    both.run(1)
    told = [notice for notice in both.server.report.notices if "distributions of b" in notice]
    assert told == (
        [
            "round 1: the distributions of b are left out: on 16 of 16 gold texts its loss per token is more than "
            "twice the largest of the others'"
        ]
        if trust == "auto"
        else []
    )
    own = [
        float(np.exp(lesson.soft.log_probs[0][lesson.soft.ids[0] == lesson.chosen.encode()[0]][0]))
        for each in both.studies("llm")
        for lesson in each.lessons
        if lesson.soft is not None
    ]
    assert len(own) == 16
    if trust == "auto":
        assert own == pytest.approx([0.5] * 16, rel=0.05)
    else:
        assert min(own) < 0.25


def test_soft_targets_that_were_checked_are_learnt_and_not_made_again(tmp_path: FilePath, monkeypatch):
    objective = make(OBJECTIVES, "soft_targets", k=3, form="forward_kl", label_weight=0.5)
    knows = {name: set[int]() for name in ("llm", "a", "b")}
    made: list[int] = []

    def counting(party, lessons, offer):
        made.append(len(lessons) if party.role == "server" else 0)
        return with_soft_targets(party, lessons, offer)

    for module in ("hosts.fedmkt", "rounds.distilling"):
        monkeypatch.setattr(f"lada.{module}.with_soft_targets", counting)
    learnt = []
    for trust in ("auto", "off"):
        options = {"trust": trust, "knowledge": "labels"}
        both = federation(tmp_path / trust, "fedmkt", knows, options, allocator="all", objective=objective)
        made.clear()
        both.run(1)
        learnt.append(
            [
                (lesson.sample_id, lesson.soft.ids.tolist(), lesson.soft.log_probs.tolist())
                for each in both.studies("llm")
                for lesson in each.lessons
                if lesson.soft is not None
            ]
        )
        assert sum(made) == 2 * len(PUBLIC) if trust == "auto" else sum(made) <= 2 * len(PUBLIC)
    assert learnt[0] == learnt[1] != []


def test_hosts_whose_clients_tell_nothing_have_nothing_to_lie_about(tmp_path: FilePath):
    party = make_party("llm", set(), tmp_path)
    for name in ("fedcot", "public_sft", "standalone"):
        method = HOSTS.get(name)
        told = [phase.replies for phase in method.make(method.options()).phases(1, party).values()]
        assert {kind for kinds in told for kind in kinds.required | kinds.optional} == {"metrics", "times"}


def test_a_bare_off_in_yaml_is_off():
    options = HOSTS.get("fedmkt").options
    assert options.model_validate({"trust": False}) == options.model_validate({"trust": "off"})


def contradicting_one_by_one(losses: Mapping[str, Mapping[str, float]], judge: str) -> dict[str, tuple[int, int]]:
    """The rule as the module states it, member by member."""
    against = {}
    for member in sorted(losses.keys() - {judge}):
        others = {
            id: [each[id] for name, each in losses.items() if name != member and id in each] for id in losses[member]
        }
        compared = [id for id, each in others.items() if len(each) >= 2]
        count = sum(losses[member][id] > 2 * max(others[id]) for id in compared)
        if compared and 1 - binomial(count - 1, len(compared), 0.5) < 0.01:
            against[member] = (count, len(compared))
    return against


@given(
    st.dictionaries(
        st.sampled_from(["llm", "a", "b", "c", "d"]),
        st.dictionaries(st.integers(0, 8).map(str), st.sampled_from([0.0, 0.5, 1.0, 1.5, 4.0]), max_size=9),
    )
)
def test_each_member_is_held_against_the_others_alone(losses: dict[str, dict[str, float]]):
    assert contradicting(losses, judge="llm") == contradicting_one_by_one(losses, judge="llm")
