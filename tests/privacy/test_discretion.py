"""What leaves a client when it holds something back: texts without what must not leave, losses without exactness."""

from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import PUBLIC, make, make_party
from pydantic import ValidationError

from lada.codecs.metrics import decode_records
from lada.core.errors import InputError
from lada.core.results import PartyReport, StudyRecord
from lada.core.terms import Knowledge, Likelihood, Path
from lada.models.base import Studies, Study
from lada.models.private import Privacy
from lada.objectives.base import OBJECTIVES
from lada.policies.blur import Blurs
from lada.policies.redact import Redact
from lada.privacy.conflicts import check_dp, check_losses
from lada.privacy.discretion import blur
from lada.privacy.options import Blur, Redaction, Rule
from lada.rounds.knowledge import SOFT, receive_knowledge, send_knowledge, write_knowledge
from lada.rounds.party import Party
from lada.rounds.reports import METRICS, report_payload

MAIL = Redaction(pii=("email",), rules=(Rule(pattern=r"Dr\. (\w)\w+", by=r"Dr. \1."),))


def client(folder: FilePath, **more: Any) -> Party:
    party = make_party("a", {0, 1, 2, 3, 4}, folder, **more)
    learner: Any = party.learner
    learner.answers |= {
        PUBLIC[0].question: "Dr. Novak says so answer gold0",
        PUBLIC[1].question: "so answer x@y.org",
        PUBLIC[2].question: "write to x@y.org so answer gold2",
    }
    party.policies = (("redact", Redact(MAIL)),)
    return party


def told(party: Party, **more: Any) -> tuple[Knowledge, dict[str, bytes]]:
    payload = dict(send_knowledge(party, write_knowledge(party, 1, "answer", "paths"), "paths", **more))
    return receive_knowledge(make_party("llm", set(), party.folder), payload, "a", 1, "paths").knowledge, payload


def test_a_changed_path_travels_with_the_answer_verdict_and_likelihood_of_what_travels(tmp_path: FilePath):
    party = client(tmp_path)
    learner: Any = party.learner
    learner.judgements = {"so answer [EMAIL]": -7.0}
    paths = told(party)[0].by_id()
    assert [paths[f"p{i}"].text for i in range(4)] == [
        "Dr. N. says so answer gold0",
        "so answer [EMAIL]",
        "write to [EMAIL] so answer gold2",
        "so answer gold3",
    ]
    assert [(paths[f"p{i}"].answer, paths[f"p{i}"].right) for i in (0, 1, 2)] == [
        ("gold0", True),
        ("[EMAIL]", False),
        ("gold2", True),
    ]
    assert [paths[f"p{i}"].likelihood.total for i in (0, 1, 3)] == [-2.0, -7.0, -1.0]
    assert paths["p1"].likelihood.size == len("so answer [EMAIL]")
    assert learner.judged == [(PUBLIC[i].question, paths[f"p{i}"].text) for i in range(3)]
    assert party.report.notices == (
        "round 1: a redacted 3 of 5 paths, 1 of them in their answers, and withheld 0 that took too long",
    )


def test_a_changed_text_gets_no_soft_targets(tmp_path: FilePath):
    party = client(tmp_path, objective=make(OBJECTIVES, "soft_targets", k=3))
    from lada.codecs.soft_targets import SoftTargets

    assert list(SoftTargets(told(party)[1][SOFT], known_ids=None)) == ["p3", "p4"]


def test_a_pattern_that_takes_too_long_holds_the_path_back(tmp_path: FilePath, monkeypatch):
    monkeypatch.setattr("lada.privacy.options.PATIENCE", 0.05)
    party = client(tmp_path)
    party.policies = (("redact", Redact(Redaction(rules=(Rule(pattern=r"(?:b|b|bb)+c"),)))),)
    learner: Any = party.learner
    learner.answers[PUBLIC[0].question] = "b" * 5000 + "d"
    assert [path.sample_id for path in told(party)[0].paths] == ["p1", "p2", "p3", "p4"]
    assert "withheld 1 that took too long" in party.report.notices[0]


def test_without_redaction_nothing_changes(tmp_path: FilePath):
    party = client(tmp_path)
    party.policies = ()
    assert told(party)[0] == write_knowledge(party, 1, "answer", "paths")
    assert party.report.notices == ()


