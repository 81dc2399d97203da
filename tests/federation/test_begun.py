import hashlib
from dataclasses import replace
from types import SimpleNamespace

import pytest

from lada.core.errors import LadaError
from lada.core.terms import Sample
from lada.federation import begun
from lada.tasks.data import TaskData


def task(**changes):
    one = (Sample("s", "question", "answer", "why", "domain", 1),)
    parts = {"public": one, "private": {"a": one, "b": ()}, "test": one, "replay": one} | changes
    none: dict = {"own_domains": {}, "general": frozenset(), "extract": str, "same": lambda a, b: a == b, "steps": None}
    return TaskData(**parts, **none)


@pytest.mark.parametrize("field", ["id", "question", "answer", "rationale", "domain", "difficulty", "entry"])
def test_each_field_of_each_sample_counts_and_what_changed_is_named(tmp_path, field):
    begun.write(tmp_path, begun.samples(task(), ["a", "b"]))
    other = (replace(task().public[0], **{field: 7 if field == "difficulty" else "other"}),)
    for part, what in (("public", "public"), ("test", "test"), ("replay", "replayed")):
        assert begun.changed(tmp_path, begun.samples(task(**{part: other}), ["a", "b"])) == (f"{what} samples",)
    changed = task(private={"a": other, "b": ()})
    assert begun.changed(tmp_path, begun.samples(changed, ["a", "b"])) == ("private samples of a",)
    assert begun.changed(tmp_path, begun.samples(changed, ["b"])) == ()


def test_a_sample_without_an_entry_has_the_digest_of_earlier_versions():
    line = b'["s", "question", "answer", "why", "domain", 1]\n'
    assert begun.samples(task(), [])["public samples"] == hashlib.sha256(line).hexdigest()


def test_another_verifier_is_told(tmp_path):
    one, other = (replace(task(), verifier=SimpleNamespace(fingerprint=each)) for each in ("one", "other"))
    begun.write(tmp_path, begun.samples(one, []))
    assert begun.changed(tmp_path, begun.samples(one, [])) == ()
    assert begun.changed(tmp_path, begun.samples(other, [])) == ("verifier",)


def test_a_model_in_a_folder_is_told_from_another_of_its_size(tmp_path):
    (tmp_path / "m").mkdir()
    weights = bytearray(10 << 20)
    (tmp_path / "m" / "w").write_bytes(weights)
    first = begun._of_folder(tmp_path / "m")
    weights[:: 1 << 10] = b"\x01" * (10 << 10)  # a study changes weights everywhere
    (tmp_path / "m" / "w").write_bytes(weights)
    second = begun._of_folder(tmp_path / "m")
    (tmp_path / "m" / "more").write_bytes(b"")
    assert len({first, second, begun._of_folder(tmp_path / "m")}) == 3


def test_without_the_record_nobody_can_tell(tmp_path):
    with pytest.raises(LadaError, match=r"begun\.json' cannot be read"):
        begun.changed(tmp_path, {})
    (tmp_path / "begun.json").write_bytes(b"{")
    with pytest.raises(LadaError, match=r"begun\.json' is not JSON"):
        begun.changed(tmp_path, {})
