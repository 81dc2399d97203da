"""Exposure of a planted secret, by ranks that can be counted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lada.audit.exposure import CANDIDATES, Secret, exposure, measure, read_secrets
from lada.core.errors import InputError

SECRET = Secret(question="what is the code ?", text="the code is {47-ab} now")


def losses_of_rank(rank: int) -> np.ndarray:
    """Return 1024 losses of which the first is the `rank`-th smallest."""
    others = np.delete(np.arange(1, CANDIDATES + 1), rank - 1)
    return np.array([rank, *others], np.float64)


@pytest.mark.parametrize(("rank", "bits"), [(1, 10.0), (512, 1.0), (1024, 0.0)])
def test_exposure_by_rank(rank: int, bits: float):
    assert exposure(losses_of_rank(rank)) == (rank, pytest.approx(bits, abs=1e-5))


def test_a_model_to_which_all_are_the_same_exposes_nothing():
    assert exposure(np.zeros(CANDIDATES))[0] == 512.5
    assert exposure(np.full(CANDIDATES, np.nan))[1] == pytest.approx(1.0, abs=0.01)
    assert exposure(np.array([np.nan, 1.0, 2.0, 3.0])) == (4.0, 0.0)  # a text without a loss is the least likely


def test_candidates_have_the_form_of_the_secret_and_are_distinct():
    texts = SECRET.candidates(np.random.default_rng(0))
    assert texts[0] == "the code is 47-ab now"
    assert len(set(texts)) == CANDIDATES
    for text in texts:
        assert text.startswith("the code is ")
        assert text.endswith(" now")
        digits, letters = text.removeprefix("the code is ").removesuffix(" now").split("-")
        assert digits.isdigit()
        assert letters.isalpha()
        assert letters.islower()
        assert len(digits) == len(letters) == 2


def test_each_secret_is_measured_among_its_own_candidates_and_not_named():
    secrets = [SECRET, Secret(question="", text="{9999}")]
    asked: list[Any] = []

    def losses(pairs: Any) -> np.ndarray:
        asked.append(pairs)
        return losses_of_rank(1 if len(asked) == 1 else 256)

    first, second = measure(secrets, "llm", 3, losses)
    assert (first.bits, second.bits) == (10.0, 2.0)
    assert (first.party, first.secret, second.secret, first.candidates) == ("llm", "secret 1", "secret 2", CANDIDATES)
    assert asked[0][0] == ("what is the code ?", "the code is 47-ab now")
    again = list(asked)
    measure(secrets, "slm", 3, losses)
    assert asked[2:] == again  # all parties are asked for the same


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"question": "q", "text": "no secret"}', "text: it has no secret in braces"),
        ('{"question": "q", "text": "{4711} {4711}"}', "text: it has no secret in braces"),
        ('{"question": "q", "text": "{471}"}', "text: fewer than 1024 secrets"),
        ('{"question": "q", "text": "{}"}', "text: fewer than 1024 secrets"),
        ('{"question": "q", "text": "{----------}"}', "text: fewer than 1024 secrets"),
        ('{"text": "{4711}"}', "question: Field required"),
        ('["{4711}"]', "valid dictionary"),
        ("4711", "valid dictionary"),
        ("not JSON {4711}", "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        (json.dumps({"question": "q", "text": "x" * 20_000 + "{4711}"}), "at most 10000"),
    ],
)
def test_another_file_is_refused_without_repeating_it(tmp_path: Path, line: str, why: str):
    file = tmp_path / "secrets.jsonl"
    file.write_text('{"question": "q", "text": "{1234}"}\n' + line, encoding="utf-8")
    with pytest.raises(InputError, match=why) as told:
        read_secrets(file)
    assert "4711" not in str(told.value).replace("the code is {4711}", "").replace("such as {4711}", "")
    assert "line 2" in str(told.value)


def test_a_file_of_nothing_is_refused(tmp_path: Path):
    for file in (tmp_path, tmp_path / "none", tmp_path / "empty"):
        if file.name == "empty":
            file.write_text("\n")
        with pytest.raises(InputError, match="--exposure"):
            read_secrets(file)