@pytest.mark.parametrize("rule", [{"pattern": "("}, {"pattern": "a*"}, {"pattern": ""}])
def test_a_pattern_that_makes_no_sense_is_refused(rule):
    with pytest.raises(ValidationError):
        Rule(**rule)


def paths(*losses: float) -> tuple[Path, ...]:
    return tuple(
        Path(f"s{i}", "a", "text", None, None, Likelihood(-loss, -loss / 2, 4, 10)) for i, loss in enumerate(losses)
    )


def test_losses_are_rounded_per_token():
    """-1.3 over 4 tokens is -0.325 per token, which rounds to -0.3 at 0.1; its least log-prob -0.65 to -0.6 or -0.7."""
    (path,) = blur(Blur(round_to=0.1), paths(1.3), np.random.default_rng(0))
    assert path.likelihood.total == pytest.approx(-1.2)
    assert path.likelihood.minimum == pytest.approx(-0.6)
    assert (path.likelihood.tokens, path.likelihood.size) == (4, 10)


@pytest.mark.parametrize(("law", "deviation"), [("laplace", 0.5 * 2**0.5), ("gaussian", 0.5)])
def test_noise_has_its_scale_and_leaves_no_log_prob_above_zero(law, deviation):
    many = paths(*[400.0] * 4000)
    means = np.array([path.likelihood.mean for path in blur(Blur(noise=0.5, law=law), many, np.random.default_rng(0))])
    assert means.mean() == pytest.approx(-100, abs=0.05)
    assert means.std() == pytest.approx(deviation, rel=0.05)
    sure = blur(Blur(noise=0.5, law=law), paths(*[0.0] * 100), np.random.default_rng(0))
    assert max(path.likelihood.total for path in sure) == 0.0
    assert min(path.likelihood.total for path in sure) < 0.0


def test_an_unknown_likelihood_stays_unknown():
    (path,) = paths(1.0)
    unknown = replace(path, likelihood=Likelihood.unknown(10))
    assert blur(Blur(noise=1.0), [unknown], np.random.default_rng(0)) == (unknown,)


def test_noise_repeats_only_where_it_is_seeded(tmp_path: FilePath):
    totals = {}
    for seeded in (True, False):
        party = make_party("a", {0}, tmp_path)
        party.policies = (("blur", Blurs(Blur(noise=0.1, seeded=seeded))),)
        totals[seeded] = [[path.likelihood.total for path in told(party)[0].paths] for _ in range(2)]
    assert totals[True][0] == totals[True][1]
    assert totals[False][0] != totals[False][1]


def test_the_losses_of_studies_are_blurred_when_they_leave(tmp_path: FilePath):
    party = make_party("a", {0}, tmp_path)
    study = StudyRecord(
        party="a", round=1, phase="private", steps=1, lessons=1, pairs=0, replayed=0, tokens=1,
        first_loss=1.234, last_loss=float("nan"),
    )  # fmt: skip
    party.note(studies=(study,))
    party.policies = (("blur", Blurs(Blur(round_to=0.5))),)
    (sent,) = decode_records(report_payload(party)[METRICS], PartyReport)
    assert sent.studies[0].first_loss == 1.0
    assert np.isnan(sent.studies[0].last_loss)


def test_options_that_let_out_by_another_way_are_refused(monkeypatch):
    with pytest.raises(ValidationError):
        Blur()
    with pytest.raises(InputError, match=r"clients\.a\.blur: objective 'alm' sends soft targets"):
        check_losses("a", "blur", "alm", soft=True)
    check_losses("a", "blur", "alm", soft=False)
    monkeypatch.setattr("lada.privacy.conflicts.check_installed", lambda: None)
    dp, other = (Study(dp=Privacy(noise_multiplier=1.0, delta=delta)) for delta in (1e-5, 1e-6))
    check_dp("a", Studies(Study(), Study()), 0.25)
    check_dp("a", Studies(dp, dp), 0.25)
    check_dp("a", Studies(dp, Study()), 0.0)
    for studies, replayed, expected in (
        (Studies(dp, Study()), 0.25, r"distil\.dp: not set.*client_replay\.private: 0\.0"),
        (Studies(dp, Study()), None, r"distil\.dp: not set.*expected dp in both$"),
        (Studies(Study(), dp), 0.25, r"private\.dp: not set"),
        (Studies(dp, other), 0.25, r"delta: 1e-06, but private\.dp\.delta is 1e-05"),
    ):
        with pytest.raises(InputError, match=expected):
            check_dp("a", studies, replayed)
